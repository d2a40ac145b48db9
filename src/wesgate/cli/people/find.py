"""From what a person types to one run or one of its tasks: whole ids, their beginnings, names, `last`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from wesgate.cli.errors import NoSuchRun, UsageProblem
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Log, Run
from wesgate.cli.people.report import label
from wesgate.cli.remote.connection import PAGE_SIZE
from wesgate.cli.remote.names import REACH, find_id, some
from wesgate.cli.text import one_line


def find_run(client: WesClient, word: str) -> str:
    """The id of the run that `word` means."""
    if word != "last":
        return find_id(word, (run.id for run in client.runs()), "run", client.state)
    # A wesgate lists the youngest first, whenever it starts.
    found = next(client.runs(1), None) if client.is_wesgate() else _youngest(client)
    if found is None:
        raise NoSuchRun(f"{client.base} has no runs of yours; start one with `wesgate run WORKFLOW`")
    return found.id


def _youngest(client: WesClient) -> Run | None:
    runs = client.runs()
    first = list(islice(runs, PAGE_SIZE))
    found = newest(first)
    return found if not first or found is first[0] else newest([*first, *islice(runs, REACH)])


def newest(runs: Sequence[Run]) -> Run | None:
    """The youngest of the runs. WES leaves their order open: the times tell which end is the young one."""
    times = [run.start for run in runs if run.start]
    if not runs:
        return None
    return runs[-1] if len(times) > 1 and times[0] < times[-1] else runs[0]


def find_task(tasks: Sequence[Log], word: str) -> Log:
    """The task with this id or name, or the only one whose id begins with it or whose name holds it."""
    ways = (
        lambda task: task.id == word,
        lambda task: task.name == word,
        lambda task: task.id.startswith(word),
        lambda task: word in task.name,
    )
    found = next((hits for way in ways if (hits := [task for task in tasks if way(task)])), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageProblem(
            f"{one_line(word)!r} means {len(found)} tasks: {some([*map(_id_and_name, found)])}; say which"
        )
    known = f"its tasks are {some([*map(_id_and_name, tasks)])}" if tasks else "it has no tasks yet"
    raise UsageProblem(f"the run has no task {one_line(word)!r}; {known}")


def _id_and_name(task: Log) -> str:
    return f"{one_line(task.id, 40)} ({label(task)})"
