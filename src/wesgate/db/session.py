"""The database: connections, transactions, and the one place where its failures become `Unavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    Two pools: SQLAlchemy's for transactions, and a small one of bare driver connections for the routes that clients
    poll, where the statement is one line and SQLAlchemy would cost more than Postgres does.
    """

    def __init__(self, url: str, *, size: int = 10, reads: int = 4) -> None:
        self.url = make_url(url).set(drivername="postgresql+asyncpg")
        self._reads = reads
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
        """One row of a read, in its own implicit transaction."""
        with asked():
            async with asyncio.timeout(POOL_TIMEOUT_S):  # a statement's own timeout does not cover the wait for a turn
                pool = await self._read_pool()
                connection = await pool.acquire()
                try:
                    return await connection.fetchrow(statement, *arguments)
                finally:
                    await pool.release(connection)

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a read, in its own implicit transaction."""
        with asked():
            async with asyncio.timeout(POOL_TIMEOUT_S):
                pool = await self._read_pool()
                connection = await pool.acquire()
            try:
                rows: list[asyncpg.Record] = await connection.fetch(
                    statement, *arguments, timeout=STATEMENT_TIMEOUT_MS / 1000
                )
                return rows
            finally:
                await pool.release(connection)

    async def execute_row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """One statement that writes and returns a row, committed on its own."""
        return await self.fetch_row(statement, *arguments)

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

    async def _read_pool(self) -> asyncpg.Pool:
        if self._pool is None:
            pool = asyncpg.create_pool(
                self._dsn(),
                min_size=0,
                max_size=self._reads,
                timeout=POOL_TIMEOUT_S,
                server_settings=self._settings,
                connection_class=Stateless,
            )
            self._pool = pool  # set before the first await: a second caller waits on the same pool
        return await self._pool


class Stateless(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose statements leave nothing in the session, neither settings nor locks nor cursors: it needs no
    reset between two borrowers, which is a second round trip for every statement."""

    def get_reset_query(self) -> str:
        return ""


class unavailable:  # noqa: N801  # reads as a statement: `with unavailable():`
    """Turns a lost, full or stopping database into `Unavailable`; every other error passes."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and _is_passing(error):
            raise Unavailable from error


class asked(unavailable):  # noqa: N801
    """`unavailable` for the statements of requests: what their values make Postgres refuse is theirs to mend."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        code = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
        if code.startswith("22"):  # a value that a type cannot hold
            raise InvalidRequest("the database cannot hold a value of this request") from error
        if code.startswith("54"):  # over a limit of Postgres
            raise TooLarge("a value of this request is larger than the database can hold") from error


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
