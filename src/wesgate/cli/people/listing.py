"""The commands for people that list runs: `ls`, the newest; `find`, by what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wesgate.cli.errors import ServerProblem, UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.people.options import connected
from wesgate.cli.remote.options import DEFAULT_URL, STATE_WORDS, Token, Url, states

if TYPE_CHECKING:
    from wesgate.cli.people.replies import Run

FIND_EXAMPLES = """
\b
Examples:
  wesgate find sample_12.bam              in names, tags, parameters, outputs
  wesgate find lambda qc --state executor_error --since '2 days'
  wesgate find --tag study=lambda --tag reviewed --until 2026-11-21
  wesgate find --name align --since 3h --json | jq -r '.runs[].run_id'
  wesgate find --tag study=lambda --counts

\b
Words:
  All words must be there, each at the beginning of a word, in the name, the
  tags, the workflow's URL, the parameters or the outputs.

\b
Times:
  2026-11-21 (the whole day, here), 2026-11-21T08:00:00Z, or how long ago:
  '2 days', 3h, '90 min', 1w. They are those of the submit.
"""

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs to show at most.")]
States = Annotated[
    list[str] | None, typer.Option("--state", "-s", metavar="STATE", help=f"Only these: {STATE_WORDS}. Repeatable.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY[=VALUE]", help="Only those with this tag; repeatable, all must be there."),
]


def ls(
    limit: Limit = 20,
    state: States = None,
    tag: Tags = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """List your newest runs, on any WES server.

    --state and --tag are looked for in the list as it comes; `wesgate find` asks the server for what runs are.
    """
    from wesgate.cli.people.client import Wanted

    wanted = Wanted(states=states(state or []), tags=_tags(tag))
    untagged = True

    def seen(runs: Iterator[Run]) -> Iterator[Run]:
        nonlocal untagged
        for run in runs:
            untagged = untagged and not run.tags
            yield run

    with connected(url, token) as client:
        filtered = wanted.states or wanted.tags
        found = [*islice(filter(wanted.matches, seen(client.runs(200 if filtered else min(limit, 200)))), limit)]
    _show(found, as_json=as_json)
    if wanted.tags and untagged:
        typer.echo(f"no run in the list of {client.base} has tags; lists of WES 1.0 leave them out", err=True)


def find(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", show_default=False, help="Words to look for.")
    ] = None,
    state: Annotated[
        str, typer.Option("--state", "-s", metavar="STATE", show_default=False, help=f"Only these: {STATE_WORDS}.")
    ] = "",
    tag: Tags = None,
    name: Annotated[str, typer.Option("--name", metavar="PREFIX", help="Only those whose name begins so.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", show_default=False, help="Only those submitted since then.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", show_default=False, help="Only those submitted until then.")
    ] = "",
    counts: Annotated[bool, typer.Option("--counts", help="How many there are, by state, in place of a list.")] = False,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Find runs by what they are, among all of yours.

    It takes a wesgate; of another server, nothing is shown rather than runs that were not looked for.
    """
    from wesgate.cli.people.client import Wanted
    from wesgate.cli.people.times import rfc3339

    now = datetime.now(UTC)
    wanted = Wanted(
        words=tuple(words or ()),
        states=states([state] if state else []),
        tags=_tags(tag),
        name=name,
        since=rfc3339(since, "--since", now) if since else "",
        until=rfc3339(until, "--until", now, end_of_day=True) if until else "",
    )
    if any(":" in key for key, _ in wanted.tags):
        raise UsageProblem("--tag: no key with a colon can be found; `wesgate ls --tag` looks for it in the list")
    if not wanted.query() and not counts:
        raise UsageProblem("say what to find: WORDS, --state, --tag, --name, --since or --until; `wesgate ls` lists")
    with connected(url, token) as client:
        if not client.is_wesgate():
            raise ServerProblem(f"{client.base} cannot find runs (wesgate can); `wesgate ls` lists them")
        if counts:
            _show_counts(client.counts(wanted), as_json=as_json)
        else:
            _show([*islice(client.runs(min(limit, 200), wanted), limit)], as_json=as_json)


def _show(found: Sequence[Run], *, as_json: bool) -> None:
    from wesgate.cli.people.report import document, run_table

    if as_json:
        print_json({"runs": [document(run) for run in found]})
        return
    for line in run_table(found, datetime.now(UTC)):
        typer.echo(line)


def _show_counts(told: Mapping[str, Any], *, as_json: bool) -> None:
    from wesgate.cli.people.report import count_lines

    if as_json:
        print_json(told)
        return
    for line in count_lines(told):
        typer.echo(line)


def _tags(texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """A key without a value means any."""
    pairs = [text.partition("=") for text in texts or ()]
    if not all(key.strip() for key, _, _ in pairs):
        raise UsageProblem("--tag is KEY=VALUE, or KEY for any value of it")
    return tuple((key.strip(), value) for key, _, value in pairs)
