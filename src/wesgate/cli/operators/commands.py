"""The commands of operators: serve, api, reconcile, migrate, self-test."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from wesgate.cli.operators.configuration import configured
from wesgate.cli.options import Json, print_json
from wesgate.core.errors import Misconfigured, WesgateError
from wesgate.settings import Settings, environment, unknown_variables

Data = Annotated[Path | None, typer.Option(help="Directory of the embedded database and, by default, all files.")]
Host = Annotated[str | None, typer.Option(help="Address to bind; loopback only, as there is no access control.")]
Port = Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")]
Config = Annotated[Path | None, typer.Option(help="Settings file; else $WESGATE_CONFIG, else ./wesgate.toml.")]

log = logging.getLogger(__name__)


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
    settings = configured(config, host=host, port=port, data=data)
    _run(settings, lambda stop: _serving().serve(settings, stop, loops=True))


def api(host: Host = None, port: Port = None, data: Data = None, config: Config = None) -> None:
    """Run the API alone; any number of these may share one database."""
    settings = configured(config, host=host, port=port, data=data)
    _run(settings, lambda stop: _serving().serve(settings, stop, loops=False))


def reconcile(data: Data = None, config: Config = None) -> None:
    """Run the loops alone; any number of these may share one database."""
    settings = configured(config, data=data)
    _run(settings, lambda stop: _serving().reconcile(settings, stop))


def migrate(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Bring the database to this version's schema. Safe while an older version is still up."""
    settings = configured(config, data=data)
    _run(settings, lambda _: _migrate(settings, as_json=as_json))


def self_test(
    data: Data = None,
    config: Config = None,
    image: Annotated[str, typer.Option(help="What steps run in, where the runtime has images; it needs /bin/sh.")] = (
        "busybox"
    ),
    as_json: Json = False,
) -> None:
    """Check that the executor of this machine does what it must: run, fail, stage, stop."""
    settings = configured(config, data=data)
    _run(settings, lambda _: _self_test(settings, image, as_json=as_json))


def _run(settings: Settings, work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    import uvloop

    from wesgate import wiring
    from wesgate.cli.operators import log_format

    log_format.configure(settings.log_level)
    for name in unknown_variables():
        log.warning("settings.unknown", extra={"variable": name})
    failures: list[WesgateError] = []
    try:
        wiring.prepare(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(work))
    except* WesgateError as errors:
        failures = list(_each(errors))
    if failures:
        print(*(f"wesgate: {error}" for error in failures), sep="\n", file=sys.stderr)
        # The second means that starting again may help, and the first that it will not.
        raise typer.Exit(2 if any(isinstance(error, Misconfigured) for error in failures) else 3)


def _each(errors: BaseExceptionGroup[WesgateError]) -> Iterator[WesgateError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await work(stop)


def _serving() -> ModuleType:
    from wesgate.cli.operators import serving  # it brings the whole service, which the other commands do without

    return serving


async def _migrate(settings: Settings, *, as_json: bool) -> None:
    from wesgate import wiring
    from wesgate.db import migrate as migrations

    async with wiring.database(settings, upgrade=True) as database:
        revision = await migrations.current(database)
    if as_json:
        print_json({"revision": revision})
    else:
        print(f"the database is at revision {revision}")


async def _self_test(settings: Settings, image: str, *, as_json: bool) -> None:
    from wesgate import wiring
    from wesgate.cli.operators.self_test import OWNER, check

    executor = wiring.local_executor(settings, environment())
    await executor.start()
    say = _silent if as_json else print
    try:
        say(f"executor local, runtime {executor.runtime}")
        found = await check(executor, image, say)
    finally:
        await executor.close()
        shutil.rmtree(settings.files_root / OWNER, ignore_errors=True)
    if as_json:
        print_json({"executor": "local", "runtime": executor.runtime, "checks": found})
    if failed := [name for name, wrong in found.items() if wrong]:
        print(f"wesgate: {len(failed)} of {len(found)} checks failed", file=sys.stderr)
        raise typer.Exit(1)


def _silent(_: str) -> None:
    return None
