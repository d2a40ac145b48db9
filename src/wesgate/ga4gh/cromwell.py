"""Runs as Cromwell shows workflows, for clients of its API: the states, and the documents.

Spec: https://cromwell.readthedocs.io/en/stable/api/RESTAPI/
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from wesgate.core import codec
from wesgate.core.report import WHAT_RAN, RunReport, TaskReport
from wesgate.core.states import State
from wesgate.ga4gh import strict, wes
from wesgate.ga4gh.views import Task, timestamp

STATUS = {
    State.UNKNOWN: "Submitted",
    State.QUEUED: "Submitted",
    State.INITIALIZING: "Running",
    State.RUNNING: "Running",
    State.PAUSED: "Running",
    State.CANCELING: "Aborting",
    State.CANCELED: "Aborted",
    State.COMPLETE: "Succeeded",
    State.EXECUTOR_ERROR: "Failed",
    State.SYSTEM_ERROR: "Failed",
    State.PREEMPTED: "Failed",
}
CALL_STATUS = {**STATUS, State.QUEUED: "QueuedInCromwell", State.COMPLETE: "Done"}

# How miniwdl names the calls of a run: call-align, call-align-3 in a scatter, call-align-3-1 in one inside another.
_CALL = re.compile(r"(?:call-)?(?P<name>.+?)(?P<shards>(?:-[0-9]+)*)")


def status(run_id: UUID, state: str) -> dict[str, Any]:
    """`WorkflowIdAndStatus`."""
    return {"id": str(run_id), "status": STATUS[State(state)]}


def labels(run_id: UUID, tags: Mapping[str, str]) -> dict[str, Any]:
    """`LabelsResponse`."""
    return {"id": str(run_id), "labels": dict(tags)}


def outputs(run_id: UUID, report: RunReport) -> dict[str, Any]:
    """`WorkflowOutputs`."""
    return {"id": str(run_id), "outputs": dict(report.outputs)}


def logs(run_id: UUID, tasks: Sequence[Task], base: str) -> dict[str, Any]:
    """`WorkflowLogs`: `base` is where this service is reached."""
    shown = ("stdout", "stderr", "attempt", "shardIndex")
    calls = {
        name: [{key: attempt[key] for key in shown if key in attempt} for attempt in attempts]
        for name, attempts in _calls(run_id, tasks, base).items()
    }
    return {"id": str(run_id), "calls": calls}


def metadata(
    run_id: UUID,
    state: str,
    document: Mapping[str, Any],
    report: RunReport,
    detail: str,
    times: tuple[datetime, datetime | None, datetime | None],
    tasks: Sequence[Task],
    base: str,
) -> dict[str, Any]:
    """`WorkflowMetadataResponse`. `times` are of submission, start and end."""
    failed = STATUS[State(state)] == "Failed"
    told = [line for line in report.system_logs if not line.startswith(WHAT_RAN)]
    reasons = [*told, *([detail] if detail and detail not in told else [])]
    submitted, started, ended = (timestamp(moment) if moment else None for moment in times)
    whole = {
        **status(run_id, state),
        "workflowName": _workflow(report),
        "submission": submitted,
        "start": started,
        "end": ended,
        "inputs": dict(document.get("workflow_params", {})),
        "outputs": dict(report.outputs),
        "labels": dict(document.get("tags", {})),
        "submittedFiles": {"workflowUrl": document["workflow_url"]},
        "calls": _calls(run_id, tasks, base),
        "failures": [{"message": reason, "causedBy": []} for reason in reasons] if failed else None,
    }
    return strict.known(whole)


def _workflow(report: RunReport) -> str | None:
    """The workflow's own name: that of a run's outputs begins with it."""
    return next((name.partition(".")[0] for name in report.outputs if "." in name), None)


def _calls(run_id: UUID, tasks: Sequence[Task], base: str) -> dict[str, list[dict[str, Any]]]:
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    attempts: Counter[str] = Counter()
    for task in tasks:
        told = str(task.document.get("name") or task.id)
        attempts[told] += 1
        found = _CALL.fullmatch(told)
        name, shards = (found["name"], found["shards"]) if found else (told, "")
        shard = int(shards.rpartition("-")[2]) if shards else -1
        calls[name].append(_call(run_id, task, base) | {"attempt": attempts[told], "shardIndex": shard})
    return dict(calls)


def _call(run_id: UUID, task: Task, base: str) -> dict[str, Any]:
    log = wes.task_log(task.id, task.document, task.report, task.detail, wes.task_urls(base, run_id, task.id))
    report = codec.load(TaskReport, task.report or {})
    call = {
        "executionStatus": CALL_STATUS[State(task.state)],
        "jobId": str(task.id),
        "start": report.start_time,
        "end": report.end_time,
        "returnCode": log.get("exit_code"),
        "stdout": log.get("stdout"),
        "stderr": log.get("stderr"),
    }
    return strict.known(call)
