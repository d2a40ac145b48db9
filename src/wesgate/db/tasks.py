"""Tasks: create, read, list, cancel. Reads take the caller first, and no other caller's row is ever matched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record, UniqueViolationError

from wesgate.core import codec
from wesgate.core.errors import Conflict, NotPermitted
from wesgate.core.owner import Caller, Owner
from wesgate.core.spec import Lane
from wesgate.core.states import State
from wesgate.db import rows
from wesgate.db.lists.filters import Filter, conditions
from wesgate.db.rows import Place
from wesgate.db.session import Database
from wesgate.ga4gh.parameters import Terms
from wesgate.ga4gh.views import Task, timestamp

# What is told of a new task. Postgres takes their types from the table.
_COLUMNS = """id, backend, lane, name, tags, document, cpu_cores, ram_gb, gpus, max_attempts, max_preemptions, policy,
    submitter, warnings, idempotency_key, body_digest, token_hash"""

INSERT_TASKS = f"""
    WITH run AS (
        SELECT id FROM runs WHERE id = $2 AND ended_at IS NULL AND state <> 'CANCELING'
        FOR SHARE                                      -- the run cannot end while a task of it is being made
    ), task AS (
        INSERT INTO tasks (owner_id, run_id, due_at, created_at, {_COLUMNS})
        SELECT $1, $2, NULL,                           -- due once it has a slot
               now() + (ordinality - 1) * interval '1 us',  -- lists and queues keep the order they were sent in
               {_COLUMNS}
        FROM json_populate_recordset(NULL::tasks, $3) WITH ORDINALITY
        WHERE ($2::uuid IS NULL OR EXISTS (SELECT 1 FROM run))
          AND NOT EXISTS (                             -- a repeat is no error for Postgres's log
              SELECT 1 FROM tasks WHERE owner_id = $1 AND idempotency_key = ANY($4::text[])
          )
        RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $1, 'task.create', id FROM task
    )
    SELECT id FROM task LIMIT 1
"""
"""Makes all of these tasks or none: of an owner, of a run or NULL, their columns as JSON, and their keys."""

MOST_COUNTED = 1000
"""How far a place in the queue is counted."""

_MINE = "owner_id = $1 AND ($2::uuid IS NULL OR run_id = $2) AND lane = 'task'"
"""What a caller may see: the owner's tasks, or with a run token only that run's; heads are nobody's tasks."""

SELECT_STATUS = f"SELECT state, submitter FROM tasks WHERE id = $3 AND {_MINE}"

_WHOLE = """id, state, detail, document, created_at, run_id, submitter, warnings, backend, state_since, admitted_at,
    failures, ARRAY(SELECT report::text FROM attempts WHERE row_id = tasks.id ORDER BY number) AS reports"""

# `wesgate_admit` gives turns between owners by what each has placed, and within an owner by age. Only the latter is
# counted: the whole truth where one owner waits, for a look at one index and at no other owner.
_AHEAD = f"""CASE WHEN state = 'QUEUED' AND admitted_at IS NULL THEN (
        SELECT count(*) FROM (
            SELECT FROM tasks AS other
            WHERE other.backend = tasks.backend AND other.lane = tasks.lane AND other.owner_id = tasks.owner_id
              AND other.admitted_at IS NULL AND other.state = 'QUEUED'
              AND (other.created_at, other.id) < (tasks.created_at, tasks.id)
            LIMIT {MOST_COUNTED}
        ) AS before
    ) END AS ahead"""

# What a run's list of tasks shows, taken out by Postgres: a report holds 20 kB of streams for each step, a document
# whole files. An absent member stays absent.
_LISTED = """id, state, detail, created_at, run_id, submitter, warnings,
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

_SELECT_TASK = f"SELECT {_WHOLE}, {_AHEAD} FROM tasks WHERE id = $3 AND {_MINE}"

_SELECT_OF_RUN = f"""
    SELECT {_LISTED} FROM tasks WHERE id = $3 AND owner_id = $1 AND run_id = $2 AND lane IN ('task', 'cached')
"""

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

_CANCEL_ALL = """
    WITH several AS (
        SELECT id FROM tasks WHERE {where} AND ended_at IS NULL AND state <> 'CANCELING' LIMIT {most}
    ), wanted AS (
        SELECT id FROM tasks WHERE id IN (SELECT id FROM several) AND ended_at IS NULL AND state <> 'CANCELING'
        ORDER BY id FOR UPDATE                         -- as the loop locks rows: neither waits for the other for ever
    ), task AS (
        UPDATE tasks SET state = 'CANCELING', detail = 'canceled by the caller'
        FROM wanted
        WHERE tasks.id = wanted.id
        RETURNING tasks.id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $1, 'task.cancel', id FROM task
    )
    SELECT (SELECT count(*) FROM several) AS seen, (SELECT count(*) FROM task) AS canceled
"""

CANCELED_AT_ONCE = 10_000
"""More in one statement could take longer than a statement may, and keep the loop from their rows meanwhile."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to create. `document` is as `ga4gh.tes` made it; `digest` is of the body that came with the key."""

    id: UUID
    backend: str
    document: Mapping[str, Any]
    cpu_cores: float
    ram_gb: float
    terms: Terms = field(default_factory=Terms)
    submitter: str = ""
    warnings: tuple[str, ...] = ()
    lane: Lane = Lane.TASK
    key: str | None = None
    digest: str | None = None
    token_hash: str | None = None


class Short(NamedTuple):
    """As much of a task as its MINIMAL view needs, and a page's end: a page has hundreds."""

    id: UUID
    state: str
    submitter: str
    created_at: datetime


async def create(database: Database, caller: Caller, task: NewTask) -> UUID:
    """Make the task durable; the id of the one that has this idempotency key already, if there is one."""
    return (await create_all(database, caller, [task]))[0]


async def create_all(database: Database, caller: Caller, new: Sequence[NewTask]) -> list[UUID]:
    """Make all of these tasks durable, or none; the ids of those that have these idempotency keys already, if they are
    of the same bodies. All of them have a key, or none has."""
    keys = [task.key for task in new if task.key]
    try:
        values = (caller.owner.id, caller.run_id, json.dumps(list(map(_columns, new))), keys)
        if await rows.make(database, "tasks", INSERT_TASKS, *values, row_id=new[0].id):
            return [task.id for task in new]
    except UniqueViolationError:
        pass  # somebody else made a task under one of these keys at this moment
    there = await rows.with_keys(database, "tasks", caller.owner.id, {task.key or "": task.digest for task in new})
    if not there:
        raise NotPermitted("the run has ended; nothing more can be submitted in its name")
    if len(there) < len(new):
        raise Conflict("some of the tasks that were made under this Idempotency-Key are gone; use another")
    return [there[task.key or ""] for task in new]


def _columns(task: NewTask) -> dict[str, Any]:
    terms = task.terms
    return {
        "id": str(task.id), "backend": task.backend, "lane": task.lane.value, "name": task.document.get("name", ""),
        "tags": task.document.get("tags", {}), "document": task.document, "cpu_cores": task.cpu_cores,
        "ram_gb": task.ram_gb, "gpus": terms.policy.gpus, "max_attempts": terms.max_attempts,
        "max_preemptions": terms.max_preemptions, "policy": codec.dump(terms.policy), "submitter": task.submitter,
        "warnings": task.warnings, "idempotency_key": task.key, "body_digest": task.digest,
        "token_hash": task.token_hash,
    }  # fmt: skip


async def status(database: Database, caller: Caller, task_id: UUID) -> tuple[str, str]:
    """The state of one task, and its submitter."""
    row = await rows.one(database, SELECT_STATUS, caller.owner.id, caller.run_id, task_id)
    return row["state"], row["submitter"]


async def get(database: Database, caller: Caller, task_id: UUID) -> Task:
    """One whole task."""
    row = await rows.one(database, _SELECT_TASK, caller.owner.id, caller.run_id, task_id)
    return _waiting(row, _task(row), row["ahead"])


async def page(database: Database, caller: Caller, wanted: Filter, after: Place | None, size: int) -> list[Task]:
    """Up to `size` tasks, newest first, that come after a place. Rows added later come before it, so walking the
    pages gives every task that was there at the start once."""
    return [_waiting(row, _task(row)) for row in await _page(database, _WHOLE, caller, wanted, after, size)]


async def short_page(database: Database, caller: Caller, wanted: Filter, after: Place | None, size: int) -> list[Short]:
    """The same, of little."""
    return list(map(Short._make, await _page(database, ", ".join(Short._fields), caller, wanted, after, size)))


async def _page(
    database: Database, columns: str, caller: Caller, wanted: Filter, after: Place | None, size: int
) -> list[Record]:
    where, values = conditions(caller, wanted, after)
    statement = f"SELECT {columns} FROM tasks WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {size}"
    return await database.fetch(statement, *values)


async def of_run(database: Database, run_id: UUID, after: Place | None, size: int) -> list[Task]:
    """Up to `size` tasks of a run, oldest first, with the calls that were answered from a cache; the caller's right to
    the run was checked. Of documents and reports there is what `ga4gh.wes.task_log` shows, and of reports the last."""
    statement = f"""
        SELECT {_LISTED} FROM tasks
        WHERE run_id = $1 AND lane IN ('task', 'cached')
          AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
        ORDER BY created_at, id LIMIT $4
    """
    created, last = (after.created_at, after.id) if after else (None, None)
    return [_task(row) for row in await database.fetch(statement, run_id, created, last, size)]


async def get_of_run(database: Database, owner: Owner, run_id: UUID, task_id: UUID) -> Task:
    """One task of a run, as `of_run` tells of it."""
    return _task(await rows.one(database, _SELECT_OF_RUN, owner.id, run_id, task_id))


async def cancel(database: Database, caller: Caller, task_id: UUID) -> None:
    """Make the wish durable. Canceling a task that ended, or is being canceled, changes nothing."""
    await rows.one(database, _CANCEL, caller.owner.id, caller.run_id, task_id)


async def cancel_all(database: Database, caller: Caller, wanted: Filter) -> int:
    """Make the wish durable for all of these, some at a time; how many of them had neither ended nor were being
    canceled."""
    where, values = conditions(caller, wanted)
    statement, canceled = _CANCEL_ALL.format(where=where, most=CANCELED_AT_ONCE), 0
    while True:
        done = await rows.one(database, statement, *values)
        canceled += int(done["canceled"])
        if done["seen"] < CANCELED_AT_ONCE:
            return canceled


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
        submitter=row["submitter"],
        warnings=tuple(row["warnings"] or ()),
    )


def _reports(told: Sequence[str | None]) -> list[dict[str, Any] | None]:
    return [json.loads(report) if report else None for report in told]


def _waiting(row: Record, task: Task, ahead: int | None = None) -> Task:
    """With why it waits, and since when; with its place in the queue, if it is known how many are ahead."""
    reason, since = "", row["state_since"]
    if row["state"] == State.QUEUED and row["admitted_at"] is None:
        reason = f"waits for free slots of {row['backend']}"
    elif row["state"] == State.QUEUED and row["failures"]:
        reason, since = row["detail"], row["admitted_at"]
    if not reason:
        return task
    place = {} if ahead is None else {"queue_position": str(ahead + 1) if ahead < MOST_COUNTED else f"{ahead}+"}
    return replace(task, metadata={"waiting_reason": reason, "waiting_since": timestamp(since), **place})
