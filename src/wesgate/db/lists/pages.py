"""A page of the newest rows that fit a filter, found as fast where few fit as where many do."""

from __future__ import annotations

from typing import LiteralString

from asyncpg import Record

from wesgate.db.lists.filters import Where
from wesgate.db.session import Database

NEWEST = 5_000
"""How many rows are looked through before the indexes are asked: a condition that one in fifty fits fills a page of a
hundred from so many, in a few milliseconds."""
SAMPLE = 1_000
RARE = 20
"""An index is asked for what so many of a sample fit, at most."""

_ORDER = "ORDER BY created_at DESC, id DESC"


async def newest(database: Database, table: LiteralString, columns: str, where: Where, size: int) -> list[Record]:
    """Up to `size` rows, newest first.

    The planner does not know which rows fit together, nor whether those that fit are new. Where it looks through the
    newest first and nothing fits, it looks through all; where it asks an index for a word that every row has, it sorts
    all. So the newest are looked through, up to a bound, and after that what few fit is asked of its indexes.
    """
    if not where.further:
        return await database.fetch(f"SELECT {columns} FROM {table} WHERE {where} {_ORDER} LIMIT {size}", *where.values)
    first = f"FROM {table} WHERE {' AND '.join(where.first)}"
    fits = " AND ".join(where.further)
    page: list[Record] = []
    for looked_through in (NEWEST, 4 * NEWEST):
        newest = f"(SELECT * {first} {_ORDER} LIMIT {looked_through}) AS newest"
        statement = f"SELECT {columns} FROM {newest} WHERE {fits} {_ORDER} LIMIT {size}"
        page = await database.fetch(statement, *where.values)
        if len(page) == size:
            return page
        if len(page) < size / 3:  # else the rest is near, and takes less than so many rows of an index
            break
    (there,) = await database.fetch(
        f"SELECT count(*) FROM (SELECT {first} LIMIT {NEWEST}) AS there", *where.values[: where.own]
    )
    if there[0] < NEWEST:
        return page
    fitting = [0]
    if len(where.further) > 1:
        counted = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in where.further)
        sample = f"SELECT {counted} FROM (SELECT * {first} {_ORDER} LIMIT {SAMPLE}) AS newest"
        fitting = list(*await database.fetch(sample, *where.values))
    return await database.fetch(by_index(table, columns, where, fitting, size), *where.values)


def by_index(table: str, columns: str, where: Where, fitting: list[int], size: int) -> str:
    """All that fit, by the indexes of what few fit, and of them the newest."""
    few = RARE if min(fitting) <= RARE else SAMPLE
    asked = [
        condition if fit <= few else f"({condition}) IS TRUE"  # for which an index is of no use
        for condition, fit in zip(where.further, fitting, strict=True)
    ]
    found = f"SELECT id, created_at FROM {table} WHERE {' AND '.join((*where.first, *asked))}"
    newest = f"WITH found AS MATERIALIZED ({found}) SELECT id FROM found {_ORDER} LIMIT {size}"
    return f"SELECT {columns} FROM {table} WHERE id IN ({newest}) {_ORDER}"
