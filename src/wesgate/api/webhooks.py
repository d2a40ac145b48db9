"""Webhooks: where an owner wants to be told of state changes of runs. Routes of our own beside WES."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.bodies.whole import read_json
from wesgate.api.dependencies import context, row_id, send
from wesgate.core.errors import InvalidRequest
from wesgate.core.states import State
from wesgate.db import webhooks
from wesgate.db.webhooks import Webhook
from wesgate.ga4gh import strict
from wesgate.sources import urls
from wesgate.storage.target import Refused, parse

router = APIRouter(tags=["WES"])

LONGEST_URL = 2048
MOST_BYTES = 64 << 10
"""Of a body, far more than it needs: what is read here is read on the event loop, where all others wait."""
STATES = tuple(state.value for state in State if state is not State.UNKNOWN)
_PLAIN = re.compile(r"[\x21-\x7e]+")
PREFIX = "whsec_"
LEAST_KEY, KEY_BYTES, MOST_KEY = 24, 32, 64
"""How many random bytes a secret has, in its base64: what others may bring, and what we make.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""


@router.post("/webhooks")
async def create_webhook(request: Request) -> Response:
    """Tell a URL of every state change of the caller's runs, or of those into some states. The secret that signs what
    is sent is in this answer and in no other."""
    found, who = context(request), await person(request)
    asked = _read(strict.without_nulls(strict.parse(await read_json(request, MOST_BYTES))))
    webhook = Webhook(uuid4(), asked["url"], _states(asked.get("states", [])))
    secret = _secret(asked["secret"]) if "secret" in asked else PREFIX + _text(secrets.token_bytes(KEY_BYTES))
    await _check(webhook.url, allow_private=found.allow_private_sources)
    await webhooks.create(found.database, who.owner, webhook, secret)
    return send({**_shown(webhook), "secret": secret})


@router.get("/webhooks")
async def list_webhooks(request: Request) -> Response:
    """The caller's webhooks, without their secrets."""
    found, who = context(request), await person(request)
    return send({"webhooks": [_shown(webhook) for webhook in await webhooks.listed(found.database, who.owner)]})


@router.delete("/webhooks/{webhook_id}")
async def delete_webhook(request: Request, webhook_id: str) -> Response:
    """Tell a URL nothing more; what it has not been told yet is dropped."""
    found, who = context(request), await person(request)
    await webhooks.remove(found.database, who.owner, row_id(webhook_id))
    return send({"id": webhook_id})


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {"id": str(webhook.id), "url": webhook.url, "states": list(webhook.states)}


def _read(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not {"url"} <= set(body) <= {"url", "states", "secret"}:
        raise InvalidRequest("a webhook is an object with url and, if wanted, states and secret")
    if not isinstance(body["url"], str) or len(body["url"]) > LONGEST_URL:
        raise InvalidRequest(f"url is a string of at most {LONGEST_URL} characters")
    return body


def _states(given: Any) -> tuple[str, ...]:
    """The states that are wanted; all of them are told as none."""
    if not isinstance(given, list) or not all(state in STATES for state in given):
        raise InvalidRequest(f"states is a list of some of {', '.join(STATES)}; without it, all are told")
    return tuple(state for state in STATES if state in given)


def _secret(given: Any) -> str:
    try:
        key = base64.b64decode(str(given).removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not isinstance(given, str) or not given.startswith(PREFIX) or not LEAST_KEY <= len(key) <= MOST_KEY:
        raise InvalidRequest(
            f"secret is {PREFIX} and the base64 of {LEAST_KEY} to {MOST_KEY} bytes; without it, one is made"
        )
    return given


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


async def _check(url: str, *, allow_private: bool) -> None:
    """Refuse what nothing may be sent to. The address is checked again whenever something is sent."""
    try:
        target = parse(url)
    except Refused as reason:
        raise InvalidRequest(f"url cannot be sent to: {reason}") from reason
    if not _PLAIN.fullmatch(url) or "\\" in url or target.login:
        raise InvalidRequest("url must be plain ASCII without spaces, and name no user")
    if target.scheme != "https" and not allow_private:
        raise InvalidRequest("url must be https")
    await urls.check(url, allow_private=allow_private, what="url")
