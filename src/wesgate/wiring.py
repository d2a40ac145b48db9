"""Builds what a process needs from the settings; the only place that names concrete backends."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from sqlalchemy.exc import ArgumentError, DBAPIError

from wesgate import __version__
from wesgate.api.dependencies import Context
from wesgate.api.events import Events
from wesgate.api.paging import Pager
from wesgate.core import failpoints
from wesgate.core.errors import Misconfigured
from wesgate.core.spec import Fetching, Kind, Lane, RunSpec, Store, TaskSpec
from wesgate.db import embedded, migrate, owners
from wesgate.db.leases import Claim
from wesgate.db.queue import HeadQueue
from wesgate.db.session import Database
from wesgate.db.slots import Capacity
from wesgate.engines.miniwdl import engine as miniwdl
from wesgate.engines.miniwdl.config import engine_parameters
from wesgate.engines.miniwdl.dry import DryRuns
from wesgate.engines.miniwdl.engine import MiniwdlEngine, MiniwdlSettings
from wesgate.engines.miniwdl.head import main as head
from wesgate.executors.local import LocalExecutor, LocalSettings
from wesgate.ga4gh import dialects, tes, wes, wes_clients
from wesgate.ga4gh.parameters import Site
from wesgate.ga4gh.service_info import About, EngineInfo
from wesgate.identity.callers import LOCAL_ISSUER, Callers
from wesgate.reconcile.kernel import Charge
from wesgate.reconcile.service import Reconciler
from wesgate.reconcile.settle import Settler
from wesgate.reconcile.webhooks import Courier, CourierSettings
from wesgate.settings import Settings, Slots
from wesgate.storage.connections import Network

log = logging.getLogger(__name__)

LOCAL = "local"
MINIWDL = "miniwdl"
OLDEST_POSTGRES = 14
WDL_VERSIONS = ("draft-2", "1.0", "1.1", "1.2")


def prepare(settings: Settings) -> None:
    """Check what must hold before anything is started, and make the directories."""
    if not _is_loopback(settings.host):
        raise Misconfigured(
            f"without access control, whoever reaches the service is its owner, so it binds loopback only: "
            f"{settings.host} is not; use --host 127.0.0.1 and a tunnel or an authenticating proxy"
        )
    _check_known("tes.submitter", settings.tes.submitter, dialects.BY_NAME)
    _check_known("wes.client", settings.wes.client, wes_clients.BY_NAME)
    try:
        failpoints.arm(settings.failpoints)
        # As `db.embedded.place` makes it: under root, the embedded Postgres runs as another user and must pass.
        settings.data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        settings.files_root.mkdir(mode=0o700, parents=True, exist_ok=True)  # whose files these are, nobody else reads
    except ValueError as error:
        raise Misconfigured(str(error)) from error
    except OSError as error:
        raise Misconfigured(f"the data directory cannot be made: {error}; choose another with --data") from error


def _check_known(setting: str, given: str, known: Iterable[str]) -> None:
    if given not in known:
        raise Misconfigured(f"{setting} is none that this service knows; it knows {', '.join(filter(None, known))}")


@asynccontextmanager
async def database(settings: Settings, *, upgrade: bool) -> AsyncIterator[Database]:
    """The database: the configured one, else the embedded one of the data directory."""
    if settings.database_url is not None:
        async with _opened(settings.database_url.get_secret_value(), upgrade=upgrade) as opened:
            yield opened
        return
    async with (
        await embedded.start(settings.data) as server,
        server.kept(),
        _opened(server.url, upgrade=True) as opened,
    ):
        yield opened


@asynccontextmanager
async def _opened(url: str, *, upgrade: bool) -> AsyncIterator[Database]:
    try:
        opened = Database(url)
    except ArgumentError as error:  # its text would show the URL, and so a password
        raise Misconfigured("WESGATE_DATABASE_URL is not as postgresql://USER:PASSWORD@HOST/NAME") from error
    try:
        await _prepare(opened, upgrade=upgrade)
        yield opened
    finally:
        await opened.close()


async def _prepare(opened: Database, *, upgrade: bool) -> None:
    try:
        await opened.wait()
        await _check_version(opened)
        if upgrade:
            await migrate.upgrade(opened)
        elif not await migrate.is_usable(opened):
            raise Misconfigured("the database is not at this version's schema; run `wesgate migrate` first")
    except DBAPIError as error:
        raise Misconfigured(f"the database refuses: {error.orig}") from error


async def _check_version(opened: Database) -> None:
    row = await opened.fetch_row("SELECT current_setting('server_version_num')::int / 10000 AS major")
    assert row is not None
    if row["major"] < OLDEST_POSTGRES:
        raise Misconfigured(f"the database is Postgres {row['major']}, and wesgate needs {OLDEST_POSTGRES} or newer")


@asynccontextmanager
async def context(settings: Settings, opened: Database, environment: Mapping[str, str]) -> AsyncIterator[Context]:
    """What the API works with."""
    events = Events(opened)
    local = await owners.ensure(opened, LOCAL_ISSUER, LOCAL_ISSUER)
    try:
        yield Context(
            database=opened,
            callers=Callers(opened, local),
            pager=Pager(await owners.signing_key(opened)),
            events=events,
            about=_about(settings),
            engines=[_engine_info(settings)],
            executor=LOCAL,
            site=_site(settings),
            submitter=settings.tes.submitter,
            wes_client=settings.wes.client,
            price_per_hour_usd=settings.executors.local.price_per_hour_usd,
            files=settings.files_root,
            roots=roots(settings),
            stores=[Store(store.url) for store in settings.storage.stores],
            public_url=settings.service.public_url,
            own_urls=[url for url in (settings.service.public_url, settings.engines.api_url) if url],
            allow_private_sources=settings.sources.allow_private,
            allowed_sources=settings.sources.allowed,
            check=DryRuns(_miniwdl_settings(settings), settings.files_root, environment),
            json_bytes=settings.limits.json_bytes,
            attachment_bytes=settings.limits.attachment_bytes,
        )
    finally:
        await events.close()


@asynccontextmanager
async def reconciler(settings: Settings, opened: Database, environment: Mapping[str, str]) -> AsyncIterator[Reconciler]:
    """The loops of every configured backend."""
    wake_dir = settings.data / "wake"
    executor = local_executor(settings, environment)
    await executor.start()
    log.info("executor.ready", extra={"executor": LOCAL, "runtime": executor.runtime})
    try:
        queue = HeadQueue(opened, LOCAL, settings.executors.local.max_attempts)
        engine = _miniwdl(settings, queue, executor)
        charges = [
            Charge(Kind.TASK, LOCAL, executor, _task_spec(settings), _capacities(settings.executors.local.slots)),
            Charge(Kind.RUN, MINIWDL, engine, _run_spec(settings)),
        ]
        chores = (_courier(settings, opened), _settler(settings, opened))
        yield Reconciler(opened, charges, wake_dir, settings.files_root, chores)
    finally:
        await executor.close()


def _settler(settings: Settings, opened: Database) -> Settler:
    days = settings.runs.keep_days
    return Settler(opened, settings.files_root, None if days is None else timedelta(days=days))


def _courier(settings: Settings, opened: Database) -> Courier:
    wanted = settings.webhooks
    known = CourierSettings(settings.service.public_url or "", wanted.timeout_s, timedelta(hours=wanted.keep_h))
    return Courier(opened, Network(settings.sources.allow_private), known)


def local_executor(settings: Settings, environment: Mapping[str, str]) -> LocalExecutor:
    """The executor of this machine, not started."""
    wanted = settings.executors.local
    return LocalExecutor(
        LocalSettings(
            runtime=wanted.runtime,
            grace_s=wanted.grace_s,
            pids=wanted.pids,
            network=wanted.network,
            visible=tuple(map(str, wanted.visible)),
            private=tuple(str(settings.data.absolute() / name) for name in ("postgres", "wake")),
            stores=_stores(settings),
            fetching=_fetching(settings),
            disk_gb=wanted.disk_gb,
            gpus=wanted.slots.gpus,
            heads=(head.__name__,),
        ),
        settings.files_root,
        settings.data / "wake",
        environment,
        settings.failpoints,
    )


def _site(settings: Settings) -> Site:
    local = settings.executors.local
    return Site(local.max_attempts, local.max_preemptions, local.timeout_s, local.slots.gpus)


def roots(settings: Settings) -> tuple[str, ...]:
    """The host directories that any owner's files may be in, as they were named and with links resolved."""
    named = [path.absolute() for path in (*settings.files.allowed, *settings.files.shared)]
    return tuple(dict.fromkeys(str(form) for path in named for form in (path, path.resolve())))


def _engine_info(settings: Settings) -> EngineInfo:
    parameters = engine_parameters(_miniwdl_settings(settings))
    return EngineInfo(MINIWDL, version("miniwdl"), {"WDL": WDL_VERSIONS}, parameters)


def _miniwdl_settings(settings: Settings) -> MiniwdlSettings:
    wanted = settings.engines.miniwdl
    return MiniwdlSettings(
        task_concurrency=wanted.task_concurrency,
        default_image=wanted.default_image,
        images=wanted.images,
        call_cache=wanted.call_cache,
        head_memory_gb=wanted.head_memory_gb,
        roots=roots(settings),
        fetching=_fetching(settings),
        stores=tuple(Store(store.url) for store in settings.storage.stores),
    )


def _stores(settings: Settings) -> tuple[Store, ...]:
    return tuple(
        Store(store.url, {name: value.get_secret_value() for name, value in store.options.items()})
        for store in settings.storage.stores
    )


def _fetching(settings: Settings) -> Fetching:
    wanted = settings.sources
    return Fetching(
        allow_private=wanted.allow_private,
        timeout_s=wanted.fetch_timeout_s,
        max_bytes=wanted.fetch_max_bytes,
        tree_bytes=int(wanted.tree_max_mb * 1e6),
        tree_timeout_s=wanted.tree_timeout_s,
        allowed=wanted.allowed,
    )


def announced(settings: Settings, url: str) -> AbstractContextManager[Path]:
    """Tell the heads of all runs that the API is here, for as long as the block lasts."""
    return miniwdl.announced(settings.files_root, settings.engines.api_url or url)


def _miniwdl(settings: Settings, queue: HeadQueue, executor: LocalExecutor) -> MiniwdlEngine:
    return MiniwdlEngine(
        _miniwdl_settings(settings),
        queue,
        settings.files_root,
        lambda: executor.runtime == "process:plain",
    )


def _task_spec(settings: Settings) -> Callable[[Claim], TaskSpec]:
    allowed = roots(settings)
    live = [str(path.resolve()) for path in settings.files.shared]

    def spec_of(claim: Claim) -> TaskSpec:
        lane = Lane(claim.lane or Lane.TASK)
        return tes.task_spec(claim.row.document, claim.policy, claim.owner_id.hex, lane, allowed, live, claim.run_id)

    return spec_of


def _run_spec(settings: Settings) -> Callable[[Claim], RunSpec]:
    root = PurePosixPath(settings.files_root)

    def spec_of(claim: Claim) -> RunSpec:
        return wes.run_spec(claim.row.id, claim.owner_id.hex, root / (claim.directory or ""), claim.row.document)

    return spec_of


def _capacities(slots: Slots) -> dict[Lane, Capacity]:
    cores = slots.cpu_cores or float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    memory = slots.ram_gb or 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {Lane.TASK: Capacity(cpu_cores=cores, ram_gb=memory, gpus=slots.gpus), Lane.HEAD: Capacity(jobs=slots.heads)}


def _about(settings: Settings) -> About:
    service = settings.service
    return About(
        id=service.id,
        name=service.name,
        description=service.description,
        organization=service.organization,
        organization_url=service.organization_url,
        contact_url=service.contact_url,
        documentation_url=service.documentation_url,
        environment=service.environment,
        version=__version__,
        started=datetime.now(UTC),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
