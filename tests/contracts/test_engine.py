"""What every engine promises. A new engine is done when its line is in the list and it passes here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.builders import a_run, become, scalar
from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import FAIL, HELLO
from wesgate.core.backend import Handle
from wesgate.core.errors import Permanent, Retryable
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind, RunSpec, RunTerms
from wesgate.core.states import TERMINAL, State
from wesgate.db.queue import HeadQueue
from wesgate.db.session import Database
from wesgate.engines.miniwdl.engine import MiniwdlEngine, head_task

ENGINES = [pytest.param(Site, id="miniwdl")]


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with TesDouble(tmp_path / "scratch").serving() as tes:
        yield request.param(tmp_path / "files", tes)


def key_of(spec: RunSpec) -> str:
    return f"wg-{spec.id.hex}-1"


async def test_a_run_ends_complete_with_its_outputs(site: Site) -> None:
    assert outputs(await site.run(HELLO)) == {"greet.said": "hello world"}


async def test_a_command_that_exits_nonzero_is_an_executor_error_with_a_reason(site: Site) -> None:
    assert "exit status 7" in failed(await site.run(FAIL), State.EXECUTOR_ERROR)


async def test_a_document_that_cannot_be_read_is_an_executor_error_with_its_line(site: Site) -> None:
    assert "main.wdl:2:" in failed(await site.run("version 1.0\nworkflow {"), State.EXECUTOR_ERROR)


@pytest.mark.parametrize("terms", [RunTerms(), RunTerms(inputs_url="inputs.json")])
async def test_an_input_that_is_null_does_not_get_its_default(site: Site, terms: RunTerms) -> None:
    source = "version 1.0\nworkflow w { input { Int? x = 5 } output { Int? y = x } }"
    params, inputs = ({}, '{"w.x": null}') if terms.inputs_url else ({"w.x": None}, "{}")
    spec = replace(site.spec({"main.wdl": source, "inputs.json": inputs}, params), terms=terms)
    assert outputs(await site.finish(await site.begin(spec))) == {"w.y": None}


async def test_submitting_a_key_twice_starts_one_run(site: Site) -> None:
    spec = site.spec(HELLO)
    first = await site.engine.submit(key_of(spec), spec)
    assert await site.engine.submit(key_of(spec), spec) == first
    assert len(site.queue.heads) == 1


async def test_a_submitted_run_is_found_by_its_key(site: Site) -> None:
    spec = site.spec(HELLO)
    assert await site.engine.find(key_of(spec), spec) is None
    handle = await site.engine.submit(key_of(spec), spec)
    assert await site.engine.find(key_of(spec), spec) == handle


async def test_a_submit_that_was_cut_short_is_repeated(site: Site) -> None:
    spec = site.spec(HELLO)
    first = await site.engine.submit(key_of(spec), spec)
    token = (Path(spec.directory) / "token").read_text()
    site.queue.heads.clear()  # the process died after the files were written, before the head was queued
    again = await site.engine.submit(key_of(spec), spec)
    assert again != first
    assert (Path(spec.directory) / "token").read_text() == token


async def test_a_run_that_waits_is_queued(site: Site) -> None:
    spec = site.spec(HELLO)
    handle = await site.engine.submit(key_of(spec), spec)
    assert (await site.see(handle)).state is State.QUEUED


async def test_a_new_engine_object_knows_the_runs_of_the_old(site: Site) -> None:
    handle = await site.begin(site.spec(HELLO))
    await site.queue.ended(head_task(handle))
    engine = site.engine  # each time another object
    assert outputs((await engine.poll([handle]))[handle])


async def test_the_loop_goes_on_while_a_result_is_read(site: Site) -> None:
    handle = await site.begin(site.spec(HELLO))
    await site.finish(handle)
    result, loop = site.root / handle.partition(":")[2] / "result.json", asyncio.get_running_loop()
    text = result.read_text()
    result.unlink()
    os.mkfifo(result)

    def write() -> None:
        with result.open("w") as reader:  # it is read from now on
            try:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=20)
            finally:
                reader.write(text)

    writing = loop.run_in_executor(None, write)  # at once, whatever becomes of the loop
    assert outputs(await site.see(handle))
    await writing


async def test_polling_many_is_one_call(site: Site) -> None:
    specs = [site.spec(HELLO) for _ in range(3)]
    handles = [await site.engine.submit(key_of(spec), spec) for spec in specs]
    assert set(await site.engine.poll(handles)) == set(handles)


async def test_a_run_without_a_trace_is_absent_from_poll(site: Site) -> None:
    assert await site.engine.poll([Handle(f"{uuid4()}:owner1/run-x")]) == {}


async def test_a_canceled_run_ends_canceled_with_nothing_left_running(site: Site) -> None:
    handle = await site.begin(site.spec(HELLO))
    await site.engine.cancel(handle)
    assert (await site.finish(handle)).state is State.CANCELED
    assert site.tes.live() == 0


@pytest.mark.parametrize("states", [["CANCELING"], ["CANCELING", "CANCELED"]])
async def test_nothing_is_started_for_a_run_that_was_canceled_before_it_was_submitted(
    database: Database, caller: Caller, site: Site, states: list[str]
) -> None:
    spec = replace(site.spec(HELLO), id=await a_run(database, caller))
    for state in states:
        await become(database, Kind.RUN, spec.id, state)
    engine = MiniwdlEngine(site.settings, HeadQueue(database, "local", 3), site.root, lambda: False)
    for _ in range(2):
        await engine.forbid(key_of(spec), spec)
    with pytest.raises((Permanent, Retryable), match="nothing more can be submitted"):
        await engine.submit(key_of(spec), spec)
    assert await scalar(database, "SELECT count(*) FROM tasks") == 0


async def test_canceling_a_run_that_ended_is_no_error(site: Site) -> None:
    handle = await site.begin(site.spec(HELLO))
    ended = await site.finish(handle)
    await site.engine.cancel(handle)
    assert ended.state in TERMINAL
    assert await site.see(handle) == ended


async def test_a_runs_token_is_for_its_owner_alone(site: Site) -> None:
    spec = site.spec(HELLO)
    await site.engine.submit(key_of(spec), spec)
    token = Path(spec.directory) / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().startswith("wgr_")
    assert token.read_text() not in str(site.queue.heads)
