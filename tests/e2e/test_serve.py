"""The commands of operators: what they start, what they refuse and how, and what a stop leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import ordinary
from tests.builders import execute
from tests.e2e.documents import HELLO
from tests.e2e.service import Service, gone, postgres
from wesgate import wiring
from wesgate.core.errors import Misconfigured
from wesgate.db import embedded, migrate
from wesgate.db.session import Database
from wesgate.settings import load

TES, WES = "/ga4gh/tes/v1/tasks", "/ga4gh/wes/v1/runs"

AT_ONCE_S = 5.0
"""Well below what requests in flight are given to end."""


def wesgate(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Carry out one command that ends by itself."""
    environment = os.environ | {f"WESGATE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "wesgate", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def together(*services: Service, **settings: str) -> Iterator[None]:
    """Start these, and stop them in the same order; each stop is a clean one."""
    try:
        for service in services:
            service.start(**settings)
        yield
    finally:
        codes = [service.stop() for service in services if service.process]
    assert codes == [0] * len(services)


def free_port() -> str:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return str(line.getsockname()[1])


def a_task(service: Service) -> str:
    step = {"image": "any", "command": ["/bin/sh", "-c", "echo hello"]}
    return f"{TES}/{service.post(TES, json={'executors': [step]}).json()['id']}"


def a_run(service: Service) -> str:
    submitted = service.submit(HELLO, '{"hello.name": "world"}')
    assert submitted.status_code == 200, submitted.text
    return f"{WES}/{submitted.json()['run_id']}"


# Stopping


def test_ctrl_c_ends_it_with_0_without_a_word_of_fear(service: Service) -> None:
    """A terminal's Ctrl-C goes to all processes of the group, not to the service alone."""
    service.start()
    assert service.ended(a_task(service))["state"] == "COMPLETE"
    assert service.process is not None
    os.killpg(service.process.pid, signal.SIGINT)
    assert service.process.wait(AT_ONCE_S) == 0
    assert "Traceback" not in service.log()
    assert postgres(service.data) == []


def test_a_stop_does_not_wait_for_those_who_listen(service: Service) -> None:
    service.start()
    with httpx.stream("GET", f"{service.url}/ga4gh/tes/v1/events", timeout=30) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: ready"
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < AT_ONCE_S
        assert not any(line.startswith("event:") for line in lines)
    assert "Traceback" not in service.log()
    assert postgres(service.data) == []


# Starting


def test_two_services_share_a_data_directory(service: Service, data: Path) -> None:
    other = Service(data)
    with together(service, other):
        task = a_task(service)
        assert other.ended(task)["state"] == "COMPLETE"
        run = a_run(other)
        assert service.stop() == 0
        assert other.ended(a_task(other))["state"] == "COMPLETE"
        assert other.ended(run)["state"] == "COMPLETE"
    assert postgres(data) == []
    assert "Traceback" not in other.log()


def test_a_database_that_is_killed_is_started_again(service: Service, data: Path) -> None:
    with together(service):
        task = a_task(service)
        min(postgres(data), key=lambda process: process.create_time()).kill()
        until = time.monotonic() + 30
        while httpx.get(service.url + task).status_code == 503:
            assert time.monotonic() < until, service.log()
            time.sleep(0.1)
        assert service.ended(task)["state"] == "COMPLETE"
        assert service.ended(a_task(service))["state"] == "COMPLETE"
        assert "database.gone" in service.log()
    assert postgres(data) == []


def test_the_later_of_two_services_takes_no_runs_with_it(service: Service, data: Path) -> None:
    other = Service(data)
    with together(service, other):
        assert other.stop() == 0
        ended = service.ended(a_run(service))
        assert ended["state"] == "COMPLETE", ended
    assert list((data / "files" / "api").iterdir()) == []


def test_a_data_directory_is_its_owners_alone(data: Path) -> None:
    assert wesgate("migrate", "--data", str(data / "new")).returncode == 0
    assert stat.S_IMODE((data / "new").stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_service_works_with_the_schema_of_a_newer_one(service: Service, data: Path) -> None:
    async def make_newer() -> None:
        async with await embedded.start(data) as server:
            database = Database(server.url)
            await migrate.upgrade(database)
            await execute(database, "UPDATE alembic_version SET version_num = '9999'")
            await database.close()

    asyncio.run(make_newer())
    with together(service):
        assert service.ended(a_task(service))["state"] == "COMPLETE"
    assert "database.newer" in service.log()
    assert wesgate("migrate", "--data", str(data)).stdout == "the database is at revision 9999\n"


def test_the_api_and_the_loops_may_be_processes_of_their_own(data: Path) -> None:
    api = Service(data, words=("api",))
    loops = Service(data, words=("reconcile",), ready="wesgate reconciles as ")
    with together(api, loops, port=free_port()):
        ended = api.ended(a_run(api))
    assert ended["state"] == "COMPLETE", ended
    assert ended["outputs"]["hello.greeting"] == "hello world"
    assert gone(data) == []
    assert postgres(data) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="all other tests show it to whoever is not root")
def test_an_ordinary_user_can_run_it(short_tmp: Path) -> None:
    home = ordinary.home(short_tmp / "home")
    environment = {"HOME": str(home), "PATH": os.defpath}
    service = Service(home / "data", python=ordinary.installed(home), popen=ordinary.started() | {"env": environment})
    with together(service):
        ended = service.ended(a_run(service))
        assert ended["state"] == "COMPLETE", ended
        letter = Path(ended["outputs"]["hello.letter"])
        assert letter.read_text() == "hello world\n"
        assert letter.resolve().stat().st_uid == ordinary.account().uid
    assert postgres(service.data) == []


def test_migrating_again_changes_nothing(data: Path) -> None:
    told = [wesgate("migrate", "--data", str(data)) for _ in range(2)]
    assert [done.returncode for done in told] == [0, 0]
    assert told[0].stdout == told[1].stdout != ""
    assert postgres(data) == []


def test_the_self_test_passes_where_there_are_no_containers(data: Path) -> None:
    done = wesgate("self-test", "--data", str(data), executors__local__runtime="process")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runtime process:" in done.stdout
    assert done.stdout.count("  ok  ") == 4
    assert gone(data) == []


# Refusing


def refused(done: subprocess.CompletedProcess[str], code: int, cause: str) -> None:
    """It ended with this code and one line that names the cause."""
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("wesgate: ")
    assert cause in line


def test_a_port_that_is_taken_is_told_in_one_line(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        refused(wesgate("serve", "--data", str(data), "--port", port), 3, f"127.0.0.1:{port}")
    assert postgres(data) == []


def test_no_address_that_others_reach_is_bound(data: Path) -> None:
    refused(wesgate("serve", "--data", str(data), "--host", "0.0.0.0"), 2, "0.0.0.0 is not")


@pytest.mark.parametrize(
    ("settings", "code", "cause"),
    [
        ({"port": "many"}, 2, "setting port (WESGATE_PORT)"),
        ({"executors__local__runtim": "podman"}, 2, "executors.local.runtim"),
        ({"files__allowed": "/data"}, 2, "WESGATE_FILES__ALLOWED='["),
        ({"failpoints": "nowhere=kill"}, 2, "no failpoint 'nowhere=kill'"),
        ({"database_url": "secret"}, 2, "WESGATE_DATABASE_URL is not as"),
        ({"config": "/nonexistent/wesgate.toml"}, 2, "no settings file /nonexistent/wesgate.toml"),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_one_line(
    data: Path, settings: dict[str, str], code: int, cause: str
) -> None:
    done = wesgate("migrate", "--data", str(data), **settings)
    refused(done, code, cause)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(("text", "cause"), [("prot = 1", "setting prot"), ("port = \n", "line 1")])
def test_a_settings_file_that_cannot_be_is_told_in_one_line(data: Path, text: str, cause: str) -> None:
    file = data.parent / "wesgate.toml"
    file.write_text(text)
    refused(wesgate("serve", "--data", str(data), "--config", str(file)), 2, cause)


def test_a_data_directory_that_cannot_be_made_is_told_in_one_line(data: Path) -> None:
    (data / "file").touch()
    refused(wesgate("serve", "--data", str(data / "file")), 2, f"{data}/file")


async def test_a_postgres_that_is_too_old_is_refused(
    data: Path, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "OLDEST_POSTGRES", 99)
    settings = load(data=data, database_url=embedded_url)
    with pytest.raises(Misconfigured, match=r"is Postgres \d\d, and wesgate needs 99 or newer"):
        async with wiring.database(settings, upgrade=True):
            pass


def test_a_database_that_refuses_is_told_in_one_line(data: Path, embedded_url: str) -> None:
    url = embedded_url.replace("/wesgate?", "/no_such_database?")
    refused(wesgate("migrate", "--data", str(data), database_url=url), 3, '"no_such_database" does not exist')
