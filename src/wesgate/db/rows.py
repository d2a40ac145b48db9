"""What clients ask of runs and of tasks alike: to be made once for a key, to be found, to be listed in pages."""

from __future__ import annotations

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


async def make(database: Database, table: str, statement: str, *values: Any) -> bool:
    """Whether the statement made its row, whose id is the first of the values."""
    try:
        return await database.fetch_row(statement, *values) is not None
    except Unavailable:
        # The connection may have gone after the commit: only the database can tell.
        if await database.fetch_row(f"SELECT 1 FROM {table} WHERE id = $1", values[0]):
            return True
        raise


async def with_key(database: Database, table: str, owner_id: UUID, key: str | None, digest: str | None) -> UUID | None:
    """The owner's row that has this idempotency key already; Conflict if it was made of another body."""
    statement = f"SELECT id, body_digest FROM {table} WHERE owner_id = $1 AND idempotency_key = $2"
    row = await database.fetch_row(statement, owner_id, key)
    if row is None:
        return None
    if row["body_digest"] != digest:
        raise Conflict("this Idempotency-Key was used with another body")
    found: UUID = row["id"]
    return found


async def one(database: Database, statement: str, *values: Any) -> Record:
    """The row of a statement that names one; NotFound if the caller has none such."""
    row = await database.fetch_row(statement, *values)
    if row is None:
        raise NotFound
    return row
