"""Owners, and whose a run token is."""

from __future__ import annotations

from uuid import UUID, uuid4

from asyncpg import Record

from wesgate.core.owner import Caller, Owner
from wesgate.db.session import Database

_ENSURE = """
    WITH made AS (
        INSERT INTO owners (id, issuer, subject, tenant) VALUES ($1, $2, $3, $4)
        ON CONFLICT (issuer, subject) DO NOTHING
        RETURNING id, issuer, subject, tenant
    )
    SELECT * FROM made
    UNION ALL
    SELECT id, issuer, subject, tenant FROM owners WHERE issuer = $2 AND subject = $3
    LIMIT 1
"""

_BY_TOKEN = """
    SELECT owners.id, issuer, subject, tenant, head.run_id
    FROM tasks AS head
    JOIN runs ON runs.id = head.run_id AND runs.ended_at IS NULL          -- a token is dead with its run
    JOIN owners ON owners.id = head.owner_id
    WHERE head.token_hash = $1
"""


async def ensure(database: Database, issuer: str, subject: str, tenant: str = "") -> Owner:
    """The owner with this identity, made on first sight."""
    while True:
        row = await database.fetch_row(_ENSURE, uuid4(), issuer, subject, tenant)
        if row is not None:  # None: another process committed the same one between the two halves
            return _owner(row)


async def by_run_token(database: Database, token_hash: str) -> Caller | None:
    """Whose name a head may act in, from the SHA-256 (hex) of its token."""
    row = await database.fetch_row(_BY_TOKEN, token_hash)
    return Caller(_owner(row), row["run_id"]) if row else None


async def signing_key(database: Database) -> bytes:
    """The key that all processes of this service sign page tokens with."""
    row = await database.fetch_row("SELECT signing_key FROM service")
    assert row is not None  # the migration made it
    key: bytes = row["signing_key"]
    return key


def _owner(row: Record) -> Owner:
    owner_id: UUID = row["id"]
    return Owner(owner_id, row["issuer"], row["subject"], row["tenant"])
