"""JSON bodies: bounded as they arrive, and worked on beside the event loop when they are large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from wesgate.api.dependencies import context
from wesgate.core.errors import InvalidRequest, TooLarge

LARGE_BYTES = 256 << 10
"""From here on a body takes the loop more milliseconds than other requests should wait."""

# One thread: the loop then shares the interpreter with one body at a time, however many are sent.
_beside = ThreadPoolExecutor(1, thread_name_prefix="json")

T = TypeVar("T")


async def read_json(request: Request) -> bytes:
    """The body, which says that it is JSON: a form of a web page cannot say so without asking first."""
    kind = request.headers.get("content-type")
    if kind is None and "origin" not in request.headers:
        kind = "application/json"
    if (kind or "").partition(";")[0].strip().lower() not in ("application/json", "text/json"):
        raise InvalidRequest("the body must be application/json")
    limit = context(request).json_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"a JSON body may have {limit} bytes")
    return bytes(body)


async def worked_out(size: int, work: Callable[[], T]) -> T:
    """What `work` makes of `size` bytes."""
    if size < LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_beside, work)
