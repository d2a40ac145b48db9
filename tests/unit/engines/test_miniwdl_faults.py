"""What a run survives: heads that are killed or stopped, and an API that is away."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import HELLO, SCATTER, SLOW
from wesgate.core.states import State
from wesgate.engines.miniwdl.engine import head_task


class Gate:
    """A task that reads the gate waits until it is opened; `log` tells how often user code started."""

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "gate", folder / "log"
        os.mkfifo(self.path)

    @property
    def params(self) -> dict[str, str]:
        return {"w.log": str(self.log), "w.gate": str(self.path)}

    async def open(self) -> None:
        await asyncio.to_thread(self.path.write_text, "")

    async def reached(self, tes: TesDouble) -> None:
        await asyncio.to_thread(tes.wait_for, "RUNNING")

    def starts(self) -> int:
        return self.log.read_text().count("started")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.mark.parametrize("host_paths", [False, True], ids=["mounts", "host"])
async def test_a_head_that_was_killed_finds_its_running_task_again(
    site: Site, tes: TesDouble, gate: Gate, host_paths: bool
) -> None:
    site.host_paths = host_paths
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    await site.kill_head(handle)
    await site.queue.start(head_task(handle))
    await gate.open()
    assert outputs(await site.finish(handle)) == {"w.kept": ["a", "b"]}
    assert gate.starts() == 1
    assert len(tes.tasks) == 1
    assert "adopting TES task task-1" in site.log(handle)


async def test_a_head_that_was_killed_finds_the_end_it_missed(site: Site, tes: TesDouble, gate: Gate) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params, {"call_cache": "false"}))
    await gate.reached(tes)
    await site.kill_head(handle)
    await gate.open()
    await asyncio.to_thread(tes.wait_for, "COMPLETE")
    await site.queue.start(head_task(handle))
    assert outputs(await site.finish(handle)) == {"w.kept": ["a", "b"]}
    assert gate.starts() == 1


async def test_a_task_that_was_canceled_is_not_adopted(site: Site, tes: TesDouble, gate: Gate) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    await site.kill_head(handle)
    tes.cancel_all()
    await site.queue.start(head_task(handle))
    await asyncio.to_thread(tes.wait_for, "RUNNING")
    await gate.open()
    assert outputs(await site.finish(handle)) == {"w.kept": ["a", "b"]}
    assert len(tes.tasks) == 2


async def test_adoption_reads_every_page(site: Site, tes: TesDouble) -> None:
    tes.page = 2
    handle = await site.begin(site.spec(SCATTER, {"squares.shards": 5}, {"call_cache": "false"}))
    await site.finish(handle)
    (site.root / handle.partition(":")[2] / "result.json").unlink()
    await site.queue.start(head_task(handle))
    assert outputs(await site.finish(handle))["squares.sum"] == 30
    assert len(tes.tasks) == 6


async def test_canceling_a_run_cancels_its_tasks(site: Site, tes: TesDouble, gate: Gate) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    await site.engine.cancel(handle)
    seen = await site.finish(handle)
    assert seen.state is State.CANCELED
    assert [task.state for task in tes.tasks.values()] == ["CANCELED"]


async def test_a_stop_is_heeded_though_another_thread_of_the_head_got_the_signal(
    site: Site, tes: TesDouble, gate: Gate
) -> None:
    # The thread that waits for the calls is then not woken by it, as when it comes just before the wait begins.
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    head = site.queue.heads[head_task(handle)]
    assert head.process
    main = head.process.pid
    other = max(int(thread.name) for thread in Path(f"/proc/{main}/task").iterdir())
    assert other != main
    os.kill(other, signal.SIGTERM)
    assert "told to stop" in failed(await site.finish(handle), State.SYSTEM_ERROR)
    assert [task.state for task in tes.tasks.values()] == ["CANCELED"]


async def test_a_head_canceled_before_it_loaded_leaves_its_reason(site: Site) -> None:
    handle = await site.begin(site.spec(HELLO))
    await site.engine.cancel(handle)
    assert (await site.finish(handle)).state is State.CANCELED


async def test_a_head_stopped_by_nobody_goes_on_when_it_is_started_again(
    site: Site, tes: TesDouble, gate: Gate
) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    head = site.queue.heads[head_task(handle)]
    assert head.process
    head.process.terminate()
    assert "told to stop" in failed(await site.finish(handle), State.SYSTEM_ERROR)
    await site.queue.start(head.id)
    await gate.reached(tes)
    await gate.open()
    assert outputs(await site.finish(handle)) == {"w.kept": ["a", "b"]}


async def test_a_run_has_not_ended_while_a_task_of_it_runs(site: Site, tes: TesDouble, gate: Gate) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    await site.kill_head(handle)
    site.queue.lose(head_task(handle), "the worker ended without a result")
    assert (await site.see(handle)).state is State.RUNNING
    assert tes.live() == 0
    text = failed(await site.see(handle), State.SYSTEM_ERROR)
    assert "without a result: the worker ended without a result" in text


async def test_a_finished_head_does_nothing_when_it_is_started_again(site: Site, tes: TesDouble) -> None:
    handle = await site.begin(site.spec(HELLO))
    await site.finish(handle)
    tes.requests.clear()
    await site.queue.start(head_task(handle))
    assert outputs(await site.finish(handle)) == {"greet.said": "hello world"}
    assert not tes.requests


async def test_an_api_that_fails_for_a_while_fails_no_run(site: Site, tes: TesDouble) -> None:
    tes.faults = [503, 500, 502, 429, 503]
    assert outputs(await site.run(SCATTER))["squares.sum"] == 5
    assert not tes.faults
    assert len(tes.tasks) == 4


async def test_a_refused_task_tells_what_tes_said(site: Site, tes: TesDouble) -> None:
    tes.faults = [400]
    text = failed(await site.run(HELLO), State.SYSTEM_ERROR)
    assert "could not be handed to TES: TES answered 400: a fault that was asked for" in text


async def test_a_tes_without_a_stream_of_events_is_asked_instead(site: Site, tes: TesDouble) -> None:
    tes.events_on = False
    assert outputs(await site.run(SCATTER, {"squares.shards": 12}))["squares.sum"] == 506


async def test_a_task_canceled_by_someone_else_fails_the_run(site: Site, tes: TesDouble, gate: Gate) -> None:
    handle = await site.begin(site.spec(SLOW, gate.params))
    await gate.reached(tes)
    tes.cancel_all()
    assert "was canceled from outside this run" in failed(await site.finish(handle), State.SYSTEM_ERROR)
