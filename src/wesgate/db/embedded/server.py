"""Run a Postgres of our own where no database is configured, one for all wesgate processes of a data directory.

Three lock files beside the cluster say all that must be known, and the kernel drops a dead process's locks:

| file          | held by                                                     | so                             |
| ------------- | ----------------------------------------------------------- | ------------------------------ |
| `start.lock`  | whoever starts or stops the server                          | one at a time                  |
| `users.lock`  | every wesgate process, shared                               | the last one out is known      |
| `server.lock` | the postmaster and its children, inherited when it started  | it is known to be alive or not |

A service that is killed leaves the server running; the next start adopts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy import URL

from wesgate.core.errors import Misconfigured, Unavailable, WesgateError
from wesgate.db.embedded.place import MAJOR, SYSTEM, Place, record, run, settle

log = logging.getLogger(__name__)

DATABASE = "wesgate"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

_LOOK_AGAIN_S = 0.01
_WATCH_S = 1.0
_WATCH_AT_LEAST_S = 30.0
_UNSEEN = 0  # what SO_PEERCRED says of a process in another PID namespace
_LONGEST_LOG_BYTES = 1_000_000
_SETTINGS = {
    "listen_addresses": "",  # the socket's directory is private; the network has no way in
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",  # nothing replicates from here
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "1",
    "io_method": "sync",  # the rows fit into memory; three idle input/output processes would not pay
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "log",  # clients are told their own errors, so the file stays small for years
}
_INITDB = (
    "--wal-segsize=4",  # MB; the usual 16 would be most of a new data directory
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


@dataclass(slots=True)
class EmbeddedPostgres:
    """A share in the running database of one data directory: `async with await start(data) as postgres`."""

    place: Place
    _users: int | None

    @property
    def url(self) -> str:
        """Where it answers, as SQLAlchemy takes it."""
        query = {"host": str(self.place.sockets)}
        return URL.create("postgresql+asyncpg", DATABASE, database=DATABASE, query=query).render_as_string()

    @property
    def home(self) -> Path:
        """What may be deleted with the data directory once the server is stopped."""
        return self.place.home

    async def close(self) -> None:
        """Give the share back. The last one out stops the server; closing again does nothing."""
        users, self._users = self._users, None
        if users is not None:
            try:
                async with _locked(self.place):
                    await _leave(self.place, users)
            finally:
                os.close(users)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Start the server again whenever it is gone, for as long as the block lasts: the kernel may have killed it for
        its memory, and nobody else would."""
        keeper = asyncio.create_task(_keep(self.place))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def __aenter__(self) -> EmbeddedPostgres:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def start(data: Path, *, system: Path = SYSTEM) -> EmbeddedPostgres:
    """The database of this data directory, answering: made if there is none, adopted if it runs, recovered if it
    crashed. `system` is where root keeps what the database's user could not reach in the data directory."""
    place = await asyncio.to_thread(settle, data, system)
    async with _locked(place):
        users = _opened(place, "users.lock")
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            await _make(place)
            await _bring_up(place)
        except BaseException:
            with contextlib.suppress(WesgateError):
                await _leave(place, users)
            os.close(users)
            raise
    return EmbeddedPostgres(place, users)


@contextlib.asynccontextmanager
async def _locked(place: Place) -> AsyncIterator[None]:
    until = time.monotonic() + START_TIMEOUT_S
    with _file(place, "start.lock") as lock:
        while not _take(lock):  # polled: a thread that waits in flock cannot be canceled
            if time.monotonic() > until:
                raise Unavailable(
                    f"another wesgate process has been starting or stopping the database of {place.data} "
                    f"for over {START_TIMEOUT_S:.0f} s; see {place.log}, and try again",
                )
            await asyncio.sleep(_LOOK_AGAIN_S)
        yield


@contextlib.contextmanager
def _file(place: Place, name: str) -> Iterator[int]:
    lock = _opened(place, name)
    try:
        yield lock
    finally:
        os.close(lock)


def _opened(place: Place, name: str) -> int:
    path = place.home / name
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"the database of {place.data} cannot be locked: {error}; run wesgate as the user who owns {place.home}",
        ) from error


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _make(place: Place) -> None:
    if not place.cluster.is_dir():
        making = asyncio.ensure_future(asyncio.to_thread(_create, place))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.wait([making])  # the lock must not be given back while initdb runs
            raise
    found = (place.cluster / "PG_VERSION").read_text().strip()
    if found != MAJOR:
        raise Misconfigured(
            f"the database in {place.cluster} was made by Postgres {found} and this wesgate brings {MAJOR}; "
            f"carry the data over with pg_dump and pg_restore, or install the wesgate that made it",
        )


def _create(place: Place) -> None:
    """A cluster with its one database, complete or not there."""
    fresh = place.home / "cluster.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if place.account:
        os.chown(fresh, place.account.uid, place.account.gid)
    _finish(place, ["initdb", "-D", fresh, "--username", DATABASE, *_INITDB])
    single: list[str | Path] = ["postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", "postgres"]
    _finish(place, single, f"CREATE DATABASE {DATABASE};\n")
    fresh.rename(place.cluster)
    record(place)
    log.info("database.created", extra={"directory": str(place.cluster)})


def _finish(place: Place, command: Sequence[str | Path], stdin: str = "") -> None:
    try:
        done = run(place.account, [place.programs / command[0], *command[1:]], stdin=stdin, timeout_s=START_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Misconfigured(f"the embedded Postgres cannot be set up in {place.home}: {error}") from error
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-5:])
        raise Misconfigured(f"the embedded Postgres cannot be set up in {place.home}: {command[0]} says: {last}")


async def _bring_up(place: Place) -> None:
    """Wait for the server to answer; start it once if there is none. One that is going down is waited for first."""
    started = False
    until = time.monotonic() + START_TIMEOUT_S
    while not await _answers(place):
        with _file(place, "server.lock") as server:
            if _take(server):
                if started:
                    raise Misconfigured(_with_log(place, "the embedded Postgres ended while it started"))
                _launch(place, server)
                started = True
        if time.monotonic() > until:
            raise Misconfigured(_with_log(place, _silent(place)))
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _keep(place: Place) -> None:
    pause = _WATCH_S
    while True:
        await asyncio.sleep(pause)
        try:
            if _is_gone(place):
                log.warning("database.gone", extra={"directory": str(place.cluster)})
                async with _locked(place):
                    await _bring_up(place)
            pause = _WATCH_S
        except (WesgateError, OSError) as error:
            pause = min(2 * pause, _WATCH_AT_LEAST_S)
            log.error("database.not_started", extra={"error": str(error), "again_in_s": pause})


def _is_gone(place: Place) -> bool:
    with _file(place, "server.lock") as server:
        return _take(server)


def _silent(place: Place) -> str:
    return (
        f"the embedded Postgres of {place.data} runs, but has not answered at {place.sockets} for "
        f"{START_TIMEOUT_S:.0f} s; if it runs in another container or on another machine, stop it there"
    )


async def _answers(place: Place) -> bool:
    try:
        ours = await asyncpg.connect(host=str(place.sockets), user=DATABASE, database=DATABASE, timeout=5)
    except (OSError, asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError):  # coming up or going down
        return False
    except asyncpg.PostgresError as error:
        raise Misconfigured(_with_log(place, f"the embedded Postgres refuses wesgate: {error}")) from error
    await ours.close(timeout=5)
    return True


def _launch(place: Place, lock: int) -> None:
    """Start a postmaster that holds the lock for as long as it lives. The shell leaves it to the system's first
    process, so that it is nobody's zombie."""
    _prepare_sockets(place)
    _forget_a_dead_postmaster(place)
    _keep_the_log_short(place)
    settings = _SETTINGS | {"unix_socket_directories": str(place.sockets)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    detached = ["/bin/sh", "-c", '"$0" "$@" </dev/null >>"$LOG" 2>&1 &']
    command: list[str | Path] = [*detached, place.programs / "postgres", "-D", place.cluster, *options]
    started = run(place.account, command, env={"LOG": str(place.log)}, pass_fds=[lock])
    if started.returncode:
        raise Misconfigured(f"the embedded Postgres cannot be started: {started.stderr.strip()}")
    log.info("database.started", extra={"directory": str(place.cluster)})


def _prepare_sockets(place: Place) -> None:
    if place.sockets == place.cluster:
        return
    uid = place.account.uid if place.account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        place.sockets.mkdir(mode=0o700)
        if place.account:
            os.chown(place.sockets, place.account.uid, place.account.gid)
    found = place.sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise Misconfigured(f"{place.sockets} is not a private directory of the database's user; remove it")


def _forget_a_dead_postmaster(place: Place) -> None:
    """After a reboot the number in the lock files may be another process's, and Postgres would not start. Nobody
    holds server.lock here; one more look makes sure that no server was started by hand."""
    note = place.cluster / "postmaster.pid"
    if not Path("/proc/self/cwd").exists() or not note.exists():
        return
    pid = note.read_text().partition("\n")[0].strip()
    with contextlib.suppress(OSError, ValueError):
        if Path(f"/proc/{int(pid)}/cwd").samefile(place.cluster):
            return
    note.unlink(missing_ok=True)
    (place.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _keep_the_log_short(place: Place) -> None:
    with contextlib.suppress(FileNotFoundError):
        if place.log.lstat().st_size > _LONGEST_LOG_BYTES:
            place.log.replace(place.log.with_suffix(".log.1"))


async def _leave(place: Place, users: int) -> None:
    if _take(users):
        await _stop(place)


async def _stop(place: Place) -> None:
    """Fast shutdown: transactions are rolled back, everything committed is on disk. A server that does not listen
    yet is told as soon as it does."""
    told: int | None = None
    until = time.monotonic() + STOP_TIMEOUT_S
    with _file(place, "server.lock") as server:
        while not _take(server):
            told = _told_to_stop(place, told)
            if told == _UNSEEN:
                reason = "it runs in another container"
                log.warning("database.left", extra={"reason": reason, "socket": str(place.sockets)})
                return
            if time.monotonic() > until:
                raise Unavailable(_with_log(place, f"the embedded Postgres did not stop within {STOP_TIMEOUT_S:.0f} s"))
            await asyncio.sleep(_LOOK_AGAIN_S)
    if told and place.sockets != place.cluster:
        with contextlib.suppress(OSError):
            place.sockets.rmdir()
    log.info("database.stopped", extra={"directory": str(place.cluster)})


def _told_to_stop(place: Place, told: int | None) -> int | None:
    pid = _postmaster(place)
    if pid and pid != told:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    return told if pid is None else pid


def _postmaster(place: Place) -> int | None:
    """Who listens on the socket, if anybody does. The number in postmaster.pid could be anyone's by now."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(str(place.sockets / ".s.PGSQL.5432"))
        if not hasattr(socket, "SO_PEERCRED"):  # macOS
            return int((place.cluster / "postmaster.pid").read_text().partition("\n")[0])
        peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", peer)[0])
    return None


def _with_log(place: Place, sentence: str) -> str:
    try:
        opened = os.open(place.log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return f"{sentence}; there is no log at {place.log}"
    with os.fdopen(opened, "rb") as lines:
        lines.seek(max(0, os.fstat(opened).st_size - 2000))
        last = lines.read().decode(errors="replace").strip().splitlines()[-5:]
    return f"{sentence}; {place.log} ends with: {' | '.join(last)}"
