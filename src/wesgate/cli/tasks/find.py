"""From what a person types to one task: whole ids, their beginnings, `last`."""

from __future__ import annotations

from itertools import islice

from wesgate.cli.errors import NoSuchRun
from wesgate.cli.remote.names import REACH, find_id
from wesgate.cli.tasks.client import TesClient, Wanted
from wesgate.cli.tasks.replies import Task

MANY = 2000
"""Ids alone come in large pages; TES allows 2047."""


def find_task(client: TesClient, word: str) -> str:
    """The id of the task that `word` means."""
    if word == "last":
        return _youngest(client).id
    ids = (task.id for task in client.tasks(Wanted(), MANY, "MINIMAL"))
    return find_id(word, ids, "task", client.state)


def _youngest(client: TesClient) -> Task:
    """TES leaves the order of lists open: the times of two neighbors tell which end is the young one."""
    first = list(islice(client.tasks(Wanted(), 2), 2))
    if not first:
        raise NoSuchRun(f"{client.base} has no tasks of yours; start one with `wesgate task create`")
    times = [task.created for task in first if task.created]
    if len(times) == 2 and times[0] < times[1]:
        return list(islice(client.tasks(Wanted(), MANY, "MINIMAL"), REACH))[-1]
    return first[0]
