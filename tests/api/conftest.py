"""The API in process, on a database of its own, as two owners and a head see it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.builders import a_new_task, a_run
from wesgate.api.dependencies import Context
from wesgate.api.events import Events
from wesgate.api.paging import Pager
from wesgate.app import create_app
from wesgate.core.owner import Caller
from wesgate.core.spec import Lane
from wesgate.db import owners, tasks
from wesgate.db.session import Database
from wesgate.engines.miniwdl.config import MiniwdlSettings
from wesgate.engines.miniwdl.dry import DryRuns
from wesgate.ga4gh.parameters import Site
from wesgate.ga4gh.service_info import About, EngineInfo, EngineParameter
from wesgate.identity.callers import Callers

WES, TES = "/ga4gh/wes/v1", "/ga4gh/tes/v1"
PARAMETERS = [
    EngineParameter("retries", "integer", "0"),
    EngineParameter("fast", "boolean", "false"),
    EngineParameter("name", "string", ""),
]
TOKEN = "wgr_" + "t" * 43


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    root.mkdir()
    return root


@pytest.fixture
async def context(database: Database, caller: Caller, files: Path, tmp_path: Path) -> AsyncIterator[Context]:
    about = About(
        id="org.example", name="test", description="a test", organization="Example", organization_url="https://example.org",
        contact_url="", documentation_url="https://example.org", environment="test", version="0",
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    events = Events(database)
    yield Context(
        database=database,
        callers=Callers(database, caller.owner),
        pager=Pager(await owners.signing_key(database)),
        events=events,
        about=about,
        engines=(EngineInfo("miniwdl", "1.16", {"WDL": ("draft-2", "1.0", "1.1", "1.2")}, PARAMETERS),),
        executor="fake",
        site=Site(),
        submitter="",
        wes_client="",
        price_per_hour_usd=None,
        files=files,
        roots=(str(tmp_path / "shared"),),
        stores=(),
        public_url=None,
        own_urls=["https://wes.example.org"],
        allow_private_sources=False,
        allowed_sources=(),
        check=DryRuns(MiniwdlSettings(), files, os.environ),
        json_bytes=3 << 20,
        attachment_bytes=1 << 20,
    )
    await events.close()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's client. An unforeseen error raises in the test instead of becoming a 500."""
    transport = httpx.ASGITransport(create_app(context, body_bytes=4 << 20))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as made:
        yield made


@pytest.fixture
async def run_id(database: Database, caller: Caller) -> str:
    """A run of the owner's, whose head's token is TOKEN."""
    run = await a_run(database, caller)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    await tasks.create(database, Caller(caller.owner, run), a_new_task(lane=Lane.HEAD, token_hash=digest))
    return str(run)


@pytest.fixture
def head() -> dict[str, str]:
    """The headers of that head."""
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def stranger(database: Database) -> Caller:
    """Somebody else."""
    return Caller(await owners.ensure(database, "test", "stranger"))
