"""The threats to TES by their rows in the threat model: the stated answer, never a 5xx, and nothing stored of what was
refused. What every route refuses is in test_hostile.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.api.conftest import TES
from tests.builders import HELLO, a_task, scalar
from wesgate.api.dependencies import Context
from wesgate.app import create_app
from wesgate.core.owner import Caller
from wesgate.db.session import Database
from wesgate.ga4gh.views import PRICE

STEP = HELLO["executors"][0]
JSON = {"content-type": "application/json"}
META = ["$(touch /tmp/x)", "`id`", "a;b", "x\n#SBATCH --uid=0", "|| true", "--privileged", "'\"", "%s%n", "{{7*7}}"]
OVERRIDE = "\u202egnp.exe"


def task(**changes: Any) -> bytes:
    return json.dumps({**HELLO, **changes}).encode()


def step(**changes: Any) -> bytes:
    return task(executors=[{**STEP, **changes}])


def resources(**members: Any) -> bytes:
    return task(resources=members)


def number(name: str, digits: str) -> bytes:
    """A task with a number as it is spelled."""
    return b'{"executors": [{"image": "i", "command": ["c"]}], "resources": {"%b": %b}}' % (
        name.encode(), digits.encode(),
    )  # fmt: skip


REFUSED: dict[str, list[bytes]] = {
    "A28 what points inside": [
        task(inputs=[{"path": "/in", "url": url}])
        for url in ("file:{root}/x", "file:///etc/passwd", "/etc/passwd", "file://{root}/../x", "file:////etc/passwd",
                    "drs://169.254.169.254/x", "ftp://127.0.0.1/x", "FILE:///etc/passwd", "file://169.254.169.254/x",
                    "jar:file:///etc/passwd")
    ],
    "A28 what is written to": [
        task(outputs=[{"path": "/out", "url": url}])
        for url in ("http://127.0.0.1/x", "https://example.org/x", "/etc/cron.d/x", "file:///",
                    "file://{root}/%2e%2e/x", "s3://b/x")
    ],
    "A32 names of files": [
        task(inputs=[{"path": path, "content": "x"}])
        for path in ("../../x", "x", "", "a\0b", "/in\0", "..\\x", "/" + "x" * 5000, "C:\\x")
    ],
    "A38 depth": [
        task(tags={"a": json.loads("[" * 70 + "]" * 70)}), b'{"x":' * 900 + b"1" + b"}" * 900, b"[" * 100_000,
    ],
    "A39 control characters": [
        task(name="a\0"), task(tags={"a\0": ""}), task(tags={"a": "\x1b[2J"}), step(command=["a\0b"]),
        step(env={"A": "\0"}), step(env={"A\0": ""}), step(workdir="/w\0"), task(volumes=["/v\0"]),
        task(**{"unknown\0": 1}), step(image="a\0"),
    ],
    "A40 lone surrogates": [
        b'{"executors": [{"image": "i", "command": ["\\ud800"]}]}', task(tags={"a": "x"}).replace(b'"x"', b'"\\udfff"'),
        task(tags={"a": "x"}).replace(b'"a":', b'"\\ud800":'), task(name="\ud83d"),
    ],
    "A41 numbers that JSON lacks": [
        number(name, digits) for name in ("ram_gb", "cpu_cores") for digits in
        ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e200000", "0x10", "01", "+1", ".5", "1_000")
    ],
    "A42 numbers without bound": [
        number(name, digits) for name in ("cpu_cores", "ram_gb", "disk_gb") for digits in
        ("-1", "1e9", "1e308", str(1 << 31), str(1 << 63), "9" * 30, "9" * 4000, "9" * 5000, "-0.1")
    ],
    "A44 another form of JSON": [
        b"", b"[]", b'"x"', b"null", b"1", json.dumps(HELLO).encode("utf-16"), json.dumps(HELLO).encode("utf-32"),
        b"\xef\xbb\xbf" + json.dumps(HELLO).encode(), task() + b"x", task() * 2, task()[:-1], b"{'name': 1}",
        b'{"name": "a", "name": "b"}', task().replace(b'"image"', b'"image": "a", "image"'), task() + b"\0",
    ],
    "A45 another type": [
        resources(cpu_cores="1"), resources(cpu_cores=True), resources(ram_gb="1"), resources(preemptible="true"),
        resources(preemptible=1), resources(backend_parameters_strict="true"), resources(zones="z"), task(name=1),
        task(tags={"a": True}), task(tags=[]), task(volumes="/v"), task(inputs={}), task(executors={}),
        step(command="true"), step(command=[1]), step(env={"A": 1}), step(env=[]), step(ignore_error="yes"),
        resources(backend_parameters=[]), resources(backend_parameters={"timeout_s": 1}), task(resources=[]),
        task(inputs=[{"path": "/i", "content": 1}]),
        task(inputs=[{"path": "/i", "content": "x", "type": "file"}]), task(executors=[None]),
    ],
    "A49 tags beyond every backend": [
        task(tags={str(n): "" for n in range(1001)}), task(tags={"k" * 70_000: ""}), task(tags={"k": "v" * 70_000}),
    ],
    "A50 words that are options": [
        step(image=image) for image in ("--privileged", "-v/:/host", "a b", "a\nb", "", " x")
    ],
    "A52 rights of others, when told to be strict": [
        resources(backend_parameters={key: "x"}, backend_parameters_strict=True)
        for key in ("workflow_execution_identity", "role", "jobRoleArn", "queue", "VmSize", "Timeout")
    ],
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
async def test_what_is_refused_leaves_nothing(
    client: httpx.AsyncClient, context: Context, database: Database, row: str
) -> None:
    for body in REFUSED[row]:
        sent = body.replace(b"{root}", context.roots[0].encode())
        for route in ("/tasks", "/tasks:validate"):
            answer = await client.post(TES + route, content=sent, headers=JSON)
            assert answer.status_code == 400, (body[:200], answer.text)
            assert sorted(answer.json()) == ["detail", "msg", "status", "status_code", "title", "type"]
            assert len(answer.text) < 2000
    assert await scalar(database, "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM audit)") == 0


QUERIES = {
    "A43 page sizes": [f"page_size={size}" for size in ("-1", "0", "", "٣", "1e3", "0x1", "9" * 31, "1&page_size=2")],
    "A43 more than once": ["view=FULL&view=BASIC", "state=QUEUED&state=RUNNING", "name_prefix=a&name_prefix=b"],
    "A39 in a query": ["name_prefix=%00", "tag_key=%00", "tag_key=a&tag_value=%1b", "state=%00", "view=%00"],
    "A45 other words": ["view=full", "state=queued", "state=DONE", "view=1", "tag_value=alone"],
    "A2 tokens made up": ["page_token=AAAA", "page_token=" + "A" * 54, "page_token=%F0", "page_token=../.."],
}


@pytest.mark.parametrize("row", QUERIES)
async def test_a_list_that_cannot_be_is_refused(client: httpx.AsyncClient, row: str) -> None:
    for query in QUERIES[row]:
        assert (await client.get(f"{TES}/tasks?{query}")).status_code == 400, query


async def test_a43_a_page_over_the_largest_is_the_largest(client: httpx.AsyncClient) -> None:
    for size in ("2047", "2048", "9" * 30):
        assert (await client.get(f"{TES}/tasks?page_size={size}")).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "x"]
)
async def test_a44_another_content_type_is_refused(client: httpx.AsyncClient, database: Database, kind: str) -> None:
    for route in ("/tasks", "/tasks:batch", "/tasks:validate"):
        answer = await client.post(TES + route, content=task(), headers={"content-type": kind})
        assert answer.status_code == 400
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


# Between owners


@pytest.fixture
async def theirs(context: Context, stranger: Caller) -> AsyncIterator[httpx.AsyncClient]:
    """The client of somebody else."""
    context = replace(context, callers=type(context.callers)(context.database, stranger.owner))
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as made:
        yield made


async def test_a2_filters_and_tokens_show_nothing_of_others(
    client: httpx.AsyncClient, theirs: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    for _ in range(3):
        await a_task(database, stranger, document={**HELLO, "name": "secret", "tags": {"who": "them"}})
    page = (await theirs.get(f"{TES}/tasks?page_size=1")).json()
    token = page["next_page_token"]
    assert (await client.get(f"{TES}/tasks?page_size=1&page_token={token}")).status_code == 400
    for query in ("tag_key=who", "tag_key=who&tag_value=them", "name_prefix=s", "state=QUEUED", "name_prefix="):
        assert (await client.get(f"{TES}/tasks?view=FULL&{query}")).json() == {"tasks": []}
    assert (await client.post(f"{TES}/tasks:cancel?tag_key=who")).json() == {"canceled": 0}
    assert await scalar(database, "SELECT count(*) FROM tasks WHERE state <> 'QUEUED'") == 0


async def test_a2_a_key_of_somebody_else_finds_nothing_of_theirs(
    client: httpx.AsyncClient, theirs: httpx.AsyncClient
) -> None:
    first, second = [
        (await one.post(f"{TES}/tasks", json=HELLO, headers={"Idempotency-Key": "k"})).json()["id"]
        for one in (client, theirs)
    ]
    assert first != second
    assert (await client.get(f"{TES}/tasks/{second}")).status_code == 404


async def test_a5_what_is_ours_is_not_read_from_a_task(client: httpx.AsyncClient, database: Database) -> None:
    ours = {
        "id": "00000000-0000-0000-0000-000000000001", "state": "COMPLETE", "creation_time": "1999-01-01T00:00:00Z",
        "logs": [{"logs": [{"exit_code": 0}], "outputs": [], "metadata": {PRICE: "0"}}], "owner": "x",
        "owner_id": 1, "run_id": "00000000-0000-0000-0000-000000000002", "lane": "head", "submitter": "cromwell",
        "policy": {"timeout_s": 1e9}, "token_hash": "x", "terms": {"max_attempts": 99}, "warnings": ["x"],
    }  # fmt: skip
    made = (await client.post(f"{TES}/tasks", content=task(**ours), headers=JSON)).json()["id"]
    shown = (await client.get(f"{TES}/tasks/{made}?view=FULL")).json()
    assert made != ours["id"]
    assert shown["state"] == "QUEUED"
    assert shown["logs"][0]["logs"] == [{"exit_code": -1, "stdout": "", "stderr": ""}]
    assert PRICE not in shown["logs"][0]["metadata"]
    assert not shown["creation_time"].startswith("1999")
    assert set(shown) == {"id", "state", "name", "executors", "logs", "creation_time"}
    kept = "SELECT concat_ws('|', lane, submitter, run_id, token_hash, max_attempts, policy->>'timeout_s') FROM tasks"
    assert await scalar(database, kept) == "task||3"  # three attempts are the site's


# What is taken, and stays text


async def test_a28_an_input_inside_is_not_looked_at_by_the_api(client: httpx.AsyncClient) -> None:
    # It is the worker's to refuse, at the moment when it connects: tests/e2e/test_fetching.py.
    body = task(inputs=[{"path": "/in", "url": "http://169.254.169.254/latest/meta-data"}])
    assert (await client.post(f"{TES}/tasks", content=body, headers=JSON)).status_code == 200


@pytest.mark.parametrize("text", ["%", "_", "\\", "a\\", "'; DROP TABLE tasks; --", "100%_", "\\%", '"', "$1", ":x"])
async def test_a48_filters_are_literal(client: httpx.AsyncClient, text: str) -> None:
    for name in (text, "other"):
        await client.post(f"{TES}/tasks", json={**HELLO, "name": name, "tags": {name: name}})
    for filters in ({"name_prefix": text}, {"tag_key": text}, {"tag_key": text, "tag_value": text}):
        found = (await client.get(f"{TES}/tasks", params={"view": "FULL", **filters})).json()["tasks"]
        assert [one["name"] for one in found] == [text]


async def test_a49_a_tag_with_line_breaks_is_in_no_header(client: httpx.AsyncClient) -> None:
    # Nothing here puts tags into headers or hands them to a cloud; such a backend has its own rules for them.
    tags = {"a\r\nSet-Cookie: x": "b\r\n\r\n<script>", "aws:reserved": "v" * 300, OVERRIDE: OVERRIDE}
    made = (await client.post(f"{TES}/tasks", json={**HELLO, "tags": tags})).json()["id"]
    answer = await client.get(f"{TES}/tasks/{made}?view=FULL")
    assert answer.json()["tags"] == tags
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


async def test_a50_the_words_of_a_shell_are_words(client: httpx.AsyncClient, database: Database) -> None:
    # That they reach programs as they are: test_arguments_reach_the_program_as_they_are in tests/contracts.
    for word in META:
        step = {"image": "i", "command": [word], "workdir": f"/{word}", "env": {word.replace("=", ""): word}}
        sent = {"name": word, "tags": {"t": word}, "executors": [step], "volumes": [f"/{word}"]}
        answer = await client.post(f"{TES}/tasks", json=sent)
        assert answer.status_code == 200, answer.text
        made = answer.json()["id"]
        shown = (await client.get(f"{TES}/tasks/{made}?view=FULL")).json()
        assert {name: shown[name] for name in sent} == sent
        assert UUID(made)  # the name of what runs it comes from here, and from nothing that was sent


async def test_a52_rights_of_others_are_left_out_and_told(client: httpx.AsyncClient, database: Database) -> None:
    given = {
        "workflow_execution_identity": "/subscriptions/b/identity",
        "jobRoleArn": "arn:aws:iam::1:role/b",
        "Queue": "b",
    }
    body = resources(backend_parameters=given | {"TIMEOUT_S": "60"})
    made = (await client.post(f"{TES}/tasks", content=body, headers=JSON)).json()["id"]
    shown = (await client.get(f"{TES}/tasks/{made}?view=FULL")).json()
    assert shown["resources"]["backend_parameters"] == {"TIMEOUT_S": "60"}
    (told,) = shown["logs"][0]["system_logs"]
    assert all(key in told for key in given)
    stored = str(await scalar(database, "SELECT document::text FROM tasks"))
    assert not any(value in stored for value in given.values() if len(value) > 1)
