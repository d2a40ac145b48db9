"""The kernel on real Postgres with backends that misbehave: nothing is lost, nothing is started twice."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.builders import a_new_task, a_task, execute, scalar
from wesgate.core import failpoints
from wesgate.core.backend import Handle, Observation
from wesgate.core.errors import Permanent
from wesgate.core.failpoints import FailpointRaised
from wesgate.core.owner import Caller
from wesgate.core.report import StepLog, TaskReport
from wesgate.core.spec import Kind, Lane, attempt_key
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.db.slots import Capacity
from wesgate.reconcile import kernel
from wesgate.reconcile.kernel import Charge, sweep
from wesgate.testing import FakeExecutor, FlakyExecutor, ForgetfulExecutor, LyingExecutor, SlowExecutor, World


def charge(backend: FakeExecutor, **more: Any) -> Charge:
    return Charge(Kind.TASK, "fake", backend, lambda claim: claim.row.document, **more)


async def pass_over(database: Database, backend: FakeExecutor, passes: int = 1) -> None:
    """So many passes, each with every row due."""
    for _ in range(passes):
        await execute(database, "UPDATE tasks SET due_at = now() WHERE due_at IS NOT NULL")
        await sweep(charge(backend), database, "test")


async def state(database: Database, task: UUID) -> str:
    return str(await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=task))


async def detail(database: Database, task: UUID) -> str:
    return str(await scalar(database, "SELECT detail FROM tasks WHERE id = :id", id=task))


async def test_a_task_is_submitted_looked_at_and_ended(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FakeExecutor()
    await pass_over(any_database, backend, 2)
    assert await state(any_database, task) == "RUNNING"
    backend.world.finish(attempt_key(task, 1), State.COMPLETE)
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "COMPLETE"
    assert backend.world.started(attempt_key(task, 1)) == 1


async def test_many_jobs_are_looked_at_in_one_call(any_database: Database, somebody: Caller) -> None:
    for _ in range(20):
        await a_task(any_database, somebody)
    backend = FakeExecutor()
    await pass_over(any_database, backend)
    backend.world.calls.clear()
    await pass_over(any_database, backend)
    assert len(backend.world.calls) == 1


DYING = ["reconcile-claimed", "reconcile-submitting", "reconcile-called", "reconcile-submitted", "reconcile-polled",
         "reconcile-become"]  # fmt: skip


@pytest.mark.parametrize("name", DYING)
async def test_a_process_that_dies_anywhere_starts_nothing_twice(
    any_database: Database, somebody: Caller, name: str
) -> None:
    task, world = await a_task(any_database, somebody), World()
    failpoints.arm(f"{name}=raise")
    with pytest.raises((FailpointRaised, ExceptionGroup)):
        await pass_over(any_database, FakeExecutor(world), 5)
    failpoints.arm("")
    await execute(any_database, "UPDATE tasks SET lease_until = now() - interval '1 s'")  # the lease ran out
    await pass_over(any_database, FakeExecutor(world), 2)
    world.finish(attempt_key(task, 1), State.COMPLETE)
    await pass_over(any_database, FakeExecutor(world), 2)
    assert await state(any_database, task) == "COMPLETE"
    assert world.started(attempt_key(task, 1)) == 1


async def test_a_submit_whose_answer_was_lost_is_adopted(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FlakyExecutor(failures=1, accepts=True)
    await pass_over(any_database, backend, 3)
    assert await state(any_database, task) == "RUNNING"
    assert backend.world.started(attempt_key(task, 1)) == 1
    assert ("find", attempt_key(task, 1)) in backend.world.calls


async def test_a_backend_that_is_away_is_tried_again_with_the_reason_shown(
    any_database: Database, somebody: Caller
) -> None:
    task, backend = await a_task(any_database, somebody), FlakyExecutor(failures=1)
    await pass_over(any_database, backend)
    assert (await detail(any_database, task)).startswith("waiting to try again: ")
    assert await scalar(any_database, "SELECT due_at > now() AND failures = 1 FROM tasks WHERE id = :id", id=task)
    await pass_over(any_database, backend, 2)
    assert await state(any_database, task) == "RUNNING"


async def test_a_job_that_is_missing_once_is_not_lost(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), ForgetfulExecutor(misses=1)
    await pass_over(any_database, backend, 3)
    assert await state(any_database, task) == "RUNNING"


async def test_a_job_that_stays_missing_ends_in_a_system_error(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), ForgetfulExecutor()
    await pass_over(any_database, backend, 2)
    await execute(any_database, "UPDATE tasks SET missing_since = now() - interval '2 min'")
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "SYSTEM_ERROR"
    assert await detail(any_database, task) == "the backend has no trace of the job"


async def test_a_lost_job_is_cleared_away_before_its_next_attempt(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody, max_attempts=2), FakeExecutor()
    await pass_over(any_database, backend, 2)
    backend.world.finish(attempt_key(task, 1), State.SYSTEM_ERROR, "its worker was killed", infrastructure=True)
    await pass_over(any_database, backend, 2)
    first, second = attempt_key(task, 1), attempt_key(task, 2)
    assert backend.world.ledger[-1] == ("started", second)
    assert backend.world.calls.index(("cancel", first)) < backend.world.calls.index(("submit", second))
    assert await state(any_database, task) == "RUNNING"


async def test_every_lost_attempt_keeps_a_log_of_its_own(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody, max_attempts=2), FakeExecutor()
    await pass_over(any_database, backend, 2)
    backend.world.finish(attempt_key(task, 1), State.SYSTEM_ERROR, "its worker was killed", infrastructure=True)
    await pass_over(any_database, backend, 2)
    backend.world.finish(attempt_key(task, 2), State.COMPLETE)
    await pass_over(any_database, backend)
    first, second = (await tasks.get(any_database, somebody, task)).reports
    assert first is not None
    assert first["system_logs"] == ["its worker was killed"]
    assert second is not None
    assert second["system_logs"] == []


async def test_a_preempted_job_is_tried_again_as_often_as_its_task_may_be(
    any_database: Database, somebody: Caller
) -> None:
    task, backend = await a_task(any_database, somebody, max_preemptions=1), FakeExecutor()
    await pass_over(any_database, backend, 2)
    backend.world.finish(attempt_key(task, 1), State.PREEMPTED)
    await pass_over(any_database, backend, 2)
    assert await state(any_database, task) == "RUNNING"
    assert await scalar(any_database, "SELECT preemptions FROM tasks WHERE id = :id", id=task) == 1
    backend.world.finish(attempt_key(task, 2), State.PREEMPTED)
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "PREEMPTED"
    assert backend.world.started(attempt_key(task, 1)) == backend.world.started(attempt_key(task, 2)) == 1


async def test_canceling_before_the_submit_submits_nothing(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FakeExecutor()
    await tasks.cancel(any_database, somebody, task)
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "CANCELED"
    assert backend.world.ledger == []


async def test_a_canceled_job_is_stopped_before_its_row_says_so(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FakeExecutor()
    await pass_over(any_database, backend, 2)
    await tasks.cancel(any_database, somebody, task)
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "CANCELING"
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "CANCELED"
    assert ("canceled", attempt_key(task, 1)) in backend.world.ledger


async def test_a_job_found_while_canceling_is_stopped_too(any_database: Database, somebody: Caller) -> None:
    task, world = await a_task(any_database, somebody), World()
    failpoints.arm("reconcile-called=raise")
    with pytest.raises(FailpointRaised):
        await pass_over(any_database, FakeExecutor(world))
    failpoints.arm("")
    await tasks.cancel(any_database, somebody, task)
    await pass_over(any_database, FakeExecutor(world), 3)
    assert await state(any_database, task) == "CANCELED"
    assert ("canceled", attempt_key(task, 1)) in world.ledger


async def test_a_row_that_cannot_be_read_ends_alone(any_database: Database, somebody: Caller) -> None:
    poison = await a_task(any_database, somebody, document={"name": "poison", "executors": []})
    healthy = await a_task(any_database, somebody)

    def spec_of(claim: Any) -> Any:
        return claim.row.document["executors"][0]

    backend = FakeExecutor()
    await sweep(Charge(Kind.TASK, "fake", backend, spec_of), any_database, "test")
    assert backend.world.started(attempt_key(healthy, 1)) == 1
    assert await state(any_database, poison) == "SYSTEM_ERROR"
    assert await detail(any_database, poison) == "a fault of this service: IndexError in the stored document"


async def test_a_call_that_hangs_is_given_up_in_time(
    any_database: Database, somebody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "CALL_TIMEOUT_S", 0.1)
    task = await a_task(any_database, somebody)
    await pass_over(any_database, SlowExecutor())
    assert "did not answer submit" in await detail(any_database, task)


async def test_what_is_settled_is_written_however_many_calls_hang(
    any_database: Database, somebody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, done = FakeExecutor(), await a_task(any_database, somebody)
    await pass_over(any_database, backend, 2)
    backend.world.finish(attempt_key(done, 1), State.COMPLETE)
    hanging = [await a_task(any_database, somebody) for _ in range(3 * kernel.AT_ONCE)]
    monkeypatch.setattr(kernel, "CALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(kernel, "ACT_FOR_S", 0.8)
    slow = SlowSubmits(backend.world)
    await pass_over(any_database, slow)
    assert await state(any_database, done) == "COMPLETE"
    failed = await scalar(any_database, "SELECT count(*) FROM tasks WHERE failures > 0")
    assert kernel.AT_ONCE <= failed < len(hanging)
    assert not await scalar(any_database, "SELECT count(*) FROM tasks WHERE lease_until IS NOT NULL")


async def test_a_cancel_that_meets_a_pass_is_served_by_the_next(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), SlowExecutor()
    backend.gate.set()
    await pass_over(any_database, backend, 2)
    backend.gate.clear()
    backend.waiting.clear()
    passing = asyncio.create_task(pass_over(any_database, backend))
    await backend.waiting.wait()
    await tasks.cancel(any_database, somebody, task)
    backend.world.finish(attempt_key(task, 1), State.COMPLETE)
    backend.gate.set()
    await passing
    assert await state(any_database, task) == "CANCELING"
    await sweep(charge(backend), any_database, "another")
    assert await state(any_database, task) == "CANCELED"


async def test_a_submit_that_fails_for_a_day_ends_its_row(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FlakyExecutor(failures=2)
    await pass_over(any_database, backend)
    await execute(any_database, f"UPDATE tasks SET failures = {kernel.GIVE_UP_AFTER}")
    await pass_over(any_database, backend)
    assert await state(any_database, task) == "SYSTEM_ERROR"
    assert (await detail(any_database, task)).startswith("it could not be submitted: ")


async def test_a_task_canceled_while_its_submit_stalls_is_never_started(
    any_database: Database, somebody: Caller
) -> None:
    task, world = await a_task(any_database, somebody), World()
    failpoints.arm("reconcile-submitting=raise")
    with pytest.raises(FailpointRaised):
        await pass_over(any_database, FakeExecutor(world))
    failpoints.arm("")
    await tasks.cancel(any_database, somebody, task)
    await pass_over(any_database, FakeExecutor(world))
    assert await state(any_database, task) == "CANCELED"
    with pytest.raises(Permanent):
        await FakeExecutor(world).submit(attempt_key(task, 1), None)  # the one that stalled goes on
    assert world.started(attempt_key(task, 1)) == 0


class SlowSubmits(FakeExecutor):
    """Looks at once, and never finishes a submit."""

    async def submit(self, key: str, spec: object) -> Handle:
        await asyncio.Event().wait()
        return await super().submit(key, spec)


async def test_the_report_of_an_attempt_is_kept_when_it_is_news(any_database: Database, somebody: Caller) -> None:
    task, backend = await a_task(any_database, somebody), FakeExecutor()
    await pass_over(any_database, backend, 2)
    told = TaskReport(steps=(StepLog(exit_code=0, stdout="hello\n"),))
    backend.world.jobs[attempt_key(task, 1)] = Observation(State.RUNNING, report=told)
    await pass_over(any_database, backend)
    kept = "SELECT report->'steps'->0->>'stdout' FROM attempts WHERE row_id = :id"
    assert await scalar(any_database, kept, id=task) == "hello\n"


async def test_a_waiting_task_stays_queued_until_it_has_a_slot(any_database: Database, somebody: Caller) -> None:
    backend = FakeExecutor()
    for _ in range(3):
        await tasks.create(any_database, somebody, a_new_task())
    slots = {Lane.TASK: Capacity(cpu_cores=2)}
    await sweep(charge(backend, capacities=slots), any_database, "test")
    await sweep(charge(backend, capacities=slots), any_database, "test")
    assert len(backend.world.jobs) == 2


async def test_cancel_and_completion_racing_give_one_end(any_database: Database, somebody: Caller) -> None:
    backend = FakeExecutor()
    made = [await a_task(any_database, somebody) for _ in range(30)]
    await pass_over(any_database, backend, 2)
    for task in made:
        backend.world.finish(attempt_key(task, 1), State.COMPLETE)
    await asyncio.gather(
        pass_over(any_database, backend), *(tasks.cancel(any_database, somebody, task) for task in made)
    )
    await pass_over(any_database, backend, 3)
    ends = "SELECT count(*) FROM history WHERE state IN ('COMPLETE', 'CANCELED') GROUP BY row_id"
    assert {row["count"] for row in await any_database.fetch(ends)} == {1}
    assert not await scalar(any_database, "SELECT count(*) FROM tasks WHERE ended_at IS NULL")


@pytest.mark.parametrize("lie", [State.QUEUED, State.INITIALIZING])
async def test_a_backend_that_lies_moves_no_row_backwards(any_database: Database, somebody: Caller, lie: State) -> None:
    task, world = await a_task(any_database, somebody), World()
    await pass_over(any_database, FakeExecutor(world), 2)
    liar = LyingExecutor(world, says=Observation(lie, report=TaskReport()))
    await pass_over(any_database, liar, 2)
    assert (await state(any_database, task), world.started(attempt_key(task, 1))) == ("RUNNING", 1)
    world.finish(attempt_key(task, 1), State.COMPLETE)
    await pass_over(any_database, FakeExecutor(world))
    await pass_over(any_database, liar)
    assert await state(any_database, task) == "COMPLETE"
