"""WES 1.1 on the wire: what a run request may hold, and how runs and their tasks are shown.

Spec: https://github.com/ga4gh/workflow-execution-service-schemas (1.1.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wesgate.core import codec
from wesgate.core.errors import InvalidRequest
from wesgate.core.paths import is_url
from wesgate.core.report import RunReport, TaskReport
from wesgate.core.spec import RunSpec, RunTerms
from wesgate.ga4gh import run_parameters, strict
from wesgate.ga4gh.tes import Tags
from wesgate.ga4gh.views import timestamp

JSON_FIELDS = frozenset({"workflow_params", "tags", "workflow_engine_parameters"})
TEXT_FIELDS = frozenset(
    {"workflow_type", "workflow_type_version", "workflow_url", "workflow_engine", "workflow_engine_version"}
)
FIELDS = JSON_FIELDS | TEXT_FIELDS
ATTACHMENT = "workflow_attachment"
FROM_CACHE = "from the call cache"
"""How the line begins in `system_logs` of a task that was not run, since its engine had what comes of it."""

Word = Annotated[str, Field(min_length=1, max_length=256)]


class RunRequest(BaseModel):
    """`RunRequest`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    workflow_params: dict[str, Any] = Field(default_factory=dict)
    workflow_type: Word
    workflow_type_version: Word
    workflow_url: Annotated[str, Field(min_length=1, max_length=4096)]
    tags: Tags | None = None
    workflow_engine: Word | None = None
    workflow_engine_version: Word | None = None
    workflow_engine_parameters: dict[str, Any] | None = None


def read_run(fields: Any) -> dict[str, Any]:
    """A client's run request, checked, as the document to keep and to echo. A null in `workflow_params` is a value of
    the workflow's; any other is what was not sent."""
    if not isinstance(fields, dict):
        raise InvalidRequest("a run request is a JSON object")
    fields = strict.without_nulls(fields, "workflow_params")
    if not fields.keys() <= FIELDS:
        # What is left out would start another run than was meant.
        raise InvalidRequest(f"a run request has no other fields than {', '.join(sorted(FIELDS))}, and attachments")
    try:
        request = RunRequest.model_validate(fields)
    except ValidationError as error:
        raise strict.refused(error) from None
    if request.workflow_engine_version and not request.workflow_engine:
        raise InvalidRequest("workflow_engine_version needs workflow_engine")
    document = request.model_dump(exclude_none=True)
    # The schema says string to string, and typed clients refuse anything else in the echo.
    parameters = document.get("workflow_engine_parameters", {})
    document["workflow_engine_parameters"] = {name: as_text(value) for name, value in parameters.items()}
    document.setdefault("tags", {})
    if _inputs_named(document["workflow_params"]) and "inputs_url" in parameters:
        raise InvalidRequest("workflow_params.workflowInputs and inputs_url both say where the inputs are; send one")
    return document


def read_fields(sent: Mapping[str, str]) -> dict[str, Any]:
    """Form fields as the values they stand for."""
    fields: dict[str, Any] = {}
    for name, text in sent.items():
        if name in JSON_FIELDS:
            fields[name] = strict.parse(text.encode(), name) if text.strip() else None
        else:
            fields[name] = strict.clean(text, "a field") or None
    return fields


def is_relative(workflow_url: str) -> bool:
    """Whether a `workflow_url` names an attachment."""
    return not is_url(workflow_url)


def run_spec(run_id: UUID, owner: str, directory: PurePosixPath, document: Mapping[str, Any]) -> RunSpec:
    """A kept request as engines get it."""
    asked, params = terms(document), document.get("workflow_params", {})
    return RunSpec(
        id=run_id,
        owner=owner,
        directory=str(directory),
        workflow_url=document["workflow_url"],
        params={} if _inputs_named(params) else params,
        engine_parameters=run_parameters.of_engine(document.get("workflow_engine_parameters", {})),
        terms=asked,
    )


def terms(document: Mapping[str, Any]) -> RunTerms:
    """What a kept request asks of this service."""
    asked = run_parameters.run_terms(document.get("workflow_engine_parameters", {}))
    named = _inputs_named(document.get("workflow_params", {}))
    return replace(asked, inputs_url=named) if named and not asked.inputs_url else asked


def _inputs_named(params: Mapping[str, Any]) -> str:
    """Where the inputs come from, if that is all that the parameters say: Amazon Genomics CLI attaches a file of them
    and names it so."""
    named = params.get("workflowInputs")
    return named if len(params) == 1 and isinstance(named, str) else ""


def summary(
    run_id: UUID, state: str, tags: Mapping[str, str], start: datetime | None, end: datetime | None
) -> dict[str, Any]:
    """`RunSummary`."""
    times = {"start_time": _time(start), "end_time": _time(end)}
    return {"run_id": str(run_id), "state": state, **strict.known(times), "tags": dict(tags)}


def run_log(run_id: UUID, state: str, document: Mapping[str, Any], log: Mapping[str, Any], url: str) -> dict[str, Any]:
    """`RunLog`, without its deprecated `task_logs`, and without its outputs. `url` is the run's own."""
    return {
        "run_id": str(run_id),
        "request": dict(document),
        "state": state,
        "run_log": dict(log),
        "task_logs_url": f"{url}/tasks",
    }


def engine_log(
    name: str, report: RunReport, detail: str, url: str, start: datetime | None, end: datetime | None
) -> dict[str, Any]:
    """The engine's `Log` of a run."""
    system_logs = [*report.system_logs, *([detail] if detail and detail not in report.system_logs else [])]
    log = {
        "name": name,
        "cmd": list(report.cmd),
        "start_time": _time(start),
        "end_time": _time(end),
        "stdout": f"{url}/logs/stdout",  # always: wes-client 5.0 stops at a run that has none
        "stderr": f"{url}/logs/stderr",
        "exit_code": report.exit_code,
        "system_logs": system_logs,
    }
    return strict.known(log)


def task_log(
    task_id: UUID,
    document: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    detail: str,
    urls: tuple[str, str],
) -> dict[str, Any]:
    """`TaskLog` of a TES task. `urls` are where it is found in WES and in TES."""
    told = codec.load(TaskReport, report or {})
    codes = [step.exit_code for step in told.steps if step.exit_code is not None]
    log = {
        "id": str(task_id),
        "name": document.get("name") or str(task_id),
        "cmd": document["executors"][0]["command"],
        "start_time": told.start_time,
        "end_time": told.end_time,
        "stdout": f"{urls[0]}/logs/stdout" if told.directory else None,
        "stderr": f"{urls[0]}/logs/stderr" if told.directory else None,
        "exit_code": codes[-1] if codes else None,
        "system_logs": [*told.system_logs, *([detail] if detail and detail not in told.system_logs else [])],
        # TES knows nothing of a task that was not run
        "tes_uri": None if any(line.startswith(FROM_CACHE) for line in told.system_logs) else urls[1],
    }
    return strict.known(log)


def task_urls(base: str, run_id: UUID, task_id: UUID) -> tuple[str, str]:
    """Where a task of a run is found: in WES and in TES."""
    return f"{base}/ga4gh/wes/v1/runs/{run_id}/tasks/{task_id}", f"{base}/ga4gh/tes/v1/tasks/{task_id}"


def as_text(value: Any) -> str:
    """A value where only text may stand: as it is, or as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _time(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None
