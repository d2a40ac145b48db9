"""The libraries that submitters are made with, the real ones, against a real service."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantictes import models
from pydantictes.api import TesClient

from tests.api.served import serving
from tests.builders import a_task, an_attempt, put
from tests.fetched import fetched, run
from tests.podman import BASH
from tests.submitters.conftest import Site
from tests.submitters.sent import OLD, STATES
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db.session import Database

HERE = Path(__file__).parent
VERSIONS = ("0.4.2", "1.1.4")

in_processes = pytest.mark.parametrize("site", ["process"], indirect=True)


def old_py_tes() -> str:
    """Where py-tes 0.4.2 lies, beside the newer one."""
    return fetched(HERE / "py-tes-0.4.2.txt")


def drive(version: str, *words: str) -> Any:
    """What a version of py-tes makes of it."""
    done = run(str(HERE / "drive.py"), *words, paths=[old_py_tes()] if version == "0.4.2" else [])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# py-tes


def test_the_old_py_tes_is_another_one_than_the_new() -> None:
    said = [sys.executable, "-c", "import tes; print(tes.__file__)"]
    found = subprocess.run(said, capture_output=True, text=True, check=True, env={"PYTHONPATH": old_py_tes()}).stdout
    assert found.startswith(old_py_tes())


@in_processes
@pytest.mark.parametrize("version", VERSIONS)
def test_py_tes_runs_a_task(site: Site, version: str) -> None:
    told = drive(version, "run", site.service.url, BASH, "echo hello; echo $A; cat /in/a; exit 3")
    assert told["states"][-1] == told["listed"] == "EXECUTOR_ERROR"
    assert (told["exit_code"], told["stdout"]) == (3, "hello\nb\ngiven")


@in_processes
@pytest.mark.parametrize("version", VERSIONS)
def test_py_tes_cancels_a_task_that_runs_and_one_that_has_ended(site: Site, version: str) -> None:
    told = drive(version, "cancel", site.service.url, BASH, "echo begun; sleep 600")
    assert (told["states"][-1], told["stdout"]) == ("CANCELED", "begun\n")


@in_processes
def test_py_tes_reads_service_info(site: Site) -> None:
    old, new = (drive(version, "info", site.service.url) for version in VERSIONS)
    assert sorted(old) == ["doc", "name", "storage"]
    assert new["type"]["artifact"] == "tes"
    assert old["storage"] == new["storage"]
    assert f"file://{site.root}" in new["storage"]


# pydantic-tes


def pydantic_task(site: Site, script: str) -> Any:
    step = models.TesExecutor(image=BASH, command=["sh", "-c", script])
    content = models.TesInput(path="/in/a", content="given", type=models.TesFileType.FILE)
    return models.TesTask(name="driven", executors=[step], inputs=[content])


def shown(task: models.TesTask) -> str:
    assert task.state is not None
    return task.state.value


def watch(client: TesClient, task: str, *states: str) -> Any:
    give_up = time.monotonic() + 60
    while shown(found := client.get_task(task, "FULL")) not in states:
        assert time.monotonic() < give_up, found
        client.list_tasks()
        time.sleep(0.1)
    return found


@in_processes
def test_pydantic_tes_runs_a_task(site: Site) -> None:
    client = TesClient(site.service.url)
    task = client.create_task(pydantic_task(site, "cat /in/a; exit 3")).id
    (log,) = watch(client, task, "EXECUTOR_ERROR").logs
    assert (log.logs[0].exit_code, log.logs[0].stdout) == (3, "given")


@in_processes
def test_pydantic_tes_cancels_a_task(site: Site) -> None:
    client = TesClient(site.service.url)
    task = client.create_task(pydantic_task(site, "sleep 600")).id
    watch(client, task, "RUNNING")
    client.cancel_task(task)
    watch(client, task, "CANCELED")


@in_processes
def test_pydantic_tes_reads_service_info(site: Site) -> None:
    info = TesClient(site.service.url).service_info()
    assert info.type.artifact.value == "tes"
    assert f"file://{site.root}" in (info.storage or ())


# States that no task here comes to


@pytest.fixture
async def url(context: Context) -> AsyncIterator[str]:
    """The API over a database that the test can write in."""
    async with serving(context) as url:
        yield url


async def test_py_tes_and_pydantic_tes_can_read_every_state(url: str, database: Database, caller: Caller) -> None:
    tasks, folded = [], [OLD.get(state, state) for state in STATES]
    for state in STATES:
        tasks.append(str(await a_task(database, caller)))
        await an_attempt(
            database, Kind.TASK, tasks[-1], {"steps": [{"exit_code": None, "start_time": "2026-01-01T12:00:00Z"}]}
        )
        await put(database, Kind.TASK, tasks[-1], state)
    old, new = [await asyncio.to_thread(drive, version, "look", url, *tasks) for version in VERSIONS]
    assert old == {"alone": [[state] for state in folded], "listed": folded}
    assert new == {"alone": [[state] for state in STATES], "listed": list(STATES)}
    seen = [await asyncio.to_thread(TesClient(url).get_task, task, "FULL") for task in tasks]
    assert [shown(task) for task in seen] == folded
