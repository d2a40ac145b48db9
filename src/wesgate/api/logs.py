"""Log files of runs and tasks, inert: plain text that no browser will run."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wesgate.api.dependencies import single
from wesgate.core.errors import InvalidRequest, NotFound

STREAMS = ("stdout", "stderr")
CHUNK_BYTES = 256 * 1024

INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}
_FILE = INERT | {"Accept-Ranges": "bytes"}
_TEXT = "text/plain; charset=utf-8"
_LINES = re.compile(r"[0-9]{1,6}", re.ASCII)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def log_path(report: Mapping[str, Any] | None, step: int, stream: str) -> str:
    """The file of a step's stream, relative to the shared root; empty until the attempt has a directory."""
    directory = (report or {}).get("directory", "")
    return f"{directory}/logs/{step}.{stream}" if directory else ""


def open_log(files: Path, path: str) -> BinaryIO | None:
    """A log file below the shared root; None if it is not there (yet)."""
    found = (files / path).resolve()
    if not found.is_relative_to(files.resolve()):
        raise NotFound
    try:
        return os.fdopen(os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError:
        return None


def tail(request: Request) -> int | None:
    """How many lines of a log's end are asked for (`tail`); None for the whole."""
    asked = single(request, "tail")
    if asked is not None and not _LINES.fullmatch(asked):
        raise InvalidRequest("tail is a whole number of lines, up to 999999")
    return None if asked is None else int(asked)


def last_lines(file: BinaryIO, wanted: int) -> int:
    """Where the last so many lines of a file begin. It is read from its end, a piece at a time."""
    end = os.fstat(file.fileno()).st_size
    if not wanted:
        return end
    left, begin = wanted, end - 1  # a newline at the very end begins no line
    while begin > 0:
        piece = os.pread(file.fileno(), min(begin, CHUNK_BYTES), max(0, begin - CHUNK_BYTES))
        begin -= len(piece)
        if (there := piece.count(b"\n")) >= left:
            return begin + _newline(piece, left) + 1
        left -= there
        if not piece:
            break
    return 0


def _newline(piece: bytes, which: int) -> int:
    """Where a newline is, counted from the end of a piece that has so many."""
    at = len(piece)
    for _ in range(which):
        at = piece.rindex(b"\n", 0, at)
    return at


async def send_log(request: Request, files: Path, path: str, *, not_yet: bool = False) -> Response:
    """A log file below the shared root, as long as it is at this moment: its step may be writing. One that is not there
    yet is empty; so is one without a path that is certain to come (`not_yet`). `Range` is served for one range
    (RFC 9110, section 14); any other form of it is answered in whole. With `tail` it is the last so many lines."""
    lines = tail(request)
    if not path and not not_yet:
        raise NotFound
    file = await asyncio.to_thread(open_log, files, path) if path else None  # a shared root may be slow
    if file is None:
        return Response(b"", headers=_FILE, media_type=_TEXT)
    if lines is None:
        return send_part(request, file, request.headers.get("range", ""), _FILE, _TEXT)
    begin = await asyncio.to_thread(last_lines, file, lines)
    if request.method == "HEAD":
        return _unsent(file, begin, _FILE, _TEXT)
    return _sent(file, begin, os.fstat(file.fileno()).st_size, 200, _FILE, _TEXT)


def send_part(request: Request, file: BinaryIO, asked: str, headers: dict[str, str], kind: str) -> Response:
    """What a `Range` asks for of an open file, or all of it; of HEAD, how long all of it is, since only GET has ranges
    (RFC 9110, section 14.2). The file is closed when it was sent."""
    if request.method == "HEAD":
        return _unsent(file, 0, headers, kind)
    size = os.fstat(file.fileno()).st_size
    wanted = _wanted(asked, size)
    if wanted is None:
        return _sent(file, 0, size, 200, headers, kind)
    begin, end = wanted
    if begin >= end:
        file.close()
        return Response(b"", 416, headers=headers | {"Content-Range": f"bytes */{size}"}, media_type=kind)
    return _sent(file, begin, end, 206, headers | {"Content-Range": f"bytes {begin}-{end - 1}/{size}"}, kind)


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


def _unsent(file: BinaryIO, begin: int, headers: dict[str, str], kind: str) -> Response:
    with file:
        length = {"Content-Length": str(os.fstat(file.fileno()).st_size - begin)}
    return Response(b"", headers=headers | length, media_type=kind)


def _sent(file: BinaryIO, begin: int, end: int, status: int, headers: dict[str, str], kind: str) -> Response:
    length = {"Content-Length": str(end - begin)}
    return StreamingResponse(_chunks(file, begin, end), status, headers=headers | length, media_type=kind)


def _chunks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(begin)
        left = end - begin
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
