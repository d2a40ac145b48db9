"""WES over HTTP, every reply held against the official document."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conftest import TES, WES
from tests.api.specs import faults, keys
from tests.builders import HELLO, a_run, an_attempt, become, execute, put, scalar
from tests.submitters.shapes import nulls
from wesgate.api.dependencies import Context
from wesgate.api.logs import CHUNK_BYTES
from wesgate.api.wes import routes
from wesgate.app import create_app
from wesgate.core.errors import Unavailable
from wesgate.core.owner import Caller
from wesgate.core.paths import INCOMING
from wesgate.core.spec import Kind, Store
from wesgate.core.states import TERMINAL
from wesgate.db import runs, tasks
from wesgate.db.session import Database
from wesgate.engines.miniwdl.config import MiniwdlSettings, engine_parameters

FORM = {
    "workflow_params": '{"w.n": 1}', "workflow_type": "WDL", "workflow_type_version": "1.0",
    "workflow_url": "main.wdl", "tags": '{"project": "x"}',
}  # fmt: skip
MAIN = ("workflow_attachment", ("main.wdl", b"version 1.0\nworkflow w {}\n", "application/octet-stream"))
File = tuple[str, tuple[str, bytes, str]]


def attached(name: str, content: bytes = b"x") -> File:
    return "workflow_attachment", (name, content, "application/octet-stream")


async def submit(client: httpx.AsyncClient, *files: File, headers: dict[str, str] | None = None, **form: str) -> str:
    answer = await client.post(f"{WES}/runs", data=FORM | form, files=[MAIN, *files], headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


async def refused(client: httpx.AsyncClient, *files: File, **form: str) -> str:
    answer = await client.post(f"{WES}/runs", data=FORM | form, files=[MAIN, *files])
    assert answer.status_code == 400, answer.text
    assert not faults("wes", "ErrorResponse", answer.json())
    return str(answer.json()["msg"])


async def test_a_run_echoes_its_request(client: httpx.AsyncClient) -> None:
    run = await submit(client, workflow_engine_parameters='{"retries": 2, "fast": true, "name": "x"}')
    log = (await client.get(f"{WES}/runs/{run}")).json()
    assert not faults("wes", "RunLog", log)
    assert set(log) <= keys("wes", "RunLog")
    assert log["request"] == {
        "workflow_params": {"w.n": 1}, "workflow_type": "WDL", "workflow_type_version": "1.0",
        "workflow_url": "main.wdl", "tags": {"project": "x"},
        "workflow_engine_parameters": {"retries": "2", "fast": "true", "name": "x"},
    }  # fmt: skip
    assert log["state"] == "QUEUED"


async def test_parameters_and_outputs_are_sent_as_they_are_stored(
    client: httpx.AsyncClient, database: Database, run_id: str
) -> None:
    """To read and write a million values takes a second in which nobody else is answered."""
    stored = '{"workflow_url": "a.wdl", "workflow_params": {"n":  1.50, "x": null}, "tags": {}}'
    await execute(database, "UPDATE runs SET document = CAST(:stored AS json)", stored=stored)
    await an_attempt(database, Kind.RUN, run_id, {"exit_code": 3})
    await execute(
        database, "UPDATE attempts SET report = CAST(:told AS json)", told='{"exit_code": 3, "outputs": {"y": 1E2} }'
    )
    answer = await client.get(f"{WES}/runs/{run_id}")
    assert b'"workflow_params":{"n":  1.50, "x": null}' in answer.content
    assert b'"outputs":{"y": 1E2}' in answer.content
    assert answer.json()["request"] == {"workflow_url": "a.wdl", "workflow_params": {"n": 1.5, "x": None}, "tags": {}}
    assert answer.json()["run_log"]["exit_code"] == 3


async def test_engine_parameters_that_the_engine_does_not_take_are_refused(client: httpx.AsyncClient) -> None:
    form = FORM | {"workflow_engine_parameters": '{"retires": "2"}'}
    answer = await client.post(f"{WES}/runs", data=form, files=[MAIN])
    assert answer.status_code == 400
    known = "inputs_url, output_to, delete_after, resume, retries, fast, name"
    assert answer.json()["msg"] == f"workflow_engine_parameters: a run of miniwdl takes {known}"
    assert (await client.get(f"{WES}/runs")).json()["runs"] == []


@pytest.mark.parametrize(
    "given", [{"fast": "maybe"}, {"fast": 1}, *({"retries": text} for text in ("0", "²", "-1", "1e3", "9" * 10, ""))]
)
async def test_engine_parameters_that_cannot_be_used_are_refused(
    client: httpx.AsyncClient, given: dict[str, Any]
) -> None:
    form = FORM | {"workflow_engine_parameters": json.dumps(given)}
    answer = await client.post(f"{WES}/runs", data=form, files=[MAIN])
    assert answer.status_code == 400
    assert answer.json()["msg"].startswith(f"workflow_engine_parameters.{next(iter(given))} must be ")
    assert (await client.get(f"{WES}/runs")).json()["runs"] == []


async def test_what_an_engine_says_of_a_parameter_of_every_run_holds(context: Context) -> None:
    """A site without a call cache resumes nothing."""
    (engine,) = context.engines
    context = replace(
        context, engines=[replace(engine, parameters=engine_parameters(MiniwdlSettings(call_cache=False)))]
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(context)), base_url="http://127.0.0.1"
    ) as client:
        told = await refused(client, workflow_engine_parameters=json.dumps({"resume": str(uuid4())}))
        assert told.startswith("workflow_engine_parameters.resume must be left out: this site has no call cache")
        told = await refused(client, workflow_engine_parameters='{"runtime_defaults": "{\\"cpu\\": \\"abc\\"}"}')
        assert told.startswith("workflow_engine_parameters.runtime_defaults must have as cpu a number of cores")
        info = (await client.get(f"{WES}/service-info")).json()
    names = [one["name"] for one in info["default_workflow_engine_parameters"]]
    assert len(names) == len(set(names))


async def test_engine_parameters_are_told_by_service_info(client: httpx.AsyncClient) -> None:
    info = (await client.get(f"{WES}/service-info")).json()
    assert not faults("wes", "ServiceInfo", info)
    names = [one["name"] for one in info["default_workflow_engine_parameters"]]
    assert names == ["inputs_url", "output_to", "delete_after", "resume", "retries", "fast", "name"]


async def test_an_accepted_run_is_not_marked_as_coming_in(client: httpx.AsyncClient, files: Path) -> None:
    await submit(client)
    assert list(files.rglob("main.wdl"))
    assert not list(files.rglob(INCOMING))


async def test_attachments_are_kept_with_their_folders(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    run = await submit(client, attached("lib/deep/tasks.wdl", b"tasks"), attached("data/a b ü.txt", b"data"))
    folder = files / str(await scalar(database, "SELECT directory FROM runs WHERE id = :id", id=run)) / "attachments"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"main.wdl": MAIN[1][1], "lib/deep/tasks.wdl": b"tasks", "data/a b ü.txt": b"data"}


async def test_json_fields_may_be_file_parts_and_may_be_typed(client: httpx.AsyncClient) -> None:
    form = {name: value for name, value in FORM.items() if name not in ("workflow_params", "tags")}
    parts = [MAIN, ("workflow_params", ("p.json", b'{"w.n": 2}', "application/json")), ("tags", (None, b"{}", None))]
    answer = await client.post(f"{WES}/runs", data=form, files=parts)
    run = answer.json()["run_id"]
    assert (await client.get(f"{WES}/runs/{run}")).json()["request"]["workflow_params"] == {"w.n": 2}


async def test_a_json_body_is_taken_too(client: httpx.AsyncClient) -> None:
    body = {"workflow_type": "wdl", "workflow_type_version": "v1.0", "workflow_url": "https://1.1.1.1/main.wdl",
            "workflow_params": {"n": 1}, "tags": None}  # fmt: skip
    answer = await client.post(f"{WES}/runs", json=body)
    assert answer.status_code == 200, answer.text
    told = (await client.get(f"{WES}/runs/{answer.json()['run_id']}")).json()["request"]
    del body["tags"]
    assert told == body | {"workflow_engine_parameters": {}, "tags": {}}


async def test_the_version_of_an_engine_is_the_one_that_there_is(client: httpx.AsyncClient) -> None:
    await submit(client, workflow_engine="miniwdl", workflow_engine_version="1.16")
    message = await refused(client, workflow_engine="miniwdl", workflow_engine_version="1.17")
    assert message == "workflow_engine_version: there is miniwdl 1.16"


@pytest.mark.parametrize("missing", ["workflow_type", "workflow_type_version", "workflow_url"])
async def test_a_field_that_is_missing_is_named(client: httpx.AsyncClient, missing: str) -> None:
    assert missing in await refused(client, **{missing: ""})


@pytest.mark.parametrize(
    "form",
    [
        {"workflow_params": "{"}, {"workflow_params": "[]"}, {"workflow_params": '{"a": NaN}'},
        {"tags": '{"a": 1}'}, {"workflow_type": "CWL"}, {"workflow_type_version": "9.9"},
        {"workflow_engine": "cromwell"}, {"workflow_engine_version": "1"},
        {"workflow_engine": "miniwdl", "workflow_engine_version": "0.0.1"},
        {"workflow_url": "other.wdl"}, {"workflow_url": "../main.wdl"}, {"workflow_url": "/etc/passwd"},
        {"workflow_url": "file:///etc/passwd"}, {"workflow_url": "ftp://example.org/x"},
        {"workflow_url": "http://user@1.1.1.1/x"}, {"workflow_url": "http:///x"}, {"workflow_url": "http://["},
    ],
    ids=str,
)  # fmt: skip
async def test_a_run_that_cannot_be_run_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, database: Database, files: Path, form: dict[str, str]
) -> None:
    await refused(client, **form)
    assert await scalar(database, "SELECT count(*) FROM runs") == 0
    assert not [path for path in files.rglob("*") if path.is_file()]


HOSTS = ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1",
         "169.254.169.254", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "168.63.129.16", "0.0.0.0", "[fd00:ec2::254]",
         "100.64.0.1", "192.0.0.192"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
async def test_a_host_that_is_not_public_is_not_asked(client: httpx.AsyncClient, host: str) -> None:
    assert "public" in await refused(client, workflow_url=f"http://{host}/main.wdl")


NAMES = ["../x", "a/../x", "/x", "a//x", "..\\x", "a\\x", ".", "..", "a/.", "x\x7f", "a" * 300, "x.", " x",
         "a/" * 40 + "x", "x\u202egnp.exe", "C:x", "%2e%2e%2fx", "%2E%2e", "a%5cx", "CON",
         "a/nul.txt", "Com1"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_an_attachment_keeps_to_its_folder(client: httpx.AsyncClient, files: Path, name: str) -> None:
    await refused(client, attached(name))
    assert not [path for path in files.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("a", "A"), ("a", "a/b"), ("\u00e9", "e\u0301")],
    ids=["same", "case", "folder", "NFC"],
)
async def test_attachments_that_would_meet_are_refused(client: httpx.AsyncClient, one: str, other: str) -> None:
    await refused(client, attached(one), attached(other))


def multipart(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + end


URL = b'name="workflow_url"\r\n\r\nhttps://1.1.1.1/x'
TYPE = b'name="workflow_type"\r\n\r\nWDL'
VERSION = b'name="workflow_type_version"\r\n\r\n1.0'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (multipart(URL, TYPE, VERSION, end=b""), "multipart/form-data; boundary=b"),
        (multipart(URL, TYPE, VERSION, end=b"--b\r\nContent-Disp"), "multipart/form-data; boundary=b"),
        (multipart(URL, TYPE, VERSION), "multipart/form-data"),
        (multipart(URL, TYPE, VERSION), "multipart/form-data; boundary=b; charset=utf-7"),
        (multipart(URL, TYPE, VERSION, b'name="tags"\r\n\r\n{"a": "\xe9"}'), "multipart/form-data; boundary=b"),
        (multipart(URL, URL, TYPE, VERSION), "multipart/form-data; boundary=b"),
        (multipart(URL, TYPE, VERSION, b'name="workflow_attachment"\r\n\r\nx'), "multipart/form-data; boundary=b"),
        (multipart(URL, TYPE, VERSION, b"nothing\r\n\r\nx"), "multipart/form-data; boundary=b"),
        (multipart(*[URL] * 1200), "multipart/form-data; boundary=b"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"", ""),
    ],
    ids=["no end", "cut off", "no boundary", "utf-7", "latin-1", "twice", "no filename", "no name", "many", "form",
         "none"],
)  # fmt: skip
async def test_a_form_that_is_not_whole_is_refused(
    client: httpx.AsyncClient, database: Database, body: bytes, kind: str
) -> None:
    answer = await client.post(f"{WES}/runs", content=body, headers={"content-type": kind})
    assert answer.status_code == 400, answer.text
    assert await scalar(database, "SELECT count(*) FROM runs") == 0


async def test_large_parameters_are_taken(client: httpx.AsyncClient) -> None:
    await submit(client, workflow_params=json.dumps({"w.s": "x" * (2 << 20)}))


async def test_attachments_over_the_limit_are_refused(client: httpx.AsyncClient, files: Path) -> None:
    answer = await client.post(f"{WES}/runs", data=FORM, files=[MAIN, attached("big", b"x" * (1 << 20))])
    assert answer.status_code == 413
    assert not [path for path in files.rglob("*") if path.is_file()]


async def test_a_repeated_key_gives_the_same_run_whatever_its_boundary(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    key = {"Idempotency-Key": "k"}
    made = {await submit(client, headers=key) for _ in range(3)}
    assert len(made) == 1
    assert len(list(files.rglob("main.wdl"))) == 1
    other = await client.post(
        f"{WES}/runs", data=FORM, files=[("workflow_attachment", ("main.wdl", b"y"))], headers=key
    )
    assert other.status_code == 422
    assert await scalar(database, "SELECT count(*) FROM runs") == 1


async def test_two_first_submits_with_one_key_make_one_run(client: httpx.AsyncClient, files: Path) -> None:
    made = await asyncio.gather(*(submit(client, headers={"Idempotency-Key": "k"}) for _ in range(4)))
    assert len(set(made)) == len(list(files.rglob("main.wdl"))) == 1


async def test_a_key_knows_a_request_by_its_document_and_the_files_of_its_run(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    """Rows of earlier releases have digests that were made of the files once they were written."""
    run = await submit(
        client, attached("./b/x"), attached("b-a", b"y"), attached("ü", b""), headers={"Idempotency-Key": "k"}
    )
    kept = await scalar(database, "SELECT document FROM runs WHERE id = :id", id=run)
    (folder,) = files.glob("*/run-*")
    (folder / INCOMING).touch()
    told = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        told.update(str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert await scalar(database, "SELECT body_digest FROM runs WHERE id = :id", id=run) == told.hexdigest()


async def test_a_request_is_repeated_although_what_it_came_from_is_gone(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    earlier = await submit(client)
    await put(database, Kind.RUN, earlier, "COMPLETE")
    form, key = FORM | {"workflow_engine_parameters": json.dumps({"resume": earlier})}, {"Idempotency-Key": "k"}
    made = (await client.post(f"{WES}/runs", data=form, headers=key)).json()
    shutil.rmtree(next(files.glob(f"*/run-{UUID(earlier).hex}/attachments")))  # as `runs.keep_days` has it
    assert (await client.post(f"{WES}/runs", data=form)).status_code == 400
    assert (await client.post(f"{WES}/runs", data=form, headers=key)).json() == made
    assert (await client.post(f"{WES}/runs", data=form | {"tags": "{}"}, headers=key)).status_code == 422
    assert await scalar(database, "SELECT count(*) FROM runs") == 2


@pytest.mark.parametrize("error", [Unavailable, asyncio.CancelledError])
async def test_files_of_a_run_that_may_yet_be_committed_are_kept(
    client: httpx.AsyncClient, files: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async def lost(*_: object) -> None:
        raise error

    monkeypatch.setattr(runs, "create", lost)
    with contextlib.suppress(asyncio.CancelledError):
        assert (await client.post(f"{WES}/runs", data=FORM, files=[MAIN])).status_code == 503
    (mark,) = files.rglob(INCOMING)
    assert (mark.parent / "attachments/main.wdl").read_bytes() == MAIN[1][1]


async def test_a_key_that_was_used_leaves_no_files(client: httpx.AsyncClient, files: Path) -> None:
    key = {"Idempotency-Key": "k"}
    await submit(client, headers=key)
    assert (await client.post(f"{WES}/runs", data=FORM | {"tags": "{}"}, files=[MAIN], headers=key)).status_code == 422
    assert len(list(files.rglob("main.wdl"))) == 1


async def test_a_list_of_tasks_reads_nothing_that_it_does_not_show(
    client: httpx.AsyncClient, database: Database, run_id: str, head: dict[str, str]
) -> None:
    sent = {**HELLO, "inputs": [{"path": "/in", "content": "x" * 1000}]}
    task = (await client.post(f"{TES}/tasks", json=sent, headers=head)).json()["id"]
    for number, code in ((1, 9), (2, 3)):
        steps = [{"exit_code": 0, "stdout": "o" * 1000}, {"exit_code": code, "stderr": "e" * 1000}, {"exit_code": None}]
        report = {"start_time": "2026-01-01T12:00:00Z", "end_time": None, "directory": "d", "system_logs": ["why"],
                  "steps": steps}  # fmt: skip
        await an_attempt(database, Kind.TASK, task, report, number)
    whole = (await client.get(f"{WES}/runs/{run_id}/tasks/{task}")).json()
    assert (await client.get(f"{WES}/runs/{run_id}")).json()["task_logs"] == [whole]
    assert (whole["exit_code"], whole["system_logs"], whole["name"]) == (3, ["why"], HELLO["name"])
    (read,) = await tasks.of_run(database, UUID(run_id), None, 10)
    assert len(json.dumps([read.document, read.report])) < 500


async def test_pages_give_every_run_once_while_more_are_added(client: httpx.AsyncClient) -> None:
    made = [await submit(client) for _ in range(5)]
    seen: list[str] = []
    token = "first"
    while token:
        query = {"page_size": "2", **({"page_token": token} if token != "first" else {})}
        page = (await client.get(f"{WES}/runs", params=query)).json()
        assert not faults("wes", "RunListResponse", page)
        seen += [run["run_id"] for run in page["runs"]]
        token = page["next_page_token"]
        await submit(client)
    assert seen == made[::-1]


async def test_status_is_the_state_alone(client: httpx.AsyncClient) -> None:
    run = await submit(client)
    assert (await client.get(f"{WES}/runs/{run}/status")).json() == {"run_id": run, "state": "QUEUED"}


async def test_service_info_is_whole(client: httpx.AsyncClient) -> None:
    await submit(client)
    info = (await client.get(f"{WES}/service-info")).json()
    assert not faults("wes", "ServiceInfo", info)
    assert set(info) <= keys("wes", "ServiceInfo")
    assert info["system_state_counts"] == {"QUEUED": 1}


async def test_a_task_of_a_run_leads_to_its_tes_task(
    client: httpx.AsyncClient, run_id: str, head: dict[str, str]
) -> None:
    task = (await client.post(f"{TES}/tasks", json=HELLO, headers=head)).json()["id"]
    page = (await client.get(f"{WES}/runs/{run_id}/tasks")).json()
    assert not faults("wes", "TaskListResponse", page)
    (shown,) = page["task_logs"]
    assert shown == (await client.get(f"{WES}/runs/{run_id}/tasks/{task}")).json()
    assert set(shown) <= keys("wes", "TaskLog")
    assert (await client.get(shown["tes_uri"])).json() == {"id": task, "state": "QUEUED"}
    log = (await client.get(f"{WES}/runs/{run_id}")).json()
    assert log["task_logs"] == [shown]
    assert (await client.get(log["task_logs_url"])).json() == page


async def test_tasks_are_listed_in_the_order_they_were_made(
    client: httpx.AsyncClient, run_id: str, head: dict[str, str]
) -> None:
    made = [(await client.post(f"{TES}/tasks", json=HELLO, headers=head)).json()["id"] for _ in range(5)]
    first = (await client.get(f"{WES}/runs/{run_id}/tasks", params={"page_size": "3"})).json()
    query = {"page_size": "3", "page_token": first["next_page_token"]}
    second = (await client.get(f"{WES}/runs/{run_id}/tasks", params=query)).json()
    assert [task["id"] for task in first["task_logs"] + second["task_logs"]] == made
    assert second["next_page_token"] == ""


async def test_a_run_log_holds_the_first_tasks_and_the_list_all(
    client: httpx.AsyncClient, run_id: str, head: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "INLINE_TASKS", 2)
    made = [(await client.post(f"{TES}/tasks", json=HELLO, headers=head)).json()["id"] for _ in range(3)]
    log = (await client.get(f"{WES}/runs/{run_id}")).json()
    assert [task["id"] for task in log["task_logs"]] == made[:2]
    assert [task["id"] for task in (await client.get(log["task_logs_url"])).json()["task_logs"]] == made


async def test_a_page_of_tasks_has_a_size_above_zero_and_a_largest(client: httpx.AsyncClient, run_id: str) -> None:
    url = f"{WES}/runs/{run_id}/tasks"
    assert (await client.get(url, params={"page_size": "9" * 20})).status_code == 200
    for wrong in ("0", "-1", "x"):
        answer = await client.get(url, params={"page_size": wrong})
        assert (answer.status_code, faults("wes", "ErrorResponse", answer.json())) == (400, [])


async def test_logs_are_served_as_plain_text_in_parts(
    client: httpx.AsyncClient, context: Context, database: Database, run_id: str
) -> None:
    (context.files / "logs").mkdir()
    (context.files / "logs" / "0.stderr").write_bytes(b"<script>0123456789")
    report = {"stderr": "logs/0.stderr", "stdout": "logs/0.stdout"}
    await an_attempt(database, Kind.RUN, run_id, report)
    url = (await client.get(f"{WES}/runs/{run_id}")).json()["run_log"]["stderr"]
    whole, part = await client.get(url), await client.get(url, headers={"Range": "bytes=8-"})
    assert whole.text == "<script>0123456789"
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert (part.status_code, part.text) == (206, "0123456789")
    assert (await client.get(url.replace("stderr", "stdout"))).text == ""
    tail, past, odd = [
        await client.get(url, headers={"Range": wanted}) for wanted in ("bytes=-3", "bytes=18-", "bytes=a-b")
    ]
    assert (tail.status_code, tail.text, tail.headers["content-range"]) == (206, "789", "bytes 15-17/18")
    assert (past.status_code, past.headers["content-range"]) == (416, "bytes */18")
    assert (odd.status_code, odd.text) == (200, whole.text)


async def test_a_log_that_grows_meanwhile_is_sent_as_long_as_it_was(
    client: httpx.AsyncClient, context: Context, database: Database, run_id: str
) -> None:
    log = context.files / "grows"
    log.write_bytes(b"x" * 3 * CHUNK_BYTES)
    await an_attempt(database, Kind.RUN, run_id, {"stdout": "grows"})
    url = (await client.get(f"{WES}/runs/{run_id}")).json()["run_log"]["stdout"]
    async with client.stream("GET", url) as answer:
        with log.open("ab") as file:
            file.write(b"more")
        assert len(await answer.aread()) == int(answer.headers["content-length"]) == 3 * CHUNK_BYTES


async def test_a_log_outside_the_shared_root_is_not_served(
    client: httpx.AsyncClient, database: Database, run_id: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    report = {"stderr": "../secret"}
    await an_attempt(database, Kind.RUN, run_id, report)
    assert (await client.get(f"{WES}/runs/{run_id}/logs/stderr")).status_code == 404


async def test_cancel_is_durable_and_can_be_repeated(client: httpx.AsyncClient) -> None:
    run = await submit(client)
    answers = await asyncio.gather(*(client.post(f"{WES}/runs/{run}/cancel") for _ in range(5)))
    assert [(one.status_code, one.json()) for one in answers] == [(200, {"run_id": run})] * 5
    assert (await client.get(f"{WES}/runs/{run}/status")).json()["state"] == "CANCELING"


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_a_run_that_ended_stays_as_it_is_when_it_is_canceled(
    client: httpx.AsyncClient, database: Database, state: str
) -> None:
    run = await submit(client)
    for step in ("CANCELING", "CANCELED") if state == "CANCELED" else (state,):
        await become(database, Kind.RUN, run, step)
    answer = await client.post(f"{WES}/runs/{run}/cancel")
    assert (answer.status_code, answer.json()) == (200, {"run_id": run})
    assert (await client.get(f"{WES}/runs/{run}/status")).json()["state"] == state


async def test_links_begin_where_the_service_says_that_it_is_reached(context: Context, run_id: str) -> None:
    base = "https://wes.example.org/gate"
    app = create_app(replace(context, public_url=base, own_urls=[base]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wes.example.org") as client:
        log = (await client.get(f"{WES}/runs/{run_id}")).json()
    links = [log["task_logs_url"], log["run_log"]["stdout"], log["run_log"]["stderr"]]
    assert links == [f"{base}{WES}/runs/{run_id}/{end}" for end in ("tasks", "logs/stdout", "logs/stderr")]


async def test_no_answer_holds_a_null(client: httpx.AsyncClient, run_id: str, head: dict[str, str]) -> None:
    task = (await client.post(f"{TES}/tasks", json=HELLO, headers=head)).json()["id"]
    run = f"/runs/{run_id}"
    for path in ("/service-info", "/runs", run, f"{run}/status", f"{run}/tasks", f"{run}/tasks/{task}"):
        assert nulls((await client.get(f"{WES}{path}")).json()) == []


async def test_a_last_page_has_an_empty_token(client: httpx.AsyncClient, run_id: str, head: dict[str, str]) -> None:
    for path in ("/runs", f"/runs/{run_id}/tasks"):
        assert (await client.get(f"{WES}{path}")).json()["next_page_token"] == ""
    for _ in range(2):
        await client.post(f"{TES}/tasks", json=HELLO, headers=head)
        await submit(client)
    lists = ["/runs", f"/runs/{run_id}/tasks"]
    for path, other in zip(lists, lists[::-1], strict=True):
        token = (await client.get(f"{WES}{path}", params={"page_size": "1"})).json()["next_page_token"]
        assert token
        refusal = await client.get(f"{WES}{other}", params={"page_token": token})
        assert refusal.status_code == 400, "a token is good for its list only"


async def test_a_list_has_tags_and_times(client: httpx.AsyncClient, database: Database) -> None:
    run = await submit(client)
    (shown,) = (await client.get(f"{WES}/runs")).json()["runs"]
    assert shown == {"run_id": run, "state": "QUEUED", "tags": {"project": "x"}}
    for state in ("RUNNING", "COMPLETE"):
        await become(database, Kind.RUN, run, state)
    (shown,) = (await client.get(f"{WES}/runs")).json()["runs"]
    assert not faults("wes", "RunSummary", shown)
    for time in ("start_time", "end_time"):
        assert datetime.strptime(shown[time], "%Y-%m-%dT%H:%M:%S%z").utcoffset() == timedelta(0)


async def test_protocols_are_those_of_the_stores_too(context: Context) -> None:
    app = create_app(replace(context, stores=[Store("s3://bucket/"), Store("az://box/"), Store("https://h/c/")]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        info = (await client.get(f"{WES}/service-info")).json()
    assert info["supported_filesystem_protocols"] == ["az", "file", "http", "https", "s3"]


async def test_another_owners_run_is_as_one_that_does_not_exist(
    client: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    theirs, none = await a_run(database, stranger), uuid4()
    paths = ["", "/status", "/tasks", f"/tasks/{uuid4()}", "/logs/stderr", f"/tasks/{uuid4()}/logs/stdout"]
    requests: list[tuple[str, str]] = [("GET", path) for path in paths] + [("POST", "/cancel")]
    for method, path in requests:
        answers = [await client.request(method, f"{WES}/runs/{one}{path}") for one in (theirs, none)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert (await client.get(f"{WES}/runs")).json()["runs"] == []
    assert await scalar(database, "SELECT state FROM runs WHERE id = :id", id=theirs) == "QUEUED"


async def test_a_run_token_is_good_for_tes_only(client: httpx.AsyncClient, run_id: str, head: dict[str, str]) -> None:
    requests: list[tuple[str, str]] = [("GET", "/runs"), ("GET", f"/runs/{run_id}"), ("POST", f"/runs/{run_id}/cancel")]
    for method, path in requests:
        assert (await client.request(method, f"{WES}{path}", headers=head)).status_code == 403


async def test_every_change_that_was_asked_for_is_audited(client: httpx.AsyncClient, database: Database) -> None:
    run = await submit(client)
    await client.post(f"{WES}/runs/{run}/cancel")
    told: Any = await scalar(database, "SELECT array_agg(action ORDER BY id) FROM audit WHERE row_id = :id", id=run)
    assert told == ["run.create", "run.cancel"]
