"""The many ways in which clients submit the same run, as bytes; and those that are refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import scalar
from tests.wes_clients.conftest import SITE_BYTES
from tests.wes_clients.wire import Answer, connected, multipart, post, read, requests, send, send_all
from wesgate.db.session import Database
from wesgate.ga4gh import wes

FIELDS = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "https://1.1.1.1/x.wdl"}


def field(name: str, value: str, headers: str = "") -> bytes:
    return f'name="{name}"\r\n{headers}\r\n{value}'.encode()


def attachment(name: str, content: bytes = b"version 1.0") -> bytes:
    return f'name="workflow_attachment"; filename="{name}"\r\n\r\n'.encode() + content


def parts(**changes: str | None) -> list[bytes]:
    """A whole request, without the fields that are None."""
    return [field(name, value) for name, value in {**FIELDS, **changes}.items() if value is not None]


async def run_of(url: str, request: bytes) -> dict[str, Any]:
    """The run request as it was understood."""
    answer = await send(url, request)
    assert answer.status == 200, answer
    log = await send(url, get(f"/runs/{answer.json['run_id']}"))
    understood: dict[str, Any] = log.json["request"]
    return understood


def get(path: str, headers: str = "", body: bytes = b"") -> bytes:
    return f"GET /ga4gh/wes/v1{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() + body


def has_msg(answer: Answer, status: int = 400) -> str:
    assert (answer.status, answer.json["status_code"]) == (status, status), answer
    return str(answer.json["msg"])


# Taken


@pytest.mark.parametrize("kind", ["WDL", "wdl", "Wdl"])
@pytest.mark.parametrize("version", ["1.0", "v1.0", "draft-2"])
async def test_types_and_versions_are_taken_as_clients_write_them(url: str, kind: str, version: str) -> None:
    told = await run_of(url, multipart(*parts(workflow_type=kind, workflow_type_version=version)))
    assert (told["workflow_type"], told["workflow_type_version"]) == (kind, version)


@pytest.mark.parametrize("empty", [None, "", " ", "null", "{}"])
@pytest.mark.parametrize("name", ["workflow_params", "tags", "workflow_engine_parameters"])
async def test_an_object_may_be_left_out_or_be_empty(url: str, name: str, empty: str | None) -> None:
    assert (await run_of(url, multipart(*parts(**{name: empty})))).get(name, {}) == {}


@pytest.mark.parametrize("name", ["tags", "workflow_engine_parameters"])
async def test_a_null_is_what_was_not_sent(url: str, name: str) -> None:
    assert (await run_of(url, multipart(*parts(**{name: '{"name": null}'}))))[name] == {}
    body = json.dumps({**FIELDS, name: {"name": None}, "no field of ours": None}).encode()
    assert (await run_of(url, post(body, "application/json")))[name] == {}


async def test_a_null_among_the_inputs_of_the_workflow_is_kept(url: str) -> None:
    params = {"w.x": None, "w.all": [None, {"left": None}]}
    told = await run_of(url, multipart(*parts(workflow_params=json.dumps(params))))
    body = json.dumps({**FIELDS, "workflow_params": params}).encode()
    as_json = await run_of(url, post(body, "application/json"))
    assert told["workflow_params"] == as_json["workflow_params"] == params


@pytest.mark.parametrize("members", [{}, {"workflow_engine": None, "workflow_engine_version": None, "tags": None}])
async def test_an_engine_need_not_be_named(url: str, members: dict[str, Any]) -> None:
    body = json.dumps({**FIELDS, **members, "workflow_engine_parameters": None}).encode()
    told = await run_of(url, post(body, "application/json"))
    assert told == {**FIELDS, "workflow_params": {}, "workflow_engine_parameters": {}, "tags": {}}


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Type: application/json\r\n", "Content-Type: application/json; charset=UTF-8\r\n",
        "Content-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n",
        "Content-Type: text/plain;charset=US-ASCII\r\nContent-Length: 7\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("filename", ["", '; filename="blob"'])
async def test_json_may_be_typed_and_may_be_a_file(url: str, headers: str, filename: str) -> None:
    part = f'name="workflow_params"{filename}\r\n{headers}\r\n{{"n":1}}'.encode()
    assert (await run_of(url, multipart(*parts(), part)))["workflow_params"] == {"n": 1}


async def test_all_fields_may_be_files(url: str) -> None:
    files = [f'name="{name}"; filename="{name}"\r\n\r\n{value}'.encode() for name, value in FIELDS.items()]
    assert (await run_of(url, multipart(*files)))["workflow_url"] == FIELDS["workflow_url"]


async def test_a_body_may_come_in_chunks(url: str) -> None:
    whole = multipart(*parts()).partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (whole[:100], whole[100:])) + b"0\r\n\r\n"
    kind = "multipart/form-data; boundary=b"
    await run_of(url, post(chunks, kind, "Transfer-Encoding: chunked\r\n"))


async def test_a_client_that_expects_100_is_told_to_go_on(url: str) -> None:
    head, _, body = multipart(*parts(), headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")

    def waits() -> tuple[bytes, Answer]:
        with connected(url) as connection:
            connection.sendall(head + b"\r\n\r\n")
            first = connection.recv(100)
            connection.sendall(body)
            return first, read(connection)

    first, answer = await asyncio.to_thread(waits)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.status == 200


async def test_a_client_that_expects_100_is_refused_before_it_sends(url: str) -> None:
    head = post(b"x" * 1000, "text/csv", "Expect: 100-continue\r\n").partition(b"\r\n\r\n")[0]
    assert "multipart/form-data" in has_msg(await send(url, head + b"\r\n\r\n"))


EMPTY_FORM = b"\r\n--b--\r\n"
FORM_HEADERS = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(EMPTY_FORM)}\r\n"


@pytest.mark.parametrize(
    ("headers", "body"), [("", b""), ("Content-Length: 0\r\n", b""), (FORM_HEADERS, EMPTY_FORM),
                          ("Content-Type: application/json\r\nContent-Length: 2\r\n", b"{}")],
)  # fmt: skip
async def test_what_comes_with_a_get_or_a_cancel_is_not_looked_at(url: str, headers: str, body: bytes) -> None:
    run = (await send(url, multipart(*parts()))).json["run_id"]
    asked = [get(path, headers, body) for path in ("/service-info", "/runs", f"/runs/{run}", f"/runs/{run}/status")]
    cancel = get(f"/runs/{run}/cancel", headers, body).replace(b"GET", b"POST", 1)
    answers = await send_all(url, *asked, cancel, cancel, *asked)  # one connection: each ends where it says
    assert [answer.status for answer in answers] == [200] * 10
    assert answers[-1].json == {"run_id": run, "state": "CANCELING"}


async def test_parameters_may_have_16_mib(url: str) -> None:
    large = json.dumps({"w.s": "x" * (SITE_BYTES - 1000)})
    assert (await run_of(url, multipart(*parts(workflow_params=large))))["workflow_params"] == json.loads(large)


@pytest.mark.parametrize("name", ["main.wdl", "a/b/c/main.wdl", "a b/ü (1).wdl", "流れ/main.wdl"])
async def test_an_attachment_may_be_in_folders_and_be_the_workflow(url: str, files: Path, name: str) -> None:
    await run_of(url, multipart(*parts(workflow_url=name), attachment(name, b"it")))
    (found,) = [path for path in files.rglob("*.wdl") if path.is_file()]
    assert str(found).endswith(f"/attachments/{name}")
    assert found.read_bytes() == b"it"


@pytest.mark.parametrize("name", FIELDS)
async def test_a_field_that_is_needed_is_named(url: str, name: str) -> None:
    for value in (None, ""):
        assert name in has_msg(await send(url, multipart(*parts(**{name: value}))))


def test_inputs_may_be_an_attachment_that_the_parameters_name() -> None:
    def spec(params: dict[str, Any]) -> tuple[str, Any]:
        made = wes.run_spec(uuid4(), "o", PurePosixPath("/d"), {**FIELDS, "workflow_params": params})
        return made.terms.inputs_url, made.params

    assert spec({"workflowInputs": "in.json_1"}) == ("in.json_1", {})
    for other in ({}, {"workflowInputs": 1}, {"workflowInputs": "a", "w.b": 1}, {"w.workflowInputs": "a"}):
        assert spec(other) == ("", other)


# Again


async def test_the_same_key_gives_the_same_run_however_it_is_sent(url: str, database: Database) -> None:
    key = "Idempotency-Key: once\r\n"
    plain = "&".join(f"{name}={value}" for name, value in FIELDS.items())
    same = [
        multipart(*parts(), headers=key), multipart(*reversed(parts()), headers=key),
        multipart(*parts(tags="{}"), headers=key), post(json.dumps(FIELDS).encode(), "application/json", key),
        post(plain.encode(), "application/x-www-form-urlencoded", key),
    ]  # fmt: skip
    answers = [await send(url, request) for request in same]
    assert len({answer.json["run_id"] for answer in answers}) == 1
    other = await send(url, multipart(*parts(tags='{"a":"b"}'), headers=key))
    assert "Idempotency-Key" in has_msg(other, 422)
    assert await scalar(database, "SELECT count(*) FROM runs") == 1


# Refused

KIND = "multipart/form-data; boundary=b"
WHOLE = multipart(*parts()).partition(b"\r\n\r\n")[2]
LATIN = '{"a": "é"}'.encode("latin-1")
PARAMS = b'name="workflow_params"'

REFUSED: dict[str, bytes] = {
    "cut off before the last boundary": post(WHOLE[:-7], KIND),
    "cut off in a part": post(WHOLE[:-40], KIND),
    "no boundary": post(WHOLE, "multipart/form-data"),
    "an empty boundary": post(WHOLE, "multipart/form-data; boundary="),
    "another boundary": post(WHOLE, "multipart/form-data; boundary=c"),
    "no part": post(b"--b--\r\n", KIND),
    "nothing": post(b"", KIND),
    "nothing of no type": post(b"", ""),
    "nothing as JSON": post(b"", "application/json"),
    "nothing as a form": post(b"", "application/x-www-form-urlencoded"),
    "1001 parts": multipart(*parts(), *[attachment(f"a{n}") for n in range(1001)]),
    "101 fields": multipart(*[field(f"f{n}", "") for n in range(101)]),
    "a header of 1 MB": multipart(*parts(), b'name="tags"\r\nX-Long: ' + b"x" * (1 << 20) + b"\r\n\r\n{}"),
    "multipart in a part": multipart(*parts(), PARAMS + b"\r\nContent-Type: Multipart/Mixed; boundary=c\r\n\r\n{}"),
    "base64": multipart(*parts(), PARAMS + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}"),
    "a field that there is not": multipart(*parts(), field("workflow_param", "{}")),
    "a member that there is not": post(json.dumps({**FIELDS, "workflow_name": "x"}).encode(), "application/json"),
    "an attachment in JSON": post(json.dumps({**FIELDS, "workflow_attachment": []}).encode(), "application/json"),
    "a field twice in a plain form": post(b"tags=&tags=", "application/x-www-form-urlencoded"),
    "a plain form with no names": post(b"{}", "application/x-www-form-urlencoded"),
    "a plain form that is not UTF-8": post(b"workflow_type=%E9", "application/x-www-form-urlencoded"),
    "UTF-7": multipart(*parts(), kind=f"{KIND}; charset=utf-7"),
    "an unknown charset": multipart(*parts(), kind=f'{KIND}; charset="x-nothing"'),
    "UTF-16 in a part": multipart(*parts(), PARAMS + b"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n{}"),
    "Latin-1 that says so": multipart(*parts(), PARAMS + b"\r\nContent-Type: a/b; charset=latin1\r\n\r\n" + LATIN),
    "Latin-1 that does not": multipart(*parts(), PARAMS + b"\r\n\r\n" + LATIN),
    "Latin-1 in a file": multipart(*parts(), PARAMS + b'; filename="p"\r\n\r\n' + LATIN),
    "a file's name in Latin-1": multipart(*parts(), b'name="workflow_attachment"; filename="\xe9.txt"\r\n\r\nx'),
    "a field's name in Latin-1": multipart(*parts(), b'name="\xe9"\r\n\r\nx'),
    "a file of UTF-7": multipart(*parts(), PARAMS + b'; filename="p"\r\nContent-Type: a/b; charset=utf-7\r\n\r\n{}'),
    "JSON of UTF-7": post(json.dumps(FIELDS).encode(), "application/json; charset=utf-7"),
    "JSON of UTF-16": post(json.dumps(FIELDS).encode("utf-16"), "application/json; charset=utf-16"),
    "another type": post(WHOLE, "text/plain"),
    "tags that are no texts": multipart(*parts(tags='{"a": 1}')),
    "parameters that are a list": multipart(*parts(workflow_params="[]")),
    "JSON twice": multipart(*parts(workflow_params="{}{}")),
    "inputs from two places": multipart(
        *parts(workflow_params='{"workflowInputs": "a"}', workflow_engine_parameters='{"inputs_url": "b"}')
    ),
    "a NUL": multipart(*parts(workflow_type="W\0DL")),
    "a version without its engine": multipart(*parts(workflow_engine_version="1.16")),
    "an engine that there is not": multipart(*parts(workflow_engine="cromwell")),
    "a type that there is not": multipart(*parts(workflow_type="CWL")),
    "a type version that there is not": multipart(*parts(workflow_type_version="v9")),
}  # fmt: skip


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_a_request_that_is_not_whole_or_not_plain_is_refused(
    url: str, database: Database, files: Path, request_: bytes
) -> None:
    assert len(has_msg(await send(url, request_))) < 400
    assert await scalar(database, "SELECT count(*) FROM runs") == 0
    assert not [path for path in files.rglob("*") if path.is_file()]


async def test_more_than_the_fields_may_have_is_refused(url: str) -> None:
    with contextlib.suppress(ConnectionError):  # the answer may come before all is sent
        assert "16777216" in has_msg(await send(url, multipart(*parts(tags="x" * (SITE_BYTES + 1)))), 413)


async def test_a_connection_that_ends_in_the_body_makes_no_run(url: str, database: Database, files: Path) -> None:
    request = multipart(*parts(workflow_url="a"), attachment("a", b"x" * 100_000))

    def breaks_off() -> None:
        with connected(url) as connection:
            connection.sendall(request[:-50_000])

    await asyncio.to_thread(breaks_off)
    assert (await send(url, get("/runs"))).json["runs"] == []
    assert await scalar(database, "SELECT count(*) FROM runs") == 0
    assert not [path for path in files.rglob("*") if path.is_file()]


async def test_no_refusal_repeats_what_was_sent(url: str) -> None:
    secret = "hunter2"
    for request in (
        multipart(*parts(workflow_type=secret)), multipart(*parts(), field(secret, "1")),
        multipart(*parts(workflow_engine=secret)), multipart(*parts(workflow_params=f'{{"{secret}": ')),
        multipart(*parts(), attachment(f"../{secret}")), multipart(*parts(workflow_url=f"gopher://{secret}/")),
        post(json.dumps({**FIELDS, secret: 1}).encode(), "application/json"),
    ):  # fmt: skip
        assert secret not in has_msg(await send(url, request))


def test_a_document_of_a_client_holds_its_own_length() -> None:
    told = requests("agc", "h")["service-info"]
    assert b"\r\nContent-Length: 68\r\n" in told  # as it was seen
    assert len(told.partition(b"\r\n\r\n")[2]) == 68
