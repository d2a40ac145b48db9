"""From what a person types to the id of a run or task: whole ids and their beginnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from wesgate.cli.errors import UsageProblem
from wesgate.cli.text import one_line

REACH = 10_000
"""How many runs or tasks are looked through for the beginning of an id."""

WHOLE_ID = 32


def find_id(word: str, ids: Iterable[str], noun: str, look: Callable[[str], object]) -> str:
    """The id that `word` is or begins. One that is not among `ids` may be older than the list reaches, or of a server
    that numbers its things: `look` asks for it and raises if it is not there either."""
    if len(word) >= WHOLE_ID:
        return word
    known = list(islice(ids, REACH))
    hits = [word] if word in known else [one for one in known if one.startswith(word)]
    if len(hits) > 1:
        raise UsageProblem(f"{len(hits)} {noun}s begin with {one_line(word)!r}: {some(hits)}; type more of it")
    if not hits:
        look(word)
    return hits[0] if hits else word


def some(words: Sequence[str], count: int = 5) -> str:
    """A few of the words, for an error."""
    return ", ".join(one_line(word, 120) for word in words[:count]) + (", …" if len(words) > count else "")
