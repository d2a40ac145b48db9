"""Calls that were answered from the call cache: in the task list of their run, and nowhere in TES."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from tests.api.conftest import TES, TOKEN, WES

HEAD = {"authorization": f"Bearer {TOKEN}"}
CALL = {"call": "call-x", "name": "x", "task": "t1", "run": "r1"}


async def tell(client: httpx.AsyncClient, run_id: str, *calls: dict[str, Any], **more: Any) -> httpx.Response:
    return await client.post(f"{WES}/runs/{run_id}/cached-calls", json={"calls": calls}, **{"headers": HEAD} | more)


async def test_a_cached_call_is_a_task_of_its_run(client: httpx.AsyncClient, run_id: str) -> None:
    assert (await tell(client, run_id, CALL)).status_code == 200
    (log,) = (await client.get(f"{WES}/runs/{run_id}/tasks")).json()["task_logs"]
    assert (log["name"], log["exit_code"], log["cmd"]) == ("x", 0, [])
    assert log["start_time"] == log["end_time"]
    assert log["system_logs"] == ["from the call cache: task t1 of run r1"]
    assert (await client.get(f"{WES}/runs/{run_id}/tasks/{log['id']}")).json() == log
    assert "tes_uri" not in log


async def test_tes_knows_nothing_of_it(client: httpx.AsyncClient, run_id: str) -> None:
    await tell(client, run_id, CALL)
    (log,) = (await client.get(f"{WES}/runs/{run_id}/tasks")).json()["task_logs"]
    assert (await client.get(f"{TES}/tasks/{log['id']}")).status_code == 404
    assert (await client.get(f"{TES}/tasks")).json()["tasks"] == []


async def test_a_call_that_is_told_twice_is_there_once(client: httpx.AsyncClient, run_id: str) -> None:
    for _ in range(2):
        assert (await tell(client, run_id, CALL, {"call": "call-y", "name": "y"})).status_code == 200
    logs = (await client.get(f"{WES}/runs/{run_id}/tasks")).json()["task_logs"]
    assert [log["name"] for log in logs] == ["x", "y"]
    assert logs[1]["system_logs"] == ["from the call cache"]


async def test_only_the_head_of_the_run_may_tell(client: httpx.AsyncClient, run_id: str) -> None:
    assert (await tell(client, run_id, CALL, headers={})).status_code == 403
    assert (await tell(client, str(UUID(int=1)), CALL)).status_code == 403


async def test_what_is_no_list_of_calls_is_refused(client: httpx.AsyncClient, run_id: str) -> None:
    assert (await tell(client, run_id, {"call": "", "name": "x"})).status_code == 400
    assert (await tell(client, run_id, *[CALL] * 1001)).status_code == 400
