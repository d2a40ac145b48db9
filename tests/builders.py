"""Rows to test with: saved, and returned as the database has them; and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from wesgate.core.backend import Handle
from wesgate.core.decide import Phase, Row
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind, Lane
from wesgate.core.states import TERMINAL, State
from wesgate.db import runs, tasks
from wesgate.db.session import Database
from wesgate.ga4gh.parameters import Terms

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HELLO: dict[str, Any] = {"name": "hello", "executors": [{"image": "busybox", "command": ["echo", "hello"]}]}


def a_row(**changes: Any) -> Row:
    """A row as the loop sees it, without a database."""
    whole: dict[str, Any] = {
        "kind": Kind.TASK, "id": uuid4(), "backend": "fake", "state": State.RUNNING, "phase": Phase.SUBMITTED,
        "attempt": 1, "max_attempts": 1, "preemptions": 0, "max_preemptions": 0,
        "handle": Handle("job"), "lease_epoch": 1, "failures": 0,
        "state_since": NOON, "missing_since": None, "report": None, "document": {},
    }  # fmt: skip
    return Row(**{**whole, **changes})


def a_new_task(**changes: Any) -> tasks.NewTask:
    whole: dict[str, Any] = {
        "id": uuid4(), "backend": "fake", "document": HELLO, "cpu_cores": 1.0, "ram_gb": 0.0, "lane": Lane.TASK,
        "terms": Terms(max_attempts=changes.pop("max_attempts", 1), max_preemptions=changes.pop("max_preemptions", 0)),
    }  # fmt: skip
    return tasks.NewTask(**{**whole, **changes})


async def a_task(database: Database, caller: Caller, **changes: Any) -> UUID:
    """A task that has its slot, so that it may be claimed."""
    task_id = await tasks.create(database, caller, a_new_task(**changes))
    await execute(database, "UPDATE tasks SET admitted_at = now(), due_at = now() WHERE id = :id", id=task_id)
    return task_id


async def a_run(database: Database, caller: Caller, **changes: Any) -> UUID:
    document = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl", "tags": {}}
    whole = {"id": uuid4(), "backend": "fake", "document": document, "directory": "somewhere"}
    return await runs.create(database, caller.owner, runs.NewRun(**{**whole, **changes}))


async def an_attempt(
    database: Database, kind: Kind, row: UUID | str, report: Mapping[str, Any] | None = None, number: int = 1
) -> None:
    """An attempt at a row, or another report of the same."""
    await execute(
        database, "INSERT INTO attempts (row_id, number, kind, report) VALUES (:id, :number, :kind, CAST(:r AS json)) "
        "ON CONFLICT (row_id, number) DO UPDATE SET report = EXCLUDED.report",
        id=row, number=number, kind=kind, r=None if report is None else json.dumps(report),
    )  # fmt: skip


async def become(database: Database, kind: Kind, row: UUID | str, state: str, detail: str = "") -> None:
    """A change of state that the database allows, with all that follows from it."""
    statement = f"UPDATE {kind}s SET state = :state, detail = :detail WHERE id = :id"
    await execute(database, statement, state=state, detail=detail, id=row)


async def put(database: Database, kind: Kind, row: UUID | str, state: str) -> None:
    """Any state, also one that no row here comes to: the database's rules are not asked, and nothing follows."""
    ended = "now()" if state in TERMINAL else "NULL"
    statement = f"UPDATE {kind}s SET state = :state, ended_at = {ended}, due_at = NULL WHERE id = :id"
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
        await connection.execute(text(statement), {"state": state, "id": row})


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)


async def scalar(database: Database, statement: str, **values: Any) -> Any:
    async with database.transaction() as connection:
        return await connection.scalar(text(statement), values)
