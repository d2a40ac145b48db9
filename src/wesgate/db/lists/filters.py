"""Which runs or tasks are wanted of all that a caller may see, as the conditions of a statement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.core.states import State
from wesgate.db.rows import Place

INDEXED_NAME = "left(name, 64)"
"""As much of a name as its index holds: an entry has a limit that names do not keep to."""
_INDEXED = 64
_LAST = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows of a list are wanted. An empty tag value matches any, but the key must be there. They were created at
    `since` or later, and before `until`. Each of `words` begins a word of the row; only runs have words, and these are
    as `ga4gh.finding` makes them: letters and digits."""

    name_prefix: str = ""
    state: State | None = None
    tags: tuple[tuple[str, str], ...] = field(default=())
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it leaves out anything."""
        return self != Filter()

    @property
    def reads_rows(self) -> bool:
        """Whether the index of states and times does not tell which rows fit."""
        return bool(self.name_prefix or self.tags or self.words)


@dataclass(frozen=True, slots=True)
class Where:
    """What a WHERE has to say, and the values of its parameters from $1 on. What `first` leaves comes from an index in
    the order of lists, and has the first `own` parameters; `further` has an index for each, without an order."""

    first: tuple[str, ...]
    own: int
    further: tuple[str, ...]
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " AND ".join((*self.first, *self.further))


def where(caller: Caller, wanted: Filter, after: Place | None = None, kind: Kind = Kind.TASK) -> Where:
    """Which rows of a list come after a place.

    Only what was asked for is in it: of `$1 IS NULL OR ...` the planner cannot tell which index serves. A state is in
    the text, so that no plan is made for any state: a list of the rare ones would then be looked for among all.
    """
    values: list[Any] = []

    def given(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    first = [f"owner_id = {given(caller.owner.id)}"]
    if kind is Kind.TASK:
        first.append("lane = 'task'")
    if caller.run_id:
        first.append(f"run_id = {given(caller.run_id)}")
    if after:
        first.append(f"(created_at, id) < ({given(after.created_at)}, {given(after.id)})")
    if wanted.since:
        first.append(f"created_at >= {given(wanted.since)}")
    if wanted.until:
        first.append(f"created_at < {given(wanted.until)}")
    if wanted.state:
        first.append(f"state = '{wanted.state.value}'")
    own = len(values)
    return Where(tuple(first), own, tuple(_further(wanted, given)), tuple(values))


def conditions(caller: Caller, wanted: Filter, after: Place | None = None) -> tuple[str, list[Any]]:
    """The same of tasks, as text and values."""
    found = where(caller, wanted, after)
    return str(found), list(found.values)


def _further(wanted: Filter, given: Callable[[Any], str]) -> list[str]:
    found = []
    if wanted.name_prefix:
        found.append(" AND ".join(_begins(wanted.name_prefix, given)))
    exact = {(key, value) for key, value in wanted.tags if value}
    if exact:
        found.append(f"tags @> {given(json.dumps(dict(exact)))}::jsonb")
    if len(dict(exact)) < len(exact):
        found.append("false")  # a tag has one value
    if anyhow := [key for key, value in wanted.tags if not value]:
        found.append(f"tags ?& {given(anyhow)}::text[]")
    prefixes = [f"'{word}':*" for word in wanted.words]  # quoted, and without quotes in it, a word needs no escapes
    found += [f"words @@ CAST({given(prefix)}::text AS tsquery)" for prefix in prefixes]
    return found


def _begins(prefix: str, given: Callable[[Any], str]) -> list[str]:
    # `starts_with` finds no index before Postgres 15; these operators compare bytes, whatever the database's language.
    begin = prefix[:_INDEXED]
    conditions = [f"starts_with(name, {given(prefix)})", f"{INDEXED_NAME} ~>=~ {given(begin)}"]
    if end := _next(begin):
        conditions.append(f"{INDEXED_NAME} ~<~ {given(end)}")
    return conditions


def _next(prefix: str) -> str:
    """The least text that is above all that begin with this one; empty if there is none."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return ""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)  # surrogates are no characters
