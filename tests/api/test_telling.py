"""What the logs of a task tell besides what its attempts left: why it waits, what it costs, and what is to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.api.conftest import TES
from tests.api.specs import faults, keys
from tests.builders import HELLO, a_new_task, a_task, an_attempt, execute, scalar
from wesgate.api.dependencies import Context
from wesgate.app import create_app
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.ga4gh.views import timestamp


async def shown(client: httpx.AsyncClient, task: UUID, view: str = "BASIC") -> dict[str, Any]:
    answer = (await client.get(f"{TES}/tasks/{task}", params={"view": view})).json()
    assert not faults("tes", "tesTask", answer)
    assert set(answer) <= keys("tes", "tesTask")
    found: dict[str, Any] = answer["logs"][-1]
    return found


async def waiting(database: Database, caller: Caller, count: int = 1) -> list[UUID]:
    """Tasks without a slot, in the order they were made."""
    return await tasks.create_all(database, caller, [a_new_task() for _ in range(count)])


async def test_a_task_without_a_slot_says_why_it_waits_and_where(
    client: httpx.AsyncClient, database: Database, caller: Caller, stranger: Caller
) -> None:
    await waiting(database, stranger, 3)
    made = await waiting(database, caller, 3)
    since = timestamp(await scalar(database, "SELECT created_at FROM tasks WHERE id = :id", id=made[2]))
    told = {"waiting_reason": "waits for free slots of fake", "waiting_since": since}
    for view in ("BASIC", "FULL"):
        places = [(await shown(client, task, view))["metadata"] for task in made]
        assert places == [{**told, "queue_position": place} for place in "123"]
    listed = (await client.get(f"{TES}/tasks", params={"view": "BASIC"})).json()["tasks"]
    assert [task["logs"][0]["metadata"] for task in listed] == [told] * 3


async def test_a_long_queue_is_counted_so_far(client: httpx.AsyncClient, database: Database, caller: Caller) -> None:
    made = await waiting(database, caller, 1002)
    places = [(await shown(client, made[number]))["metadata"]["queue_position"] for number in (0, 999, 1000, 1001)]
    assert places == ["1", "1000", "1000+", "1000+"]


async def test_a_task_that_could_not_be_submitted_says_why_it_waits(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    task = await a_task(database, caller)
    assert "metadata" not in await shown(client, task)
    await execute(database, "UPDATE tasks SET failures = 1, detail = 'waiting to try again: no disk'")
    told = (await shown(client, task))["metadata"]
    assert told["waiting_reason"] == "waiting to try again: no disk"
    assert set(told) == {"waiting_reason", "waiting_since"}


@pytest.mark.parametrize("state", ["INITIALIZING", "RUNNING", "COMPLETE", "CANCELING"])
async def test_what_does_not_wait_says_nothing_of_it(
    client: httpx.AsyncClient, database: Database, caller: Caller, state: str
) -> None:
    (task,) = await waiting(database, caller)
    await execute(database, "UPDATE tasks SET state = :state, failures = 1", state=state)
    assert "metadata" not in await shown(client, task)


@pytest.mark.parametrize(("price", "told"), [(0.05, "0.05"), (1e-7, "0.0000001"), (100.0, "100"), (0.0, "0"), (1, "1")])
async def test_the_price_is_told_of_every_attempt_that_began(
    context: Context, database: Database, caller: Caller, price: float, told: str
) -> None:
    task = await a_task(database, caller)
    for number, report in enumerate([{"start_time": "2026-01-01T00:00:00Z", "metadata": {"host": "a"}}, {}], 1):
        await an_attempt(database, Kind.TASK, task, report, number)
    transport = httpx.ASGITransport(create_app(replace(context, price_per_hour_usd=price)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        for view in ("BASIC", "FULL"):
            logs = (await client.get(f"{TES}/tasks/{task}", params={"view": view})).json()["logs"]
            assert logs[0]["metadata"] == {"host": "a", "vm_price_per_hour_usd": told}
            assert "metadata" not in logs[1]


async def test_steps_to_come_are_told_as_the_spec_has_it(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    task = await a_task(database, caller, document={**HELLO, "executors": [HELLO["executors"][0]] * 2})
    report = {"steps": [{"exit_code": 0}], "start_time": "2026-01-01T00:00:00Z"}
    assert (await shown(client, task))["logs"] == [{"exit_code": -1}]
    await an_attempt(database, Kind.TASK, task, report)
    assert (await shown(client, task))["logs"] == [{"exit_code": 0}, {"exit_code": -1}]
