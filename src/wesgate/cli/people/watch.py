"""Waiting for a run: what to ask, and what is seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from wesgate.cli.errors import CliError
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Log, Run, Stand
from wesgate.cli.remote.reading import is_over
from wesgate.cli.remote.waiting import patiently, poll
from wesgate.cli.text import tail

TAIL_BYTES = 8192
LOOKS = 6
"""How many running tasks are asked for their current step in one look."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `steps` says how far some running tasks are; `lines` end the log of the task `lines_of`."""

    run: Run
    tasks: tuple[Log, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    lines_of: str = ""


def wait(client: WesClient, run_id: str) -> Run:
    """The run, once it is over; asks for its state only until then."""
    poll(lambda: client.state(run_id), is_over, lambda _: None)
    return patiently(lambda: client.run(run_id))


def follow(client: WesClient, run_id: str, show: Callable[[Snapshot], None]) -> Snapshot:
    """The last snapshot of the run; every one is shown."""
    return poll(lambda: look(client, run_id), lambda seen: is_over(seen.run.state), show)


def look(client: WesClient, run_id: str) -> Snapshot:
    """The run with its tasks, and more about the youngest of those that run."""
    run = client.run(run_id)
    tasks = client.tasks(run)
    if is_over(run.state):
        return Snapshot(run, tasks)
    running = youngest_first([task for task in tasks if task.stand is Stand.RUNNING])
    steps = {task.id: step for task in running[:LOOKS] if (step := client.step(task))}
    shown = running[0] if running else run.log
    return Snapshot(run, tasks, steps, last_lines(client, run_id, shown, 8), shown.name or "the engine")


def last_lines(client: WesClient, run_id: str, log: Log, count: int) -> tuple[str, ...]:
    """The end of a log's stderr, or of its stdout where stderr is empty; a log that cannot be read has none."""
    for where in (log.stderr, log.stdout):
        try:
            text = client.end_of_log(run_id, where, TAIL_BYTES)[0].decode("utf-8", "replace") if where else ""
        except CliError:
            continue
        if text.strip():
            return tuple(tail(text, count))
    return ()


def youngest_first(tasks: list[Log]) -> list[Log]:
    """Tasks by start, the latest first."""
    return sorted(tasks, key=_started, reverse=True)


def _started(task: Log) -> float:
    return task.start.timestamp() if isinstance(task.start, datetime) else 0.0
