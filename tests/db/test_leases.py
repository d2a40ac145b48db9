"""Claims and leases, on every kind of Postgres: who may work on a row, until when, and what a late writer can do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import a_task, become, execute, scalar
from wesgate.core.backend import Handle
from wesgate.core.decide import Phase, Submit
from wesgate.core.owner import Caller
from wesgate.core.report import TaskReport
from wesgate.core.spec import Kind
from wesgate.core.states import State
from wesgate.db import leases
from wesgate.db.leases import Claim, Outcome, Pause
from wesgate.db.session import Database


async def claim(database: Database, holder: str = "one", limit: int = 100) -> list[Claim]:
    async with database.transaction() as connection:
        return await leases.claim(connection, Kind.TASK, "fake", holder, limit)


async def expire(database: Database) -> None:
    await execute(database, "UPDATE tasks SET lease_until = now() - interval '1 ms' WHERE lease_until IS NOT NULL")


async def test_a_claimed_row_is_nobody_elses(any_database: Database, somebody: Caller) -> None:
    await a_task(any_database, somebody)
    assert len(await claim(any_database, "one")) == 1
    assert await claim(any_database, "two") == []


async def test_a_lease_that_ran_out_can_be_claimed(any_database: Database, somebody: Caller) -> None:
    await a_task(any_database, somebody)
    (first,) = await claim(any_database, "one")
    await expire(any_database)
    (second,) = await claim(any_database, "two")
    assert second.row.lease_epoch == first.row.lease_epoch + 1


async def test_two_who_claim_at_once_get_different_rows(any_database: Database, somebody: Caller) -> None:
    made = {await a_task(any_database, somebody) for _ in range(40)}
    batches = await asyncio.gather(*(claim(any_database, f"holder-{n}", limit=10) for n in range(8)))
    claimed = [item.row.id for batch in batches for item in batch]
    assert len(claimed) == len(set(claimed)) == 40
    assert set(claimed) == made


async def test_a_row_that_is_not_due_is_left_alone(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET due_at = now() + interval '1 min' WHERE id = :id", id=task)
    assert await claim(any_database) == []


@pytest.mark.parametrize("ahead", ["due_at = now() + interval '1 h'", "lease_until = now() + interval '1 h'"])
async def test_a_clock_that_was_set_back_keeps_no_row_waiting(
    any_database: Database, somebody: Caller, ahead: str
) -> None:
    task = await a_task(any_database, somebody)
    await execute(any_database, f"UPDATE tasks SET {ahead}")
    assert [item.row.id for item in await claim(any_database)] == [task]


async def test_the_longest_wait_comes_first(any_database: Database, somebody: Caller) -> None:
    late, early = await a_task(any_database, somebody), await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET due_at = now() - interval '1 h' WHERE id = :id", id=early)
    assert [item.row.id for item in await claim(any_database, limit=1)] == [early]
    assert [item.row.id for item in await claim(any_database, limit=1)] == [late]


async def test_another_backends_rows_are_left_alone(any_database: Database, somebody: Caller) -> None:
    await a_task(any_database, somebody, backend="another")
    assert await claim(any_database) == []


async def test_a_holder_whose_lease_moved_on_can_write_nothing(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    (stale,) = await claim(any_database, "one")
    await expire(any_database)
    await claim(any_database, "two")
    async with any_database.transaction() as connection:
        assert not await leases.submitting(connection, Kind.TASK, [(stale, Submit(1))])
        assert not await leases.submitted(connection, Kind.TASK, [(stale, Handle("job"))])
        assert not await leases.become(connection, Kind.TASK, [Outcome(stale, State.COMPLETE, "")])
        assert not await leases.wait(connection, Kind.TASK, [Pause(stale, stale.now)])
    assert await scalar(any_database, "SELECT state FROM tasks WHERE id = :id", id=task) == "QUEUED"
    assert await scalar(any_database, "SELECT count(*) FROM attempts") == 0


async def test_a_cancel_that_came_meanwhile_stands(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    (mine,) = await claim(any_database)
    await become(any_database, Kind.TASK, task, "CANCELING")
    async with any_database.transaction() as connection:
        assert not await leases.submitting(connection, Kind.TASK, [(mine, Submit(1))])
        assert not await leases.become(connection, Kind.TASK, [Outcome(mine, State.RUNNING, "")])


async def ended(database: Database, start_time: str | None, state: State = State.COMPLETE) -> Any:
    """End the only row: how many seconds it took, None if it never began."""
    (mine,) = await claim(database)
    async with database.transaction() as connection:
        report = TaskReport(start_time=start_time)
        assert await leases.become(connection, Kind.TASK, [Outcome(mine, state, "", report)])
    return await scalar(database, "SELECT extract(epoch FROM ended_at - started_at)::float8 FROM tasks")


async def test_what_was_over_between_two_looks_began_when_its_worker_says(
    any_database: Database, somebody: Caller
) -> None:
    await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET created_at = now() - interval '1 h'")
    began = datetime.now(UTC) - timedelta(minutes=5)
    assert 299 < await ended(any_database, began.isoformat()) < 330


@pytest.mark.parametrize(
    ("told", "most"), [("2099-01-01T00:00:00+00:00", 1), ("1999-01-01T00:00:00Z", 60), ("yesterday", 1), (None, 1)]
)
async def test_a_clock_that_is_wrong_moves_no_start_out_of_the_life_of_a_row(
    any_database: Database, somebody: Caller, told: str | None, most: float
) -> None:
    await a_task(any_database, somebody)
    assert 0 <= await ended(any_database, told) < most


async def test_who_canceled_it_is_told_to_the_end(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    await become(any_database, Kind.TASK, task, "CANCELING", "canceled by the caller")
    assert await ended(any_database, None, State.CANCELED) is None
    told = await any_database.fetch("SELECT state, detail FROM history ORDER BY id DESC LIMIT 1")
    assert tuple(told[0]) == ("CANCELED", "canceled by the caller")


async def test_phases_follow_what_was_committed(any_database: Database, somebody: Caller) -> None:
    await a_task(any_database, somebody)
    (planned,) = await claim(any_database)
    async with any_database.transaction() as connection:
        await leases.submitting(connection, Kind.TASK, [(planned, Submit(1))])
    await expire(any_database)
    (submitting,) = await claim(any_database)
    async with any_database.transaction() as connection:
        await leases.submitted(connection, Kind.TASK, [(submitting, Handle("job"))])
    await execute(any_database, "UPDATE tasks SET due_at = now()")
    (submitted,) = await claim(any_database)
    assert [item.row.phase for item in (planned, submitting, submitted)] == list(Phase)
    assert submitted.row.handle == "job"


async def test_a_wake_up_during_the_work_is_not_lost(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET due_at = now() - interval '1 s'")
    (mine,) = await claim(any_database)
    await execute(any_database, "UPDATE tasks SET due_at = now() WHERE id = :id", id=task)
    async with any_database.transaction() as connection:
        await leases.wait(connection, Kind.TASK, [Pause(mine, mine.now + timedelta(hours=1))])
    assert [item.row.id for item in await claim(any_database)] == [task]


async def test_a_row_with_news_is_claimed_before_it_is_due(any_database: Database, somebody: Caller) -> None:
    task, other = await a_task(any_database, somebody), await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET due_at = now() + interval '5 min'")
    async with any_database.statements() as connection:
        claims = await leases.claim(connection, Kind.TASK, "fake", "one", 100, [task, uuid4()])
    assert [claim.row.id for claim in claims] == [task]
    assert other not in {claim.row.id for claim in claims}


async def test_news_of_a_row_that_ended_is_no_news(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    await execute(any_database, "UPDATE tasks SET state = 'COMPLETE'")
    async with any_database.statements() as connection:
        assert await leases.claim(connection, Kind.TASK, "fake", "one", 100, [task]) == []


async def test_a_graceful_stop_gives_everything_back_at_once(any_database: Database, somebody: Caller) -> None:
    await a_task(any_database, somebody)
    await claim(any_database, "one")
    async with any_database.transaction() as connection:
        await leases.release(connection, Kind.TASK, "one")
    assert len(await claim(any_database, "two")) == 1


async def test_an_end_is_written_with_its_report_in_one_go(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    (mine,) = await claim(any_database)
    async with any_database.transaction() as connection:
        await leases.submitting(connection, Kind.TASK, [(mine, Submit(1))])
        end = Outcome(mine, State.COMPLETE, "", TaskReport())
        assert await leases.become(connection, Kind.TASK, [end]) == {task}
    whole = "SELECT ended_at IS NOT NULL AND lease_holder IS NULL AND due_at IS NULL FROM tasks WHERE id = :id"
    assert await scalar(any_database, whole, id=task)
    assert await scalar(any_database, "SELECT report->>'outputs' FROM attempts WHERE row_id = :id", id=task) == "[]"
