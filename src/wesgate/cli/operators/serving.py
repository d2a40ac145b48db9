"""What `serve`, `api` and `reconcile` run: the API, the loops, or both in one process, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import uvicorn

from wesgate import wiring
from wesgate.api.dependencies import Context
from wesgate.app import create_app
from wesgate.cli.operators.protocol import BoundedProtocol
from wesgate.core.errors import Unavailable, WesgateError
from wesgate.settings import Settings, environment
from wesgate.storage.target import bracketed

BACKLOG = 512
GRACE_S = 10
"""How long requests in flight may take to end when the service stops."""

log = logging.getLogger(__name__)


class Part(Protocol):
    """Something that serves until it is told to stop; `up` is set once it does."""

    @property
    def up(self) -> asyncio.Event: ...

    async def run(self) -> None: ...

    def stop(self) -> None: ...


async def serve(settings: Settings, stop: asyncio.Event, *, loops: bool) -> None:
    """The API, and with `loops` all else, until `stop` is set."""
    with bound(settings) as listener:
        url = f"http://{bracketed(settings.host)}:{listener.getsockname()[1]}"
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(wiring.database(settings, upgrade=loops))
            context = await stack.enter_async_context(wiring.context(settings, database, environment()))
            stack.enter_context(wiring.announced(settings, url))
            parts: list[Part] = [Answering(context, settings, listener)]
            if loops:
                parts.append(await stack.enter_async_context(wiring.reconciler(settings, database, environment())))
            await together(parts, stop, lambda: print(f"wesgate is ready: {url}", flush=True))


async def reconcile(settings: Settings, stop: asyncio.Event) -> None:
    """The loops alone, until `stop` is set."""
    async with (
        wiring.database(settings, upgrade=False) as database,
        wiring.reconciler(settings, database, environment()) as reconciler,
    ):
        await together([reconciler], stop, lambda: print(f"wesgate reconciles as {reconciler.holder}", flush=True))


async def together(parts: Sequence[Part], stop: asyncio.Event, announce: Callable[[], None]) -> None:
    """Run these, and `announce` when all are up. The end of one is the end of all: it is an error unless `stop` was
    set, so that whoever watches the process starts it anew."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(part.run()) for part in parts]
        if await _comes_first(_all_up(parts), running):
            announce()
            await _comes_first(stop.wait(), running)
        asked = stop.is_set()
        for part in parts:
            part.stop()
    if not asked:
        raise EndedEarly


class EndedEarly(WesgateError):
    """A part of the service ended although nobody asked it to; the log says why."""


class Answering(uvicorn.Server):
    """The API on a socket that is bound already. Signals are left to the process: the loops stop with it."""

    def __init__(self, context: Context, settings: Settings, listener: socket.socket) -> None:
        app = create_app(context, body_bytes=settings.limits.body_bytes)
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self.up = asyncio.Event()
        self._events = context.events
        self._listener = listener

    async def run(self) -> None:  # type: ignore[override]  # uvicorn's own would make an event loop
        await self.serve(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    def stop(self) -> None:
        self._events.end()  # streams have no end of their own
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens where the settings say."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise Unavailable(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror}; choose another with --port"
            ) from error
        listener.listen(BACKLOG)
        yield listener


async def _all_up(parts: Sequence[Part]) -> None:
    for part in parts:
        await part.up.wait()


async def _comes_first(wanted: Awaitable[Any], running: Sequence[asyncio.Task[None]]) -> bool:
    """Whether this comes before any of the tasks ends."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
    came = waiting.done()
    waiting.cancel()
    return came
