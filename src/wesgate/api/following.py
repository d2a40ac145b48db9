"""Logs as they grow: server-sent events of whole characters, until nothing more will be written."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wesgate.api.dependencies import context, single
from wesgate.api.events import KEEP_ALIVE_S, Events
from wesgate.api.logs import INERT, last_lines, open_log, tail
from wesgate.core.errors import InvalidRequest, NotFound, Unavailable
from wesgate.ga4gh.views import encode

CHUNK_BYTES = 64 * 1024
LOOK_S, MOST_LOOK_S = 0.25, 1.0
"""How often a growing file is looked at: at once after something came, and ever less often while nothing does."""
END = b"event: end\ndata: {}\n\n"
_PLACE = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Now:
    """Where a log is at this moment, relative to the shared root, empty while that is not known; and whether nothing
    more will be written."""

    path: str
    is_over: bool


Look: TypeAlias = Callable[[], Awaitable[Now]]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a client has read, and in which file where a log may go on in another; empty if there is but one."""

    offset: int = 0
    file: str = ""


def is_followed(request: Request) -> bool:
    """Whether a log is asked for as it grows: `follow`."""
    asked = single(request, "follow")
    if asked not in (None, "true", "false"):
        raise InvalidRequest("follow is true or false")
    return asked == "true"


def place(request: Request, *, several: bool) -> Place:
    """Where a client that was cut off has come to, in a log of one file or of `several`."""
    given = _PLACE.fullmatch(request.headers.get("last-event-id", "0"))
    if given is None or (given[2] and not several):
        raise InvalidRequest("Last-Event-ID is none that this service gave")
    return Place(int(given[1]), given[2] or "")


async def send_growing(request: Request, row_id: UUID, look: Look, *, several: bool = False) -> Response:
    """What `look` shows, as it grows, until it is over; it is asked again whenever the state of this row changes.
    `several` logs follow each other."""
    found = context(request)
    asked = None if "last-event-id" in request.headers else tail(request)
    growing = Growing(found.files, place(request, several=several), asked, several=several)
    await found.events.open()
    events = followed(found.events, row_id, look, growing)
    return StreamingResponse(events, media_type="text/event-stream", headers=INERT)


async def followed(events: Events, row_id: UUID, look: Look, growing: Growing) -> AsyncIterator[bytes]:
    """The events of `send_growing`."""
    clock = asyncio.get_running_loop().time
    gone = suppress(Unavailable, NotFound, OSError)  # too late for an error: whoever comes back is told
    with gone, events.watching(row_id) as watch, growing:
        again, over, quiet_since, pause = True, False, clock(), LOOK_S
        while not watch.lost:
            if again:
                watch.news.clear()
                now = await look()
                growing.path, over = now.path, now.is_over
            while event := await asyncio.to_thread(growing.read, over):
                yield event
                quiet_since, pause = clock(), LOOK_S
            if over:
                yield END
                return
            # A new attempt and where its files are is told by no event: whoever hears nothing for long looks.
            again = await within(pause, watch.news.wait())
            pause = min(MOST_LOOK_S, pause * 1.5)
            if clock() - quiet_since > KEEP_ALIVE_S:
                yield b":\n\n"
                again, quiet_since = True, clock()


async def within(seconds: float, waiting: Coroutine[Any, Any, bool]) -> bool:
    """Whether it came to pass in that time."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(waiting, seconds)
    return False


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


@dataclass(slots=True)
class Growing:
    """A log that is being written, read as server-sent events of whole characters. It may not be there yet; where it
    goes on in another file (`path` changes), the one before is read to its end first."""

    files: Path
    begin: Place = Place()
    tail: int | None = None
    several: bool = False
    path: str = ""
    _open: str = field(default="", init=False)
    _read: int = field(default=0, init=False)
    _file: BinaryIO | None = field(default=None, init=False)
    _decoder: codecs.IncrementalDecoder = field(default_factory=_decoder, init=False)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, over: bool) -> bytes:
        """What has come, up to CHUNK_BYTES of it; empty if nothing has. `over`: nothing more will be written."""
        if self._file is None and self.path:
            self._start()
        self.tail = None  # what comes later is wanted whole
        moves = self._file is not None and self.path not in ("", self._open)
        new = os.pread(self._file.fileno(), CHUNK_BYTES, self._read) if self._file else b""
        self._read += len(new)
        text = self._decoder.decode(new, final=(over or moves) and not new)
        if text:
            return self._event(text)
        if moves and not new:
            self._close()
            return self.read(over)
        return b""

    def _start(self) -> None:
        self._file = open_log(self.files, self.path)
        if self._file is None:
            return
        self._open = self.path
        self._read = self.begin.offset if self.begin.file in ("", _name(self.path)) else 0
        if self.tail is not None:
            self._read = last_lines(self._file, self.tail)

    def _close(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file, self.begin, self._decoder = None, Place(), _decoder()

    def _event(self, text: str) -> bytes:
        at = self._read - len(self._decoder.getstate()[0])  # half a character is read again by whoever comes back
        where = f"{at}-{_name(self._open)}" if self.several else str(at)
        return b"id: %b\ndata: %b\n\n" % (where.encode(), encode(text))


def _name(path: str) -> str:
    """What a file is called in event ids: short, and no path of this machine."""
    return hashlib.sha256(path.encode()).hexdigest()[:8]
