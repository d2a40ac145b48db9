"""The API on a port of this machine, and runs in every state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest

from tests.api.conftest import context, files  # noqa: F401  # fixtures
from tests.api.served import serving
from tests.builders import a_new_task
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Store
from wesgate.db import tasks
from wesgate.db.session import Database

SITE_BYTES = 16 << 20


@pytest.fixture
async def url(context: Context) -> AsyncIterator[str]:  # noqa: F811
    """The API, with the limits of a site that set none, and a store of objects."""
    async with serving(replace(context, json_bytes=SITE_BYTES, stores=[Store("s3://agc-1/")])) as url:
        yield url


async def a_task_of(database: Database, caller: Caller, run: str, name: str) -> str:
    """A task of a run, with this name."""
    document = {"name": name, "executors": [{"image": "busybox", "command": ["true"]}]}
    return str(await tasks.create(database, Caller(caller.owner, UUID(run)), a_new_task(document=document)))
