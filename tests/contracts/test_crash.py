"""User code starts at most once, whatever dies and when: the worker at each failpoint, the service, the fork server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.contracts.ground import Ground, Seen, said
from wesgate.core.backend import Handle
from wesgate.core.errors import Permanent, Retryable
from wesgate.core.failpoints import FAILPOINTS, FailpointRaised, arm
from wesgate.core.spec import TaskSpec, attempt_key
from wesgate.core.states import State
from wesgate.executors.local import LocalExecutor
from wesgate.worker.layout import Attempt, WorkerProcess, read, write
from wesgate.worker.runtimes.leftovers import marked

OF_WORKER = sorted(name for name in FAILPOINTS if name.startswith("worker-"))
OF_EXECUTOR = sorted(name for name in FAILPOINTS if name.startswith("executor-"))


def counting(ground: Ground) -> TaskSpec:
    """A task whose step tells by a file how often it ran."""
    return ground.task("echo ran >> $I/out/count", outputs=(ground.directory("out"),))


def runs(ground: Ground) -> int:
    path = Path(ground.directory("out").url.removeprefix("file://"), "count")
    return len(path.read_text().splitlines()) if path.exists() else 0


async def again_and_again(ground: Ground, executor: LocalExecutor, key: str, spec: TaskSpec) -> tuple[Handle, Seen]:
    """What a reconciler does that knows nothing: submit, look, submit the same key again, look again."""
    handle = await executor.submit(key, spec)
    await ground.end(handle)
    await ground.executor.submit(key, spec)
    return handle, await ground.end(handle)


@pytest.mark.parametrize("name", OF_WORKER)
async def test_a_worker_killed_at_any_failpoint_has_run_its_step_at_most_once(ground: Ground, name: str) -> None:
    executor = ground.make(failpoints=f"{name}=kill@1")
    await executor.start()
    handle, seen = await again_and_again(ground, executor, attempt_key(uuid.uuid4(), 1), counting(ground))
    await ground.executor.cancel(handle)
    await executor.close()
    assert runs(ground) == (0 if name == "worker-started" else 1)
    ended_well = name in ("worker-claimed", "worker-result")
    assert (seen.state, seen.infrastructure) == (
        (State.COMPLETE, False) if ended_well else (State.SYSTEM_ERROR, True)
    ), seen


@pytest.mark.parametrize("name", OF_EXECUTOR)
async def test_a_service_that_died_while_submitting_submits_again_and_the_step_runs_once(
    ground: Ground, name: str
) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    arm(f"{name}=raise@1")
    with pytest.raises(FailpointRaised):
        await ground.executor.submit(key, spec)
    arm("")
    found = await ground.executor.find(key, spec)
    assert (found is not None) == (name == "executor-spawned")
    assert (await ground.end(await ground.executor.submit(key, spec))).state is State.COMPLETE
    assert runs(ground) == 1


async def test_many_submits_of_one_key_at_once_start_one_worker(ground: Ground) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    others = [ground.make() for _ in range(3)]
    for other in others:
        await other.start()
    handles = await asyncio.gather(*(submitted(each, key, spec) for each in (ground.executor, *others)))
    for other in others:
        await other.close()
    assert len(set(handles)) == 1
    assert (await ground.end(handles[0])).state is State.COMPLETE
    assert runs(ground) == 1


async def submitted(executor: LocalExecutor, key: str, spec: TaskSpec) -> Handle:
    """The handle, however long somebody else takes to start the worker."""
    while True:
        with suppress(Retryable):
            return await executor.submit(key, spec)


async def test_a_second_worker_of_a_started_attempt_runs_nothing(ground: Ground) -> None:
    handle = await ground.start(counting(ground))
    await ground.end(handle)
    attempt = Attempt(ground.attempt(handle))
    attempt.result.unlink()
    subprocess.run([sys.executable, "-m", "wesgate.worker.main", str(attempt.directory)], check=True)
    assert runs(ground) == 1
    assert not attempt.result.exists()


async def test_a_task_goes_on_when_its_service_is_gone(ground: Ground) -> None:
    executor = ground.make()
    await executor.start()
    spec = ground.task(
        "echo up; while [ ! -e $I/w/go ]; do sleep 0.05; done; echo went", outputs=(ground.directory("w"),)
    )
    handle = await executor.submit(attempt_key(uuid.uuid4(), 1), spec)
    await ground.says(handle, "up")
    await executor.close()
    Path(ground.directory("w").url.removeprefix("file://"), "go").touch()
    seen = await ground.end(handle)
    assert (seen.state, said(seen)) == (State.COMPLETE, "up\nwent\n")


async def test_a_killed_fork_server_is_replaced(ground: Ground) -> None:
    executor = ground.make()
    await executor.start()
    before = children()
    first = await executor.submit(attempt_key(uuid.uuid4(), 1), ground.task("echo up; sleep 600"))
    (server,) = children() - before
    await ground.says(first, "up")
    psutil.Process(server).kill()
    while psutil.Process(server).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)
    second = await executor.submit(attempt_key(uuid.uuid4(), 1), ground.task("echo two"))
    assert said(await ground.end(second)) == "two\n"
    assert (await executor.poll([first]))[first].state is State.RUNNING
    await executor.cancel(first)
    assert (await ground.end(first)).state is State.CANCELED
    await executor.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@asynccontextmanager
async def stalled(ground: Ground, key: str, spec: TaskSpec) -> AsyncIterator[asyncio.Task[Handle]]:
    """A submit that has the lock and hangs, since its fork server does; afterwards both go on."""
    executor = ground.make()
    await executor.start()
    before = children()
    await ground.end(await executor.submit(attempt_key(uuid.uuid4(), 1), ground.task("true")))
    (server,) = children() - before
    os.kill(server, signal.SIGSTOP)
    submit = asyncio.create_task(executor.submit(key, spec))
    while not Attempt(ground.root / ground.owner / key).order.exists():
        await asyncio.sleep(0.01)
    try:
        yield submit
    finally:
        os.kill(server, signal.SIGCONT)
        await submit
        await executor.close()


async def test_a_submit_that_hangs_is_not_taken_for_a_worker(ground: Ground) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    async with stalled(ground, key, spec) as submit:
        for ask in (ground.executor.find, ground.executor.submit):
            with pytest.raises(Retryable, match="is being started already"):
                await ask(key, spec)
    assert await submitted(ground.executor, key, spec) == submit.result()
    assert await ground.executor.find(key, spec) == submit.result()
    assert (await ground.end(submit.result())).state is State.COMPLETE
    assert runs(ground) == 1


async def test_a_cancel_signals_no_stranger_that_has_an_old_workers_process_id(ground: Ground) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    attempt = Attempt(ground.root / ground.owner / key)
    attempt.directory.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        write(attempt.worker, WorkerProcess(stranger.pid))
        async with stalled(ground, key, spec) as submit:
            await ground.executor.cancel(Handle(f"{ground.owner}/{key}"))
            await asyncio.sleep(0.1)
            assert stranger.poll() is None
        stranger.kill()
    assert (await ground.end(submit.result())).state is State.CANCELED
    assert runs(ground) == 0


class AnswerLost:
    """The fork server's channel; its first answer is lost with it, after it forked."""

    def __init__(self, channel: socket.socket, server: int) -> None:
        self.channel, self.server = channel, server

    def sendmsg(self, *message: object) -> int:
        return self.channel.sendmsg(*message)  # type: ignore[arg-type]

    def recv(self, length: int) -> bytes:
        self.channel.recv(length)
        os.kill(self.server, signal.SIGKILL)
        return b""

    def close(self) -> None:
        self.channel.close()


async def test_a_fork_server_killed_before_its_answer_has_made_one_worker(ground: Ground) -> None:
    executor = ground.make()
    await executor.start()
    before = children()
    await ground.end(await executor.submit(attempt_key(uuid.uuid4(), 1), ground.task("true")))
    (server,) = children() - before
    workers = executor._workers
    assert workers._channel is not None
    workers._channel = AnswerLost(workers._channel, server)  # type: ignore[assignment]
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    with pytest.raises(Retryable, match="no worker was seen to start"):
        await executor.submit(key, spec)
    assert (await ground.end(await submitted(executor, key, spec))).state is State.COMPLETE
    assert children() == before  # nobody needed a second fork server
    assert runs(ground) == 1
    await executor.close()


async def test_an_attempt_that_is_canceled_before_anything_of_it_is_there_is_never_started(ground: Ground) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    await ground.executor.cancel(Handle(f"{ground.owner}/{key}"))
    with pytest.raises(Permanent, match="was canceled before it was submitted"):
        await ground.executor.submit(key, spec)


async def test_whatever_a_worker_starts_is_known_by_its_mark(ground: Ground) -> None:
    handle = await ground.start(ground.task("env; echo up; sleep 600"))
    await ground.says(handle, "up")
    key = handle.split("/")[1]
    worker = psutil.Process(int((read(ground.attempt(handle) / "worker.json") or {})["pid"]))
    started = {child.pid for child in worker.children(recursive=True)}
    found = set(marked(key))
    await ground.executor.cancel(handle)
    seen = await ground.end(handle)
    assert started
    assert started <= found
    assert (key in said(seen)) == (ground.runtime != "podman")


async def test_a_step_whose_record_cannot_be_written_does_not_go_on(ground: Ground) -> None:
    key, word = attempt_key(uuid.uuid4(), 1), f"sleep-{ground.owner}"
    attempt = Attempt(ground.root / ground.owner / key)
    (attempt.directory / ".step-0.json.new").mkdir(parents=True)
    seen = await ground.end(await ground.executor.submit(key, ground.task(f"sh -c 'sleep 600; true' {word}")))
    assert seen.state is State.SYSTEM_ERROR
    async with asyncio.timeout(5):
        while any(word in each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"]):
            await asyncio.sleep(0.05)


async def test_records_that_another_wrote_do_not_pass_for_the_keys_own(ground: Ground) -> None:
    key, spec = attempt_key(uuid.uuid4(), 1), counting(ground)
    await ground.end(await ground.executor.submit(key, spec))
    attempt = Attempt(ground.root / ground.owner / key)
    other = Attempt(ground.root / ground.owner / attempt_key(uuid.uuid4(), 1))
    attempt.directory.rename(other.directory)
    assert await ground.executor.find(other.key, spec) is None
