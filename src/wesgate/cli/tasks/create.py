"""`wesgate task create`: submit tasks from files or from the command line, or see what would become of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from wesgate.cli.errors import ServerProblem, UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.remote.options import DEFAULT_URL, Token, Url, hints
from wesgate.cli.tasks.options import connected

if TYPE_CHECKING:
    from wesgate.cli.tasks.client import TesClient
    from wesgate.cli.tasks.document import Asked

EXAMPLES = """
\b
Examples:
  wesgate task create task.json
  wesgate task create task.json --dry-run
  wesgate task create *.json --wait
  jq .tasks[0] tasks.json | wesgate task create -
  wesgate task create --image ubuntu:22.04 --follow -- echo hello
  wesgate task create --image ubuntu:22.04 --cpu 2 --ram 4 \\
      --input /in/a.txt=a.txt --output /out/sum=s3://bucket/sum \\
      -- sh -c 'md5sum /in/a.txt > /out/sum'

\b
Files:
  An input named by a local file is read in place where the server says that
  tasks may read there; otherwise it is sent along if it is text of at most
  128 KiB. An output to a local path needs a server on this machine. A PATH
  that ends in / is a directory.

\b
Exit codes:
  0 the task was accepted; with --wait or --follow: it ended COMPLETE
  1 a task ended otherwise         2 the command or a file is wrong
  3 no server, or it refused      130 Ctrl-C: the task goes on
"""

Pairs = list[str] | None
Key = Annotated[
    str, typer.Option("--key", help="Idempotency-Key, to send again what may have come through.", show_default=False)
]

TOGETHER = 1000
"""So many tasks wesgate takes at once."""

LONGEST_KEY = 200
"""Less than wesgate's 255: numbers are added to it."""


def create(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE... | -- CMD ARGS...",
            show_default=False,
            help="JSON files of one task each, - for standard input; with --image, the command to run.",
        ),
    ] = None,
    image: Annotated[str, typer.Option("--image", help="Run a command in this image.", show_default=False)] = "",
    name: Annotated[str, typer.Option("--name", help="The task's name.", show_default=False)] = "",
    cpu: Annotated[float | None, typer.Option("--cpu", min=0, help="Cores.")] = None,
    ram: Annotated[float | None, typer.Option("--ram", min=0, help="Memory in GB.")] = None,
    disk: Annotated[float | None, typer.Option("--disk", min=0, help="Disk in GB.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs (the backend parameter `gpus`).")] = None,
    env: Annotated[Pairs, typer.Option("--env", "-e", metavar="KEY=VALUE", help="A variable; repeatable.")] = None,
    inputs: Annotated[
        Pairs, typer.Option("--input", "-i", metavar="PATH=URL|FILE", help="A file to bring in; repeatable.")
    ] = None,
    outputs: Annotated[
        Pairs, typer.Option("--output", "-o", metavar="PATH=URL", help="A file to take out; repeatable.")
    ] = None,
    tag: Annotated[Pairs, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; repeatable.")] = None,
    param: Annotated[
        Pairs, typer.Option("--param", metavar="KEY=VALUE", help="A backend parameter; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Submit nothing: say what would become of it.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait quietly until all have ended.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what the task prints until it ends.")] = False,
    key: Key = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Submit tasks to a TES server.

    Prints the id of each task and returns at once; with --wait or --follow, waits for the end. Ctrl-C stops the
    watching, never the task.
    """
    from wesgate.cli.tasks.document import Asked

    if not words:
        raise UsageProblem("there is nothing to submit: give a FILE (or -), or --image IMAGE -- COMMAND")
    if follow and (as_json or dry_run or (not image and len(words) > 1)):
        raise UsageProblem("--follow prints what one task prints: leave out --json, --dry-run and further files")
    lists = [env or [], inputs or [], outputs or [], tag or [], param or []]
    asked = Asked(image, words, name, cpu, ram, disk, gpus, *lists)
    with connected(url, token) as client:
        documents = _documents(client, asked)
        if dry_run:
            _foretell(client, documents, as_json=as_json)
            return
        ids = _submitted(client, documents, _key(key), tell=not as_json)
        _see_through(client, ids, url, follow=follow, wait=wait, as_json=as_json)
    if as_json:
        print_json({"ids": ids, "url": client.base} if len(ids) > 1 else {"id": ids[0], "url": client.base})
    else:
        typer.echo(f"look at it: {hints(url).command('task', 'get', ids[-1])}", err=True)


def _see_through(client: TesClient, ids: Sequence[str], url: str, *, follow: bool, wait: bool, as_json: bool) -> None:
    """See the tasks to their end, if that is wanted; then this exits."""
    from wesgate.cli.tasks import outcome

    if follow:
        outcome.follow(client, ids[0], hints(url))
    if wait:
        outcome.wait_for(client, ids, hints(url), as_json=as_json, begun=True)


def _documents(client: TesClient, asked: Asked) -> list[dict[str, Any]]:
    from dataclasses import replace

    from wesgate.cli.tasks.document import STDIN, Asked, Place, from_file, from_options

    if asked.image:
        roots = client.file_roots() if asked.inputs else []
        return [from_options(asked, Place(client.is_here(), roots))]
    if replace(asked, command=()) != Asked("", (), "", None, None, None, None, [], [], [], [], []):
        raise UsageProblem("a FILE says all of its task: --name, --cpu, --tag and the like go with --image")
    if list(asked.command).count(STDIN) > 1:
        raise UsageProblem("standard input holds one task: give - once")
    return [from_file(name) for name in asked.command]


def _submitted(client: TesClient, documents: Sequence[Mapping[str, Any]], key: str, *, tell: bool) -> list[str]:
    """The ids, printed as they are known: what was accepted before a failure must not be lost."""
    from wesgate.cli.text import clean

    ids: list[str] = []
    try:
        for task_id in _accepted(client, documents, key):
            ids.append(task_id)
            if tell:
                typer.echo(clean(task_id))
    except ServerProblem as problem:
        if problem.transient and not problem.unreached:
            typer.echo(
                "it may have been accepted; where the server knows Idempotency-Key (wesgate does), the same command "
                f"with `--key {key}` does not submit it twice",
                err=True,
            )
        raise
    finally:
        if not tell and 0 < len(ids) < len(documents):
            typer.echo(f"accepted before that: {clean(' '.join(ids))}", err=True)
    return ids


def _accepted(client: TesClient, documents: Sequence[Mapping[str, Any]], key: str) -> Iterator[str]:
    """The ids in order: many at once where the server can. Who says the same again says it under the same keys."""
    if len(documents) == 1:
        yield client.create(documents[0], key)
        return
    for begin in range(0, len(documents), TOGETHER):
        some = documents[begin : begin + TOGETHER]
        together = client.create_together(some, f"{key}.{begin}")
        if together is not None:
            yield from together
            continue
        for number, document in enumerate(some, begin):
            yield client.create(document, f"{key}-{number}")


def _key(given: str) -> str:
    if not all("!" <= letter <= "~" for letter in given) or len(given) > LONGEST_KEY:
        raise UsageProblem(f"--key takes up to {LONGEST_KEY} letters, digits and signs, without spaces")
    return given or str(uuid4())


def _foretell(client: TesClient, documents: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Tell what would become of the tasks; a problem of the first that is not right."""
    from wesgate.cli.tasks.document import complaints
    from wesgate.cli.tasks.report import forecast_lines

    told = []
    for number, document in enumerate(documents, 1):
        if wrong := complaints(document):
            raise UsageProblem(f"task {number} is not a task: " + "; ".join(wrong[:5]))
        forecast = client.validate(document)
        if forecast is None:
            typer.echo(
                f"{client.base} cannot say what would become of a task (wesgate can): only what TES requires was "
                "checked, here",
                err=True,
            )
        told.append({"task": document, "checked_by_server": False} if forecast is None else forecast)
        if not as_json:
            for line in forecast_lines(told[-1]):
                typer.echo(line)
    if as_json:
        print_json(told[0] if len(told) == 1 else {"tasks": told})
