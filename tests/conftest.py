"""What every test may use: real Postgres, one database for each test, and owners to have rows."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from wesgate.core.owner import Caller
from wesgate.db import embedded, migrate, owners
from wesgate.db.session import Database

IN_CI = os.environ.get("CI") == "true"
TEMPLATE = f"wesgate_template_{os.getpid()}"  # of this process: others may run tests at the same time

# A script that starts the tests in its background has SIGINT ignored in them, and so in all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(what: str) -> None:
    """A part that a test needs is not on this machine: a failure under CI, a skip elsewhere."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI installs it")
    pytest.skip(f"{what} is not on this machine")


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A directory with a short name (a socket's path has at most 107 bytes) that other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="wg-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def embedded_url(short_tmp: Path) -> AsyncIterator[str]:
    """A template database on the Postgres that wesgate brings."""
    async with await embedded.start(short_tmp / "data") as server:
        # This cluster is the session's own and is thrown away; a database for each test needs no disk to be sure of it.
        await _execute(_dsn(server.url), "ALTER SYSTEM SET fsync = off")
        await _execute(_dsn(server.url), "SELECT pg_reload_conf()")
        await _make_template(_dsn(server.url))
        yield _dsn(server.url)


@pytest.fixture(scope="session")
async def system_url() -> AsyncIterator[str]:
    """A template database on the machine's own Postgres, as `psql` finds it."""
    url = _system_postgres()
    if url is None:
        missing("a Postgres that psql finds")
        raise AssertionError
    await _make_template(url)
    yield url
    await _execute(url, f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


@pytest.fixture
async def database(embedded_url: str) -> AsyncIterator[Database]:
    """An empty database of this test's own."""
    async with _copy(embedded_url) as made:
        yield made


@pytest.fixture(params=["embedded", "system"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Each kind of Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def any_database(any_url: str) -> AsyncIterator[Database]:
    """An empty database on each kind of Postgres: for the tests of what the SQL itself promises."""
    async with _copy(any_url) as made:
        yield made


@pytest.fixture
async def caller(database: Database) -> Caller:
    """Somebody."""
    return Caller(await owners.ensure(database, "test", "somebody"))


@pytest.fixture
async def somebody(any_database: Database) -> Caller:
    """The same on each kind of Postgres."""
    return Caller(await owners.ensure(any_database, "test", "somebody"))


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine stands between a test and its servers."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class _copy:  # noqa: N801  # reads as a statement: `async with _copy(url)`
    """A database made from the template, dropped at the end; closing it must leave no connection behind."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = f"test_{secrets.token_hex(6)}"

    async def __aenter__(self) -> Database:
        await _execute(self._url, f"CREATE DATABASE {self._name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        self._database = Database(_with_name(self._url, self._name))
        return self._database

    async def __aexit__(self, *_: object) -> None:
        assert self._database.engine.pool.checkedout() == 0, "a connection was never given back"  # type: ignore[attr-defined]
        await self._database.close()
        await _execute(self._url, f"DROP DATABASE {self._name} WITH (FORCE)")


async def _make_template(url: str) -> None:
    await _execute(url, f"CREATE DATABASE {TEMPLATE}")
    template = Database(_with_name(url, TEMPLATE))
    await migrate.upgrade(template)
    await template.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _dsn(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://")


def _with_name(url: str, name: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _system_postgres() -> str | None:
    given = os.environ.get("WESGATE_TEST_DATABASE_URL")
    if given or not shutil.which("psql"):
        return given
    ask = "SELECT concat_ws('|', current_user, setting, current_setting('port')) FROM pg_settings WHERE name = '{}'"
    command = ["psql", "-XAtd", "postgres", "-c", ask.format("unix_socket_directories")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if answer.returncode:
        return None
    user, sockets, port = answer.stdout.strip().split("|")
    return f"postgresql://{user}@/postgres?host={sockets.split(',')[0].strip()}&port={port}"
