"""What a person is told about a run, as lines: how it stands, how it ended, what came out, where to look."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.replies import Log, Run, Stand
from wesgate.cli.remote.names import some
from wesgate.cli.remote.options import Hints
from wesgate.cli.remote.reading import as_object, as_whole
from wesgate.cli.text import clean, columns, moment, one_line, tail, took

MANY = 5
END_LINES = 20
"""So many last lines of a failed task's stderr are told: as many as wesgate's engine tells."""
_END_OF_STDERR = "the end of its stderr:\n"


def run_table(runs: Sequence[Run], now: datetime) -> list[str]:
    """Runs as a list shows them."""
    rows = [
        [one_line(run.id), one_line(run.state), moment(run.start), took(run.start, run.end or now), one_line(run.name)]
        for run in runs
    ]
    return columns([["RUN", "STATE", "STARTED", "TOOK", "NAME"], *rows]) if rows else ["no runs"]


def count_lines(told: Mapping[str, Any]) -> list[str]:
    """How many runs there are, by state and in all."""
    rows = [[one_line(state, 40), str(number)] for state, count in as_object(told.get("counts")).items()
            if (number := as_whole(count))]  # fmt: skip
    return columns([*rows, ["total", str(as_whole(told.get("total")) or 0)]])


def run_lines(run: Run, tasks: Sequence[Log], now: datetime) -> list[str]:
    """How a run stands, without what is said of it."""
    rows = [
        ("run", one_line(run.id)),
        ("state", one_line(run.state)),
        ("name", one_line(run.name)),
        ("workflow", one_line(run.workflow)),
        ("started", moment(run.start)),
        ("took", took(run.start, run.end or now)),
        ("tags", one_line(", ".join(f"{key}={value}" for key, value in run.tags.items()))),
        ("tasks", counts(tasks)),
    ]
    return columns([row for row in rows if row[1]])


def counts(tasks: Sequence[Log]) -> str:
    """How many tasks stand how."""
    stands = Counter(task.stand for task in tasks)
    return ", ".join(f"{stands[stand]} {stand}" for stand in Stand if stands[stand])


def said(run: Run) -> list[str]:
    """What engine and server have said about the run."""
    return _lines(run.log.system_logs)


def failed(tasks: Sequence[Log]) -> list[Log]:
    """The tasks that failed."""
    return [task for task in tasks if task.stand is Stand.FAILED]


def why(task: Log) -> str:
    """Why a task failed, on one line."""
    code = f"exit code {task.exit_code}" if task.exit_code is not None else ""
    return "; ".join(part for part in (code, one_line(" ".join(task.system_logs), 400)) if part)


def failure_lines(
    run: Run, tasks: Sequence[Log], ends: Mapping[str, Sequence[str]], hints: Hints, tasks_seen: bool = True
) -> list[str]:
    """What went wrong, task by task, and where to look. `ends` holds the last lines of failed tasks' stderr. What the
    engine says is left out where it is told with a task."""
    shown = failed(tasks)[:MANY]
    lines = _lines(
        text for text in run.log.system_logs if not any(_is_told(text, task, ends.get(task.id, ())) for task in shown)
    )
    for task in shown:
        lines += [f"task {label(task)} failed: {why(task) or 'no cause was given'}"]
        lines += [f"    {line}" for line in ends.get(task.id, ())]
        lines += [f"  whole log: {hints.command('logs', run.id, task.id or task.name)}"]
    more = len(failed(tasks)) - MANY
    lines += [f"… and {more} more tasks failed: {hints.command('status', run.id)}"] if more > 0 else []
    return [*lines, f"log of the engine: {hints.command('logs', run.id)}"] if tasks_seen else lines


def _lines(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in clean(text).splitlines()]


def _is_told(text: str, task: Log, end: Sequence[str]) -> bool:
    """Whether what the engine says is all in what is told of a failed task."""
    if text in task.system_logs:
        return one_line(text, len(text) + 1) in why(task)
    if text.startswith(_END_OF_STDERR):
        said_too = tail(text.removeprefix(_END_OF_STDERR), END_LINES + 1)
        told = [*end][-len(said_too) :]
        # The first line may be cut at its beginning: the engine reads so many bytes.
        return len(told) == len(said_too) > 0 and told[1:] == said_too[1:] and told[0].endswith(said_too[0])
    return text == f"{task.name}: task command failed with exit status {task.exit_code}"


def label(task: Log) -> str:
    """What to call a task."""
    return one_line(task.name, 80) or one_line(task.id, 80) or "without a name"


def outputs_named(outputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """These of the outputs, named in full or without the workflow's name; all if none is named."""
    for name in names:
        if not any(name in (key, key.partition(".")[2]) for key in outputs):
            raise UsageProblem(f"the run has no output {one_line(name)!r}; its outputs are {some(list(outputs), 20)}")
    return {key: value for key, value in outputs.items() if not names or {key, key.partition(".")[2]} & set(names)}


def output_lines(outputs: Mapping[str, Any]) -> list[str]:
    """Outputs as a table of names and values; the items of a list stand below each other."""
    rows = [row for name, value in outputs.items() for row in _output_rows(name, value)]
    return columns(rows) if rows else ["no outputs"]


def _output_rows(name: str, value: Any) -> list[tuple[str, str]]:
    values = value if isinstance(value, list) and value else [value]
    return [(one_line(name, 80) if index == 0 else "", _shown(item)) for index, item in enumerate(values)]


def _shown(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 4000)


def document(run: Run, tasks: Sequence[Log] | None = None) -> dict[str, Any]:
    """A run as `--json` prints it."""
    plain: dict[str, Any] = {
        "run_id": run.id,
        "state": run.state,
        "name": run.name,
        "start_time": run.start.isoformat() if run.start else None,
        "end_time": run.end.isoformat() if run.end else None,
        "tags": dict(run.tags),
    }
    if tasks is None:
        return plain
    details = {
        "workflow_url": run.workflow,
        "system_logs": list(run.log.system_logs),
        "outputs": dict(run.outputs),
        "tasks": [_task_document(task) for task in tasks],
    }
    return plain | details


def _task_document(task: Log) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "state": task.stand.value,
        "exit_code": task.exit_code,
        "start_time": task.start.isoformat() if task.start else None,
        "end_time": task.end.isoformat() if task.end else None,
        "stdout": task.stdout,
        "stderr": task.stderr,
        "system_logs": list(task.system_logs),
        "tes_uri": task.tes_uri,
    }
