"""Many tasks in one request, and one that is only asked about: all or none, once for a key, and only the caller's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.conftest import TES
from tests.builders import HELLO, a_run, a_task, become, execute, scalar
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db import tasks
from wesgate.db.session import Database

BAD = {"executors": [{"image": 7, "command": ["true"]}]}


def named(*names: str) -> dict[str, Any]:
    return {"tasks": [{**HELLO, "name": name} for name in names]}


async def batch(client: httpx.AsyncClient, document: Any, status: int = 200, **more: Any) -> Any:
    answer = await client.post(f"{TES}/tasks:batch", json=document, **more)
    assert answer.status_code == status, answer.text
    return answer.json()["ids" if status == 200 else "msg"]


async def cancel(client: httpx.AsyncClient, status: int = 200, **query: Any) -> Any:
    answer = await client.post(f"{TES}/tasks:cancel", params=query)
    assert answer.status_code == status, answer.text
    return answer.json()["canceled" if status == 200 else "msg"]


async def test_a_batch_is_made_in_its_order(client: httpx.AsyncClient, database: Database) -> None:
    names = [f"n{number}" for number in range(20)]
    made = await batch(client, named(*names))
    listed = (await client.get(f"{TES}/tasks", params={"view": "BASIC"})).json()["tasks"]
    assert [(task["id"], task["name"]) for task in listed] == list(zip(made, names, strict=True))[::-1]
    assert await scalar(database, "SELECT count(*) FROM audit WHERE action = 'task.create'") == 20


async def test_a_task_of_a_batch_is_as_one_that_came_alone(client: httpx.AsyncClient, database: Database) -> None:
    document = {
        **HELLO,
        "name": "Ä",
        "tags": {"a": "b"},
        "resources": {"cpu_cores": 2, "backend_parameters": {"x": ""}},
    }
    alone = (await client.post(f"{TES}/tasks", json=document)).json()["id"]
    (together,) = await batch(client, {"tasks": [document]})
    same = "SELECT count(DISTINCT to_jsonb(tasks) - '{id,created_at,state_since}'::text[]) FROM tasks"
    assert alone != together
    assert await scalar(database, same) == 1


async def test_a_batch_with_one_bad_task_makes_none(client: httpx.AsyncClient, database: Database) -> None:
    told = await batch(client, {"tasks": [HELLO, BAD]}, 400)
    assert told.startswith("tasks.1.executors.0.image: ")
    outside = {**HELLO, "outputs": [{"path": "/o", "url": "file:///etc/o"}]}
    assert (await batch(client, {"tasks": [HELLO, HELLO, outside]}, 400)).startswith("tasks.2.outputs.0.url ")
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


@pytest.mark.parametrize(
    "document",
    [{}, [], "x", {"tasks": []}, {"tasks": {}}, {"tasks": [1]}, {"tasks": [None]}, {"tasks": [[HELLO]]},
     {"tasks": [HELLO] * 1001}],
    ids=["empty", "list", "text", "none", "object", "number", "null", "nested", "many"],
)  # fmt: skip
async def test_what_is_no_batch_is_refused(client: httpx.AsyncClient, database: Database, document: Any) -> None:
    await batch(client, document, 400)
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


async def test_a_thousand_tasks_are_one_batch(client: httpx.AsyncClient) -> None:
    assert len(set(await batch(client, {"tasks": [HELLO] * 1000}))) == 1000


async def test_a_repeated_batch_gives_the_same_tasks(client: httpx.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "k"}
    made = await batch(client, named("a", "b", "c"), headers=headers)
    assert await batch(client, named("a", "b", "c"), headers=headers) == made
    for other in (named("a", "b"), named("a", "b", "c", "d"), named("a", "b", "x")):
        await batch(client, other, 409, headers=headers)
    assert await scalar(database, "SELECT count(*) FROM tasks") == 3


async def test_a_key_that_is_partly_used_makes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    await client.post(f"{TES}/tasks", json=HELLO, headers={"Idempotency-Key": "k/1"})
    await batch(client, named("a", "b", "c"), 409, headers={"Idempotency-Key": "k"})
    assert await scalar(database, "SELECT count(*) FROM tasks") == 1


async def test_a_batch_of_which_a_task_is_gone_is_not_made_again(client: httpx.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "k"}
    made = await batch(client, named("a", "b"), headers=headers)
    await execute(database, "DELETE FROM tasks WHERE id = :id", id=made[0])
    await batch(client, named("a", "b"), 409, headers=headers)
    assert await scalar(database, "SELECT count(*) FROM tasks") == 1


async def test_repeats_of_a_batch_at_the_same_moment_make_it_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    repeats = (batch(client, named("a", "b", "c"), headers={"Idempotency-Key": "k"}) for _ in range(10))
    made = await asyncio.gather(*repeats)
    assert len({tuple(ids) for ids in made}) == 1
    assert await scalar(database, "SELECT count(*) FROM tasks") == 3


@pytest.mark.parametrize(("length", "status"), [(251, 200), (252, 400)])
async def test_a_batchs_key_leaves_room_for_the_places(client: httpx.AsyncClient, length: int, status: int) -> None:
    await batch(client, {"tasks": [HELLO] * 1000}, status, headers={"Idempotency-Key": "k" * length})


async def test_a_head_makes_a_batch_for_its_own_run(
    client: httpx.AsyncClient, database: Database, run_id: str, head: dict[str, str]
) -> None:
    await batch(client, named("a", "b"), headers=head)
    assert await scalar(database, "SELECT count(*) FROM tasks WHERE run_id = :id AND lane = 'task'", id=run_id) == 2
    await become(database, Kind.RUN, run_id, "CANCELING")
    await batch(client, named("c"), 403, headers=head)


async def test_all_that_a_filter_shows_are_canceled(client: httpx.AsyncClient, database: Database) -> None:
    wanted = [{**HELLO, "tags": {"run": "1"}}] * 3
    made = await batch(client, {"tasks": [*wanted, {**HELLO, "tags": {"run": "2"}}]})
    await become(database, Kind.TASK, made[0], "COMPLETE")
    assert await cancel(client, tag_key="run", tag_value="1") == 2
    assert await cancel(client, tag_key="run", tag_value="1") == 0
    states = [(await client.get(f"{TES}/tasks/{task}")).json()["state"] for task in made]
    assert states == ["COMPLETE", "CANCELING", "CANCELING", "QUEUED"]
    assert await scalar(database, "SELECT count(*) FROM audit WHERE action = 'task.cancel'") == 2


@pytest.mark.parametrize("number", [3, 4])
async def test_more_tasks_than_one_statement_takes_are_all_canceled(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(tasks, "CANCELED_AT_ONCE", 2)
    await batch(client, named(*map(str, range(number)), "other"))
    await execute(database, "UPDATE tasks SET name = 'x' || name WHERE name <> 'other'")
    assert await cancel(client, name_prefix="x") == number
    assert await scalar(database, "SELECT count(*) FROM tasks WHERE state = 'QUEUED'") == 1


async def test_names_and_states_say_what_is_canceled(client: httpx.AsyncClient) -> None:
    await batch(client, named("100%_x", "100ab", "z"))
    assert await cancel(client, name_prefix="100%_") == 1
    assert await cancel(client, state="RUNNING", name_prefix="z") == 0
    assert await cancel(client, state="QUEUED") == 2


@pytest.mark.parametrize("query", [{}, {"name_prefix": ""}, {"tag_key": ""}, {"state": ""}, {"other": "x"}])
async def test_everything_is_never_canceled_at_once(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    (task,) = await batch(client, named("a"))
    assert "at least one" in await cancel(client, 400, **query)
    assert (await client.get(f"{TES}/tasks/{task}")).json()["state"] == "QUEUED"


@pytest.mark.parametrize("value", ["a%00", "%ED%A0%80", "%01", "%FF"], ids=["NUL", "surrogate", "control", "Latin-1"])
@pytest.mark.parametrize("name", ["name_prefix", "state", "tag_key", "tag_value"])
async def test_no_value_of_a_filter_is_a_fault(client: httpx.AsyncClient, name: str, value: str) -> None:
    key = "tag_key=a&" if name == "tag_value" else ""
    answer = await client.post(f"{TES}/tasks:cancel?{key}{name}={value}")
    assert answer.status_code == (200 if name != "state" and value in ("%ED%A0%80", "%FF") else 400), answer.text


@pytest.mark.parametrize("body", [b"", b"null", b"{", b"x" * 9])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
async def test_a_bulk_cancel_takes_any_body(client: httpx.AsyncClient, body: bytes, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await client.post(f"{TES}/tasks:cancel?state=QUEUED", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"canceled": 0})


async def test_nobody_elses_tasks_are_canceled(client: httpx.AsyncClient, database: Database, stranger: Caller) -> None:
    theirs = await a_task(database, stranger)
    answers = [await client.post(f"{TES}/tasks:cancel", params={"name_prefix": name}) for name in ("hello", "none")]
    assert answers[0].content == answers[1].content
    assert await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=theirs) == "QUEUED"


async def test_a_head_cancels_tasks_of_its_own_run_alone(
    client: httpx.AsyncClient, database: Database, caller: Caller, run_id: str, head: dict[str, str]
) -> None:
    await batch(client, named("a"), headers=head)
    await batch(client, named("a"))
    await a_task(database, Caller(caller.owner, await a_run(database, caller)))
    assert (await client.post(f"{TES}/tasks:cancel?state=QUEUED", headers=head)).json() == {"canceled": 1}
    state = "SELECT DISTINCT state FROM tasks WHERE run_id = :id AND lane = 'head'"
    assert await scalar(database, state, id=run_id) == "QUEUED", "a head is nobody's task"


async def test_a_task_that_is_asked_about_is_not_made(client: httpx.AsyncClient, database: Database) -> None:
    parameters = {"max_attempts": "1", "VmSize": "big"}
    document = {**HELLO, "more": 1, "resources": {"backend_parameters": parameters}}
    told = (await client.post(f"{TES}/tasks:validate", json=document)).json()
    assert told == {
        "task": {**HELLO, "resources": {"backend_parameters": {"max_attempts": "1"}}},
        "executor": "fake",
        "submitter": "",
        "policy": {"missing_outputs": "fail", "image_entrypoint": True, "gpus": 0, "max_attempts": 1,
                   "max_preemptions": 5},
        "warnings": ["backend_parameters that this service does not know were left out: VmSize"],
    }  # fmt: skip
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


async def test_what_cannot_be_made_is_told_alike_without_making_it(client: httpx.AsyncClient, context: Context) -> None:
    refused: list[Any] = [BAD, [], {**HELLO, "inputs": [{"path": "/i", "url": f"{context.roots[0]}/../x"}]}]
    for document in refused:
        asked = [await client.post(f"{TES}/{route}", json=document) for route in ("tasks:validate", "tasks")]
        assert asked[0].status_code == 400
        assert asked[0].content == asked[1].content


async def test_both_bases_have_the_routes(client: httpx.AsyncClient) -> None:
    for base in (TES, "/v1"):
        assert (await client.post(f"{base}/tasks:validate", json=HELLO)).status_code == 200
        assert (await client.post(f"{base}/tasks:batch", json=named("a"))).status_code == 200
        assert (await client.post(f"{base}/tasks:cancel?state=QUEUED")).json() == {"canceled": 1}
        assert (await client.get(f"{base}/tasks:cancel")).status_code == 405
