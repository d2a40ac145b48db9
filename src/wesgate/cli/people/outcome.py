"""Seeing a run through to its end: watched or awaited, then what came of it, told to the exit code too."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from wesgate.cli.errors import ServerProblem
from wesgate.cli.options import print_json
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Log, Run
from wesgate.cli.people.report import END_LINES, MANY, document, failed, failure_lines, output_lines, said
from wesgate.cli.people.screen import screen
from wesgate.cli.people.watch import follow, last_lines, wait
from wesgate.cli.remote.options import INTERRUPTED, Hints
from wesgate.cli.remote.waiting import patiently
from wesgate.cli.text import clean, one_line, took
from wesgate.core.states import State


def see_through(client: WesClient, run_id: str, hints: Hints, *, live: bool, as_json: bool) -> None:
    """Wait for the run's end and tell of it; exits with 1 unless the run ended COMPLETE. Ctrl-C leaves it running."""
    try:
        run, tasks = _ended(client, run_id, live=live and not as_json)
    except KeyboardInterrupt:
        typer.echo(f"\n{_goes_on(run_id, hints)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ServerProblem:
        typer.echo(_goes_on(run_id, hints), err=True)
        raise
    if as_json:
        print_json(document(run, tasks))
    else:
        _tell(client, run, tasks, hints)
    raise typer.Exit(0 if run.state == State.COMPLETE else 1)


def _goes_on(run_id: str, hints: Hints) -> str:
    watch = hints.command("status", run_id, "--follow")
    return f"the run goes on; watch it again: {watch}\ncancel it: {hints.command('cancel', run_id)}"


def _ended(client: WesClient, run_id: str, *, live: bool) -> tuple[Run, tuple[Log, ...]]:
    if live:
        with screen() as view:
            seen = follow(client, run_id, view.show)
        return seen.run, seen.tasks
    run = wait(client, run_id)
    return run, patiently(lambda: client.tasks(run))


def _tell(client: WesClient, run: Run, tasks: Sequence[Log], hints: Hints) -> None:
    after = took(run.start, run.end)
    typer.echo(f"run {clean(run.id)} ended {one_line(run.state)}" + (f" after {after}" if after else ""))
    if run.state == State.COMPLETE:
        lines = output_lines(run.outputs)
    elif run.state == State.CANCELED:
        lines = said(run)  # its tasks were stopped; that is no failure of theirs
    else:
        lines = failure_lines(run, tasks, task_ends(client, run, tasks), hints)
    for line in lines:
        typer.echo(line)


def task_ends(client: WesClient, run: Run, tasks: Sequence[Log]) -> dict[str, tuple[str, ...]]:
    """The last lines of the failed tasks' logs, for as many as are told of."""
    return {task.id: last_lines(client, run.id, task, END_LINES) for task in failed(tasks)[:MANY]}
