"""TES 1.1 on the wire: what a task document may hold, and the three views of a task.

Spec: https://github.com/ga4gh/task-execution-schemas (1.1.0). A document is kept as it was sent, without unset and
null fields and with every `type` filled in: strict clients refuse keys they did not send.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wesgate.core import codec
from wesgate.core.errors import InvalidRequest
from wesgate.core.report import OutputFile, TaskReport
from wesgate.core.spec import FileType, Input, Lane, Output, Resources, Step, TaskSpec
from wesgate.ga4gh import strict

CONTENT_LIMIT = 1 << 20
"""The longest inline `content` in bytes; TES asks for at least 128 KiB."""

Name = Annotated[str, Field(max_length=4096)]
ContainerPath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
Short = Annotated[str, Field(max_length=65536)]
# A whole number stays one: py-tes refuses `cpu_cores: 2.0`.
Amount = Annotated[int | float, Field(ge=0, le=1_000_000)]
TAGS_LIMIT = 64 << 10
"""The longest tags of a task or a run in characters, keys and values together: lists show them, 1000 rows a page."""


def _bounded(tags: dict[str, str]) -> dict[str, str]:
    if sum(map(len, tags)) + sum(map(len, tags.values())) > TAGS_LIMIT:
        raise ValueError(f"tags are longer than {TAGS_LIMIT} characters together")
    return tags


Tags = Annotated[dict[str, str], Field(max_length=1000), AfterValidator(_bounded)]
_VARIABLE = re.compile(r"[^=\x00]+")
_WILDCARDS = re.compile(r"[*?\[]")


class View(StrEnum):
    """How much of a task a client wants (`view`)."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


class _Wire(BaseModel):
    # Unknown members are dropped, not refused: newer clients send more than 1.1.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class TesInput(_Wire):
    """`tesInput`."""

    name: Name | None = None
    description: Name | None = None
    url: Name | None = None
    path: ContainerPath
    type: Literal["FILE", "DIRECTORY"] = "FILE"
    content: str | None = None
    streamable: bool | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> TesInput:
        if self.content is None and not self.url:
            raise ValueError("an input needs a url or content")
        if self.content and len(self.content.encode()) > CONTENT_LIMIT:
            raise ValueError(f"content is longer than {CONTENT_LIMIT} bytes; give it by url")
        return self


class TesOutput(_Wire):
    """`tesOutput`."""

    name: Name | None = None
    description: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=4096)]
    path: ContainerPath
    path_prefix: ContainerPath | None = None
    type: Literal["FILE", "DIRECTORY"] = "FILE"

    @model_validator(mode="after")
    def _wildcards_have_a_prefix(self) -> TesOutput:
        if not _WILDCARDS.search(self.path):
            return self
        if not self.path_prefix:
            raise ValueError("a path with wildcards needs path_prefix")
        if not self.path.startswith(self.path_prefix):
            raise ValueError("path does not begin with path_prefix")
        return self


class TesExecutor(_Wire):
    """`tesExecutor`: one step."""

    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\s-][^\s]*$")]
    command: Annotated[list[Short], Field(min_length=1, max_length=10_000)]
    workdir: ContainerPath | None = None
    stdin: ContainerPath | None = None
    stdout: ContainerPath | None = None
    stderr: ContainerPath | None = None
    env: dict[str, Short] | None = None
    ignore_error: bool | None = None

    @model_validator(mode="after")
    def _variables_have_names(self) -> TesExecutor:
        if any(not _VARIABLE.fullmatch(name) for name in self.env or ()):
            raise ValueError("a variable of env has no name, or one with '='")
        return self


class TesResources(_Wire):
    """`tesResources`; fractional cores as in TES 1.2. Zero asks for nothing in particular."""

    cpu_cores: Amount | None = None
    preemptible: bool | None = None
    ram_gb: Amount | None = None
    disk_gb: Amount | None = None
    zones: list[Name] | None = None
    backend_parameters: dict[str, Short] | None = None
    backend_parameters_strict: bool | None = None

    @model_validator(mode="after")
    def _strict_parameters_are_known(self) -> TesResources:
        if self.backend_parameters_strict and self.backend_parameters:
            named = ", ".join(name[:64] for name in sorted(self.backend_parameters)[:10])
            raise ValueError(f"backend_parameters_strict: this service knows no backend_parameters: leave out {named}")
        return self


class TesTask(_Wire):
    """What a client may set of `tesTask`; `id`, `state`, `logs` and `creation_time` are ours and are not read."""

    name: Name | None = None
    description: Name | None = None
    inputs: Annotated[list[TesInput], Field(max_length=100_000)] | None = None
    outputs: Annotated[list[TesOutput], Field(max_length=100_000)] | None = None
    resources: TesResources | None = None
    executors: Annotated[list[TesExecutor], Field(min_length=1, max_length=1000)]
    volumes: Annotated[list[ContainerPath], Field(max_length=1000)] | None = None
    tags: Tags | None = None


def read_task(sent: Any) -> dict[str, Any]:
    """A client's task, checked, as the document to keep."""
    if not isinstance(sent, dict):
        raise InvalidRequest("a task is a JSON object")
    try:
        task = TesTask.model_validate(sent)
    except ValidationError as error:
        raise strict.refused(error) from None
    document = task.model_dump(exclude_unset=True)
    for file in (*document.get("inputs", ()), *document.get("outputs", ())):
        file.setdefault("type", "FILE")
    return document


def task_spec(
    document: Mapping[str, Any], owner: str, lane: Lane, roots: Sequence[str], run_id: UUID | None
) -> TaskSpec:
    """A kept document as executors get it."""
    resources = document.get("resources", {})
    return TaskSpec(
        owner=owner,
        steps=tuple(_step(step) for step in document["executors"]),
        inputs=tuple(_input(file) for file in document.get("inputs", ())),
        outputs=tuple(_output(file) for file in document.get("outputs", ())),
        volumes=tuple(document.get("volumes", ())),
        resources=codec.load(Resources, resources),
        lane=lane,
        roots=tuple(roots),
        run=run_id.hex if run_id else "",
    )


def document_of(spec: TaskSpec, name: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """A task of our own making (a head) as a document like any client's."""
    told = codec.dump(spec)
    return {
        "name": name,
        "executors": [strict.known(step) for step in told["steps"]],
        "inputs": [strict.known(file) for file in told["inputs"]],
        "outputs": [strict.known(file) for file in told["outputs"]],
        "resources": strict.known(told["resources"]),
        "tags": dict(tags),
    }


def minimal(task_id: UUID, state: str) -> bytes:
    """The MINIMAL view, ready to send: the hottest answer of all."""
    return b'{"id":"%b","state":"%b"}' % (str(task_id).encode(), state.encode())


def render(
    view: View,
    task_id: UUID,
    state: str,
    document: Mapping[str, Any],
    created: datetime,
    reports: Sequence[Mapping[str, Any] | None],
    detail: str,
) -> dict[str, Any]:
    """The BASIC or FULL view. `reports` are the attempts', oldest first; `detail` says why the state is what it is."""
    shown = dict(document)
    if view is View.BASIC:
        shown["inputs"] = [{k: v for k, v in file.items() if k != "content"} for file in document.get("inputs", ())]
        if not shown["inputs"]:
            del shown["inputs"]
    logs = [_task_log(codec.load(TaskReport, report or {}), view) for report in reports or [None]]
    if view is View.FULL and detail and detail not in logs[-1].get("system_logs", ()):
        logs[-1].setdefault("system_logs", []).append(detail)
    return {"id": str(task_id), "state": state, **shown, "logs": logs, "creation_time": timestamp(created)}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second as both specs print it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _task_log(report: TaskReport, view: View) -> dict[str, Any]:
    told = codec.dump(report)
    steps = [strict.known(step) for step in told["steps"] if step["exit_code"] is not None]
    if view is View.BASIC:
        steps = [{k: v for k, v in step.items() if k not in ("stdout", "stderr")} for step in steps]
    log = {
        "start_time": report.start_time,
        "end_time": report.end_time,
        "metadata": told["metadata"] or None,
        "system_logs": (told["system_logs"] or None) if view is View.FULL else None,
    }
    return {"logs": steps, "outputs": [_output_log(file) for file in report.outputs], **strict.known(log)}


def _output_log(file: OutputFile) -> dict[str, str]:
    # `size_bytes` is a string in the spec, and Cromwell refuses a number.
    return {"url": file.url, "path": file.path, "size_bytes": str(file.size_bytes)}


def _step(step: Mapping[str, Any]) -> Step:
    return codec.load(Step, step)


def _input(file: Mapping[str, Any]) -> Input:
    return codec.load(Input, file)


def _output(file: Mapping[str, Any]) -> Output:
    return codec.load(Output, {**file, "type": FileType(file.get("type", "FILE"))})


def encode(document: Any) -> bytes:
    """JSON to send, whatever is stored: a lone surrogate (of a file's name, say) has no UTF-8 and becomes a `?`."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
