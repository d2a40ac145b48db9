"""The commands for people that look at runs: ls, status, logs, cancel, outputs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from wesgate.cli.errors import UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.people.options import RunName, connected
from wesgate.cli.remote.options import DEFAULT_URL, Raw, Token, Url, hints
from wesgate.core.states import State

STATE_WORDS = ", ".join(State)


def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs to show at most.")] = 20,
    state: Annotated[
        list[str] | None, typer.Option("--state", "-s", metavar="STATE", help=f"Only these: {STATE_WORDS}. Repeatable.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """List your runs, in the server's order."""
    from wesgate.cli.people.report import document
    from wesgate.cli.text import columns, moment, one_line, took

    wanted = _states(state or [])
    with connected(url, token) as client:
        size = 200 if wanted else min(limit, 200)
        found = list(islice((run for run in client.runs(size) if not wanted or run.state in wanted), limit))
    if as_json:
        print_json({"runs": [document(run) for run in found]})
        return
    now = datetime.now(UTC)
    rows = [
        [one_line(run.id), one_line(run.state), moment(run.start), took(run.start, run.end or now), one_line(run.name)]
        for run in found
    ]
    for line in columns([["RUN", "STATE", "STARTED", "TOOK", "NAME"], *rows]) if rows else ["no runs"]:
        typer.echo(line)


def status(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it ends, as `run --follow`.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait quietly until it ends, as `run --wait`.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Tell how a run stands: its state, its tasks, and what went wrong.

    Exits with 0 however the run stands; with --wait or --follow, with 0 only if it ends COMPLETE.
    """
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.outcome import see_through, task_ends
    from wesgate.cli.people.report import document, failed, failure_lines, run_lines

    with connected(url, token) as client:
        run_id = find_run(client, run)
        if follow or wait:
            see_through(client, run_id, hints(url), live=follow, as_json=as_json)
        found = client.run(run_id)
        tasks = client.tasks(found)
        if as_json:
            print_json(document(found, tasks))
            return
        wrong = failure_lines(found, tasks, task_ends(client, found, tasks), hints(url)) if failed(tasks) else []
    for line in [*run_lines(found, tasks, datetime.now(UTC)), *wrong]:
        typer.echo(line)


def logs(
    run: RunName,
    task: Annotated[
        str, typer.Argument(metavar="[TASK]", show_default=False, help="A task's id or name, or a part that tells it.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run or task ends.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only the standard output.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only the standard error.")] = False,
    raw: Raw = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Print the log of a run's engine, or of one of its tasks."""
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.logs import Source
    from wesgate.cli.remote.streams import chosen, print_logs

    names = chosen(stdout=stdout, stderr=stderr, follow=follow, as_json=as_json)
    with connected(url, token) as client:
        source = Source(client, find_run(client, run), task, names)
        if as_json:
            print_json(source.document())
        else:
            print_logs(source.look, follow=follow, raw=raw)


def cancel(run: RunName, url: Url = DEFAULT_URL, token: Token = "", as_json: Json = False) -> None:
    """Cancel a run. It stops soon after; a run that has ended stays as it is."""
    from wesgate.cli.people.find import find_run
    from wesgate.cli.text import clean, one_line

    with connected(url, token) as client:
        run_id = find_run(client, run)
        client.cancel(run_id)
        state = client.state(run_id)
    if as_json:
        print_json({"run_id": run_id, "state": state})
    else:
        typer.echo(f"run {clean(run_id)} is {one_line(state)}")


def outputs(run: RunName, url: Url = DEFAULT_URL, token: Token = "", as_json: Json = False) -> None:
    """Print the outputs of a run that ended COMPLETE, by name."""
    from wesgate.cli.errors import CliError
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.report import output_lines
    from wesgate.cli.text import clean, one_line

    with connected(url, token) as client:
        found = client.run(find_run(client, run))
    if found.state != State.COMPLETE:
        next_step = hints(url).command("status", found.id)
        raise CliError(f"run {clean(found.id)} is {one_line(found.state)} and has no outputs; see: {next_step}")
    if as_json:
        print_json(found.outputs)
        return
    for line in output_lines(found.outputs):
        typer.echo(line)


def _states(words: list[str]) -> set[str]:
    wanted = {word.upper() for word in words}
    unknown = wanted - set(State.__members__)
    if unknown:
        raise UsageProblem(f"--state {', '.join(sorted(unknown))}: the states are {STATE_WORDS}")
    return wanted
