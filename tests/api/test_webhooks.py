"""Webhooks as their owner asks for them: made with a secret that is told once, listed, deleted, bounded."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import WES
from tests.builders import a_run, scalar
from wesgate.api.dependencies import Context
from wesgate.app import create_app
from wesgate.core.errors import Conflict
from wesgate.core.owner import Caller
from wesgate.db import webhooks
from wesgate.db.session import Database
from wesgate.db.webhooks import MOST, Webhook

HOOKS = f"{WES}/webhooks"
URL = "https://93.184.216.34/hook"


async def make(client: httpx.AsyncClient, **asked: Any) -> httpx.Response:
    return await client.post(HOOKS, json={"url": URL, **asked})


async def test_a_webhook_is_made_with_a_secret_that_is_told_once(client: httpx.AsyncClient, database: Database) -> None:
    made = (await make(client, states=["COMPLETE", "RUNNING", "COMPLETE"])).json()
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert made == {"id": made["id"], "url": URL, "states": ["RUNNING", "COMPLETE"]}
    listed = await client.get(HOOKS)
    assert (listed.json(), secret in listed.text) == ({"webhooks": [made]}, False)
    assert await scalar(database, "SELECT secret FROM webhooks") == secret


async def test_a_body_that_would_take_long_to_read_is_refused(client: httpx.AsyncClient) -> None:
    refused = await make(client, states=["RUNNING"] * 10_000)
    assert (refused.status_code, refused.json()["msg"]) == (413, "a JSON body may have 65536 bytes here")


async def test_a_secret_may_be_brought(client: httpx.AsyncClient) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * 24).decode()
    assert (await make(client, secret=secret, states=None)).json()["secret"] == secret


async def test_a_webhook_that_was_deleted_is_told_nothing(client: httpx.AsyncClient, database: Database,
                                                          caller: Caller) -> None:  # fmt: skip
    webhook = (await make(client)).json()["id"]
    deleted = await client.delete(f"{HOOKS}/{webhook}")
    assert (deleted.status_code, deleted.json()) == (200, {"id": webhook})
    assert (await client.get(HOOKS)).json() == {"webhooks": []}
    await a_run(database, caller)
    assert await scalar(database, "SELECT count(*) FROM deliveries") == 0
    assert (await client.delete(f"{HOOKS}/{webhook}")).status_code == 404
    assert await scalar(database, "SELECT array_agg(action ORDER BY id) FROM audit") == [
        "webhook.create", "webhook.remove", "run.create"
    ]  # fmt: skip


async def test_another_owners_webhook_is_as_one_that_does_not_exist(
    client: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    theirs = Webhook(uuid4(), URL, ())
    await webhooks.create(database, stranger.owner, theirs, "whsec_x")
    answers = [await client.delete(f"{HOOKS}/{one}") for one in (theirs.id, uuid4(), "x")]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert (await client.get(HOOKS)).json() == {"webhooks": []}
    assert len(await webhooks.listed(database, stranger.owner)) == 1


async def test_an_owner_has_so_many_and_no_more_though_all_are_asked_for_at_once(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    made = (webhooks.create(database, caller.owner, Webhook(uuid4(), URL, ()), "whsec_x") for _ in range(MOST + 10))
    refused = [one for one in await asyncio.gather(*made, return_exceptions=True) if one is not None]
    assert [type(one) for one in refused] == [Conflict] * 10
    assert (await make(client)).status_code == 409
    first = (await client.get(HOOKS)).json()["webhooks"][0]["id"]
    await client.delete(f"{HOOKS}/{first}")
    assert (await make(client)).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://0x7f.1/",
        "https://2130706433/", "https://[::ffff:10.0.0.1]/", "https://localhost/", "file:///etc/passwd", "ftp://x.org/",
        "https://u:p@93.184.216.34/", "https://@93.184.216.34/", "https://93.184.216.34\\@x/",
        "https://93.184.216.34/a b", "https://93.184.216.34/\r\nX: y", "https:///x", "https://93.184.216.34:99999/",
        "https://[x]/", "x", "",
        "https://93.184.216.34/" + "x" * 2100, "https://no-such-host.invalid/", "https://\uff45xample.org/",
    ],
)  # fmt: skip
async def test_a_url_that_nothing_may_be_sent_to_is_refused(
    client: httpx.AsyncClient, database: Database, url: str
) -> None:
    answer = await make(client, url=url)
    assert answer.status_code == 400, answer.text
    assert "url" in answer.json()["msg"]
    assert not url or len(url) < 4 or url not in answer.text
    assert await scalar(database, "SELECT count(*) FROM webhooks") == 0


async def test_a_site_may_allow_receivers_in_its_own_network(context: Context) -> None:
    transport = httpx.ASGITransport(create_app(replace(context, allow_private_sources=True)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        assert (await make(client, url="http://127.0.0.1:1/")).status_code == 200
        assert (await make(client, url="ftp://127.0.0.1/")).status_code == 400
        assert (await make(client, url="http://a-name-that-only-a-proxy-knows/")).status_code == 200
        for address in ("169.254.169.254", "0xa9fea9fe", "[::ffff:169.254.169.254]"):
            answer = await make(client, url=f"http://{address}/")
            assert (answer.status_code, "never allowed" in answer.json()["msg"]) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"url": 7}, {"url": [URL]}, {"url": URL, "states": "COMPLETE"}, {"url": URL, "states": ["DONE"]},
        {"url": URL, "states": ["UNKNOWN"]}, {"url": URL, "states": [{}]}, {"url": URL, "states": {"COMPLETE": 1}},
        {"url": URL, "secret": "short"}, {"url": URL, "secret": "whsec_!!!"}, {"url": URL, "secret": 7},
        {"url": URL, "secret": "whsec_" + "A" * 2000}, {"url": URL, "secret": "whsec_AAAA"},
        {"url": URL, "event": "all"}, {"url": URL, "states": ["COMPLETE\0"]},
    ],
)  # fmt: skip
async def test_what_is_no_webhook_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post(HOOKS, json=body)
    assert (answer.status_code, "short" in answer.text) == (400, False)


async def test_a_web_page_cannot_make_one_with_a_form(client: httpx.AsyncClient) -> None:
    answer = await client.post(HOOKS, content=b'{"url": "x"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


async def test_a_head_has_no_webhooks(client: httpx.AsyncClient, run_id: str, head: dict[str, str]) -> None:
    for method, path in (("POST", HOOKS), ("GET", HOOKS), ("DELETE", f"{HOOKS}/{uuid4()}")):
        assert (await client.request(method, path, headers=head)).status_code == 403
