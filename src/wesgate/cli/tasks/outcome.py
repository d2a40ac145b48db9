"""Seeing tasks through to their ends: awaited or followed, then what came of them, told to the exit code too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import typer

from wesgate.cli.errors import ServerProblem
from wesgate.cli.options import print_json
from wesgate.cli.remote.options import INTERRUPTED, Hints
from wesgate.cli.remote.reading import is_over
from wesgate.cli.remote.streams import print_logs
from wesgate.cli.remote.waiting import patiently, poll
from wesgate.cli.tasks.client import TesClient
from wesgate.cli.tasks.logs import Source
from wesgate.cli.tasks.replies import Task
from wesgate.cli.tasks.report import failure_lines, output_lines, waits
from wesgate.cli.text import clean, one_line, tail, took
from wesgate.core.states import State

GENTLY_S = 5.0
STREAMS = ("stdout", "stderr")


def wait_for(client: TesClient, ids: Sequence[str], hints: Hints, *, as_json: bool, begun: bool = False) -> None:
    """Wait until all have ended and tell of each; exits with 0 only if all ended COMPLETE. Ctrl-C leaves them be.
    `begun` says that the ids are new to the person."""
    states: dict[str, str] = {}

    def look() -> dict[str, str]:
        for task_id in ids:
            if not is_over(states.get(task_id, State.QUEUED)):
                states[task_id] = client.state(task_id)
        return dict(states)

    told: set[str] = set()

    def show(seen: dict[str, str]) -> None:
        for task_id in (one for one, state in seen.items() if is_over(state) and one not in told):
            told.add(task_id)
            if not as_json:
                _tell(patiently(partial(client.task, task_id)), hints)

    with _going_on(ids, hints, ids if begun else states):
        poll(look, lambda seen: all(map(is_over, seen.values())), show, GENTLY_S)
        if as_json:
            documents = [patiently(partial(client.document, one)) for one in ids]
            print_json(documents[0] if len(documents) == 1 else {"tasks": documents})
    raise typer.Exit(0 if all(state == State.COMPLETE for state in states.values()) else 1)


def follow(client: TesClient, task_id: str, hints: Hints) -> None:
    """Print what the task prints, and its changes on stderr; then as `wait_for`."""
    changes = Changes()
    with _going_on([task_id], hints, [task_id]):
        print_logs(Source(client, task_id, STREAMS, told=changes.show).look, follow=True, raw=False)
        task = patiently(partial(client.task, task_id))
        _tell(task, hints, with_log=False)
    raise typer.Exit(0 if task.state == State.COMPLETE else 1)


class Changes:
    """One line on stderr for each change of a task, fit for a log file."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, task: Task) -> None:
        """Tell what has changed since the last one."""
        now = datetime.now(UTC)
        why = task.last.metadata.get("waiting_reason", "") and waits(task, now)
        attempt = f", attempt {len(task.attempts)}" if len(task.attempts) > 1 else ""
        key = f"{task.state} {len(task.attempts)} {task.last.metadata.get('waiting_reason', '')}"
        if key != self._last:
            self._last = key
            line = f"task {one_line(task.state)}{attempt}" + (f": {why}" if why else "")
            typer.echo(f"{now.astimezone():%H:%M:%S}  {line}", err=True)


@contextmanager
def _going_on(ids: Sequence[str], hints: Hints, seen: Collection[str]) -> Iterator[None]:
    """Whatever ends the watching, the tasks go on, and it is told how to go on with them, unless none was `seen`."""
    told = f"watch again: {hints.command('task', 'wait', *ids)}\ncancel: {hints.command('task', 'cancel', *ids)}"
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nwhat was begun goes on; {told}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ServerProblem:
        if seen:
            typer.echo(f"what was begun goes on; {told}", err=True)
        raise


def _tell(task: Task, hints: Hints, *, with_log: bool = True) -> None:
    after = took(task.last.start, task.last.end)
    typer.echo(f"task {clean(task.id)} ended {one_line(task.state)}" + (f" after {after}" if after else ""))
    if task.state == State.COMPLETE:
        lines = [line for line in output_lines(task) if line]
    elif task.state == State.CANCELED:
        lines = []
    else:
        lines = failure_lines(task, _end(task) if with_log else (), hints)
    for line in lines:
        typer.echo(line)


def _end(task: Task) -> Sequence[str]:
    """The last lines of the step that failed, as the FULL view holds them."""
    bad = [log for log in task.last.steps if log.exit_code]
    return tail(bad[-1].stderr.strip() or bad[-1].stdout.strip(), 15) if bad else ()
