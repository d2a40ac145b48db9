"""What clients ask of runs and of tasks alike: to be made once for a key, to be found, to be listed in pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from wesgate.core.errors import Conflict, NotFound, Unavailable
from wesgate.db.session import Database


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the keyset (created, id) of its last row."""

    created_at: datetime
    id: UUID


async def make(database: Database, table: str, statement: str, *values: Any, row_id: UUID | None = None) -> bool:
    """Whether the statement made its rows, all or none: that of `row_id`, or of the first of the values, is one."""
    try:
        return await database.fetch_row(statement, *values) is not None
    except Unavailable:
        # The connection may have gone after the commit: only the database can tell.
        if await database.fetch_row(f"SELECT 1 FROM {table} WHERE id = $1", row_id or values[0]):
            return True
        raise


async def with_key(database: Database, table: str, owner_id: UUID, key: str | None, digest: str | None) -> UUID | None:
    """The owner's row that has this idempotency key already; Conflict if it was made of another body."""
    return (await with_keys(database, table, owner_id, {key or "": digest})).get(key or "")


async def with_keys(
    database: Database, table: str, owner_id: UUID, wanted: Mapping[str, str | None]
) -> dict[str, UUID]:
    """Which of the owner's rows have these idempotency keys already; Conflict if one was made of another body."""
    statement = f"""SELECT id, idempotency_key, body_digest FROM {table}
        WHERE owner_id = $1 AND idempotency_key = ANY($2::text[])"""
    found = await database.fetch(statement, owner_id, list(wanted))
    if any(row["body_digest"] != wanted[row["idempotency_key"]] for row in found):
        raise Conflict("this Idempotency-Key was used with another body")
    return {row["idempotency_key"]: row["id"] for row in found}


async def one(database: Database, statement: str, *values: Any) -> Record:
    """The row of a statement that names one; NotFound if the caller has none such."""
    row = await database.fetch_row(statement, *values)
    if row is None:
        raise NotFound
    return row
