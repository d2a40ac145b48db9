"""Bodies: in UTF-8, bounded as they arrive, and worked on beside the event loop when they are large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from wesgate.api.bodies.room import ROOM
from wesgate.api.dependencies import context
from wesgate.core.errors import InvalidRequest, TooLarge

LARGE_BYTES = 256 << 10
"""From here on a body takes the loop more milliseconds than other requests should wait."""

_UTF_8, _LATIN_1 = ("utf-8", "utf8", "us-ascii", "ascii"), ("iso-8859-1", "latin-1", "latin1")

# One thread: the loop then shares the interpreter with one body at a time, however many are sent.
_beside = ThreadPoolExecutor(1, thread_name_prefix="json")

T = TypeVar("T")


async def read_json(request: Request, limit: int | None = None) -> bytes:
    """The body, which says that it is JSON: a form of a web page cannot say so without asking first. It may have
    `limit` bytes, or as many as the site allows."""
    kind = request.headers.get("content-type")
    if kind is None and "origin" not in request.headers:
        kind = "application/json"
    if (kind or "").partition(";")[0].strip().lower() not in ("application/json", "text/json"):
        raise InvalidRequest("the body must be application/json")
    most = limit or context(request).json_bytes
    body = await read_whole(request, most, f"a JSON body may have {most} bytes{' here' if limit else ''}")
    check_charset(kind or "", body)
    return body


async def read_whole(request: Request, limit: int, complaint: str) -> bytes:
    """The body, if it has no more than `limit` bytes."""
    body = bytearray()
    with ROOM.share() as take:
        async for chunk in request.stream():
            take(len(chunk))
            body += chunk
            if len(body) > limit:
                raise TooLarge(complaint)
    return bytes(body)


def check_charset(content_type: str, content: bytes) -> None:
    """Refuse what says that it is in another charset than UTF-8, unless it makes no difference: older Java clients call
    all text ISO-8859-1, and nearly all of that is ASCII."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset in _UTF_8 or (charset in _LATIN_1 and content.isascii()):
        return
    raise InvalidRequest("the charset of a request must be UTF-8")


async def worked_out(size: int, work: Callable[[], T]) -> T:
    """What `work` makes of `size` bytes."""
    if size < LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_beside, work)
