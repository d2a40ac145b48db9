"""Tasks: create, read, list, cancel. Reads take the caller first, and no other caller's row is ever matched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from wesgate.core.errors import NotPermitted
from wesgate.core.owner import Caller
from wesgate.core.spec import Lane
from wesgate.core.states import State
from wesgate.db import rows
from wesgate.db.rows import Place
from wesgate.db.session import Database

INSERT_TASK = """
    WITH run AS (
        SELECT id FROM runs WHERE id = $3 AND ended_at IS NULL AND state <> 'CANCELING'
        FOR SHARE                                      -- the run cannot end while a task of it is being made
    ), task AS (
        INSERT INTO tasks (id, owner_id, run_id, backend, lane, name, tags, document, cpu_cores, ram_gb,
                           max_attempts, idempotency_key, body_digest, token_hash, due_at)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, NULL   -- due once it has a slot
        WHERE $3::uuid IS NULL OR EXISTS (SELECT 1 FROM run)
        ON CONFLICT (owner_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $2, 'task.create', id FROM task
    )
    SELECT id FROM task
"""

_MINE = "owner_id = $1 AND ($2::uuid IS NULL OR run_id = $2) AND lane = 'task'"
"""What a caller may see: the owner's tasks, or with a run token only that run's; heads are nobody's tasks."""

SELECT_STATUS = f"SELECT state FROM tasks WHERE id = $3 AND {_MINE}"

_WHOLE = """id, state, detail, document, created_at, run_id,
    ARRAY(SELECT report::text FROM attempts WHERE row_id = tasks.id ORDER BY number) AS reports"""

# What a run's list of tasks shows, taken out by Postgres: a report holds 20 kB of streams for each step, a document
# whole files. An absent member stays absent.
_LISTED = """id, state, detail, created_at, run_id,
    json_strip_nulls(json_build_object(
        'name', document -> 'name',
        'executors', json_build_array(json_build_object('command', document #> '{executors,0,command}'))
    )) AS document,
    ARRAY(
        SELECT json_strip_nulls(json_build_object(
            'start_time', report -> 'start_time', 'end_time', report -> 'end_time', 'directory', report -> 'directory',
            'system_logs', report -> 'system_logs',
            'steps', (SELECT json_agg(json_build_object('exit_code', step -> 'exit_code'))
                      FROM json_array_elements(report -> 'steps') AS step)
        ))::text
        FROM attempts WHERE row_id = tasks.id ORDER BY number DESC LIMIT 1
    ) AS reports"""

_SELECT_TASK = f"SELECT {_WHOLE} FROM tasks WHERE id = $3 AND {_MINE}"

_CANCEL = f"""
    WITH task AS (
        UPDATE tasks SET state = 'CANCELING', detail = 'canceled by the caller'
        WHERE id = $3 AND {_MINE} AND ended_at IS NULL AND state <> 'CANCELING'
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $1, 'task.cancel', id FROM task
    )
    SELECT id FROM tasks WHERE id = $3 AND {_MINE}
"""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to create. `document` is as `ga4gh.tes` made it; `digest` is of the body that came with the key."""

    id: UUID
    backend: str
    document: Mapping[str, Any]
    cpu_cores: float
    ram_gb: float
    max_attempts: int = 1
    lane: Lane = Lane.TASK
    key: str | None = None
    digest: str | None = None
    token_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A stored task with what its attempts left."""

    id: UUID
    state: str
    detail: str
    document: dict[str, Any]
    created_at: datetime
    run_id: UUID | None
    reports: tuple[dict[str, Any] | None, ...] = ()

    @property
    def report(self) -> dict[str, Any] | None:
        """The last attempt's."""
        return self.reports[-1] if self.reports else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks of a list are wanted. An empty tag value matches any, but the key must be there."""

    name_prefix: str = ""
    state: State | None = None
    tags: tuple[tuple[str, str], ...] = field(default=())


async def create(database: Database, caller: Caller, task: NewTask) -> UUID:
    """Make the task durable; the id of the one that has this idempotency key already, if there is one."""
    document = task.document
    values = (
        task.id, caller.owner.id, caller.run_id, task.backend, task.lane.value, document.get("name", ""),
        json.dumps(document.get("tags", {})), json.dumps(document), task.cpu_cores, task.ram_gb,
        task.max_attempts, task.key, task.digest, task.token_hash,
    )  # fmt: skip
    if await rows.make(database, "tasks", INSERT_TASK, *values):
        return task.id
    there = await rows.with_key(database, "tasks", caller.owner.id, task.key, task.digest)
    if there is None:
        raise NotPermitted("the run has ended; nothing more can be submitted in its name")
    return there


async def status(database: Database, caller: Caller, task_id: UUID) -> str:
    """The state of one task."""
    row = await rows.one(database, SELECT_STATUS, caller.owner.id, caller.run_id, task_id)
    return str(row["state"])


async def get(database: Database, caller: Caller, task_id: UUID) -> Task:
    """One whole task."""
    return _task(await rows.one(database, _SELECT_TASK, caller.owner.id, caller.run_id, task_id))


async def page(
    database: Database, caller: Caller, wanted: Filter, after: Place | None, size: int, *, whole: bool
) -> list[Task]:
    """Up to `size` tasks, newest first, that come after a place. Rows added later come before it, so walking the
    pages gives every task that was there at the start once. Without `whole`, only id and state are read."""
    columns = _WHOLE if whole else "id, state, '' AS detail, NULL AS document, created_at, run_id, NULL AS reports"
    after_created, after_id = (after.created_at, after.id) if after else (None, None)
    statement = f"""
        SELECT {columns}
        FROM tasks
        WHERE {_MINE}
          AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
          AND ($5 = '' OR starts_with(name, $5))
          AND ($6::text IS NULL OR state = $6)
          AND ($7::jsonb IS NULL OR tags @> $7)
          AND ($8::text[] IS NULL OR tags ?& $8)
        ORDER BY created_at DESC, id DESC
        LIMIT $9
    """
    exact = {key: value for key, value in wanted.tags if value}
    anyhow = [key for key, value in wanted.tags if not value]
    listed = await database.fetch(
        statement, caller.owner.id, caller.run_id, after_created, after_id, wanted.name_prefix, wanted.state,
        json.dumps(exact) if exact else None, anyhow or None, size,
    )  # fmt: skip
    return [_task(row) for row in listed]


async def of_run(database: Database, run_id: UUID, after: Place | None, size: int) -> list[Task]:
    """Up to `size` tasks of a run, oldest first; the caller's right to the run was checked. Of documents and reports
    there is what `ga4gh.wes.task_log` shows, and of reports the last."""
    statement = f"""
        SELECT {_LISTED} FROM tasks
        WHERE run_id = $1 AND lane = 'task' AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
        ORDER BY created_at, id LIMIT $4
    """
    created, last = (after.created_at, after.id) if after else (None, None)
    return [_task(row) for row in await database.fetch(statement, run_id, created, last, size)]


async def cancel(database: Database, caller: Caller, task_id: UUID) -> None:
    """Make the wish durable. Canceling a task that ended, or is being canceled, changes nothing."""
    await rows.one(database, _CANCEL, caller.owner.id, caller.run_id, task_id)


def _task(row: Record) -> Task:
    document, reports = row["document"], row["reports"]
    return Task(
        id=row["id"],
        state=row["state"],
        detail=row["detail"],
        document=json.loads(document) if document else {},
        created_at=row["created_at"],
        run_id=row["run_id"],
        reports=tuple(_reports(reports or ())),
    )


def _reports(told: Sequence[str | None]) -> list[dict[str, Any] | None]:
    return [json.loads(report) if report else None for report in told]
