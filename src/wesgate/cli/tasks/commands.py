"""The commands for people that look at tasks and stop them: ls, get, logs, cancel, wait."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from wesgate.cli.errors import ServerProblem, UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.remote.options import DEFAULT_URL, STATE_WORDS, Raw, Tail, Token, Url, hints, states
from wesgate.cli.tasks.options import TaskName, connected

if TYPE_CHECKING:
    from wesgate.cli.tasks.client import Wanted

States = Annotated[
    list[str] | None, typer.Option("--state", "-s", metavar="STATE", help=f"Only these: {STATE_WORDS}. Repeatable.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only those with this tag; repeatable.")
]
Prefix = Annotated[str, typer.Option("--name", metavar="PREFIX", help="Only those whose name begins so.")]
TaskNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="TASK...", show_default=False, help="Ids, beginnings of ids, or `last` for the youngest."),
]


def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many tasks to show at most.")] = 20,
    state: States = None,
    tag: Tags = None,
    name: Prefix = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """List your tasks, in the server's order."""
    from wesgate.cli.tasks.report import document
    from wesgate.cli.text import columns, moment, one_line, took

    wanted = _wanted(state, tag, name)
    with connected(url, token) as client:
        found = list(islice(client.tasks(wanted, min(limit, 200)), limit))
    if as_json:
        print_json({"tasks": [document(task) for task in found]})
        return
    now = datetime.now(UTC)
    rows = [
        [
            one_line(task.id),
            one_line(task.state),
            moment(task.created),
            took(task.last.start, task.last.end or (None if task.over else now)),
            one_line(task.name),
        ]
        for task in found
    ]
    for line in columns([["TASK", "STATE", "CREATED", "TOOK", "NAME"], *rows]) if rows else ["no tasks"]:
        typer.echo(line)


def get(task: TaskName, url: Url = DEFAULT_URL, token: Token = "", as_json: Json = False) -> None:
    """Tell how a task stands: why it waits, its steps, its outputs, what was said of it and what it used.

    Exits with 0 however the task stands. With --json, prints the task as the server gives it (view FULL).
    """
    from wesgate.cli.tasks.find import find_task
    from wesgate.cli.tasks.replies import read_task
    from wesgate.cli.tasks.report import task_lines

    with connected(url, token) as client:
        task_id = find_task(client, task)
        found = client.document(task_id)
    if as_json:
        print_json(found)
        return
    for line in task_lines(read_task(found, task_id), datetime.now(UTC)):
        typer.echo(line)


def logs(
    task: TaskName,
    step: Annotated[int | None, typer.Option("--step", min=0, help="Only this step, from 0 on.")] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="This attempt, from 1 on; else the last.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task ends.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only the standard output.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only the standard error.")] = False,
    tail: Tail = None,
    raw: Raw = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Print what the steps of a task print.

    Servers other than wesgate have only the part of it that their task documents hold.
    """
    from wesgate.cli.remote.streams import chosen, print_logs
    from wesgate.cli.tasks.find import find_task
    from wesgate.cli.tasks.logs import Source

    names = chosen(stdout=stdout, stderr=stderr, follow=follow, as_json=as_json)
    with connected(url, token) as client:
        source = Source(client, find_task(client, task), names, step, attempt or 0, tail)
        if as_json:
            print_json(source.document())
        else:
            print_logs(source.look, follow=follow, raw=raw, tail=tail)


def cancel(
    tasks: TaskNames = None,
    state: Annotated[str, typer.Option("--state", "-s", help="All that are in this state.", show_default=False)] = "",
    tag: Tags = None,
    name: Prefix = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Cancel tasks: those named, or all that --state, --tag and --name mean together.

    Asks nothing. Tasks stop soon after; one that has ended stays as it is. Only wesgate can cancel by what tasks are.
    """
    wanted = _wanted([state] if state else [], tag, name)
    if bool(tasks) == bool(wanted.query()):
        raise UsageProblem("say which: TASK..., or filters (--state, --tag, --name), and not both")
    if tasks:
        _cancel_named(tasks, url, token, as_json=as_json)
        return
    with connected(url, token) as client:
        count = client.cancel_all(wanted)
    if count is None:
        raise ServerProblem(
            f"{client.base} cannot cancel many tasks at once (wesgate can); cancel them by id, from `wesgate task ls`"
        )
    if as_json:
        print_json({"canceled": count})
    else:
        typer.echo(f"{count} task{'' if count == 1 else 's'} canceled")


def wait(tasks: TaskNames = None, url: Url = DEFAULT_URL, token: Token = "", as_json: Json = False) -> None:
    """Wait until tasks have ended, and tell of each as it does.

    Exits with 0 only if all end COMPLETE. With --json, prints the tasks as the server gives them at the end.
    """
    from wesgate.cli.tasks.find import find_task
    from wesgate.cli.tasks.outcome import wait_for

    if not tasks:
        raise UsageProblem("say which: TASK... (`last` for the youngest)")
    with connected(url, token) as client:
        ids = list(dict.fromkeys(find_task(client, word) for word in tasks))
        wait_for(client, ids, hints(url), as_json=as_json)


def _cancel_named(words: list[str], url: str, token: str, *, as_json: bool) -> None:
    from wesgate.cli.tasks.find import find_task
    from wesgate.cli.text import clean, one_line

    with connected(url, token) as client:
        ids = list(dict.fromkeys(find_task(client, word) for word in words))
        states = {}
        for task_id in ids:
            client.cancel(task_id)
            states[task_id] = client.state(task_id)
            if not as_json:
                typer.echo(f"task {clean(task_id)} is {one_line(states[task_id])}")
    if as_json:
        print_json({"tasks": [{"id": task_id, "state": state} for task_id, state in states.items()]})


def _wanted(typed: list[str] | None, tags: list[str] | None, name: str) -> Wanted:
    from wesgate.cli.people.submit.params import pair
    from wesgate.cli.tasks.client import Wanted

    return Wanted(states(typed or []), tuple(pair(text, "tag") for text in tags or []), name)
