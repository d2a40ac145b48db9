"""Run reconcilers for the length of a block, and hear what becomes of their rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from wesgate.core.spec import Kind
from wesgate.core.states import TERMINAL, State
from wesgate.db.session import Database
from wesgate.reconcile.kernel import Charge
from wesgate.reconcile.service import Reconciler
from wesgate.testing import FakeExecutor

PATIENCE_S = 10.0
"""Well below the longest sleep of a loop, and below a lease."""


def charge(backend: FakeExecutor, name: str = "fake") -> Charge:
    return Charge(Kind.TASK, name, backend, lambda claim: claim)


@asynccontextmanager
async def running(*reconcilers: Reconciler) -> AsyncIterator[None]:
    """All of these serve inside the block and have stopped after it."""
    async with asyncio.timeout(3 * PATIENCE_S), asyncio.TaskGroup() as group:
        for each in reconcilers:
            group.create_task(each.run())
        for each in reconcilers:
            await each.up.wait()
        yield
        for each in reconcilers:
            each.stop()


class Ear:
    """Hears every state that a row of this database gets."""

    def __init__(self) -> None:
        self._news = asyncio.Queue[tuple[UUID, State]]()
        self.states: dict[UUID, State] = {}

    def hear(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        _, row_id, _, state, _ = payload.split(" ")
        self._news.put_nowait((UUID(row_id), State(state)))

    async def until(self, rows: Iterable[UUID], *wanted: State) -> None:
        """Wait until each of these rows is in one of these states; without any, until it has ended."""
        missing = {row for row in rows if self.states.get(row) not in (wanted or TERMINAL)}
        async with asyncio.timeout(PATIENCE_S):
            while missing:
                row, state = await self._news.get()
                self.states[row] = state
                if state in (wanted or TERMINAL):
                    missing.discard(row)


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Ear]:
    ear = Ear()
    connection = await database.listener()
    try:
        await connection.add_listener("wesgate_events", ear.hear)
        yield ear
    finally:
        await connection.close()
