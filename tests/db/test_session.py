"""What the database promises when it is busy or away."""

from __future__ import annotations

import asyncio
import time

import pytest

from wesgate.core.errors import Unavailable
from wesgate.db import session
from wesgate.db.session import Database


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
