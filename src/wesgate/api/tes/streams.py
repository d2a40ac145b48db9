"""The whole streams of a task's steps, as far as they have come or as they come: a route of our own beside TES."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from wesgate.api.auth import caller
from wesgate.api.dependencies import Context, context, row_id, single
from wesgate.api.events import KEEP_ALIVE_S
from wesgate.api.logs import INERT, open_log, send_log
from wesgate.api.tes.live import STREAMS, log_path
from wesgate.core.errors import InvalidRequest, NotFound, Unavailable
from wesgate.core.owner import Caller
from wesgate.core.states import TERMINAL
from wesgate.db import tasks
from wesgate.ga4gh.views import Task, encode

router = APIRouter(tags=["TES"])

CHUNK_BYTES = 64 * 1024
LOOK_S, MOST_LOOK_S = 0.25, 1.0
"""How often a growing file is looked at: at once after something came, and ever less often while nothing does."""
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_OFFSET = re.compile(r"[0-9]{1,18}", re.ASCII)
_END = b"event: end\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of one attempt, from 1 on, of a task."""

    task_id: UUID
    attempt: int
    step: int
    name: str

    def path(self, task: Task) -> str:
        """Where it is, relative to the shared root; empty while that is not known."""
        report = task.reports[self.attempt - 1] if self.attempt <= len(task.reports) else None
        return log_path(report, self.step, self.name)

    def is_over(self, task: Task) -> bool:
        """Whether nothing more will be written."""
        return task.state in TERMINAL or self.attempt < len(task.reports)


@router.get("/tasks/{task_id}/logs/{step}/{stream}")
async def get_step_stream(request: Request, task_id: str, step: str, stream: str) -> Response:
    """The stdout or stderr of a step (from 0 on), of the last attempt or of `attempt`. `Range` is served; with
    `follow=true` it comes as server-sent events until the task has ended. An addition of ours."""
    found, who = context(request), await caller(request)
    follow, begin = _follow(request), _begin(request)
    asked = single(request, "attempt")
    task = await tasks.get(found.database, who, row_id(task_id))
    wanted = _named(task, asked, step, stream)
    if follow:
        await found.events.open()
        events = _events(found, who, wanted, begin)
        return StreamingResponse(events, media_type="text/event-stream", headers=INERT)
    return await send_log(request, found.files, wanted.path(task), not_yet=True)


def _named(task: Task, attempt: str | None, step: str, name: str) -> Stream:
    """The stream that these words name, or NotFound."""
    there = max(1, len(task.reports))  # the first will come
    if attempt is not None and not _NUMBER.fullmatch(attempt):
        raise InvalidRequest("attempt is a whole number from 1 on")
    number = int(attempt) if attempt else there
    known = _NUMBER.fullmatch(step) and int(step) < len(task.document["executors"]) and name in STREAMS
    if not known or not 1 <= number <= there:
        raise NotFound
    return Stream(task.id, number, int(step), name)


def _follow(request: Request) -> bool:
    asked = single(request, "follow")
    if asked not in (None, "true", "false"):
        raise InvalidRequest("follow is true or false")
    return asked == "true"


def _begin(request: Request) -> int:
    """Where a client that was cut off has come to."""
    last = request.headers.get("last-event-id", "0")
    if not _OFFSET.fullmatch(last):
        raise InvalidRequest("Last-Event-ID is none that this service gave")
    return int(last)


async def _events(found: Context, who: Caller, wanted: Stream, begin: int) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    gone = suppress(Unavailable, NotFound, OSError)  # too late for an error: whoever comes back is told
    with gone, found.events.watching(wanted.task_id) as watch, Growing(found.files, begin) as growing:
        look, over, quiet_since, pause = True, False, clock(), LOOK_S
        while not watch.lost:
            if look:
                watch.news.clear()
                task = await tasks.get(found.database, who, wanted.task_id)
                growing.path, over = wanted.path(task), wanted.is_over(task)
            while event := await asyncio.to_thread(growing.read, over):
                yield event
                quiet_since, pause = clock(), LOOK_S
            if over:
                yield _END
                return
            # A new attempt and where its files are is told by no event: whoever hears nothing for long looks.
            look = await _within(pause, watch.news.wait())
            pause = min(MOST_LOOK_S, pause * 1.5)
            if clock() - quiet_since > KEEP_ALIVE_S:
                yield b":\n\n"
                look, quiet_since = True, clock()


class Growing:
    """A file that is being written, read as server-sent events of whole characters. It may not be there yet."""

    def __init__(self, files: Path, begin: int) -> None:
        self.path = ""
        self._files = files
        self._read = begin
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._file: BinaryIO | None = None

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, over: bool) -> bytes:
        """What has come, up to CHUNK_BYTES of it; empty if nothing has. `over`: nothing more will be written."""
        if self._file is None and self.path:
            self._file = open_log(self._files, self.path)
        new = os.pread(self._file.fileno(), CHUNK_BYTES, self._read) if self._file else b""
        self._read += len(new)
        text = self._decoder.decode(new, final=over and not new)
        if not text:
            return b""
        at = self._read - len(self._decoder.getstate()[0])  # half a character is read again by whoever comes back
        return b"id: %d\ndata: %b\n\n" % (at, encode(text))


async def _within(seconds: float, waiting: Coroutine[Any, Any, bool]) -> bool:
    """Whether it came to pass in that time."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(waiting, seconds)
    return False
