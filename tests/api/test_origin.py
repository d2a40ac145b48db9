"""What a web page of somebody else's can have a browser send: nothing of it is done, and nothing is told."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.api.conftest import TES, WES
from tests.builders import HELLO, scalar
from wesgate.db.session import Database

FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "https://localhost@evil.example"}, {"Origin": "http://wes.example.org"},
    {"Origin": "https://wes.example.org:8443"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"},
    {"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Host": "127.0.0.1.evil.example"},
    {"Host": "0.0.0.0:8080"}, {"Host": "[::2]"}, {"Host": "127.0.0.1:x"}, {"Host": ""},
]  # fmt: skip
OWN: list[dict[str, str]] = [
    {}, {"Host": "localhost:8080"}, {"Host": "LOCALHOST"}, {"Host": "127.1.2.3:1"}, {"Host": "[::1]:8080"},
    {"Host": "wes.example.org"}, {"Host": "WES.example.org:443"}, {"Origin": "http://localhost:3000"},
    {"Origin": "http://[::1]:8080"}, {"Origin": "https://wes.example.org"}, {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_page_of_somebody_else_can_do_and_read_nothing(
    client: httpx.AsyncClient, database: Database, headers: dict[str, str]
) -> None:
    form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "https://1.1.1.1/main.wdl"}
    parts = [(name, (None, value)) for name, value in form.items()]
    answers = [
        await client.post(f"{TES}/tasks", content=json.dumps(HELLO), headers={**headers, "content-type": "text/plain"}),
        await client.post(f"{WES}/runs", files=parts, headers=headers),
        await client.get(f"{TES}/tasks", headers=headers),
        await client.get("/healthz", headers=headers),
    ]
    assert [(one.status_code, one.json()["status_code"]) for one in answers] == [(403, 403)] * 4
    assert await scalar(database, "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM runs)") == 0


@pytest.mark.parametrize("headers", OWN, ids=str)
async def test_the_services_own_hosts_and_pages_are_served(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post(f"{TES}/tasks", json=HELLO, headers=headers)).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "", "application/x-www-form-urlencoded"])
async def test_a_body_that_does_not_say_it_is_json_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post(f"{TES}/tasks", content=json.dumps(HELLO), headers={"content-type": kind})
    assert (answer.status_code, answer.json()["msg"]) == (400, "the body must be application/json")


async def test_a_client_that_names_no_type_sends_json_and_a_page_may_not(client: httpx.AsyncClient) -> None:
    own, body = {"Origin": "http://localhost:3000"}, json.dumps(HELLO)
    answers = [await client.post(f"{TES}/tasks", content=body, headers=headers) for headers in ({}, own)]
    assert [answer.status_code for answer in answers] == [200, 400]
