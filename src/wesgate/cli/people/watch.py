"""Waiting for a run: how often to ask, what to ask, and how long a server may be away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from wesgate.cli.errors import CliError, ServerProblem
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Log, Run, Stand, is_over
from wesgate.cli.text import tail

FIRST_PAUSE_S = 0.3
LONGEST_PAUSE_S = 2.0
SLOWEST_S = 15.0
RETRY_S = 1.0
AWAY_S = 120.0
"""How long a server may be away (restarted, say) before waiting for a run is given up."""

TAIL_BYTES = 8192
LOOKS = 6
"""How many running tasks are asked for their current step in one look."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `steps` says how far some running tasks are; `lines` end the log of the task `lines_of`."""

    run: Run
    tasks: tuple[Log, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    lines_of: str = ""


def pause_after(pause_s: float, changed: bool, cost_s: float) -> float:
    """The next pause: short after news, growing while there is none, and never a burden on a slow server."""
    longer = FIRST_PAUSE_S if changed else min(LONGEST_PAUSE_S, pause_s * 1.3)
    return max(longer, min(4 * cost_s, SLOWEST_S))


def wait(client: WesClient, run_id: str) -> Run:
    """The run, once it is over; asks for its state only until then."""
    poll(lambda: client.state(run_id), is_over, lambda _: None)
    return patiently(lambda: client.run(run_id))


def follow(client: WesClient, run_id: str, show: Callable[[Snapshot], None]) -> Snapshot:
    """The last snapshot of the run; every one is shown."""
    return poll(lambda: look(client, run_id), lambda seen: is_over(seen.run.state), show)


def poll(ask: Callable[[], T], over: Callable[[T], bool], show: Callable[[T], None]) -> T:
    """Ask until it is over. Only the first question fails at once when the server is away."""
    answer, pause_s = ask(), FIRST_PAUSE_S
    show(answer)
    while not over(answer):
        time.sleep(pause_s)
        last, (answer, cost_s) = answer, patiently(lambda: _timed(ask))
        show(answer)
        pause_s = pause_after(pause_s, answer != last, cost_s)
    return answer


def patiently(ask: Callable[[], T]) -> T:
    """What was asked for, asked again while the server is away."""
    begun = time.monotonic()
    while True:
        try:
            return ask()
        except ServerProblem as problem:
            if not problem.transient or time.monotonic() - begun > AWAY_S:
                raise
        time.sleep(RETRY_S)


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    begun = time.monotonic()
    return ask(), time.monotonic() - begun


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
            text = client.log(run_id, where, last=TAIL_BYTES).decode("utf-8", "replace") if where else ""
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
