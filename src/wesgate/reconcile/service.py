"""Runs the loops: one for each kind and backend, woken when something is due, stopped without leaving a lease."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Protocol
from uuid import UUID

import asyncpg

from wesgate.core.errors import Unavailable
from wesgate.core.spec import Kind
from wesgate.db import leases
from wesgate.db.session import Database
from wesgate.reconcile.kernel import BATCH, Charge, sweep
from wesgate.reconcile.orphans import remove_orphans
from wesgate.reconcile.presence import Presence, new_name

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0
"""How long a loop rests when nothing is due and nobody wakes it."""
SHORTEST_SLEEP_S = 0.02
ADMIT_EVERY_S = 1.0
"""A loop may be deaf to the database without knowing it: when it is awake it looks for free slots so often anyway. Not
each time: with many tasks in line, such a look takes longer than the jobs that it woke up for."""
TIDY_EVERY_S = 6 * 3600.0


class Signal:
    """What wakes one loop: news of a row, or that anything may be due and any slot free."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._news: set[UUID] = set()
        self._admit = True
        self._admitted = 0.0

    def tell(self, row_id: UUID) -> None:
        """There is news of this row."""
        self._news.add(row_id)
        self.woken.set()

    def wake(self) -> None:
        """Look at everything."""
        self._admit = True
        self.woken.set()

    def heard(self) -> tuple[frozenset[UUID], bool]:
        """The rows of which there is news, and whether slots may be free; from here on it counts anew."""
        now = time.monotonic()
        admit = self._admit or now - self._admitted >= ADMIT_EVERY_S
        heard = frozenset(self._news), admit
        self._admitted = now if admit else self._admitted
        self.woken.clear()
        self._news.clear()
        self._admit = False
        return heard

    def keep(self, news: Collection[UUID]) -> None:
        """What was heard came to nothing: it counts at the next look, too."""
        self._news.update(news)
        self._admit = True

    async def wait(self, seconds: float) -> None:
        """Until woken, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.woken.wait()


class Chore(Protocol):
    """What is done beside the loops. `channel` is where the database says that there is something to do; empty where it
    does not."""

    channel: str

    async def run(self) -> None:
        """Serve until stopped."""

    def wake(self) -> None:
        """There may be something to do."""

    def stop(self) -> None:
        """Return from `run` soon."""


class Reconciler:
    """All loops of one process, and the chores beside them. Any number of them, in any number of processes, may share
    a database."""

    def __init__(
        self,
        database: Database,
        charges: Sequence[Charge],
        wake_dir: Path | None,
        files: Path | None = None,
        chores: Sequence[Chore] = (),
    ) -> None:
        self.database = database
        self.charges = charges
        self.holder = new_name()
        self._signals = {_name(charge): Signal() for charge in charges}
        self.up = asyncio.Event()
        self._stop = asyncio.Event()
        self._wake_dir = wake_dir
        self._files = files
        self._chores = chores

    def stop(self) -> None:
        """Finish the pass at hand, give the leases back, and return from `run`."""
        self._stop.set()
        for chore in self._chores:
            chore.stop()
        self._wake_all()

    async def run(self) -> None:
        """Serve until stopped."""
        async with AsyncExitStack() as stack:
            if self._wake_dir is not None:
                presence = stack.enter_context(Presence(self._wake_dir, self.holder, self._woken_by_worker))
                for name in presence.gone():
                    await self._release(name)
            try:
                async with asyncio.TaskGroup() as group:
                    ears = [group.create_task(self._listen()), group.create_task(self._tidy())]
                    loops = [group.create_task(self._serve(charge)) for charge in self.charges]
                    loops += [group.create_task(chore.run()) for chore in self._chores]
                    self.up.set()
                    await asyncio.wait(loops)
                    for ear in ears:
                        ear.cancel()
            finally:
                await self._release(self.holder)

    async def _serve(self, charge: Charge) -> None:
        signal = self._signals[_name(charge)]
        failures = 0
        while not self._stop.is_set():
            news, admit = signal.heard()
            try:
                count = await sweep(charge, self.database, self.holder, news, admit=admit)
                rest = SHORTEST_SLEEP_S if count == BATCH or signal.woken.is_set() else await self._rest(charge)
                failures = 0
            except (Unavailable, TimeoutError) as error:
                failures += 1
                signal.keep(news)
                rest = min(LONGEST_SLEEP_S, 0.5 * 2.0 ** min(failures, 6))
                log.warning("reconcile.paused", extra={"backend": charge.name, "error": str(error), "seconds": rest})
                await asyncio.sleep(min(rest, 0.5))  # wake-ups must not make a storm of a fault
            except Exception:
                failures += 1
                signal.keep(news)
                rest = min(LONGEST_SLEEP_S, 2.0 ** min(failures, 5))
                log.exception("reconcile.fault", extra={"backend": charge.name})
                await asyncio.sleep(min(rest, 1.0))
            await signal.wait(rest)

    async def _rest(self, charge: Charge) -> float:
        async with self.database.statements() as connection:
            seconds = await leases.next_due(connection, charge.kind, charge.name)
        return min(LONGEST_SLEEP_S, max(SHORTEST_SLEEP_S, LONGEST_SLEEP_S if seconds is None else seconds))

    async def _tidy(self) -> None:
        """Remove what crashes left, now and then."""
        while self._files is not None:
            try:
                await remove_orphans(self.database, self._files)
            except (Unavailable, OSError) as error:
                log.warning("reconcile.untidy", extra={"error": str(error)})
            await asyncio.sleep(TIDY_EVERY_S)

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
            for chore in self._chores:
                if chore.channel:
                    await connection.add_listener(chore.channel, lambda *_, wake=chore.wake: wake())
            self._wake_all()
            await gone.wait()
        finally:
            await connection.close(timeout=2)

    def _told(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        kind, _, row_id = payload.partition(" ")
        if row_id:
            self._soon(Kind(kind), UUID(row_id))
        else:
            self._wake_kind(Kind(kind))

    def _woken_by_worker(self, key: str) -> None:
        """A worker's push: `wg-<row id>-<attempt>`."""
        _, row_id, _ = key.split("-")
        self._soon(Kind.TASK, UUID(hex=row_id))

    def _soon(self, kind: Kind, row_id: UUID) -> None:
        for (of_kind, _), signal in self._signals.items():
            if of_kind is kind:
                signal.tell(row_id)

    def _wake_kind(self, kind: Kind) -> None:
        for (of_kind, _), signal in self._signals.items():
            if of_kind is kind:
                signal.wake()

    def _wake_all(self) -> None:
        for chore in self._chores:
            chore.wake()
        for signal in self._signals.values():
            signal.wake()

    async def _release(self, holder: str) -> None:
        try:
            for kind in {charge.kind for charge in self.charges}:
                async with self.database.statements() as connection:
                    await leases.release(connection, kind, holder)
        except Unavailable:
            log.warning("reconcile.leases_left", extra={"holder": holder})


def _name(charge: Charge) -> tuple[Kind, str]:
    return charge.kind, charge.name
