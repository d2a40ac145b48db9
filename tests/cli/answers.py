"""How the doubles of servers answer: JSON, errors, parts of texts."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

AWAY = {"AWAY": 503, "REFUSED": 400}
"""A frame in this state is answered as by a server that restarts, or that will have no more of it."""

T0 = "2026-11-21T10:00:00Z"
T1 = "2026-11-21T10:00:07Z"


def reply(data: Any, status: int = 200) -> Response:
    """A JSON answer; letters beyond ASCII are escaped, so that even half a surrogate pair can be sent."""
    return Response(json.dumps(data), status, media_type="application/json")


def missing(what: str) -> Response:
    """The answer for what is not there."""
    return reply({"msg": f"There is no such {what}, or it is not yours.", "status_code": 404}, 404)


def ranged(body: bytes, request: Request) -> Response:
    """A text, or the part of it that is asked for."""
    wanted = request.headers.get("range", "")
    if not wanted:
        return PlainTextResponse(body)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, len(body) - int(last))
    part = body[begin : int(last) + 1 if first and last else None]
    place = f"{begin}-{begin + len(part) - 1}" if part else "*"
    headers = {"Content-Range": f"bytes {place}/{len(body)}"}
    return PlainTextResponse(part, 206 if part else 416, headers=headers)
