"""The database: connections, transactions, and the one place where its failures become `Unavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from wesgate.core.errors import InvalidRequest, TooLarge, Unavailable

POOL_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 5_000

# Class 08 connection, 40 deadlock, 53 resources, 57P0x shutdown, 25006 read-only standby, 55P03 lock timeout,
# 57014 statement timeout: https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = ("08", "40", "53", "57P", "57014", "55P03", "25006")


class Database:
    """One Postgres, any number of processes.

    Two pools: SQLAlchemy's for the loop's transactions, and a small one of bare driver connections for all that a
    request or an engine asks: single statements, reads and writes, where SQLAlchemy would cost more than Postgres does.

    Four of those are enough: statements of a millisecond use up a process, which is one thread, before they use up
    four connections. More would only let more long lists run at once, and three busy processes have to fit into the
    60 connections of the embedded Postgres beside psql and pg_dump: three times 10 + 4 + 2.
    """

    def __init__(self, url: str, *, size: int = 10, bare: int = 4) -> None:
        self.url = make_url(url).set(drivername="postgresql+asyncpg")
        self._bare = bare
        self._settings = {
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": "60000",
            "application_name": "wesgate",
            "jit": "off",
        }
        self.engine = create_async_engine(
            self.url,
            pool_size=size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            connect_args={"timeout": POOL_TIMEOUT_S, "server_settings": self._settings},
        )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pool: asyncpg.Pool | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end of the block. Nothing but SQL is awaited inside."""
        with unavailable():
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncConnection]:
        """A connection where every statement commits by itself, in one round trip instead of three."""
        with unavailable():
            async with self._single.connect() as connection:
                yield connection

    async def wait(self, seconds: float = 10.0) -> None:
        """Until the database answers; Unavailable, with its address and the cause, if it has not in that time."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                await (await asyncpg.connect(self._dsn(), timeout=POOL_TIMEOUT_S)).close()
            except (OSError, TimeoutError, asyncpg.PostgresError) as error:
                if not _is_passing(error) or asyncio.get_running_loop().time() > until:
                    place = f"{self.url.host or self.url.query.get('host')}:{self.url.port or 5432}"
                    raise Unavailable(f"the database at {place} cannot be reached: {error}") from error
                await asyncio.sleep(0.2)
            else:
                return

    async def fetch_row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row of one statement, in a transaction of its own. What it writes is committed when this returns;
        after Unavailable it may be, or not."""
        async with self._borrowed() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of one statement, under the same terms as `fetch_row`."""
        async with self._borrowed() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows

    async def listener(self) -> asyncpg.Connection:
        """A connection of its own for LISTEN; the caller closes it."""
        with unavailable():
            return await asyncpg.connect(self._dsn(), timeout=POOL_TIMEOUT_S, server_settings=self._settings)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self.engine.dispose()

    def _dsn(self) -> str:
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[asyncpg.Connection]:
        """A bare connection for one statement: Unavailable after POOL_TIMEOUT_S without a turn, or after
        STATEMENT_TIMEOUT_MS without an answer, as Postgres counts and, should it have fallen silent, as we do."""
        with asked():
            async with asyncio.timeout(POOL_TIMEOUT_S):
                pool = await self._bare_pool()
                connection = await pool.acquire()
            try:
                yield connection
            finally:
                await pool.release(connection)

    async def _bare_pool(self) -> asyncpg.Pool:
        if self._pool is None:
            pool = asyncpg.create_pool(
                self._dsn(),
                min_size=0,
                max_size=self._bare,
                timeout=POOL_TIMEOUT_S,
                command_timeout=STATEMENT_TIMEOUT_MS / 1000,
                server_settings=self._settings,
                connection_class=Stateless,
            )
            self._pool = pool  # set before the first await: a second caller waits on the same pool
        return await self._pool


class Stateless(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose statements leave nothing in the session, neither transactions nor settings nor locks nor
    cursors: it needs no reset between two borrowers, which is a second round trip for every statement."""

    async def reset(self, *, timeout: float | None = None) -> None:
        pass


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns a lost, full or stopping database into `Unavailable`; every other error passes."""
    try:
        yield
    except Exception as error:
        if _is_passing(error):
            raise Unavailable from error
        raise


@contextmanager
def asked() -> Iterator[None]:
    """`unavailable` for the statements of requests: what their values make Postgres refuse is theirs to mend."""
    try:
        with unavailable():
            yield
    except asyncpg.PostgresError as error:
        code = error.sqlstate or ""
        if code.startswith("22"):  # a value that a type cannot hold
            raise InvalidRequest("the database cannot hold a value of this request") from error
        if code.startswith("54"):  # over a limit of Postgres
            raise TooLarge("a value of this request is larger than the database can hold") from error
        raise


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, DBAPIError) and error.orig is not None:
        code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        return error.connection_invalidated or _is_passing_code(code) or _is_passing(_cause(error.orig))
    if isinstance(error, PoolTimeout | InterfaceError | OperationalError | OSError | TimeoutError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return _is_passing_code(error.sqlstate)
    return isinstance(error, asyncpg.InterfaceError | asyncpg.exceptions.ConnectionDoesNotExistError)


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ or error.__context__ or Exception()


def _is_passing_code(code: str | None) -> bool:
    return code is not None and code.startswith(_PASSING)
