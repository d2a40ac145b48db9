"""TES 1.1 as it goes out: the three views of a task, without unset members, which strict clients refuse as null."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from wesgate.core import codec
from wesgate.core.report import OutputFile, StepLog, TaskReport
from wesgate.core.states import TERMINAL
from wesgate.ga4gh import dialects, strict
from wesgate.ga4gh.dialects import Asking

NOT_YET = -1
"""The exit code of a step that has none yet: TES requires one, and no process ends with this."""

PRICE = "vm_price_per_hour_usd"
"""Where Cromwell looks for it; once it has that and the start, it stops asking for whole tasks."""


class View(StrEnum):
    """How much of a task a client wants (`view`)."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class Task:
    """A stored task with what its attempts left, oldest first. `warnings` were decided when it was created; `metadata`
    is more to tell of the last attempt."""

    id: UUID
    state: str
    detail: str
    document: Mapping[str, Any]
    created_at: datetime
    run_id: UUID | None = None
    reports: tuple[Mapping[str, Any] | None, ...] = ()
    submitter: str = ""
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def report(self) -> Mapping[str, Any] | None:
        """The last attempt's."""
        return self.reports[-1] if self.reports else None


def minimal(task_id: UUID | str, state: str) -> bytes:
    """The MINIMAL view, ready to send: the hottest answer of all."""
    return b'{"id":"%b","state":"%b"}' % (str(task_id).encode(), state.encode())


def render(view: View, task: Task, asking: Asking, price_per_hour_usd: float | None = None) -> dict[str, Any]:
    """The BASIC or FULL view of a task for whoever asks. `price_per_hour_usd`: what an hour of a task costs, if that is
    to be told."""
    state = dialects.shown(task.state, task.submitter, asking)
    shown = dict(task.document)
    if view is View.BASIC:
        shown["inputs"] = [_without(file, "content") for file in shown.get("inputs", ())]
        if not shown["inputs"]:
            del shown["inputs"]
    largest = dialects.of_answer(task.submitter, asking).largest_size
    price = {} if price_per_hour_usd is None else {PRICE: f"{Decimal(str(price_per_hour_usd)).normalize():f}"}
    logs = [_task_log(report, view, largest, price) for report in _reports(task)]
    return {"id": str(task.id), "state": state, **shown, "logs": logs, "creation_time": timestamp(task.created_at)}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second as both specs print it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(document: Any) -> bytes:
    """JSON to send, whatever is stored: a lone surrogate (of a file's name, say) has no UTF-8 and becomes a `?`."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def with_member(encoded: bytes, name: str, value: bytes) -> bytes:
    """An encoded object that has members, and one more whose value is encoded already."""
    return b'%b,"%b":%b}' % (encoded[:-1], name.encode(), value)


def _reports(task: Task) -> list[TaskReport]:
    """What every attempt left, and of the last one what is to come and what is known besides."""
    *earlier, last = [codec.load(TaskReport, report or {}) for report in task.reports or (None,)]
    told = [*last.system_logs, *([task.detail] if task.detail and task.detail not in last.system_logs else [])]
    steps = last.steps if task.state in TERMINAL else _with_those_to_come(last.steps, task.document["executors"])
    last = replace(last, steps=steps, system_logs=tuple(told), metadata={**last.metadata, **task.metadata})
    first, *rest = [*earlier, last]
    return [replace(first, system_logs=(*task.warnings, *first.system_logs)), *rest]


def _with_those_to_come(steps: Sequence[StepLog], executors: Sequence[Mapping[str, Any]]) -> tuple[StepLog, ...]:
    """A log for every step that is certain to be attempted: the first, and each whose forerunner went well or need
    not. Clients of 1.0 read the first step's exit code from the beginning."""
    begun = [step if step.exit_code is not None else replace(step, exit_code=NOT_YET) for step in steps]
    if not begun:
        begun.append(StepLog(NOT_YET))
    while len(begun) < len(executors) and (begun[-1].exit_code == 0 or executors[len(begun) - 1].get("ignore_error")):
        begun.append(StepLog(NOT_YET))
    return tuple(begun)


def _task_log(report: TaskReport, view: View, largest: int | None, price: Mapping[str, str]) -> dict[str, Any]:
    told = codec.dump(report)
    metadata = {**told["metadata"], **(price if report.start_time else {})}
    steps = [strict.known(step) for step in told["steps"] if step["exit_code"] is not None]
    if view is View.BASIC:
        steps = [_without(step, "stdout", "stderr") for step in steps]
    log = {
        "start_time": report.start_time,
        "end_time": report.end_time,
        "metadata": metadata or None,
        "system_logs": (told["system_logs"] or None) if view is View.FULL else None,
    }
    return {"logs": steps, "outputs": [_output_log(file, largest) for file in report.outputs], **strict.known(log)}


def _output_log(file: OutputFile, largest: int | None) -> dict[str, str]:
    # A string in the spec, and Cromwell refuses a number; it also fails the whole task over one that is no `Int`.
    size = file.size_bytes if largest is None else min(file.size_bytes, largest)
    return {"url": file.url, "path": file.path, "size_bytes": str(size)}


def _without(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}
