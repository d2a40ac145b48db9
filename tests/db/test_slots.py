"""Slots: a machine is not overrun, and no owner's long line delays another's first task."""

from __future__ import annotations

import asyncio
from uuid import UUID

from tests.builders import a_new_task, become, execute, scalar
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind, Lane, Policy
from wesgate.db import owners, slots, tasks
from wesgate.db.session import Database
from wesgate.db.slots import Capacity
from wesgate.ga4gh.parameters import Terms


async def queue(database: Database, subject: str, count: int, **changes: object) -> list[UUID]:
    who = Caller(await owners.ensure(database, "test", subject))
    return [await tasks.create(database, who, a_new_task(**changes)) for _ in range(count)]


async def admit(database: Database, capacity: Capacity, lane: Lane = Lane.TASK) -> int:
    async with database.statements() as connection:
        return await slots.admit(connection, "fake", lane, capacity)


async def admitted(database: Database) -> set[UUID]:
    rows = await database.fetch("SELECT id FROM tasks WHERE admitted_at IS NOT NULL")
    return {row["id"] for row in rows}


async def test_as_many_cores_are_given_as_there_are(any_database: Database) -> None:
    await queue(any_database, "a", 10, cpu_cores=2.0)
    assert await admit(any_database, Capacity(cpu_cores=7)) == 3
    assert await admit(any_database, Capacity(cpu_cores=7)) == 0


async def test_memory_is_counted_too(any_database: Database) -> None:
    await queue(any_database, "a", 10, ram_gb=3.0)
    assert await admit(any_database, Capacity(cpu_cores=100, ram_gb=10)) == 3


async def test_an_ended_task_makes_room(any_database: Database) -> None:
    await queue(any_database, "a", 3)
    assert await admit(any_database, Capacity(jobs=2)) == 2
    await execute(any_database, "UPDATE tasks SET state = 'COMPLETE' WHERE admitted_at IS NOT NULL")
    assert await admit(any_database, Capacity(jobs=2)) == 1


async def test_a_long_line_is_planned_for_as_it_is(any_database: Database) -> None:
    await queue(any_database, "a", 1)
    setting = "SELECT proconfig FROM pg_proc WHERE proname = 'wesgate_admit' AND pronargs = 7"
    # With a plan for any line, each call takes a hundred times as long once a thousand wait.
    assert await scalar(any_database, setting) == ["plan_cache_mode=force_custom_plan"]
    assert await admit(any_database, Capacity(gpus=0)) == 1


async def test_gpus_are_counted_too(any_database: Database) -> None:
    for gpus in (2, 1, 1):
        await queue(any_database, "a", 1, terms=Terms(Policy(gpus=gpus)))
    assert await admit(any_database, Capacity(gpus=3)) == 2


async def test_a_task_larger_than_the_machine_gets_it_to_itself(any_database: Database) -> None:
    (large,) = await queue(any_database, "a", 1, cpu_cores=64.0)
    await queue(any_database, "a", 1)
    assert await admit(any_database, Capacity(cpu_cores=2)) == 1
    assert await admitted(any_database) == {large}


async def test_small_tasks_do_not_overtake_a_large_one_for_ever(any_database: Database) -> None:
    await queue(any_database, "a", 1, cpu_cores=1.0)
    await admit(any_database, Capacity(cpu_cores=2))
    await queue(any_database, "a", 1, cpu_cores=2.0)
    await queue(any_database, "a", 1, cpu_cores=1.0)
    assert await admit(any_database, Capacity(cpu_cores=2)) == 0


async def test_one_owners_long_line_does_not_delay_anothers_first_task(any_database: Database) -> None:
    await queue(any_database, "busy", 50)
    (other,) = await queue(any_database, "other", 1)
    await admit(any_database, Capacity(jobs=2))
    assert other in await admitted(any_database)


async def test_slots_are_shared_evenly_between_owners(any_database: Database) -> None:
    lines = [await queue(any_database, name, 20) for name in ("a", "b", "c")]
    await admit(any_database, Capacity(jobs=9))
    got = await admitted(any_database)
    assert [len(got & set(line)) for line in lines] == [3, 3, 3]


async def test_each_owners_oldest_come_first(any_database: Database) -> None:
    line = await queue(any_database, "a", 5)
    await admit(any_database, Capacity(jobs=2))
    assert await admitted(any_database) == set(line[:2])


async def test_no_slot_is_given_twice_by_two_at_once(any_database: Database) -> None:
    await queue(any_database, "a", 30)
    given = await asyncio.gather(*(admit(any_database, Capacity(jobs=7)) for _ in range(6)))
    assert sum(given) == 7


async def test_heads_do_not_take_the_slots_of_tasks(any_database: Database) -> None:
    await queue(any_database, "a", 200, lane=Lane.HEAD)
    await queue(any_database, "a", 2)
    assert await admit(any_database, Capacity(jobs=200), Lane.HEAD) == 200
    assert await admit(any_database, Capacity(cpu_cores=2)) == 2


async def test_a_canceled_task_does_not_wait_for_a_slot(any_database: Database) -> None:
    (task,) = await queue(any_database, "a", 1)
    await become(any_database, Kind.TASK, task, "CANCELING")
    assert await admit(any_database, Capacity()) == 0
    assert await scalar(any_database, "SELECT due_at <= now() FROM tasks WHERE id = :id", id=task)


async def test_whoever_holds_least_gets_the_next_slot(any_database: Database) -> None:
    busy = await queue(any_database, "busy", 5)
    await admit(any_database, Capacity(jobs=4))
    (other,) = await queue(any_database, "other", 1)
    assert await admit(any_database, Capacity(jobs=5)) == 1
    assert await admitted(any_database) == {*busy[:4], other}


async def test_another_executors_tasks_take_no_slots_here(any_database: Database) -> None:
    elsewhere = await queue(any_database, "a", 3, backend="other")
    (here,) = await queue(any_database, "a", 1)
    await execute(any_database, "UPDATE tasks SET admitted_at = now() WHERE backend = 'other'")
    assert await admit(any_database, Capacity(jobs=1)) == 1
    assert await admitted(any_database) == {*elsewhere, here}


async def test_tenths_of_a_core_add_up(any_database: Database) -> None:
    await queue(any_database, "a", 4, cpu_cores=0.1)
    assert await admit(any_database, Capacity(cpu_cores=0.3)) == 3


async def test_a_task_that_wants_more_memory_than_there_is_gets_all_of_it(any_database: Database) -> None:
    (large,) = await queue(any_database, "a", 1, ram_gb=1000.0)
    await queue(any_database, "a", 1, ram_gb=1.0)
    assert await admit(any_database, Capacity(ram_gb=8)) == 1
    assert await admitted(any_database) == {large}


async def test_a_line_longer_than_one_pass_is_served_in_the_next(any_database: Database) -> None:
    line = [*await queue(any_database, "a", 120), *await queue(any_database, "b", 110)]
    assert [await admit(any_database, Capacity(jobs=1000)) for _ in range(2)] == [200, 30]
    assert await admitted(any_database) == set(line)
