"""Runs: create, read, list, cancel, count. Reads take the owner first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from wesgate.core import codec
from wesgate.core.owner import Owner
from wesgate.core.report import RunReport
from wesgate.db import rows
from wesgate.db.rows import Place
from wesgate.db.session import Database

_INSERT = """
    WITH run AS (
        INSERT INTO runs (id, owner_id, backend, document, tags, directory, idempotency_key, body_digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (owner_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $2, 'run.create', id FROM run
    )
    SELECT id FROM run
"""

_WHOLE = """runs.id, state, detail, document::text AS document, tags::text AS tags, directory, created_at, started_at,
    ended_at, (SELECT report::text FROM attempts WHERE row_id = runs.id AND number = runs.attempt) AS report"""

_SELECT = f"SELECT {_WHOLE} FROM runs WHERE id = $2 AND owner_id = $1"

_SELECT_STATUS = "SELECT state FROM runs WHERE id = $2 AND owner_id = $1"

_PAGE = """
    SELECT id, state, '' AS detail, NULL AS document, tags::text AS tags, directory, created_at, started_at, ended_at,
           NULL AS report
    FROM runs
    WHERE owner_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
    ORDER BY created_at DESC, id DESC
    LIMIT $4
"""

_CANCEL = """
    WITH run AS (
        UPDATE runs SET state = 'CANCELING', detail = 'canceled by the caller'
        WHERE id = $2 AND owner_id = $1 AND ended_at IS NULL AND state <> 'CANCELING'
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $1, 'run.cancel', id FROM run
    )
    SELECT id FROM runs WHERE id = $2 AND owner_id = $1
"""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create; `directory` is relative to the shared root and holds its attachments already."""

    id: UUID
    backend: str
    document: Mapping[str, Any]
    directory: str
    key: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run with what its engine left."""

    id: UUID
    state: str
    detail: str
    document: dict[str, Any]
    tags: dict[str, str]
    directory: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    report: RunReport


async def create(database: Database, owner: Owner, run: NewRun) -> UUID:
    """Make the run durable; the id of the one that has this idempotency key already, if there is one."""
    values = (
        run.id, owner.id, run.backend, json.dumps(run.document), json.dumps(run.document.get("tags", {})),
        run.directory, run.key, run.digest,
    )  # fmt: skip
    if await rows.make(database, "runs", _INSERT, *values):
        return run.id
    there = await rows.with_key(database, "runs", owner.id, run.key, run.digest)
    assert there is not None  # nothing but its key can be in the way, and rows are never deleted
    return there


async def known(database: Database, run_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Which of these runs there are, whoever's."""
    found = await database.fetch("SELECT id FROM runs WHERE id = ANY($1)", run_ids)
    return frozenset(row["id"] for row in found)


async def status(database: Database, owner: Owner, run_id: UUID) -> str:
    """The state of one run."""
    row = await rows.one(database, _SELECT_STATUS, owner.id, run_id)
    return str(row["state"])


async def get(database: Database, owner: Owner, run_id: UUID) -> Run:
    """One whole run."""
    return _run(await rows.one(database, _SELECT, owner.id, run_id))


async def page(database: Database, owner: Owner, after: Place | None, size: int) -> list[Run]:
    """Up to `size` runs, newest first, that come after a place; documents and reports are not read."""
    created, last = (after.created_at, after.id) if after else (None, None)
    return [_run(row) for row in await database.fetch(_PAGE, owner.id, created, last, size)]


async def cancel(database: Database, owner: Owner, run_id: UUID) -> None:
    """Make the wish durable. Canceling a run that ended, or is being canceled, changes nothing."""
    await rows.one(database, _CANCEL, owner.id, run_id)


async def counts(database: Database, owner: Owner) -> dict[str, int]:
    """How many runs the owner has in each state."""
    counted = await database.fetch("SELECT state, count(*) FROM runs WHERE owner_id = $1 GROUP BY state", owner.id)
    return {row["state"]: row["count"] for row in counted}


def _run(row: Record) -> Run:
    return Run(
        id=row["id"],
        state=row["state"],
        detail=row["detail"],
        document=json.loads(row["document"] or "{}"),
        tags=json.loads(row["tags"]),
        directory=row["directory"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        report=codec.load(RunReport, json.loads(row["report"] or "{}")),
    )
