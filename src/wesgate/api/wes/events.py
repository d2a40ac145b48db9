"""What became of a run and of its tasks, and what becomes of them: a route of our own beside WES."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from wesgate.api.auth import person
from wesgate.api.dependencies import Context, context, row_id
from wesgate.api.events import KEEP_ALIVE_S
from wesgate.api.following import END, within
from wesgate.api.logs import INERT
from wesgate.core.errors import InvalidRequest, NotFound, Unavailable
from wesgate.core.owner import Owner
from wesgate.db import history
from wesgate.db.history import PAGE, Reading
from wesgate.ga4gh.views import encode, timestamp

router = APIRouter(tags=["WES"])

AT_MOST_EVERY_S = 0.1
"""Many tasks change at once: they are told of together."""
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


@router.get("/runs/{run_id}/events")
async def get_run_events(request: Request, run_id: str) -> Response:
    """The state changes of a run (`event: run`) and of its tasks (`event: task`), with their reasons, as server-sent
    events: first those that were, or that came after `Last-Event-ID`, then each as it happens, until nothing more can
    come (`event: end`)."""
    found, who = context(request), await person(request)
    last = request.headers.get("last-event-id", "0")
    if not _ID.fullmatch(last):
        raise InvalidRequest("Last-Event-ID is none that this service gave")
    wanted = row_id(run_id)
    await history.is_over(found.database, who.owner, wanted)
    await found.events.open()
    events = _events(found, who.owner, Reading(wanted, int(last)))
    return StreamingResponse(events, media_type="text/event-stream", headers=INERT)


async def _events(found: Context, owner: Owner, reading: Reading) -> AsyncIterator[bytes]:
    gone = suppress(Unavailable, NotFound)  # too late for an error: whoever comes back is told
    with gone, found.events.watching(reading.run_id, with_tasks=True) as watch:
        while not watch.lost:
            watch.news.clear()
            over = await history.is_over(found.database, owner, reading.run_id)
            upto = await history.newest(found.database) if over else (await history.settled(found.database)).upto
            async for page in _pages(found, reading, upto):
                yield "".join(_written(reading.run_id, row) for row in page).encode()
            if over:
                yield END
                return
            if not await within(KEEP_ALIVE_S, watch.news.wait()):
                yield b":\n\n"
            await asyncio.sleep(AT_MOST_EVERY_S)


async def _pages(found: Context, reading: Reading, upto: int) -> AsyncIterator[list[Record]]:
    full = True
    while full:
        page = await reading.page(found.database, upto)
        full = len(page) == PAGE
        if page:
            yield list(page)


def _written(run_id: UUID, row: Record) -> str:
    told = {"state": row["state"], "detail": row["detail"], "time": timestamp(row["at"])}
    if row["row_id"] == run_id:
        return _event(row["id"], "run", {"run_id": str(run_id), **told})
    return _event(row["id"], "task", {"task_id": str(row["row_id"]), "name": row["name"], **told})


def _event(number: int, kind: str, told: dict[str, str]) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {encode(told).decode()}\n\n"
