"""Calls of a run that were answered from a call cache: rows beside its tasks, which no executor ever sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from wesgate.core.owner import Caller
from wesgate.db.session import Database

_RECORD = """
    WITH run AS (
        SELECT id, owner_id, backend FROM runs WHERE owner_id = $1 AND id = $2 AND ended_at IS NULL
        FOR SHARE                                      -- what has ended stays as it is
    ), told AS (
        SELECT * FROM ROWS FROM (json_to_recordset($3) AS (id uuid, name text, document json, report json, source uuid))
            WITH ORDINALITY
    ), call AS (
        INSERT INTO tasks (id, owner_id, run_id, backend, lane, name, tags, document, cpu_cores, ram_gb,
                           state, due_at, started_at, ended_at, created_at)
        SELECT told.id, owner_id, run.id, backend, 'cached', told.name, '{}', told.document, 0, 0,
               'COMPLETE', NULL, now(), now(), now() + (ordinality - 1) * interval '1 us'
        FROM told, run
        ON CONFLICT (id) DO NOTHING                    -- a head that is not sure tells again
        RETURNING id
    ), reuse AS (
        INSERT INTO reuses (source_id, run_id)         -- its files stay until the run has ended
        SELECT DISTINCT runs.id, run.id
        FROM run, told JOIN runs ON runs.id = told.source AND runs.owner_id = $1  -- of nobody else, whatever is told
        WHERE runs.id <> run.id
        ON CONFLICT DO NOTHING
    )
    INSERT INTO attempts (row_id, number, kind, report) SELECT id, 1, 'task', report FROM call JOIN told USING (id)
"""


@dataclass(frozen=True, slots=True)
class CachedCall:
    """One of them. `document` and `report` have what `ga4gh.wes.task_log` shows; `source` is the run that the work was
    done for, if that is known."""

    id: UUID
    name: str
    document: Mapping[str, Any]
    report: Mapping[str, Any]
    source: UUID | None = None


async def record(database: Database, caller: Caller, calls: Sequence[CachedCall]) -> None:
    """Make these part of the caller's run, each once, unless the run has ended."""
    rows = json.dumps([asdict(call) for call in calls], default=str)
    await database.fetch(_RECORD, caller.owner.id, caller.run_id, rows)
