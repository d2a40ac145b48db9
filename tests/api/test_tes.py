"""TES over HTTP, every reply held against the official document."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import TES
from tests.api.specs import faults, keys
from tests.builders import HELLO, a_task, an_attempt, become, scalar
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db.session import Database

WHOLE: dict[str, Any] = {
    "name": "whole", "description": "all fields",
    "inputs": [{"path": "/in", "content": "hello"}, {"path": "/ref", "url": "https://example.org/ref", "type": "FILE"}],
    "outputs": [{"path": "/out/*.txt", "path_prefix": "/out", "url": "file://{root}/out"}],
    "resources": {"cpu_cores": 2, "ram_gb": 1.5, "disk_gb": 10.0, "preemptible": False, "zones": ["z"]},
    "executors": [{"image": "busybox", "command": ["sh", "-c", "true"], "workdir": "/w", "stdin": "/in",
                   "stdout": "/out/o", "stderr": "/out/e", "env": {"A": "b"}, "ignore_error": True}],
    "volumes": ["/scratch"], "tags": {"project": "x", "empty": ""},
}  # fmt: skip


async def create(client: httpx.AsyncClient, document: Any = HELLO, **more: Any) -> str:
    answer = await client.post(f"{TES}/tasks", json=document, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_a_task_comes_back_as_it_was_sent(client: httpx.AsyncClient, context: Context) -> None:
    sent = json.loads(json.dumps(WHOLE).replace("{root}", context.roots[0]))
    task = await create(client, sent)
    shown = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert not faults("tes", "tesTask", shown)
    assert set(shown) <= keys("tes", "tesTask")
    for file in (*sent["inputs"], *sent["outputs"]):
        file.setdefault("type", "FILE")
    assert {name: shown[name] for name in sent} == sent


async def test_minimal_is_id_and_state(client: httpx.AsyncClient) -> None:
    task = await create(client)
    for view in ({}, {"view": "MINIMAL"}):
        assert (await client.get(f"{TES}/tasks/{task}", params=view)).json() == {"id": task, "state": "QUEUED"}


async def test_basic_hides_what_may_be_large(client: httpx.AsyncClient, database: Database, caller: Caller) -> None:
    document = {**HELLO, "inputs": [{"path": "/in", "content": "hello", "type": "FILE"}]}
    task = await a_task(database, caller, document=document)
    report = {"steps": [{"exit_code": 0, "stdout": "out", "stderr": "err"}], "system_logs": ["why"]}
    await an_attempt(database, Kind.TASK, task, report)
    basic = (await client.get(f"{TES}/tasks/{task}", params={"view": "BASIC"})).json()
    full = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert basic["inputs"] == [{"path": "/in", "type": "FILE"}]
    assert basic["logs"] == [{"logs": [{"exit_code": 0}], "outputs": []}]
    assert full["logs"][0]["logs"][0]["stdout"] == "out"
    assert full["logs"][0]["system_logs"] == ["why"]
    assert not faults("tes", "tesTask", full)


async def test_sizes_are_strings(client: httpx.AsyncClient, database: Database, caller: Caller) -> None:
    task = await a_task(database, caller)
    report = {"outputs": [{"url": "file:///o", "path": "/o", "size_bytes": 3_000_000_000}]}
    await an_attempt(database, Kind.TASK, task, report)
    full = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert full["logs"][0]["outputs"][0]["size_bytes"] == "3000000000"


@pytest.mark.parametrize(
    "told",
    [
        {"outputs": [{"url": "file:///\udcff", "path": "/o", "size_bytes": 0}]},
        {"steps": [{"exit_code": 0, "stdout": "\udcff"}]},
    ],
    ids=["output", "log"],
)
async def test_what_is_stored_can_be_shown_whatever_it_is(
    client: httpx.AsyncClient, database: Database, caller: Caller, told: dict[str, Any]
) -> None:
    task = await a_task(database, caller)
    await an_attempt(database, Kind.TASK, task, told)
    answer = await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})
    assert answer.status_code == 200
    assert "?" in json.dumps(answer.json()["logs"])
    assert not faults("tes", "tesTask", answer.json())


async def test_zero_is_told_and_what_is_not_known_is_not(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    task = await a_task(database, caller)
    report = {"steps": [{"exit_code": 0, "start_time": None}], "system_logs": [], "metadata": {}}
    await an_attempt(database, Kind.TASK, task, report)
    full = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert full["logs"] == [{"logs": [{"exit_code": 0, "stdout": "", "stderr": ""}], "outputs": []}]


async def test_pages_give_every_task_once_while_more_are_added(client: httpx.AsyncClient) -> None:
    made = [await create(client) for _ in range(7)]
    seen: list[str] = []
    token: str | None = ""
    while token is not None:
        query = {"view": "BASIC", "page_size": "3", **({"page_token": token} if token else {})}
        page = (await client.get(f"{TES}/tasks", params=query)).json()
        assert not faults("tes", "tesListTasksResponse", page)
        seen += [task["id"] for task in page["tasks"]]
        token = page.get("next_page_token")
        await create(client)
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([("foo", "bar")], True), ([("foo", "bat")], False), ([("foo", "")], True), ([("no", "")], False),
        ([("foo", "bar"), ("baz", "bat")], True), ([("foo", "bar"), ("baz", "x")], False),
    ],
)  # fmt: skip
async def test_tags_filter_as_the_spec_has_it(
    client: httpx.AsyncClient, filters: list[tuple[str, str]], found: bool
) -> None:
    task = await create(client, {**HELLO, "tags": {"foo": "bar", "baz": "bat"}})
    query = {"tag_key": [key for key, _ in filters], "tag_value": [value for _, value in filters]}
    page = (await client.get(f"{TES}/tasks", params=query)).json()
    assert [one["id"] for one in page["tasks"]] == ([task] if found else [])


async def test_names_and_states_filter_literally(client: httpx.AsyncClient) -> None:
    percent, other = await create(client, {**HELLO, "name": "100%_x"}), await create(client, {**HELLO, "name": "100ab"})
    page = (await client.get(f"{TES}/tasks", params={"name_prefix": "100%_"})).json()
    assert [one["id"] for one in page["tasks"]] == [percent]
    page = (await client.get(f"{TES}/tasks", params={"state": "QUEUED", "name_prefix": "100"})).json()
    assert [one["id"] for one in page["tasks"]] == [other, percent]
    assert (await client.get(f"{TES}/tasks", params={"state": "RUNNING"})).json() == {"tasks": []}


async def test_a_page_token_is_good_for_its_own_list_only(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await create(client)
    token = (await client.get(f"{TES}/tasks", params={"page_size": "1"})).json()["next_page_token"]
    answer = await client.get(f"{TES}/tasks", params={"page_size": "1", "page_token": token, "name_prefix": "h"})
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
async def test_cancel_takes_any_body(client: httpx.AsyncClient, body: bytes, kind: str | None) -> None:
    task = await create(client)
    headers = {"content-type": kind} if kind else {}
    answer = await client.post(f"{TES}/tasks/{task}:cancel", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})
    assert (await client.get(f"{TES}/tasks/{task}")).json()["state"] == "CANCELING"


async def test_canceling_what_ended_changes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    task = await create(client)
    await become(database, Kind.TASK, task, "COMPLETE")
    assert (await client.post(f"{TES}/tasks/{task}:cancel")).status_code == 200
    assert (await client.get(f"{TES}/tasks/{task}")).json()["state"] == "COMPLETE"


async def test_a_repeated_key_gives_the_same_task(client: httpx.AsyncClient, database: Database) -> None:
    first = await create(client, headers={"Idempotency-Key": "k"})
    assert await create(client, headers={"Idempotency-Key": "k"}) == first
    other = await client.post(f"{TES}/tasks", json={**HELLO, "name": "other"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 409
    assert await scalar(database, "SELECT count(*) FROM tasks") == 1


async def test_repeats_at_the_same_moment_make_one_task(client: httpx.AsyncClient, database: Database) -> None:
    made = await asyncio.gather(*(create(client, headers={"Idempotency-Key": "k"}) for _ in range(10)))
    assert len(set(made)) == 1
    assert await scalar(database, "SELECT count(*) FROM tasks") == 1


async def test_both_bases_and_the_legacy_service_info_are_served(client: httpx.AsyncClient) -> None:
    info = (await client.get(f"{TES}/service-info")).json()
    assert not faults("tes", "tesServiceInfo", info)
    assert set(info) <= keys("tes", "tesServiceInfo")
    assert (await client.get("/v1/service-info")).json() == info
    legacy = (await client.get("/v1/tasks/service-info")).json()
    assert set(legacy) == {"name", "doc", "storage"}
    assert info["storage"] == legacy["storage"]


async def test_storage_names_the_sites_roots_and_the_owners_own_directory(
    client: httpx.AsyncClient, files: Path, tmp_path: Path
) -> None:
    shared, own = (await client.get(f"{TES}/service-info")).json()["storage"]
    assert shared == f"file://{tmp_path}/shared"
    given = {"url": f"{own}/earlier-run/result.txt", "path": "/in"}
    assert own.startswith(f"file://{files}/")
    await create(client, {**HELLO, "inputs": [given]})


async def test_credentials_are_not_looked_at_when_there_is_no_access_control(client: httpx.AsyncClient) -> None:
    await create(client, headers={"Authorization": "Basic Tm9uZTpOb25l"})


async def test_null_members_count_as_unset(client: httpx.AsyncClient) -> None:
    sent = {**HELLO, "inputs": None, "resources": None, "tags": {"parent": None, "a": "b"}, "id": None, "logs": None}
    task = await create(client, sent)
    shown = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert shown["tags"] == {"a": "b"}
    assert "inputs" not in shown


async def test_what_is_ours_cannot_be_set(client: httpx.AsyncClient) -> None:
    task = await create(client, {**HELLO, "id": "mine", "state": "COMPLETE", "creation_time": "x", "owner": "y"})
    shown = (await client.get(f"{TES}/tasks/{task}", params={"view": "FULL"})).json()
    assert (shown["state"], shown["id"]) == ("QUEUED", task)
    assert "owner" not in shown


async def test_another_owners_task_is_as_one_that_does_not_exist(
    client: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    theirs, none = await a_task(database, stranger), uuid4()
    for method, path in (("GET", ""), ("GET", "?view=FULL"), ("POST", ":cancel")):
        answers = [await client.request(method, f"{TES}/tasks/{one}{path}") for one in (theirs, none)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert (await client.get(f"{TES}/tasks")).json() == {"tasks": []}
    assert await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=theirs) == "QUEUED"


async def test_a_head_makes_tasks_of_its_own_run(
    client: httpx.AsyncClient, database: Database, run_id: str, head: dict[str, str]
) -> None:
    task = await create(client, headers=head)
    assert str(await scalar(database, "SELECT run_id FROM tasks WHERE id = :id", id=task)) == run_id
    assert [one["id"] for one in (await client.get(f"{TES}/tasks", headers=head)).json()["tasks"]] == [task]


async def test_a_head_sees_no_task_outside_its_run(
    client: httpx.AsyncClient, run_id: str, head: dict[str, str]
) -> None:
    other = await create(client)
    assert (await client.get(f"{TES}/tasks/{other}", headers=head)).status_code == 404
    assert (await client.get(f"{TES}/tasks", headers=head)).json() == {"tasks": []}


async def test_a_run_token_dies_with_its_run(
    client: httpx.AsyncClient, database: Database, run_id: str, head: dict[str, str]
) -> None:
    await become(database, Kind.RUN, run_id, "COMPLETE")
    answer = await client.post(f"{TES}/tasks", json=HELLO, headers=head)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_run_that_is_being_canceled_gets_no_more_tasks(
    client: httpx.AsyncClient, database: Database, run_id: str, head: dict[str, str]
) -> None:
    await become(database, Kind.RUN, run_id, "CANCELING")
    assert (await client.post(f"{TES}/tasks", json=HELLO, headers=head)).status_code == 403


async def test_state_changes_are_told_as_they_happen(context: Context, database: Database, caller: Caller) -> None:
    task = await a_task(database, caller)
    stream = await context.events.of_tasks(caller)
    assert await anext(stream) == b"event: ready\ndata: {}\n\n"
    await become(database, Kind.TASK, task, "RUNNING")
    told = await asyncio.wait_for(anext(stream), 5)
    assert json.loads(told.removeprefix(b"data: ")) == {"id": str(task), "state": "RUNNING"}
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_strangers_state_changes_are_not_told(
    context: Context, database: Database, caller: Caller, stranger: Caller
) -> None:
    theirs, mine = await a_task(database, stranger), await a_task(database, caller)
    stream = await context.events.of_tasks(caller)
    await anext(stream)
    for task in (theirs, mine):
        await become(database, Kind.TASK, task, "RUNNING")
    assert str(mine) in (await asyncio.wait_for(anext(stream), 5)).decode()
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_without_a_database_is_refused_before_it_begins(
    context: Context, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setattr(context.events, "_database", away)
    answer = await client.get(f"{TES}/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
