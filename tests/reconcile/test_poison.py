"""One row that cannot be written, or whose job cannot be looked at, keeps none of the others from its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any
from uuid import UUID

import pytest

from tests.builders import a_run, a_task, an_attempt, execute, scalar
from wesgate.core.backend import Handle, Observation
from wesgate.core.errors import Retryable
from wesgate.core.owner import Caller
from wesgate.core.report import RunReport, TaskReport
from wesgate.core.spec import Kind, attempt_key
from wesgate.core.states import State
from wesgate.db import runs, tasks
from wesgate.db.session import Database
from wesgate.reconcile import kernel
from wesgate.reconcile.kernel import Charge, sweep
from wesgate.testing import FakeExecutor, Seen, World


async def pass_over(database: Database, backend: FakeExecutor, passes: int = 1, kind: Kind = Kind.TASK) -> None:
    for _ in range(passes):
        await execute(database, f"UPDATE {kind}s SET due_at = now() WHERE due_at IS NOT NULL")
        await sweep(Charge(kind, "fake", backend, lambda claim: claim.row.document), database, "test")


async def states(database: Database, *rows: UUID) -> list[str]:
    return [str(await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=row)) for row in rows]


def tell(world: World, row: UUID, state: State, detail: str = "", report: Any = None) -> None:
    world.jobs[attempt_key(row, 1)] = Observation(state, detail, report)


@pytest.mark.parametrize("text", ["a\0b", "x\udcff"])
async def test_a_text_that_postgres_cannot_hold_ends_its_row_and_the_others(
    database: Database, caller: Caller, text: str
) -> None:
    rows, backend = [await a_task(database, caller) for _ in range(3)], FakeExecutor()
    await pass_over(database, backend, 2)
    for row in rows:
        tell(backend.world, row, State.COMPLETE)
    tell(backend.world, rows[1], State.SYSTEM_ERROR, text, TaskReport(system_logs=(text,)))
    await pass_over(database, backend)
    assert await states(database, *rows) == ["COMPLETE", "SYSTEM_ERROR", "COMPLETE"]
    (told,) = (await tasks.get(database, caller, rows[1])).reports
    assert told is not None
    assert told["system_logs"] == [f"{text[0]}\ufffd{text[2:]}"]


async def test_outputs_that_are_no_numbers_complete_their_run(database: Database, caller: Caller) -> None:
    run, backend = await a_run(database, caller), FakeExecutor()
    await pass_over(database, backend, 2, Kind.RUN)
    tell(backend.world, run, State.COMPLETE, report=RunReport(outputs={"w.x": nan, "w.y": [1.5, -nan]}))
    await pass_over(database, backend, kind=Kind.RUN)
    told, _, outputs = await runs.log(database, caller.owner, run)
    assert (told.state, json.loads(outputs)) == ("COMPLETE", {"w.x": "NaN", "w.y": [1.5, "NaN"]})


@pytest.mark.parametrize(("asked", "end"), [(State.RUNNING, "SYSTEM_ERROR"), (State.CANCELING, "CANCELED")])
async def test_a_row_that_cannot_be_written_ends_alone(
    database: Database, caller: Caller, asked: State, end: str
) -> None:
    poisoned, healthy, backend = await a_task(database, caller), await a_task(database, caller), FakeExecutor()
    await pass_over(database, backend, 2)
    if asked is State.CANCELING:
        await tasks.cancel(database, caller, poisoned)
    tell(backend.world, poisoned, State.COMPLETE, report=TaskReport(metadata={"no JSON": object()}))  # type: ignore[dict-item]
    tell(backend.world, healthy, State.COMPLETE)
    await pass_over(database, backend)
    assert await states(database, poisoned, healthy) == [end, "COMPLETE"]
    detail = await scalar(database, "SELECT detail FROM tasks WHERE id = :id", id=poisoned)
    assert detail == "a fault of this service: what became of it cannot be stored"


@pytest.mark.parametrize(("passes", "state"), [(1, "QUEUED"), (2, "RUNNING")])
async def test_a_job_that_runs_goes_on_when_its_report_cannot_be_written(
    database: Database, caller: Caller, passes: int, state: str
) -> None:
    poisoned, healthy, backend = await a_task(database, caller), await a_task(database, caller), FakeExecutor()
    await pass_over(database, backend, passes)
    tell(backend.world, poisoned, State.RUNNING, report=TaskReport(metadata={"no JSON": object()}))  # type: ignore[dict-item]
    tell(backend.world, healthy, State.COMPLETE)
    await pass_over(database, backend)
    assert await states(database, poisoned, healthy) == [state, "COMPLETE"]
    assert await scalar(database, "SELECT failures = 1 AND due_at > now() FROM tasks WHERE id = :id", id=poisoned)


async def test_a_lost_attempt_whose_report_cannot_be_written_is_tried_again_and_so_are_others(
    database: Database, caller: Caller
) -> None:
    poisoned, backend = await a_task(database, caller, max_attempts=2), FakeExecutor()
    await pass_over(database, backend, 2)
    healthy, report = await a_task(database, caller), TaskReport(metadata={"no JSON": object()})  # type: ignore[dict-item]
    backend.world.jobs[attempt_key(poisoned, 1)] = Observation(State.SYSTEM_ERROR, "", report, infrastructure=True)
    await pass_over(database, backend)
    assert {attempt_key(poisoned, 2), attempt_key(healthy, 1)} <= set(backend.world.jobs)


async def test_a_canceled_row_whose_submit_failed_for_a_day_is_canceled(database: Database, caller: Caller) -> None:
    class Lost(FakeExecutor):
        async def find(self, key: str, spec: object) -> Handle | None:
            raise Retryable("it does not answer")

    task, other, backend = await a_task(database, caller), await a_task(database, caller), Lost()
    await an_attempt(database, Kind.TASK, task)
    await execute(database, f"UPDATE tasks SET failures = {kernel.GIVE_UP_AFTER} WHERE id = :id", id=task)
    await tasks.cancel(database, caller, task)
    await pass_over(database, backend, 2)
    assert await states(database, task, other) == ["CANCELED", "RUNNING"]


class Hiding(FakeExecutor):
    """Raises at every look at one job."""

    hidden = ""

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        if f"fake/{self.hidden}" in handles:
            raise ValueError(self.hidden)
        return await super().poll(handles)


async def test_a_job_that_cannot_be_looked_at_hides_no_other(database: Database, caller: Caller) -> None:
    hidden, healthy, backend = await a_task(database, caller), await a_task(database, caller), Hiding()
    await pass_over(database, backend, 2)
    backend.hidden = attempt_key(hidden, 1)
    tell(backend.world, healthy, State.COMPLETE)
    await pass_over(database, backend)
    assert await states(database, hidden, healthy) == ["RUNNING", "COMPLETE"]
    assert await scalar(database, "SELECT failures FROM tasks WHERE id = :id", id=hidden) == 1


async def test_a_job_that_cannot_be_looked_at_is_stopped_and_in_the_end_canceled(
    database: Database, caller: Caller
) -> None:
    task, backend = await a_task(database, caller), Hiding()
    await pass_over(database, backend, 2)
    backend.hidden = attempt_key(task, 1)
    await tasks.cancel(database, caller, task)
    await pass_over(database, backend)
    assert ("canceled", attempt_key(task, 1)) in backend.world.ledger
    assert await states(database, task) == ["CANCELING"]
    await execute(database, "UPDATE tasks SET state_since = now() - interval '11 min'")
    await pass_over(database, backend)
    assert await states(database, task) == ["CANCELED"]
