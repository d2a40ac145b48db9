"""State changes as they happen: one ear at the database per process, any number of listeners (server-sent events).

A stream begins with `event: ready`: what changes after that is told. One that falls behind, or whose database
connection is lost, is ended; the client comes back and looks for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from wesgate.core.errors import Unavailable
from wesgate.core.owner import Caller
from wesgate.db.session import Database

KEEP_ALIVE_S = 10.0
BEHIND = 10_000
"""How many events a listener may be behind before it is sent away."""


@dataclass(frozen=True, slots=True)
class Event:
    """A run, task or instance got a state."""

    kind: str
    id: str
    owner_id: UUID
    state: str
    run_id: UUID | None


class Watch:
    """Who waits for news of one row: `news` is set whenever its state changed, and once nothing more will be told;
    then `lost` is true."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.lost = False


class Events:
    """The ear of one process: deaf until it is opened; `close` ends every stream."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._watches: dict[str, set[Watch]] = {}
        self._connection: asyncpg.Connection | None = None
        self._opening = asyncio.Lock()

    def end(self) -> None:
        """Send every listener away."""
        for queue in tuple(self._listeners):
            self._end(queue)
        for watch in [watch for watches in self._watches.values() for watch in watches]:
            watch.lost = True
            watch.news.set()

    async def close(self) -> None:
        """Send every listener away, and hear no more."""
        self.end()
        if self._connection is not None:
            await self._connection.close(timeout=2)

    async def of_tasks(self, caller: Caller) -> AsyncIterator[bytes]:
        """The state changes of the tasks that a caller may see, as server-sent events; `Unavailable` if there can be
        none now."""
        await self.open()
        return self._stream(caller)

    @contextlib.contextmanager
    def watching(self, row_id: UUID, *, with_tasks: bool = False) -> Iterator[Watch]:
        """A watch on one row, and with `with_tasks` on the tasks of this run, lost from the beginning unless the ear is
        open."""
        watch, keys = Watch(), [str(row_id), *([_tasks_of(row_id)] if with_tasks else ())]
        watch.lost = self._connection is None or self._connection.is_closed()
        for key in keys:
            self._watches.setdefault(key, set()).add(watch)
        try:
            yield watch
        finally:
            for key in keys:
                self._watches[key].discard(watch)
                if not self._watches[key]:
                    del self._watches[key]

    async def _stream(self, caller: Caller) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue(BEHIND)
        self._listeners.add(queue)
        try:
            if self._connection is None or self._connection.is_closed():
                return  # lost since: whoever was to be sent away then is gone
            yield b"event: ready\ndata: {}\n\n"
            async for events in _arriving(queue):
                wanted = [event for event in events if event.kind == "task" and _concerns(event, caller)]
                if wanted or not events:
                    yield "".join(map(_written, wanted)).encode() or b":\n\n"
        finally:
            self._listeners.discard(queue)

    async def open(self) -> None:
        """Listen, if nobody made it listen before; `Unavailable` if that cannot be now."""
        async with self._opening:
            if self._connection is not None and not self._connection.is_closed():
                return
            connection = await self._database.listener()
            connection.add_termination_listener(lambda _: self.end())
            try:
                await connection.add_listener("wesgate_events", self._told)
            except BaseException as error:
                connection.terminate()
                if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
                    raise Unavailable from error
                raise
            self._connection = connection

    def _told(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        kind, row_id, owner_id, state, run_id = payload.split(" ")
        for key in (row_id, _tasks_of(run_id)):
            for watch in self._watches.get(key, ()):
                watch.news.set()
        if not self._listeners:
            return
        event = Event(kind, row_id, UUID(owner_id), state, None if run_id == "-" else UUID(run_id))
        for queue in tuple(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._end(queue)

    def _end(self, queue: asyncio.Queue[Event | None]) -> None:
        self._listeners.discard(queue)
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                queue.get_nowait()
        queue.put_nowait(None)


def _tasks_of(run_id: UUID | str) -> str:
    return f"of {run_id}"


async def _arriving(queue: asyncio.Queue[Event | None]) -> AsyncIterator[list[Event]]:
    """What has arrived since, and nothing whenever nothing has for a while; it ends when the listener is sent away."""
    while True:
        arrived: list[Event | None] = []
        with contextlib.suppress(TimeoutError):
            arrived.append(await asyncio.wait_for(queue.get(), KEEP_ALIVE_S))
        while not queue.empty():
            arrived.append(queue.get_nowait())
        yield [event for event in arrived if event is not None]
        if None in arrived:
            return


def _written(event: Event) -> str:
    told = json.dumps({"id": event.id, "state": event.state})
    return f"data: {told}\n\n"


def _concerns(event: Event, caller: Caller) -> bool:
    return event.run_id == caller.run_id if caller.run_id else event.owner_id == caller.owner.id
