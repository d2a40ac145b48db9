"""Log files of runs and tasks, inert: plain text that no browser will run."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wesgate.core.errors import NotFound

CHUNK_BYTES = 256 * 1024

INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}
_FILE = INERT | {"Accept-Ranges": "bytes"}
_TEXT = "text/plain; charset=utf-8"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def open_log(files: Path, path: str) -> BinaryIO | None:
    """A log file below the shared root; None if it is not there (yet)."""
    found = (files / path).resolve()
    if not found.is_relative_to(files.resolve()):
        raise NotFound
    try:
        return os.fdopen(os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError:
        return None


async def send_log(request: Request, files: Path, path: str, *, not_yet: bool = False) -> Response:
    """A log file below the shared root, as long as it is at this moment: its step may be writing. One that is not there
    yet is empty; so is one without a path that is certain to come (`not_yet`). `Range` is served for one range
    (RFC 9110, section 14); any other form of it is answered in whole."""
    if not path and not not_yet:
        raise NotFound
    file = await asyncio.to_thread(open_log, files, path) if path else None  # a shared root may be slow
    if file is None:
        return Response(b"", headers=_FILE, media_type=_TEXT)
    size = os.fstat(file.fileno()).st_size
    wanted = _wanted(request.headers.get("range", ""), size)
    if wanted is None:
        return _sent(file, 0, size, 200, {})
    begin, end = wanted
    if begin >= end:
        file.close()
        return Response(b"", 416, headers=_FILE | {"Content-Range": f"bytes */{size}"}, media_type=_TEXT)
    return _sent(file, begin, end, 206, {"Content-Range": f"bytes {begin}-{end - 1}/{size}"})


def _wanted(asked: str, size: int) -> tuple[int, int] | None:
    """The part that is asked for, as [begin, end); None for the whole."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _sent(file: BinaryIO, begin: int, end: int, status: int, headers: dict[str, str]) -> Response:
    length = {"Content-Length": str(end - begin)}
    return StreamingResponse(_chunks(file, begin, end), status, headers=_FILE | length | headers, media_type=_TEXT)


def _chunks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(begin)
        left = end - begin
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
