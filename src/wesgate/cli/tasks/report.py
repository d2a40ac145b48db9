"""What a person is told about a task, as lines: how it stands, why it waits, how it ended, what it used."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from wesgate.cli.remote.options import Hints
from wesgate.cli.remote.reading import as_list, as_object, as_text
from wesgate.cli.tasks.replies import StepLog, Task, as_number, read_task
from wesgate.cli.text import clean, columns, moment, one_line, parse_time, size, took

MANY = 50
"""So many steps or outputs are listed."""

_USED: Mapping[str, Callable[[float], str]] = {
    "cpu_seconds": lambda number: f"{number:.4g} s of CPU",
    "peak_memory_bytes": lambda number: f"{size(number)} of memory at most",
    "bytes_in": lambda number: f"{size(number)} in",
    "bytes_out": lambda number: f"{size(number)} out",
    "vm_price_per_hour_usd": lambda number: f"a machine at {number:.4g} USD per hour",
}


def task_lines(task: Task, now: datetime) -> list[str]:
    """How a task stands."""
    last = task.last
    rows = [
        ("task", one_line(task.id)),
        ("state", one_line(task.state)),
        ("name", one_line(task.name)),
        ("waits", waits(task, now)),
        ("created", moment(task.created)),
        ("started", moment(last.start)),
        ("took", took(last.start, last.end or (None if task.over else now))),
        ("attempt", str(len(task.attempts)) if len(task.attempts) > 1 else ""),
        ("tags", one_line(", ".join(f"{key}={value}" for key, value in task.tags.items()))),
        ("used", used(task)),
    ]
    return [*columns([row for row in rows if row[1]]), *step_lines(task, now), *output_lines(task), *said(task)]


def waits(task: Task, now: datetime) -> str:
    """Why a task waits, since when, and how many are before it."""
    told = task.last.metadata
    reason, since, place = (told.get(key, "") for key in ("waiting_reason", "waiting_since", "queue_position"))
    if task.over or not reason:
        return ""
    parts = [one_line(reason)]
    parts += [f"for {took(parse_time(since), now)}"] if parse_time(since) else []
    parts += [f"number {one_line(place, 20)} in the queue"] if place else []
    return ", ".join(parts)


def used(task: Task) -> str:
    """What the last attempt used, as far as the server told."""
    told = {key: as_number(value) for key, value in task.last.metadata.items()}
    return ", ".join(_USED[key](number) for key in _USED if (number := told.get(key)) is not None)


def step_lines(task: Task, now: datetime) -> list[str]:
    """The steps with their exit codes and times; a word instead where there is none."""
    if not task.steps:
        return []
    rows = [_step_row(task, number, now) for number in range(min(len(task.steps), MANY))]
    return ["", *columns([["STEP", "EXIT", "TOOK", "COMMAND"], *rows]), *_more(len(task.steps), "steps")]


def _step_row(task: Task, number: int, now: datetime) -> list[str]:
    logs = task.last.steps
    log = logs[number] if number < len(logs) else StepLog()
    if log.exit_code is not None:
        code = str(log.exit_code)
    elif task.over:
        code = "-"
    else:
        code = "runs" if log.start else "waits"
    time = took(log.start, log.end or (None if task.over else now))
    return [str(number), code, time, one_line(shlex.join(task.steps[number]), 80)]


def output_lines(task: Task) -> list[str]:
    """The files that were put where the task wanted them."""
    found = task.last.outputs
    rows = [[one_line(url, 4000), "" if count is None else size(count)] for url, count in found[:MANY]]
    return ["", *columns([["OUTPUT", "SIZE"], *rows]), *_more(len(found), "outputs")] if rows else []


def said(task: Task) -> list[str]:
    """What the server has said about the task."""
    lines = [line for text in task.last.system_logs for line in clean(text).splitlines()]
    return ["", *lines] if lines else []


def failure_lines(task: Task, ends: Sequence[str], hints: Hints) -> list[str]:
    """What went wrong, and where to look. `ends` are the last lines of the step that failed."""
    logs = task.last.steps
    bad = [(number, log.exit_code) for number, log in enumerate(logs) if log.exit_code]
    lines = [line for line in said(task) if line]
    lines += [f"step {bad[-1][0]} failed: exit code {bad[-1][1]}"] if bad else []
    lines += [f"    {line}" for line in ends]
    return [*lines, f"whole log: {hints.command('task', 'logs', task.id)}"]


def forecast_lines(told: Mapping[str, Any]) -> list[str]:
    """What would become of a task, as the server that validated it says."""
    task = read_task(as_object(told.get("task")))
    policy = as_object(told.get("policy"))
    checked = "executor" in told
    rows = [
        ("task", one_line(task.name) or "without a name"),
        ("would be", "accepted" if checked else "sent; it has what TES requires"),
        ("executor", one_line(as_text(told.get("executor")))),
        ("submitter", one_line(as_text(told.get("submitter")))),
        ("steps", str(len(task.steps))),
        *((one_line(key, 40), one_line(json.dumps(value), 200).strip('"')) for key, value in policy.items()),
    ]
    warnings = [one_line(as_text(line), 500) for line in as_list(told.get("warnings"))]
    return [*columns([row for row in rows if row[1]]), *(f"warning: {line}" for line in warnings)]


def document(task: Task) -> dict[str, Any]:
    """A task as `ls --json` prints it."""
    return {
        "id": task.id,
        "state": task.state,
        "name": task.name,
        "creation_time": task.created.isoformat() if task.created else None,
        "start_time": task.last.start.isoformat() if task.last.start else None,
        "end_time": task.last.end.isoformat() if task.last.end else None,
        "tags": dict(task.tags),
    }


def _more(count: int, what: str) -> list[str]:
    return [f"… and {count - MANY} more {what}: --json tells all"] if count > MANY else []
