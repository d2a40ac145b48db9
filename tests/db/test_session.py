"""What the database promises when it is busy or away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from wesgate.core.errors import Unavailable
from wesgate.db import session
from wesgate.db.session import Database


@pytest.fixture
async def talking(database: Database) -> AsyncIterator[tuple[Database, asyncio.Event]]:
    """The database behind a line that falls silent when the event is cleared, as a host that has gone does."""
    line, pumps = asyncio.Event(), set[asyncio.Task[None]]()
    socket = f"{database.url.query['host']}/.s.PGSQL.5432"

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await line.wait()
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_unix_connection(socket)
        pumps.update((asyncio.create_task(pump(reader, behind[1])), asyncio.create_task(pump(behind[0], writer))))

    line.set()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        through = Database(f"postgresql://{database.url.username}@127.0.0.1:{port}/{database.url.database}")
        yield through, line
        line.set()
        await through.close()
        await asyncio.gather(*pumps, return_exceptions=True)


async def test_a_server_that_falls_silent_is_given_up(
    talking: tuple[Database, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "POOL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(session, "STATEMENT_TIMEOUT_MS", 500)
    database, line = talking
    await database.fetch_row("SELECT 1")
    line.clear()
    began = time.monotonic()
    for ask in (database.fetch_row, database.fetch):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(ask("SELECT 1"), 10)
    assert time.monotonic() - began < 5
    line.set()
    assert await database.fetch_row("SELECT 1")


async def test_a_busy_pool_is_waited_for_a_bounded_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await database.fetch_row("SELECT 1")
    busy = [asyncio.ensure_future(database.fetch("SELECT pg_sleep(2)")) for _ in range(4)]
    await asyncio.sleep(0.2)
    monkeypatch.setattr(session, "POOL_TIMEOUT_S", 0.5)
    began = time.monotonic()
    for ask in (database.fetch_row, database.fetch):
        with pytest.raises(Unavailable):
            await ask("SELECT 1")
    assert time.monotonic() - began < 1.5
    await asyncio.gather(*busy)
    assert await database.fetch_row("SELECT 1")
