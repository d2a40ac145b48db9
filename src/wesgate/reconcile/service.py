"""Runs the loops: one for each kind and backend, woken when something is due, stopped without leaving a lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import asyncpg

from wesgate.core.errors import Unavailable
from wesgate.core.spec import Kind
from wesgate.db import leases
from wesgate.db.session import Database
from wesgate.reconcile.kernel import BATCH, Charge, sweep
from wesgate.reconcile.presence import Presence, new_name

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0
"""How long a loop rests when nothing is due and nobody wakes it."""
SHORTEST_SLEEP_S = 0.02


class Reconciler:
    """All loops of one process. Any number of them, in any number of processes, may share a database."""

    def __init__(self, database: Database, charges: Sequence[Charge], wake_dir: Path | None) -> None:
        self.database = database
        self.charges = charges
        self.holder = new_name()
        self._wakes = {charge: asyncio.Event() for charge in map(_name, charges)}
        self.up = asyncio.Event()
        self._stop = asyncio.Event()
        self._wake_dir = wake_dir

    def stop(self) -> None:
        """Finish the pass at hand, give the leases back, and return from `run`."""
        self._stop.set()
        for event in self._wakes.values():
            event.set()

    async def run(self) -> None:
        """Serve until stopped."""
        async with AsyncExitStack() as stack:
            if self._wake_dir is not None:
                presence = stack.enter_context(Presence(self._wake_dir, self.holder, self._woken_by_worker))
                for name in presence.gone():
                    await self._release(name)
            try:
                async with asyncio.TaskGroup() as group:
                    ears = group.create_task(self._listen())
                    loops = [group.create_task(self._serve(charge)) for charge in self.charges]
                    self.up.set()
                    await asyncio.wait(loops)
                    ears.cancel()
            finally:
                await self._release(self.holder)

    async def _serve(self, charge: Charge) -> None:
        event = self._wakes[_name(charge)]
        failures = 0
        while not self._stop.is_set():
            event.clear()
            try:
                count = await sweep(charge, self.database, self.holder)
                rest = SHORTEST_SLEEP_S if count == BATCH else await self._rest(charge)
                failures = 0
            except (Unavailable, TimeoutError) as error:
                failures += 1
                rest = min(LONGEST_SLEEP_S, 0.5 * 2.0 ** min(failures, 6))
                log.warning("reconcile.paused", extra={"backend": charge.name, "error": str(error), "seconds": rest})
                await asyncio.sleep(min(rest, 0.5))  # wake-ups must not make a storm of a fault
            except Exception:
                failures += 1
                rest = min(LONGEST_SLEEP_S, 2.0 ** min(failures, 5))
                log.exception("reconcile.fault", extra={"backend": charge.name})
                await asyncio.sleep(min(rest, 1.0))
            await _wait(event, rest)

    async def _rest(self, charge: Charge) -> float:
        async with self.database.transaction() as connection:
            seconds = await leases.next_due(connection, charge.kind, charge.name)
        return min(LONGEST_SLEEP_S, max(SHORTEST_SLEEP_S, LONGEST_SLEEP_S if seconds is None else seconds))

    async def _listen(self) -> None:
        """Hear the database say that something is due. Nothing depends on it: the loops look by themselves."""
        while not self._stop.is_set():
            try:
                await self._hear()
            except (Unavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                log.warning("reconcile.deaf", extra={"holder": self.holder})
            await asyncio.sleep(1)

    async def _hear(self) -> None:
        connection = await self.database.listener()
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            await connection.add_listener("wesgate_due", self._told)
            self._wake_all()
            await gone.wait()
        finally:
            await connection.close(timeout=2)

    def _told(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        kind, _, row_id = payload.partition(" ")
        if row_id:
            self._soon(Kind(kind), UUID(row_id))
        self._wake_kind(Kind(kind))

    def _woken_by_worker(self, key: str) -> None:
        """A worker's push: `wg-<row id>-<attempt>`."""
        _, row_id, _ = key.split("-")
        self._soon(Kind.TASK, UUID(hex=row_id))

    def _soon(self, kind: Kind, row_id: UUID) -> None:
        wake = asyncio.get_running_loop().create_task(self._wake_row(kind, row_id))
        wake.add_done_callback(lambda _: self._wake_kind(kind))

    async def _wake_row(self, kind: Kind, row_id: UUID) -> None:
        try:
            async with self.database.transaction() as connection:
                await leases.wake(connection, kind, [row_id])
        except Unavailable:
            log.warning("reconcile.deaf", extra={"holder": self.holder})

    def _wake_kind(self, kind: Kind) -> None:
        for (of_kind, _), event in self._wakes.items():
            if of_kind is kind:
                event.set()

    def _wake_all(self) -> None:
        for event in self._wakes.values():
            event.set()

    async def _release(self, holder: str) -> None:
        try:
            for kind in {charge.kind for charge in self.charges}:
                async with self.database.transaction() as connection:
                    await leases.release(connection, kind, holder)
        except Unavailable:
            log.warning("reconcile.leases_left", extra={"holder": holder})


def _name(charge: Charge) -> tuple[Kind, str]:
    return charge.kind, charge.name


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
