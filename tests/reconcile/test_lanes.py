"""Heads and the tasks that they wait for have lanes of their own: however many heads there are, their tasks run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.builders import a_new_task, scalar
from tests.reconcile.loops import charge, listening, running
from wesgate.core.backend import Observation
from wesgate.core.owner import Caller
from wesgate.core.spec import Lane, attempt_key
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.db.slots import Capacity
from wesgate.reconcile.service import Reconciler
from wesgate.testing import FakeExecutor, Seen

HEADS = 200
SLOTS = {Lane.TASK: Capacity(cpu_cores=2), Lane.HEAD: Capacity(jobs=HEADS)}


def life(claim: Any) -> Seen:
    """A head runs until it is told that its tasks have ended; a task ends by itself."""
    return Observation(State.RUNNING if claim.lane == Lane.HEAD else State.COMPLETE)


async def queued(database: Database, caller: Caller, lane: Lane, **more: Any) -> list[UUID]:
    return [await tasks.create(database, caller, a_new_task(lane=lane, **more)) for _ in range(HEADS)]


async def test_two_hundred_heads_never_starve_the_tasks_they_wait_for(database: Database, caller: Caller) -> None:
    backend = FakeExecutor(life=life)
    loops = Reconciler(database, [replace(charge(backend), capacities=SLOTS)], None)
    async with listening(database) as ear, running(loops):
        heads = await queued(database, caller, Lane.HEAD)
        await ear.until(heads, State.RUNNING)
        waited_for = await queued(database, caller, Lane.TASK, cpu_cores=0.1)
        await ear.until(waited_for, State.COMPLETE)
        assert await scalar(database, "SELECT count(*) FROM tasks WHERE state = 'RUNNING'") == HEADS
        for head in heads:
            backend.world.finish(attempt_key(head, 1), State.COMPLETE)
        await ear.until(heads, State.COMPLETE)
