"""Reconcilers as they run: woken at once, several on one database, stopped without a trace, disturbed by no backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.builders import a_new_task, a_task, execute, scalar
from tests.reconcile.loops import PATIENCE_S, charge, listening, running
from tests.reconcile.test_presence import killed
from wesgate.core.backend import Handle, Observation
from wesgate.core.owner import Caller
from wesgate.core.spec import Lane, attempt_key
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.db.slots import Capacity
from wesgate.reconcile import service
from wesgate.reconcile.kernel import Charge
from wesgate.reconcile.service import LONGEST_SLEEP_S, Reconciler, Signal
from wesgate.testing import FakeExecutor, Seen, SlowExecutor, World
from wesgate.worker.wake import wake

LEASED = "SELECT count(*) FROM tasks WHERE lease_holder IS NOT NULL"


def ends_at_once(_spec: object) -> Seen:
    return Observation(State.COMPLETE)


def with_slots(backend: FakeExecutor, cores: float) -> Charge:
    plain = charge(backend)
    return Charge(plain.kind, plain.name, backend, plain.spec_of, {Lane.TASK: Capacity(cpu_cores=cores)})


async def test_a_new_task_is_taken_up_without_waiting_for_the_sleep(database: Database, caller: Caller) -> None:
    assert PATIENCE_S < LONGEST_SLEEP_S / 2
    loops = Reconciler(database, [with_slots(FakeExecutor(life=ends_at_once), 1)], None)
    async with listening(database) as ear, running(loops):
        for _ in range(3):  # from the second on, the loop has gone to sleep before
            await ear.until([await tasks.create(database, caller, a_new_task())], State.COMPLETE)


async def test_a_cancel_is_taken_up_without_waiting_for_the_next_look(database: Database, caller: Caller) -> None:
    task, backend = await a_task(database, caller), FakeExecutor()
    async with listening(database) as ear, running(Reconciler(database, [charge(backend)], None)):
        await ear.until([task], State.RUNNING)
        await execute(database, "UPDATE tasks SET due_at = now() + interval '5 min'")
        await tasks.cancel(database, caller, task)
        await ear.until([task], State.CANCELED)
    assert ("canceled", attempt_key(task, 1)) in backend.world.ledger


async def test_several_at_once_submit_each_task_once(any_database: Database, somebody: Caller) -> None:
    world = World()
    loops = [Reconciler(any_database, [with_slots(FakeExecutor(world, ends_at_once), 20)], None) for _ in range(3)]
    async with listening(any_database) as ear, running(*loops):
        made = [await tasks.create(any_database, somebody, a_new_task()) for _ in range(60)]
        await ear.until(made, State.COMPLETE)
    keys = sorted(attempt_key(task, 1) for task in made)
    assert sorted(key for verb, key in world.calls if verb == "submit") == keys
    assert await scalar(any_database, "SELECT count(*) FROM history WHERE state = 'COMPLETE'") == 60
    assert await scalar(any_database, LEASED) == 0


async def test_a_stop_finishes_the_pass_at_hand(database: Database, caller: Caller) -> None:
    await a_task(database, caller)
    backend = SlowExecutor()
    loops = Reconciler(database, [charge(backend)], None)
    async with running(loops):
        await backend.waiting.wait()
        assert await scalar(database, LEASED) == 1
        loops.stop()
        backend.gate.set()
    assert await scalar(database, "SELECT count(*) FROM attempts WHERE handle IS NOT NULL") == 1
    assert await scalar(database, LEASED) == 0


async def test_one_that_is_broken_off_gives_its_leases_back(database: Database, caller: Caller) -> None:
    await a_task(database, caller)
    backend = SlowExecutor()
    serving = asyncio.create_task(Reconciler(database, [charge(backend)], None).run())
    await backend.waiting.wait()
    assert await scalar(database, LEASED) == 1
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert await scalar(database, LEASED) == 0


class Raising(FakeExecutor):
    """Fails at every call, with an error of no kind that is foreseen."""

    async def submit(self, key: str, spec: object) -> Handle:
        raise RuntimeError("a fault of this backend's own")


class Senseless(FakeExecutor):
    """Answers what no backend may."""

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        await super().poll(handles)
        return None  # type: ignore[return-value]  # that is the point


@pytest.mark.parametrize("broken", [Raising(), Senseless()])
async def test_a_broken_backend_disturbs_no_other(database: Database, caller: Caller, broken: FakeExecutor) -> None:
    hopeless = await a_task(database, caller, backend="broken")
    loops = Reconciler(database, [charge(broken, "broken"), with_slots(FakeExecutor(life=ends_at_once), 1)], None)
    async with listening(database) as ear, running(loops):
        for _ in range(2):
            await ear.until([await tasks.create(database, caller, a_new_task())], State.COMPLETE)
    assert await scalar(database, "SELECT ended_at IS NULL FROM tasks WHERE id = :id", id=hopeless)
    assert await scalar(database, LEASED) == 0


async def test_an_outage_of_the_database_is_outlived(database: Database, caller: Caller) -> None:
    backend, deaf = FakeExecutor(life=ends_at_once), asyncio.Event()
    async with running(Reconciler(database, [with_slots(backend, 1)], None)):
        async with listening(database) as ear:
            await ear.until([await tasks.create(database, caller, a_new_task())], State.COMPLETE)
        with told("reconcile.deaf", deaf):
            await answer(database, allowed=False)
            await deaf.wait()
        await answer(database, allowed=True)
        async with listening(database) as ear:
            await ear.until([await tasks.create(database, caller, a_new_task())], State.COMPLETE)


async def answer(database: Database, *, allowed: bool) -> None:
    """Whether this database answers; those who are connected lose it."""
    name = database.url.database
    admin = await asyncpg.connect(
        database.url.set(drivername="postgresql", database="postgres").render_as_string(False)
    )
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await admin.close()


@contextmanager
def told(word: str, event: asyncio.Event) -> Iterator[None]:
    """Set the event once operators are told this."""

    def hear(record: logging.LogRecord) -> bool:
        if record.msg == word:
            event.set()
        return True

    log = logging.getLogger("wesgate.reconcile.service")
    log.addFilter(hear)
    yield
    log.removeFilter(hear)


async def test_a_killed_ones_leases_are_given_back_by_the_next(
    database: Database, caller: Caller, short_tmp: Path
) -> None:
    wake_dir = short_tmp / uuid4().hex[:8]
    dead, task = await killed(wake_dir), await a_task(database, caller)
    taken = "UPDATE tasks SET lease_holder = :dead, lease_until = now() + interval '50 s', lease_epoch = 1"
    await execute(database, taken, dead=dead)
    loops = Reconciler(database, [charge(FakeExecutor(life=ends_at_once))], wake_dir)
    async with listening(database) as ear, running(loops):
        await ear.until([task], State.COMPLETE)
    assert list(wake_dir.iterdir()) == []


async def test_a_busy_loop_looks_for_free_slots_though_it_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = Signal()
    assert [signal.heard()[1], signal.heard()[1]] == [True, False]
    monkeypatch.setattr(service, "ADMIT_EVERY_S", 0.0)
    assert signal.heard()[1]


async def test_a_job_that_is_looked_at_in_time_does_not_make_its_loop_look_for_slots() -> None:
    signal = Signal()
    assert signal.heard()[1]
    await signal.wait(0.001)
    assert not signal.heard()[1]


async def test_a_workers_push_is_looked_at_at_once(database: Database, caller: Caller, short_tmp: Path) -> None:
    wake_dir, world = short_tmp / uuid4().hex[:8], World()
    task = await a_task(database, caller)
    loops = Reconciler(database, [charge(FakeExecutor(world))], wake_dir)
    async with listening(database) as ear, running(loops):
        await ear.until([task], State.RUNNING)
        await execute(database, "UPDATE tasks SET due_at = now() + interval '5 min'")
        world.finish(attempt_key(task, 1), State.COMPLETE)
        wake(str(wake_dir), attempt_key(task, 1))
        await ear.until([task], State.COMPLETE)
