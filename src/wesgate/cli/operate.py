"""The commands of operators: serve, api, reconcile, migrate, self-test."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from wesgate.core.errors import WesgateError
from wesgate.settings import Settings, environment, load

Data = Annotated[Path | None, typer.Option(help="Directory of the embedded database and, by default, all files.")]
Host = Annotated[str | None, typer.Option(help="Address to bind; loopback only, as there is no access control.")]
Port = Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")]
Config = Annotated[Path | None, typer.Option(help="Settings file; else $WESGATE_CONFIG, else ./wesgate.toml.")]

BACKLOG = 512


def register(app: typer.Typer) -> None:
    """Add these commands to the `wesgate` command."""
    panel = "For operators"
    app.command(rich_help_panel=panel)(serve)
    app.command(rich_help_panel=panel)(api)
    app.command(rich_help_panel=panel)(reconcile)
    app.command(rich_help_panel=panel)(migrate)
    app.command("self-test", rich_help_panel=panel)(self_test)


def serve(host: Host = None, port: Port = None, data: Data = None, config: Config = None) -> None:
    """Run everything in one process: database, API and loops.

    Without any settings it keeps its state under the data directory, in a Postgres of its own, and runs tasks on this
    machine. Ctrl-C or SIGTERM stops it; what runs then goes on, and is found again at the next start.
    """
    settings = load(config, host=host, port=port, data=data)
    _run(settings, lambda stop: _serve(settings, stop, loops=True))


def api(host: Host = None, port: Port = None, data: Data = None, config: Config = None) -> None:
    """Run the API alone; any number of these may share one database."""
    settings = load(config, host=host, port=port, data=data)
    _run(settings, lambda stop: _serve(settings, stop, loops=False))


def reconcile(data: Data = None, config: Config = None) -> None:
    """Run the loops alone; any number of these may share one database."""
    settings = load(config, data=data)
    _run(settings, lambda stop: _reconcile(settings, stop))


def migrate(data: Data = None, config: Config = None) -> None:
    """Bring the database to this version's schema. Safe while an older version is still up."""
    settings = load(config, data=data)
    _run(settings, lambda _: _migrate(settings))


def self_test(data: Data = None, config: Config = None) -> None:
    """Check that the executor of this machine does what it must: run, fail, stop."""
    settings = load(config, data=data)
    _run(settings, lambda _: _self_test(settings))


def _run(settings: Settings, work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    from wesgate import wiring
    from wesgate.cli import operator_log

    operator_log.configure(settings.log_level)
    try:
        wiring.prepare(settings)
        _loop_run(_until_stopped(work))
    except WesgateError as error:
        print(f"wesgate: {error}", file=sys.stderr)
        raise typer.Exit(3) from None


def _loop_run(work: Awaitable[None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_awaited(work))


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await work(stop)


async def _serve(settings: Settings, stop: asyncio.Event, *, loops: bool) -> None:
    from wesgate import wiring

    with _bound(settings) as listener:
        url = f"http://{_address(settings.host)}:{listener.getsockname()[1]}"
        async with (
            wiring.database(settings, upgrade=loops) as database,
            wiring.context(settings, database) as context,
            asyncio.TaskGroup() as group,
        ):
            server = _server(context, settings)
            answering = group.create_task(server.serve(sockets=[listener]))
            looping = group.create_task(_loops(settings, database, url, stop)) if loops else None
            await _started(server, answering)
            print(f"wesgate is ready: {url}", flush=True)
            await _first(stop, answering, looping)
            stop.set()
            await context.events.close()
            server.should_exit = True


async def _reconcile(settings: Settings, stop: asyncio.Event) -> None:
    from wesgate import wiring

    url = f"http://{_address(settings.host)}:{settings.port}"
    async with wiring.database(settings, upgrade=False) as database:
        await _loops(settings, database, url, stop)


async def _loops(settings, database, url: str, stop: asyncio.Event) -> None:  # type: ignore[no-untyped-def]
    from wesgate import wiring

    async with wiring.reconciler(settings, database, url, environment()) as reconciler, asyncio.TaskGroup() as group:
        running = group.create_task(reconciler.run())
        await _first(stop, running)
        reconciler.stop()


async def _migrate(settings: Settings) -> None:
    from wesgate import wiring
    from wesgate.db import migrate as migrations

    async with wiring.database(settings, upgrade=True):
        print(f"the database is at revision {migrations.HEAD}")


async def _self_test(settings: Settings) -> None:
    from wesgate import wiring
    from wesgate.cli.self_test import check

    executor = wiring.local_executor(settings, environment())
    await executor.start()
    try:
        await check(executor)
    finally:
        await executor.close()


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            from wesgate.core.errors import Misconfigured

            raise Misconfigured(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror}; choose another with --port"
            ) from error
        listener.listen(BACKLOG)
        yield listener


def _server(context, settings: Settings):  # type: ignore[no-untyped-def]
    import uvicorn

    from wesgate.app import create_app

    class Server(uvicorn.Server):
        """One that leaves signals to us: the loops stop with it."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    app = create_app(context, body_bytes=settings.limits.body_bytes)
    return Server(
        uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10)
    )


async def _started(server, answering: asyncio.Task[None]) -> None:  # type: ignore[no-untyped-def]
    while not server.started and not answering.done():
        await asyncio.sleep(0.01)


async def _first(stop: asyncio.Event, *tasks: asyncio.Task[None] | None) -> None:
    """Until asked to stop, or until one of these ends by itself."""
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({asked, *(task for task in tasks if task)}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
