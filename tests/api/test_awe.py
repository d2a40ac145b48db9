"""AWE's label API: a label names one run of its owner, who sees it as Cromwell would show it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conftest import WES
from tests.builders import HELLO, a_new_task, an_attempt, become, scalar
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.core.states import State
from wesgate.db import runs, tasks
from wesgate.db.session import Database
from wesgate.ga4gh import cromwell

MINE = "/awe/somebody"
KALLISTO = {"workflow_repo": "https://1.1.1.1/FredHutch/AWE-kallisto.git", "label": "data from bob"}
REPOSITORIES = [
    ({"workflow_repo": "https://1.1.1.1/o/r"}, "git+https://1.1.1.1/o/r@HEAD"),
    ({"workflow_repo": "https://1.1.1.1/o/r.git@v1", "workflow_path": "a b/m.wdl"}, "https://1.1.1.1/o/r.git@v1#a%20b/m.wdl"),
    ({"workflow_repo": "https://1.1.1.1/o/r.git#m.wdl"}, "https://1.1.1.1/o/r.git@HEAD#m.wdl"),
    ({"workflow_repo": "https://1.1.1.1/o/r.git#sub/", "workflow_path": "m.wdl"}, "https://1.1.1.1/o/r.git@HEAD#sub/m.wdl"),
]  # fmt: skip
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "workflow_repo: Field required"), ({"workflow_rep": "x"}, "the body takes workflow_repo, label,"),
    ({"workflow_repo": "main.wdl"}, "workflow_repo must be the URL of a git repository"),
    ({"workflow_repo": "https://1.1.1.1/x.zip"}, "workflow_repo must be the URL of a git repository"),
    ({"workflow_repo": "file:///etc"}, "workflow_repo must be the URL of a git repository"),
    ({"workflow_repo": "s3://b/main.wdl"}, "workflow_repo must be the URL of a git repository"),
    (KALLISTO | {"workflow_path": "../m.wdl"}, "the path of workflow_path must be relative"),
    (KALLISTO | {"inputs_url": "../i.json"}, "the path of inputs_url must be relative"),
    (KALLISTO | {"workflow_inputs": []}, "workflow_inputs: Input should be a valid dictionary"),
    (KALLISTO | {"workflow_type": "CWL"}, "workflow_type: this service runs WDL"),
    (KALLISTO | {"workflow_repo": "https://127.0.0.1/o/r.git"}, "workflow_url"),
]  # fmt: skip


async def start(client: httpx.AsyncClient, under: str = "kallisto", **changes: Any) -> str:
    answer = await client.post(f"{MINE}/{under}", json=KALLISTO | changes)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told == {"run_id": told["id"], "label": under, "id": told["id"]}
    return str(told["id"])


async def shown(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(f"{MINE}/{path}")
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return whole


async def test_a_workflow_is_started_and_followed_by_its_label(client: httpx.AsyncClient) -> None:
    run = await start(client)
    for path in (
        "kallisto/status",
        "kallisto/api/workflows/v1/kallisto/status",
        f"kallisto/api/workflows/v1/{run}/status",
    ):
        assert await shown(client, path) == {"id": run, "status": "Submitted"}
    log = (await client.get(f"{WES}/runs/{run}")).json()
    assert log["request"]["workflow_url"] == "https://1.1.1.1/FredHutch/AWE-kallisto.git@HEAD"
    assert log["request"]["tags"] == {"name": "kallisto", "label": "data from bob", "awe": "kallisto"}
    listed = (await client.get(f"{WES}/runs?name=kalli&search=bob&tag=awe:kallisto")).json()["runs"]
    assert [entry["run_id"] for entry in listed] == [run]


async def test_a_null_is_a_value_among_the_inputs_and_nothing_elsewhere(client: httpx.AsyncClient) -> None:
    nulls: dict[str, Any] = {"label": None, "workflow_path": None, "tags": {"a": None}, "no field of ours": None}
    run = await start(client, **nulls, workflow_inputs={"w.x": None})
    asked = (await client.get(f"{WES}/runs/{run}")).json()["request"]
    assert asked["workflow_params"] == {"w.x": None}
    assert asked["tags"] == {"name": "kallisto", "awe": "kallisto"}


@pytest.mark.parametrize(("fields", "url"), REPOSITORIES)
async def test_a_repository_may_be_named_in_several_ways(
    client: httpx.AsyncClient, fields: dict[str, str], url: str
) -> None:
    run = await start(client, **fields)
    assert (await client.get(f"{WES}/runs/{run}")).json()["request"]["workflow_url"] == url


async def test_inputs_come_with_the_request_or_from_the_repository(client: httpx.AsyncClient) -> None:
    run = await start(client, inputs_url="inputs/bob.json", workflow_inputs={"w.n": 1}, tags={"project": "x"})
    request = (await client.get(f"{WES}/runs/{run}")).json()["request"]
    assert request["workflow_params"] == {"w.n": 1}
    assert request["tags"]["project"] == "x"
    inputs = "https://1.1.1.1/FredHutch/AWE-kallisto.git@HEAD#inputs/bob.json"
    assert request["workflow_engine_parameters"] == {"inputs_url": inputs}


@pytest.mark.parametrize("how", ["multipart", "form", "curl"])
async def test_a_form_says_the_same_as_json(client: httpx.AsyncClient, how: str) -> None:
    fields = {**KALLISTO, "workflow_inputs": '{"w.n": 1}', "tags": "", "inputs_url": "https://1.1.1.1/i.json"}
    run = await start(client, workflow_inputs={"w.n": 1}, inputs_url="https://1.1.1.1/i.json")
    ways: dict[str, dict[str, Any]] = {
        "multipart": {"files": {name: (None, value) for name, value in fields.items()}},
        "form": {"data": fields},
        "curl": {
            "content": json.dumps(KALLISTO | {"workflow_inputs": {"w.n": 1}, "inputs_url": "https://1.1.1.1/i.json"}),
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
    }
    answer = await client.post(f"{MINE}/kallisto", **ways[how])
    assert answer.json() == {"run_id": run, "label": "kallisto", "id": run}


@pytest.mark.parametrize(("body", "sentence"), REFUSED)
async def test_a_start_that_cannot_be_run_is_refused_with_a_sentence(
    client: httpx.AsyncClient, body: dict[str, Any], sentence: str
) -> None:
    answer = await client.post(f"{MINE}/kallisto", json=body)
    assert answer.status_code == 400
    assert answer.json()["msg"].startswith(sentence)
    assert (await client.get(MINE)).json()["labels"] == []


@pytest.mark.parametrize("label", ["-x", ".x", "a%20b", "x" * 201, "%C3%A9"])
async def test_a_label_that_cannot_be_one_is_refused(client: httpx.AsyncClient, label: str) -> None:
    answer = await client.post(f"{MINE}/{label}", json=KALLISTO)
    assert (answer.status_code, answer.json()["msg"][:11]) == (400, "a label has")


async def test_a_label_names_one_run_and_another_request_under_it_is_a_conflict(
    client: httpx.AsyncClient, files: Path
) -> None:
    several = await asyncio.gather(*(start(client) for _ in range(8)))
    assert len(set(several)) == 1
    answer = await client.post(f"{MINE}/kallisto", json=KALLISTO | {"label": "data from alice"})
    assert (answer.status_code, answer.json()["msg"][:39]) == (409, "another workflow has the label kallisto")
    assert len([*files.glob("*/run-*")]) == 1


async def test_a_running_workflow_is_aborted_and_keeps_its_label(client: httpx.AsyncClient, database: Database) -> None:
    run = await start(client)
    for _ in range(2):
        assert (await client.delete(f"{MINE}/kallisto")).json() == {"id": run, "status": "Aborting"}
    assert await shown(client, "kallisto/status") == {"id": run, "status": "Aborting"}
    assert await start(client) == run
    told = await scalar(database, "SELECT string_agg(action, ' ' ORDER BY id) FROM audit")
    assert told == "run.create run.cancel"


async def test_the_label_of_a_workflow_that_ended_can_be_given_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    first = await start(client)
    await become(database, Kind.RUN, first, "COMPLETE")
    assert await start(client) == first
    assert (await client.delete(f"{MINE}/kallisto")).json() == {"id": first, "status": "Succeeded"}
    assert (await client.get(f"{MINE}/kallisto/status")).status_code == 404
    second = await start(client, label="data from alice")
    assert second != first
    assert (await client.get(MINE)).json()["labels"] == [{"label": "kallisto", "id": second, "status": "Submitted"}]
    told = await scalar(database, "SELECT string_agg(action, ' ' ORDER BY id) FROM audit")
    assert told == "run.create run.free_key run.create"


async def test_a_start_and_a_delete_at_once_never_fail(client: httpx.AsyncClient, database: Database) -> None:
    for label in "abcde":
        await become(database, Kind.RUN, await start(client, label), "COMPLETE")
        answers = await asyncio.gather(
            *(client.request(method, f"{MINE}/{label}", json=KALLISTO) for method in ("POST", "DELETE") * 4)
        )
        assert {answer.status_code for answer in answers} <= {200, 404}


async def test_labels_are_listed_in_pages(client: httpx.AsyncClient, database: Database, caller: Caller) -> None:
    made = [await start(client, label) for label in ("a", "b", "c")]
    await client.post(f"{WES}/runs", json={"workflow_url": "https://1.1.1.1/m.wdl", "workflow_type": "WDL",
                                           "workflow_type_version": "1.0", "tags": {"awe": "d"}})  # fmt: skip
    first = (await client.get(f"{MINE}?page_size=2")).json()
    rest = (await client.get(f"{MINE}?page_size=2&page_token={first['next_page_token']}")).json()
    assert [entry["label"] for entry in (*first["labels"], *rest["labels"])] == ["c", "b", "a"]
    assert [entry["id"] for entry in rest["labels"]] == made[:1]
    assert rest["next_page_token"] == ""


async def test_what_does_not_exist_and_what_is_another_s_look_the_same(
    client: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    await start(client)
    key = "awe:theirs"
    document = {"workflow_url": "m.wdl", "tags": {"awe": "theirs"}}
    await runs.create(database, stranger.owner, runs.NewRun(uuid4(), "fake", document, "x", key, "d"))
    none = await client.get(f"{WES}/runs/{uuid4()}")
    paths = ["stranger", "nobody", "stranger/theirs/status", "somebody/theirs/status", "somebody/kallisto/timing",
             "somebody/kallisto/api/workflows/v1/theirs/status", "somebody/a%20b/status"]  # fmt: skip
    for answer in [
        *[await client.get(f"/awe/{path}") for path in paths],
        *[await client.delete(f"/awe/{path}") for path in ("stranger/theirs", "somebody/theirs", "somebody/x%00")],
        await client.post("/awe/stranger/new", json=KALLISTO),
    ]:
        assert (answer.status_code, answer.content) == (404, none.content)
    assert await scalar(database, "SELECT state FROM runs WHERE idempotency_key = :key", key=key) == "QUEUED"


async def test_a_caller_s_own_keys_are_not_labels(client: httpx.AsyncClient) -> None:
    body = {"workflow_url": "https://1.1.1.1/m.wdl", "workflow_type": "WDL", "workflow_type_version": "1.0"}
    answer = await client.post(f"{WES}/runs", json=body, headers={"Idempotency-Key": "awe:kallisto"})
    assert answer.status_code == 400
    assert "begins with wg- or awe: is wesgate's own" in answer.json()["msg"]


async def test_a_workflow_is_shown_as_cromwell_shows_it(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    run = await start(client, workflow_inputs={"w.n": 1})
    names = ["call-align-000", "call-align-001", "call-align-001", "call-merge"]
    made = [
        await tasks.create(database, Caller(caller.owner, UUID(run)), a_new_task(document={**HELLO, "name": name}))
        for name in names
    ]
    report = {"outputs": {"w.bam": "/x.bam"}, "system_logs": ["it broke", "workflow: x.git@1, sha256:0, WDL 1.0"]}
    await an_attempt(database, Kind.RUN, run, report)
    await become(database, Kind.RUN, run, "EXECUTOR_ERROR")
    whole = await shown(client, "kallisto/metadata")
    assert {key: whole[key] for key in ("id", "status", "workflowName", "inputs", "outputs", "failures")} == {
        "id": run, "status": "Failed", "workflowName": "w", "inputs": {"w.n": 1}, "outputs": {"w.bam": "/x.bam"},
        "failures": [{"message": "it broke", "causedBy": []}],
    }  # fmt: skip
    calls = [
        (name, call["shardIndex"], call["attempt"], call["jobId"])
        for name in whole["calls"]
        for call in whole["calls"][name]
    ]
    assert calls == [("align", 0, 1, str(made[0])), ("align", 1, 1, str(made[1])), ("align", 1, 2, str(made[2])),
                     ("merge", -1, 1, str(made[3]))]  # fmt: skip
    assert (await shown(client, "kallisto/logs"))["calls"]["merge"] == [{"attempt": 1, "shardIndex": -1}]
    assert await shown(client, "kallisto/outputs") == {"id": run, "outputs": {"w.bam": "/x.bam"}}
    assert (await shown(client, "kallisto/labels"))["labels"]["label"] == "data from bob"


def test_every_state_has_a_word_of_cromwell_s() -> None:
    assert set(cromwell.STATUS) == set(State)
    assert set(cromwell.STATUS.values()) == {"Submitted", "Running", "Aborting", "Aborted", "Succeeded", "Failed"}
