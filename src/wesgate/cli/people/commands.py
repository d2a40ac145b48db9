"""The commands for people that look at one run: status, logs, cancel, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wesgate.cli.errors import CliError
from wesgate.cli.options import Json, print_json
from wesgate.cli.people.options import RunName, connected
from wesgate.cli.remote.options import DEFAULT_URL, Hints, Raw, Tail, Token, Url, hints
from wesgate.core.states import State

if TYPE_CHECKING:
    from wesgate.cli.people.client import WesClient
    from wesgate.cli.people.replies import Run


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
    from wesgate.cli.people.report import document, failed, failure_lines, run_lines, said

    with connected(url, token) as client:
        run_id = find_run(client, run)
        if follow or wait:
            see_through(client, run_id, hints(url), live=follow, as_json=as_json)
        found = client.run(run_id)
        tasks = client.tasks(found)
        if as_json:
            print_json(document(found, tasks))
            return
        ends = task_ends(client, found, tasks)
    more = failure_lines(found, tasks, ends, hints(url)) if failed(tasks) else said(found)
    for line in [*run_lines(found, tasks, datetime.now(UTC)), *more]:
        typer.echo(line)


def logs(
    run: RunName,
    task: Annotated[
        str, typer.Argument(metavar="[TASK]", show_default=False, help="A task's id or name, or a part that tells it.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run or task ends.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only the standard output.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only the standard error.")] = False,
    tail: Tail = None,
    raw: Raw = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Print the log of a run's engine, or of one of its tasks."""
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.logs import Source
    from wesgate.cli.remote.streams import chosen, print_live, print_logs

    names = chosen(stdout=stdout, stderr=stderr, follow=follow, as_json=as_json)
    with connected(url, token) as client:
        source = Source(client, find_run(client, run), task, names, tail)
        if as_json:
            print_json(source.document())
        elif follow and (live := source.live()):
            print_live(live, source.look, raw=raw)
        else:
            print_logs(source.look, follow=follow, raw=raw, tail=tail)


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


def outputs(
    run: RunName,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", show_default=False, help="Only these outputs.")
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option("--download", "-d", metavar="DIR", show_default=False, help="Fetch the files into a directory."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Print the outputs of a run that ended COMPLETE, or fetch them.

    With --download, what was fetched before is kept, what was begun is taken up where it was left, and every file is
    compared with the digest that the server tells.
    """
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.report import output_lines, outputs_named
    from wesgate.cli.text import clean, one_line

    with connected(url, token) as client:
        found = client.run(find_run(client, run))
        if found.state != State.COMPLETE:
            next_step = hints(url).command("status", found.id)
            raise CliError(f"run {clean(found.id)} is {one_line(found.state)} and has no outputs; see: {next_step}")
        if download is not None:
            _download(client, found, download, names or [], hints(url), as_json=as_json)
            return
        values = outputs_named(found.outputs, names or [])
        gone = client.why_gone(found, values)
    if as_json:
        print_json(values)
    else:
        for line in output_lines(values):
            typer.echo(line)
    if gone:
        typer.echo(gone, err=True)


def _download(client: WesClient, run: Run, folder: Path, names: Sequence[str], hints: Hints, *, as_json: bool) -> None:
    from wesgate.cli.people.download import Download, chosen
    from wesgate.cli.text import clean

    def tell(place: Path) -> None:
        if not as_json:
            typer.echo(clean(str(place)))

    wanted = chosen(client.outputs(run.id), names, run, hints)
    here = [output for output in wanted if output.path]
    places = Download(client, run.id, folder).fetch(here, tell)
    if not wanted:
        typer.echo("nothing to fetch: the run has no output files", err=True)
    for output in wanted:
        if not output.path:
            typer.echo(f"{clean(output.name)} is elsewhere and was not fetched: {clean(output.url)}", err=True)
    if as_json:
        files = zip(here, places, strict=True)
        print_json({"files": [{"name": one.name, "path": str(path), "digest": one.digest} for one, path in files]})
