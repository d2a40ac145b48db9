"""Which tasks are wanted of all that a caller may see, as the conditions of a statement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wesgate.core.owner import Caller
from wesgate.core.states import State
from wesgate.db.rows import Place

INDEXED_NAME = "left(name, 64)"
"""As much of a name as its index holds: an entry has a limit that names do not keep to."""
_INDEXED = 64
_LAST = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks of a list are wanted. An empty tag value matches any, but the key must be there."""

    name_prefix: str = ""
    state: State | None = None
    tags: tuple[tuple[str, str], ...] = field(default=())

    def __bool__(self) -> bool:
        """Whether it leaves out anything."""
        return bool(self.name_prefix or self.state or self.tags)


def conditions(caller: Caller, wanted: Filter, after: Place | None = None) -> tuple[str, list[Any]]:
    """What a WHERE has to say, and the values of its parameters from $1 on.

    Only what was asked for is in it: of `$1 IS NULL OR ...` the planner cannot tell which index serves. A state is in
    the text, so that no plan is made for any state: a list of the rare ones would then be looked for among all.
    """
    values: list[Any] = []

    def given(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    found = [f"owner_id = {given(caller.owner.id)}", "lane = 'task'"]
    if caller.run_id:
        found.append(f"run_id = {given(caller.run_id)}")
    if after:
        found.append(f"(created_at, id) < ({given(after.created_at)}, {given(after.id)})")
    if wanted.state:
        found.append(f"state = '{wanted.state.value}'")
    if wanted.name_prefix:
        found += _begins(wanted.name_prefix, given)
    if exact := {key: value for key, value in wanted.tags if value}:
        found.append(f"tags @> {given(json.dumps(exact))}::jsonb")
    if anyhow := [key for key, value in wanted.tags if not value]:
        found.append(f"tags ?& {given(anyhow)}::text[]")
    return " AND ".join(found), values


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
