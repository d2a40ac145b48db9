"""Hostile input: a 4xx that says what is wrong without echoing it, and nothing stored."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.api.conftest import TES, WES
from tests.builders import HELLO, scalar
from wesgate.api.bodies.limits import BodyLimit
from wesgate.core.errors import InvalidRequest, TooLarge, TooSlow
from wesgate.db.session import Database

STEP = HELLO["executors"][0]
BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "an array": b"[]",
    "a string": b'"task"',
    "NaN": b'{"executors": [], "resources": {"ram_gb": NaN}}',
    "Infinity": b'{"resources": {"ram_gb": Infinity}}',
    "a number out of range": b'{"resources": {"ram_gb": 1e999}}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "deep nesting": b'{"a":' * 100 + b"1" + b"}" * 100,
    "very deep nesting": b"[" * 100_000,
    "a key twice": b'{"name": "a", "name": "b"}',
    "UTF-16": json.dumps(HELLO).encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf" + json.dumps(HELLO).encode(),
    "5,000 digits": b'{"resources": {"cpu_cores": ' + b"9" * 5000 + b"}}",
}
TASKS: dict[str, dict[str, Any]] = {
    "no step": {"executors": []},
    "no executors": {"name": "x"},
    "a step without an image": {"executors": [{"command": ["true"]}]},
    "an image that is an option": {"executors": [{"image": "--privileged", "command": ["true"]}]},
    "an image with spaces": {"executors": [{"image": "a b", "command": ["true"]}]},
    "a step without a command": {"executors": [{"image": "busybox", "command": []}]},
    "a command that is a string": {"executors": [{"image": "busybox", "command": "true"}]},
    "a relative workdir": {"executors": [{**STEP, "workdir": "w"}]},
    "a variable with '='": {"executors": [{**STEP, "env": {"A=B": "c"}}]},
    "negative cores": {**HELLO, "resources": {"cpu_cores": -1}},
    "cores as text": {**HELLO, "resources": {"cpu_cores": "1"}},
    "cores as a boolean": {**HELLO, "resources": {"cpu_cores": True}},
    "very many cores": {**HELLO, "resources": {"cpu_cores": 1e9}},
    "a tag that is a number": {**HELLO, "tags": {"a": 1}},
    "a tag with a long key": {**HELLO, "tags": {"k" * 70_000: ""}},
    "tags that are long together": {**HELLO, "tags": {str(n): "x" * 1000 for n in range(70)}},
    "very many tags": {**HELLO, "tags": {str(n): "" for n in range(1001)}},
    "strict parameters that mean nothing here": {
        **HELLO, "resources": {"backend_parameters": {"VmSize": "big"}, "backend_parameters_strict": True}},
    "an input without a source": {**HELLO, "inputs": [{"path": "/in"}]},
    "an input with a relative path": {**HELLO, "inputs": [{"path": "in", "content": "x"}]},
    "content that is too long": {**HELLO, "inputs": [{"path": "/in", "content": "x" * ((1 << 20) + 1)}]},
    "an input outside the roots": {**HELLO, "inputs": [{"path": "/in", "url": "file:///etc/passwd"}]},
    "a bare path outside the roots": {**HELLO, "inputs": [{"path": "/in", "url": "/etc/passwd"}]},
    "a path that climbs out": {**HELLO, "inputs": [{"path": "/in", "url": "file:///{root}/../../etc/passwd"}]},
    "an encoded path that climbs out": {**HELLO, "inputs": [{"path": "/in", "url": "file://{root}/%2e%2e/x"}]},
    "another host's file": {**HELLO, "inputs": [{"path": "/in", "url": "file://host{root}/x"}]},
    "another scheme": {**HELLO, "inputs": [{"path": "/in", "url": "gopher://example.org/x"}]},
    "an output outside the roots": {**HELLO, "outputs": [{"path": "/out", "url": "file:///etc/cron.d/x"}]},
    "an output in place of everything": {**HELLO, "outputs": [{"path": "//", "url": "file://{root}/o"}]},
    "an input over the kernel's files": {**HELLO, "inputs": [{"path": "/a/../proc/self", "content": "x"}]},
    "a volume over devices": {**HELLO, "volumes": ["/dev/shm"]},
    "wildcards without a prefix": {**HELLO, "outputs": [{"path": "/out/*", "url": "file://{root}/o"}]},
}  # fmt: skip


async def refused(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["status_code"] == status
    assert body["msg"]
    return body


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_document_is_refused(
    client: httpx.AsyncClient, database: Database, body: bytes
) -> None:
    for path in (f"{TES}/tasks", f"{TES}/tasks:batch", f"{TES}/tasks:validate", f"{WES}/runs"):
        await refused(await client.post(path, content=body, headers={"content-type": "application/json"}))
    assert await scalar(database, "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM runs)") == 0


@pytest.mark.parametrize("document", TASKS.values(), ids=TASKS)
async def test_a_task_that_cannot_be_run_is_refused(
    client: httpx.AsyncClient, database: Database, document: dict[str, Any], context: Any
) -> None:
    body = json.dumps(document).replace("{root}", context.roots[0])
    headers = {"content-type": "application/json"}
    alone = await refused(await client.post(f"{TES}/tasks", content=body, headers=headers))
    assert await refused(await client.post(f"{TES}/tasks:validate", content=body, headers=headers)) == alone
    many = await refused(await client.post(f"{TES}/tasks:batch", content=f'{{"tasks": [{body}]}}', headers=headers))
    assert many["msg"] == f"tasks.0.{alone['msg']}"
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


async def test_a_refusal_names_the_place_and_echoes_nothing(client: httpx.AsyncClient) -> None:
    secret = "hunter2"
    answer = await client.post(f"{TES}/tasks", json={"executors": [{"image": 7, "command": [secret]}], secret: secret})
    body = await refused(answer)
    assert "executors.0.image" in body["msg"]
    assert secret not in answer.text


PARAMETERS = {
    f"{TES}/tasks": ["view", "name_prefix", "state", "tag_key", "tag_value", "page_size", "page_token"],
    f"{TES}/tasks/00000000-0000-0000-0000-000000000000": ["view"],
    f"{WES}/runs": ["page_size", "page_token"],
    f"{WES}/runs/{{run_id}}/tasks": ["page_size", "page_token"],
}


@pytest.mark.parametrize("value", ["a%00", "%ED%A0%80", "%01", "%FF"], ids=["NUL", "surrogate", "control", "Latin-1"])
@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in PARAMETERS.items() for name in names])
async def test_no_value_of_a_parameter_is_a_fault(
    client: httpx.AsyncClient, run_id: str, path: str, name: str, value: str
) -> None:
    key = "tag_key=a&" if name == "tag_value" else ""
    answer = await client.get(f"{path.format(run_id=run_id)}?{key}{name}={value}")
    # What is not UTF-8 has become U+FFFD, which names and tags may hold.
    free = name in ("name_prefix", "tag_key", "tag_value") and value in ("%ED%A0%80", "%FF")
    assert answer.status_code == (200 if free else 400), answer.text


@pytest.mark.parametrize("size", ["0", "-1", "٣", "1e3", "", " 1", "1.0"])
async def test_a_page_size_that_is_no_size_is_refused(client: httpx.AsyncClient, size: str) -> None:
    for path in (f"{TES}/tasks", f"{WES}/runs"):
        await refused(await client.get(path, params={"page_size": size}))


async def test_a_huge_page_size_gives_the_largest_page(client: httpx.AsyncClient) -> None:
    for path in (f"{TES}/tasks", f"{WES}/runs"):
        assert (await client.get(path, params={"page_size": str(10**29)})).status_code == 200


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "A" * 10_000, "%00", "..", "\x00"])
async def test_a_page_token_that_we_did_not_make_is_refused(client: httpx.AsyncClient, token: str) -> None:
    for path in (f"{TES}/tasks", f"{WES}/runs"):
        await refused(await client.get(path, params={"page_token": token}))


IDS = ["x", "%00", "..%2f", "{00000000-0000-0000-0000-000000000000}", "urn:uuid:0", "A" * 5000,
       "0000000A-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000٣"]  # fmt: skip


@pytest.mark.parametrize("text", IDS)
async def test_an_id_in_another_form_is_an_id_of_nothing(client: httpx.AsyncClient, text: str) -> None:
    for path in (
        f"{TES}/tasks/{text}",
        f"{TES}/tasks/{text}/logs/0/stdout",
        f"{WES}/runs/{text}",
        f"{WES}/runs/{text}/status",
        f"{WES}/runs/{text}/tasks",
    ):
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("token", ["wgr_", "wgr_x", "wgr_" + "x" * 43, "wgr_" + "x" * 9000, "wgr_\u00e9" * 9])
async def test_a_run_token_that_is_none_is_never_somebody(client: httpx.AsyncClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    await refused(await client.get(f"{TES}/tasks", headers=headers), 401)  # type: ignore[arg-type]


async def test_two_authorization_headers_are_refused(client: httpx.AsyncClient) -> None:
    headers = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    await refused(await client.get(f"{TES}/tasks", headers=headers), 401)


async def test_a_body_over_the_limit_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    await refused(await client.post(f"{TES}/tasks", content=b"x" * (5 << 20)), 413)


async def test_json_has_a_limit_of_its_own(client: httpx.AsyncClient) -> None:
    body, headers = b'{"name": "' + b"x" * (3 << 20) + b'"}', {"content-type": "application/json"}
    for path in (f"{TES}/tasks", f"{TES}/tasks:batch", f"{TES}/tasks:validate", f"{WES}/runs"):
        answer = await refused(await client.post(path, content=body, headers=headers), 413)
        assert answer["msg"] == f"a JSON body may have {3 << 20} bytes"


FIELD = b"x" * (1600 << 10)
FORMS: dict[str, list[tuple[str, tuple[str | None, bytes]]]] = {
    "text": [("tags", (None, FIELD)), ("tags", (None, FIELD))],  # the second is not looked at: it is over the limit
    "files": [("tags", ("f", FIELD)), ("workflow_params", ("f", FIELD))],
    "a file in two-byte letters": [("tags", ("f", "é".encode() * len(FIELD)))],
}


@pytest.mark.parametrize("parts", FORMS.values(), ids=FORMS)
async def test_the_fields_of_a_form_share_that_limit(
    client: httpx.AsyncClient, parts: list[tuple[str, tuple[str | None, bytes]]]
) -> None:
    answer = await refused(await client.post(f"{WES}/runs", files=parts), 413)
    assert answer["msg"] == f"the fields of a run request may have {3 << 20} bytes together"


async def test_a_large_body_does_not_keep_others_waiting(client: httpx.AsyncClient) -> None:
    document = {**HELLO, "inputs": [{"path": f"/in/{n}", "content": "x"} for n in range(60_000)]}
    body, headers = json.dumps(document).encode(), {"content-type": "application/json"}
    sent, waited = time.monotonic(), [0.0]
    large = asyncio.ensure_future(client.post(f"{TES}/tasks", content=body, headers=headers))
    while not large.done():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        waited.append(time.monotonic() - began)
    assert (await large).status_code == 200
    assert max(waited) < (time.monotonic() - sent) / 2, "most of it was done where everybody waits"


async def reads_twice(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await receive()


async def never(message: Message) -> None:
    raise AssertionError(message)


def a_request(*pieces: Message, then: asyncio.Event) -> Receive:
    """What a client sends, and, when the event is set, that it is gone."""
    waiting = list(pieces)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await then.wait()
        return {"type": "http.disconnect"}

    return receive


async def test_a_request_that_stops_arriving_is_given_up() -> None:
    half = a_request({"type": "http.request", "body": b"x", "more_body": True}, then=asyncio.Event())
    with pytest.raises(TooSlow, match=r"for 0\.01 seconds"):
        await BodyLimit(reads_twice, 10, pause_s=0.01)({"type": "http"}, half, never)


async def test_a_client_that_asked_its_question_may_be_silent() -> None:
    gone = asyncio.Event()
    whole = a_request({"type": "http.request", "body": b"x", "more_body": False}, then=gone)
    listening = asyncio.ensure_future(BodyLimit(reads_twice, 10, pause_s=0.01)({"type": "http"}, whole, never))
    assert not (await asyncio.wait([listening], timeout=0.1))[0]
    gone.set()
    await listening


async def test_a_value_that_postgres_cannot_hold_is_the_requests_fault(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="cannot hold"):
        await database.fetch_row("SELECT $1::text", "\0")
    with pytest.raises(TooLarge):
        await database.fetch_row("SELECT to_jsonb(repeat('x', 300000000))")


async def test_a_method_that_a_path_does_not_have_is_refused(client: httpx.AsyncClient) -> None:
    for method in ("DELETE", "PUT", "PATCH", "TRACE"):
        await refused(await client.request(method, f"{TES}/tasks"), 405)
    await refused(await client.get("/ga4gh/tes/v1//tasks"), 404)


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "wg-", "wg-" + "0" * 32 + "-1"])
async def test_an_idempotency_key_has_a_form(client: httpx.AsyncClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    for path, body in ((f"{TES}/tasks", HELLO), (f"{TES}/tasks:batch", {"tasks": [HELLO]})):
        await refused(await client.post(path, json=body, headers=headers))  # type: ignore[arg-type]
