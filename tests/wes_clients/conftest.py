"""The API on a port of this machine, and runs in every state."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.api.conftest import context, files  # noqa: F401  # fixtures
from tests.api.served import serving
from tests.builders import a_new_task, execute
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Store
from wesgate.core.states import TERMINAL
from wesgate.db import tasks
from wesgate.db.session import Database

SITE_BYTES = 16 << 20


@pytest.fixture
async def url(context: Context) -> AsyncIterator[str]:  # noqa: F811
    """The API, with the limits of a site that set none, and a store of objects."""
    async with serving(replace(context, json_bytes=SITE_BYTES, stores=[Store("s3://agc-1/")])) as url:
        yield url


async def become(database: Database, run: str, state: str) -> None:
    """Put a run into any state, also one that no run here comes to."""
    ended = "now()" if state in TERMINAL else "NULL"
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
        statement = f"UPDATE runs SET state = :s, ended_at = {ended}, due_at = NULL WHERE id = :id"
        await connection.execute(text(statement), {"s": state, "id": UUID(run)})


async def report(database: Database, run: str, **told: object) -> None:
    """What a run's engine left."""
    await execute(
        database, "INSERT INTO attempts (row_id, number, kind, report) VALUES (:id, 1, 'run', CAST(:r AS json))",
        id=UUID(run), r=json.dumps(told),
    )  # fmt: skip
    await execute(database, "UPDATE runs SET attempt = 1 WHERE id = :id", id=UUID(run))


async def a_task_of(database: Database, caller: Caller, run: str, name: str) -> str:
    """A task of a run, with this name."""
    document = {"name": name, "executors": [{"image": "busybox", "command": ["true"]}]}
    return str(await tasks.create(database, Caller(caller.owner, UUID(run)), a_new_task(document=document)))
