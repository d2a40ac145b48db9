"""Every line of the table of dialects, held by what that submitter sends and by what it can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from tes.utils import unmarshal  # type: ignore[import-untyped]

import tes  # type: ignore[import-untyped]
from tests.api.specs import faults
from tests.builders import HELLO, an_attempt, put, scalar
from tests.submitters.sent import DOCUMENTS, STATES, SUBMITTERS, WITHOUT_A_DOCUMENT, Submitter, document, kept
from tests.submitters.shapes import nulls, unknown
from wesgate.core.spec import Kind
from wesgate.core.states import TERMINAL
from wesgate.db.session import Database
from wesgate.ga4gh import dialects
from wesgate.ga4gh import tes as wire
from wesgate.ga4gh.dialects import BY_NAME, DIALECTS, Asking
from wesgate.ga4gh.parameters import Site

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "submitters.md"
PY_TES = "python-requests/2.34.2"


async def create(client: httpx.AsyncClient, sent: Any, **headers: str) -> str:
    answer = await client.post("/tasks", json=sent, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


# What it sends


async def test_its_document_is_taken_and_comes_back(
    client: httpx.AsyncClient, submitter: Submitter, sent: dict[str, Any]
) -> None:
    task = await create(client, sent)
    shown = (await client.get(f"/tasks/{task}?view=FULL")).json()
    for ours in ("id", "state", "logs", "creation_time"):
        shown.pop(ours)
    assert shown == kept(sent, submitter.unsent)


async def test_it_is_recognized_and_gets_its_terms(
    client: httpx.AsyncClient, submitter: Submitter, sent: dict[str, Any]
) -> None:
    said = (await client.post("/tasks:validate", json=sent)).json()
    assert said["submitter"] == submitter.dialect
    assert said["policy"]["missing_outputs"] == submitter.missing
    assert said["policy"]["image_entrypoint"] == submitter.entrypoint


async def test_it_is_recognized_whoever_sends_its_document(submitter: Submitter, sent: dict[str, Any]) -> None:
    assert wire.read_task(kept(sent)).submitter == submitter.dialect


async def test_a_task_sent_again_with_its_key_is_the_same_task(
    client: httpx.AsyncClient, sent: dict[str, Any], database: Database
) -> None:
    first = await create(client, sent, **{"Idempotency-Key": "once"})
    assert await create(client, sent, **{"Idempotency-Key": "once"}) == first
    assert await scalar(database, "SELECT count(*) FROM tasks") == 1


# What it gets


async def test_it_gets_no_state_that_it_cannot_bear(
    client: httpx.AsyncClient, submitter: Submitter, sent: dict[str, Any], database: Database
) -> None:
    task = await create(client, sent)
    for state in STATES:
        await put(database, Kind.TASK, task, state)
        wanted = submitter.shown.get(state, state)
        for view in ("", "?view=MINIMAL", "?view=BASIC", "?view=FULL"):
            assert (await client.get(f"/tasks/{task}{view}")).json()["state"] == wanted
            listed = (await client.get(f"/tasks{view}")).json()["tasks"]
            assert [one["state"] for one in listed] == [wanted]
        polled = (await client.get(submitter.poll.replace("{id}", task))).json()
        assert polled.get("tasks", [polled])[0]["state"] == wanted


async def test_a_size_is_a_string_that_it_can_read(
    client: httpx.AsyncClient, submitter: Submitter, sent: dict[str, Any], database: Database
) -> None:
    sizes = (0, (1 << 31) - 1, 1 << 31, 5_000_000_000)
    task = await create(client, sent)
    await an_attempt(
        database,
        Kind.TASK,
        task,
        {"outputs": [{"url": "file:///o", "path": "/o", "size_bytes": size} for size in sizes]},
    )
    for view in ("BASIC", "FULL"):
        (log,) = (await client.get(f"/tasks/{task}?view={view}")).json()["logs"]
        told = [file["size_bytes"] for file in log["outputs"]]
        assert told == [str(min(size, submitter.largest or size)) for size in sizes]


async def test_its_answers_have_no_nulls_and_nothing_that_strict_clients_refuse(
    client: httpx.AsyncClient, sent: dict[str, Any], database: Database
) -> None:
    task = await create(client, sent)
    for state in ("QUEUED", "RUNNING", "COMPLETE", "EXECUTOR_ERROR", "CANCELED"):
        if state == "RUNNING":
            await an_attempt(database, Kind.TASK, task, {"steps": [{"exit_code": None, "stdout": "so far"}]})
        await put(database, Kind.TASK, task, state)
        for view in ("MINIMAL", "BASIC", "FULL"):
            alone = (await client.get(f"/tasks/{task}?view={view}")).json()
            listed = (await client.get(f"/tasks?view={view}")).json()
            for schema, shown in (("tesTask", alone), ("tesListTasksResponse", listed)):
                # The spec says that a task has executors, and that MINIMAL leaves them out.
                assert view == "MINIMAL" or not faults("tes", schema, shown)
                assert (unknown(schema, shown), nulls(shown)) == ([], [])
            assert unmarshal(alone, tes.Task).id == task


async def test_it_may_cancel_with_any_body(
    client: httpx.AsyncClient, submitter: Submitter, sent: dict[str, Any]
) -> None:
    kinds = (None, "text/plain", "application/json", "application/octet-stream", "no type")
    for body, kind in [submitter.cancel, *((body, kind) for body in (b"", b"null", b"not JSON") for kind in kinds)]:
        task = await create(client, sent)
        headers = {"content-type": kind} if kind else {}
        answer = await client.post(f"/tasks/{task}:cancel", content=body, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert answer.headers["content-type"] == "application/json"


async def test_it_may_cancel_what_has_ended(
    client: httpx.AsyncClient, sent: dict[str, Any], database: Database
) -> None:
    for state in TERMINAL:
        task = await create(client, sent)
        await put(database, Kind.TASK, task, state)
        answer = await client.post(f"/tasks/{task}:cancel")
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=UUID(task)) == state


async def test_both_service_infos_are_where_it_looks(client: httpx.AsyncClient) -> None:
    legacy, modern = [(await client.get(path)).json() for path in ("/tasks/service-info", "/service-info")]
    assert sorted(legacy) == ["doc", "name", "storage"]
    assert (faults("tes", "tesServiceInfo", modern), nulls(modern)) == ([], [])
    assert "missing_outputs" in modern["tesResources_backend_parameters"]


# Who is who

AT_V1 = Asking(PY_TES, legacy_base=True)


@pytest.mark.parametrize(
    ("sent", "asking", "found"),
    [
        ("nextflow", Asking(set_to="toil"), "toil"),
        ({"wesgate-submitter": "cromwell"}, Asking(set_to="toil"), "toil"),
        ({"wesgate-submitter": "cromwell", "crankshaft-task-group": "g"}, AT_V1, "cromwell"),
        ({"wesgate-submitter": "nobody", "crankshaft-task-group": "g"}, AT_V1, "sprocket"),
        ({"crankshaft-task-group": "g"}, AT_V1, "sprocket"),
        ({}, AT_V1, "py-tes-0.4"),
        ({}, Asking(PY_TES), ""),
        ({}, Asking("sprocket/0.2"), "sprocket"),
        ({}, Asking("curl/8", legacy_base=True), ""),
    ],
    ids=["setting over document", "setting over tag", "tag over document", "tag of nobody", "document over how it asks",
         "how it asks", "py-tes at the newer base", "User-Agent", "anybody"],
)  # fmt: skip
def test_a_submitter_is_told_by_setting_then_tag_then_document_then_how_it_asks(
    sent: str | dict[str, str], asking: Asking, found: str
) -> None:
    task = kept(document(sent, root="/x")) if isinstance(sent, str) else {**HELLO, "tags": sent}
    assert wire.read_task(task, Site(), asking).submitter == found


def test_a_task_of_nobody_known_is_answered_by_how_it_is_asked_for() -> None:
    assert dialects.shown("PREEMPTED", "", Asking("curl/8")) == "PREEMPTED"
    assert dialects.shown("PREEMPTED", "", AT_V1) == "SYSTEM_ERROR"
    assert dialects.shown("PREEMPTED", "", Asking(set_to="cromwell")) == "SYSTEM_ERROR"
    assert dialects.shown("QUEUED", "cromwell", Asking(set_to="pulsar")) == "INITIALIZING"


# The table is whole


def test_every_dialect_has_a_line_here_and_a_document() -> None:
    named = {dialect.name for dialect in DIALECTS}
    assert {one.dialect for one in SUBMITTERS.values()} | set(WITHOUT_A_DOCUMENT) == named
    assert {path.stem for path in DOCUMENTS.glob("*.json")} == set(SUBMITTERS)


@pytest.mark.parametrize("dialect", [name for name in BY_NAME if name])
def test_every_dialect_has_a_row_for_people(dialect: str) -> None:
    assert f"\n| `{dialect}` |" in PAGE.read_text()
