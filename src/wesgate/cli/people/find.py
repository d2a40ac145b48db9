"""From what a person types to one run or one task: whole ids, their beginnings, names, `last`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from wesgate.cli.errors import NoSuchRun, UsageProblem
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Log, Run
from wesgate.cli.people.report import label
from wesgate.cli.text import one_line

REACH = 10_000
"""How many runs are looked through for the beginning of an id."""

WHOLE_ID = 32


def find_run(client: WesClient, word: str) -> str:
    """The id of the run that `word` means."""
    if word == "last":
        found = newest(list(islice(client.runs(), REACH)))
        if found is None:
            raise NoSuchRun(f"{client.base} has no runs of yours; start one with `wesgate run WORKFLOW`")
        return found.id
    if len(word) >= WHOLE_ID:
        return word
    runs = [run.id for run in islice(client.runs(), REACH)]
    return word if word in runs else _only([run for run in runs if run.startswith(word)], word, client)


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
        raise UsageProblem(f"{one_line(word)!r} means {len(found)} tasks: {_some(map(_id_and_name, found))}; say which")
    known = f"its tasks are {_some(map(_id_and_name, tasks))}" if tasks else "it has no tasks yet"
    raise UsageProblem(f"the run has no task {one_line(word)!r}; {known}")


def _only(hits: Sequence[str], word: str, client: WesClient) -> str:
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise UsageProblem(f"{len(hits)} runs begin with {word!r}: {_some(hits)}; type more of it")
    # An id may be older than the list reaches, or of a server that numbers its runs.
    client.state(word)
    return word


def _id_and_name(task: Log) -> str:
    return f"{one_line(task.id, 40)} ({label(task)})"


def _some(words: Iterable[str], count: int = 5) -> str:
    known = list(words)
    return ", ".join(one_line(word, 120) for word in known[:count]) + (", …" if len(known) > count else "")
