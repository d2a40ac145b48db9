"""Runs: create, read, list, cancel, count. Reads take the owner first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from wesgate.core import codec
from wesgate.core.owner import Caller, Owner
from wesgate.core.paths import OUTPUTS
from wesgate.core.report import RunReport
from wesgate.core.spec import Kind
from wesgate.db import rows
from wesgate.db.lists import pages
from wesgate.db.lists.filters import Filter, where
from wesgate.db.rows import Place
from wesgate.db.session import Database
from wesgate.ga4gh import finding

ALL = Filter()

_INSERT = """
    WITH run AS (
        INSERT INTO runs (id, owner_id, backend, document, tags, directory, idempotency_key, body_digest, name, words)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, array_to_tsvector($10::text[]))
        ON CONFLICT (owner_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $2, 'run.create', id FROM run
    )
    SELECT id FROM run
"""

_WHOLE = """runs.id, backend, state, detail, document::text AS document, tags::text AS tags, directory,
    created_at, started_at, ended_at,
    (SELECT report::text FROM attempts WHERE row_id = runs.id AND number = runs.attempt) AS report"""

_OF_ONE = """FROM runs LEFT JOIN attempts ON row_id = runs.id AND number = runs.attempt
    WHERE runs.id = $2 AND owner_id = $1"""

_SHORT = """runs.id, backend, state, detail, tags::text AS tags, directory, created_at, started_at, ended_at,
    (SELECT json_object_agg(key, value)::text FROM json_each(document) WHERE key <> 'workflow_params') AS document,
    (SELECT json_object_agg(key, value)::text FROM json_each(report) WHERE key <> 'outputs') AS report"""

_SELECT = f"SELECT {_SHORT} {_OF_ONE}"

_SELECT_LOG = f"SELECT {_SHORT}, document ->> 'workflow_params' AS params, report ->> 'outputs' AS outputs {_OF_ONE}"

_SELECT_WITH_KEY = f"SELECT {_WHOLE} FROM runs WHERE idempotency_key = $2 AND owner_id = $1"

_SELECT_STATUS = "SELECT state FROM runs WHERE id = $2 AND owner_id = $1"

_LISTED = """id, backend, state, '' AS detail, NULL AS document, tags::text AS tags, directory, created_at, started_at,
    ended_at, NULL AS report"""

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


_CANCEL_OR_FREE = """
    WITH known AS (
        SELECT id, state, ended_at IS NULL AS lives FROM runs WHERE owner_id = $1 AND idempotency_key = $2 FOR UPDATE
    ), run AS (
        UPDATE runs SET
            state = CASE WHEN lives THEN 'CANCELING' ELSE runs.state END,
            detail = CASE WHEN lives THEN 'canceled by the caller' ELSE detail END,
            idempotency_key = CASE WHEN lives THEN idempotency_key END
        FROM known WHERE runs.id = known.id AND known.state <> 'CANCELING'
        RETURNING runs.id, runs.state, lives
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id)
        SELECT $1, CASE WHEN lives THEN 'run.cancel' ELSE 'run.free_key' END, id FROM run
    )
    SELECT known.id, coalesce(run.state, known.state) AS state FROM known LEFT JOIN run ON run.id = known.id
"""

_FOUND_BY = """
    SELECT runs.id, directory, report ->> 'outputs' AS outputs, report ->> 'words' AS words
    FROM runs JOIN attempts ON row_id = runs.id AND number = runs.attempt
    WHERE runs.id = ANY($1) AND (report ->> 'outputs' <> '{}' OR report ->> 'words' <> '[]')
"""

_ADD_WORDS = """
    UPDATE runs SET words = runs.words || array_to_tsvector(string_to_array(told.words, ' '))
    FROM unnest($1::uuid[], $2::text[]) AS told(id, words)
    WHERE runs.id = told.id
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
    backend: str
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
        run.directory, run.key, run.digest, finding.name_of(run.document), finding.words_of(run.document),
    )  # fmt: skip
    while not await rows.make(database, "runs", _INSERT, *values):
        # Nothing but its key can be in the way; at this moment it may be taken from the run that has it.
        if there := await rows.with_key(database, "runs", owner.id, run.key, run.digest):
            return there
    return run.id


async def made(database: Database, owner: Owner, key: str, digest: str) -> UUID | None:
    """The run that this request has made under its key, if any; Conflict if another one has."""
    return await rows.with_key(database, "runs", owner.id, key, digest)


async def known(database: Database, run_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Which of these runs there are, whoever's."""
    found = await database.fetch("SELECT id FROM runs WHERE id = ANY($1)", run_ids)
    return frozenset(row["id"] for row in found)


async def status(database: Database, owner: Owner, run_id: UUID) -> str:
    """The state of one run."""
    row = await rows.one(database, _SELECT_STATUS, owner.id, run_id)
    return str(row["state"])


async def get(database: Database, owner: Owner, run_id: UUID) -> Run:
    """One run. Its parameters and its outputs, which may be large, are not read."""
    return _run(await rows.one(database, _SELECT, owner.id, run_id))


async def log(database: Database, owner: Owner, run_id: UUID) -> tuple[Run, str, str]:
    """One run as `get` has it, and its parameters and outputs as the JSON that is stored: to read and write a million
    values again would hold up all threads."""
    row = await rows.one(database, _SELECT_LOG, owner.id, run_id)
    return _run(row), row["params"] or "{}", row["outputs"] or "{}"


async def with_key(database: Database, owner: Owner, key: str) -> Run:
    """The run that was made under this key and has it still."""
    return _run(await rows.one(database, _SELECT_WITH_KEY, owner.id, key))


async def page(database: Database, owner: Owner, wanted: Filter, after: Place | None, size: int) -> list[Run]:
    """Up to `size` runs, newest first, that come after a place; documents and reports are not read. Rows added later
    come before it, so walking the pages gives every run that was there at the start once."""
    asked = where(Caller(owner), wanted, after, Kind.RUN)
    return [_run(row) for row in await pages.newest(database, "runs", _LISTED, asked, size)]


async def keyed(database: Database, owner: Owner, prefix: str, tag: str, after: Place | None, size: int) -> list[Run]:
    """Up to `size` runs, newest first, whose keys begin so and that have this tag, as all of these keys' runs do: tags
    have an index, and the index of keys is in the order of a language."""
    asked = where(Caller(owner), Filter(tags=((tag, ""),)), after, Kind.RUN)
    keyed = f"starts_with(idempotency_key, ${len(asked.values) + 1})"
    asked = replace(asked, further=(*asked.further, keyed), values=(*asked.values, prefix))
    return [_run(row) for row in await pages.newest(database, "runs", _LISTED, asked, size)]


async def cancel(database: Database, owner: Owner, run_id: UUID) -> None:
    """Make the wish durable. Canceling a run that ended, or is being canceled, changes nothing."""
    await rows.one(database, _CANCEL, owner.id, run_id)


async def counts(database: Database, owner: Owner, wanted: Filter = ALL) -> dict[str, int]:
    """How many of these runs the owner has in each state."""
    asked = where(Caller(owner), wanted, kind=Kind.RUN)
    counted = await database.fetch(f"SELECT state, count(*) FROM runs WHERE {asked} GROUP BY state", *asked.values)
    return {row["state"]: row["count"] for row in counted}


async def cancel_or_free(database: Database, owner: Owner, key: str) -> tuple[UUID, str]:
    """Make the wish durable to cancel the run with this key; of one that has ended, the key is free from now on. The
    run's id and state."""
    row = await rows.one(database, _CANCEL_OR_FREE, owner.id, key)
    return row["id"], row["state"]


async def add_words(database: Database, run_ids: Sequence[UUID]) -> None:
    """Let these runs, which have ended, be found by their outputs as well, and by inputs that came from elsewhere. To
    do it again changes nothing."""
    rows_found = await database.fetch(_FOUND_BY, run_ids)
    if rows_found:
        found = await asyncio.to_thread(lambda: {row["id"]: _words_of(row) for row in rows_found})
        await database.fetch(_ADD_WORDS, list(found), [" ".join(words) for words in found.values()])


def _words_of(row: Record) -> list[str]:
    outputs = json.loads(_without_place(row["outputs"] or "{}", f"{row['directory']}/"))
    return [*finding.words_in(outputs), *finding.words_in(json.loads(row["words"] or "[]"))]


def _without_place(outputs: str, place: str) -> str:
    """JSON whose paths begin behind the place of the run: it is the same in all of them, and nobody's word for it."""
    pieces = outputs.split(place)
    cut = [piece[: piece.rfind('"') + 1] for piece in pieces[:-1]]
    return "".join(piece.removeprefix(f"{OUTPUTS}/") for piece in [*cut, pieces[-1]])


def _run(row: Record) -> Run:
    return Run(
        id=row["id"],
        backend=row["backend"],
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
