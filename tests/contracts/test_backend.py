"""What find, submit, poll and cancel promise, for every executor. A new executor is done when it is in the list."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from tests.contracts.conftest import AnyExecutor
from tests.contracts.ground import Seen
from tests.podman import BUSYBOX
from wesgate.core.backend import Executor, Handle
from wesgate.core.errors import Permanent, Retryable
from wesgate.core.spec import Step, TaskSpec, attempt_key
from wesgate.core.states import TERMINAL, State


def a_task(*command: str) -> TaskSpec:
    return TaskSpec(uuid.uuid4().hex, (Step(BUSYBOX, command),))


def a_key() -> str:
    return attempt_key(uuid.uuid4(), 1)


async def until(executor: Executor, handle: Handle, holds: Callable[[Seen], bool]) -> Seen:
    async with asyncio.timeout(60):
        while not holds(seen := (await executor.poll([handle]))[handle]):
            await asyncio.sleep(0.02)
    return seen


async def ended(executor: Executor, handle: Handle) -> Seen:
    return await until(executor, handle, lambda seen: seen.state in TERMINAL)


async def test_a_command_that_ends_well_is_complete(anyone: AnyExecutor) -> None:
    handle = await anyone.executor.submit(a_key(), a_task("true"))
    assert (await ended(anyone.executor, handle)).state is State.COMPLETE


async def test_a_command_that_exits_nonzero_is_an_executor_error(anyone: AnyExecutor) -> None:
    handle = await anyone.executor.submit(a_key(), a_task("false"))
    seen = await ended(anyone.executor, handle)
    assert (seen.state, seen.infrastructure) == (State.EXECUTOR_ERROR, False)
    assert "step 0 exited with code 1" in seen.detail


async def test_a_job_that_was_never_submitted_is_not_found(anyone: AnyExecutor) -> None:
    assert await anyone.executor.find(a_key(), a_task("true")) is None


async def test_a_submitted_job_is_found_under_its_key(anyone: AnyExecutor) -> None:
    key, spec = a_key(), a_task("true")
    handle = await anyone.executor.submit(key, spec)
    assert await anyone.executor.find(key, spec) == handle
    await ended(anyone.executor, handle)
    assert await anyone.executor.find(key, spec) == handle


async def test_submitting_a_key_twice_gives_the_same_job(anyone: AnyExecutor) -> None:
    key, spec = a_key(), a_task("sleep", "600")
    handle = await anyone.executor.submit(key, spec)
    assert await anyone.executor.submit(key, spec) == handle
    await anyone.executor.cancel(handle)
    await ended(anyone.executor, handle)
    assert await anyone.executor.submit(key, spec) == handle
    assert (await ended(anyone.executor, handle)).state is State.CANCELED


async def test_nothing_is_started_under_a_forbidden_key(anyone: AnyExecutor) -> None:
    key, spec = a_key(), a_task("true")
    for _ in range(2):
        await anyone.again().forbid(key, spec)
    for _ in range(2):
        with pytest.raises(Permanent, match="canceled before it was submitted"):
            await anyone.executor.submit(key, spec)
    assert await anyone.executor.find(key, spec) is None
    assert await anyone.executor.poll([Handle(f"{spec.owner}/{key}")]) == {}


async def test_forbidding_a_key_that_has_a_job_says_so_and_leaves_the_job(anyone: AnyExecutor) -> None:
    key, spec = a_key(), a_task("true")
    handle = await anyone.executor.submit(key, spec)
    for _ in range(2):
        with pytest.raises(Retryable):
            await anyone.executor.forbid(key, spec)
        assert await anyone.executor.find(key, spec) == handle
        assert (await ended(anyone.executor, handle)).state is State.COMPLETE


async def test_a_canceled_job_ends_canceled(anyone: AnyExecutor) -> None:
    handle = await anyone.executor.submit(a_key(), a_task("sleep", "600"))
    await until(anyone.executor, handle, lambda seen: seen.state is State.RUNNING)
    await anyone.executor.cancel(handle)
    await anyone.executor.cancel(handle)
    seen = await ended(anyone.executor, handle)
    assert (seen.state, seen.infrastructure) == (State.CANCELED, False)


async def test_a_job_canceled_at_once_ends_canceled(anyone: AnyExecutor) -> None:
    handle = await anyone.executor.submit(a_key(), a_task("sleep", "600"))
    await anyone.executor.cancel(handle)
    assert (await ended(anyone.executor, handle)).state is State.CANCELED


async def test_canceling_an_ended_job_changes_nothing(anyone: AnyExecutor) -> None:
    handle = await anyone.executor.submit(a_key(), a_task("true"))
    await ended(anyone.executor, handle)
    await anyone.executor.cancel(handle)
    assert (await ended(anyone.executor, handle)).state is State.COMPLETE


async def test_an_unknown_job_is_absent_from_poll_and_may_be_canceled(anyone: AnyExecutor) -> None:
    handle = Handle(f"{uuid.uuid4().hex}/{a_key()}")
    await anyone.executor.cancel(handle)
    assert await anyone.executor.poll([handle]) == {}


async def test_many_jobs_are_polled_in_one_call(anyone: AnyExecutor) -> None:
    good, bad = [await anyone.executor.submit(a_key(), a_task(command)) for command in ("true", "false")]
    for handle in (good, bad):
        await ended(anyone.executor, handle)
    seen = await anyone.executor.poll([good, bad])
    assert [seen[good].state, seen[bad].state] == [State.COMPLETE, State.EXECUTOR_ERROR]


async def test_a_job_is_known_to_another_executor_object(anyone: AnyExecutor) -> None:
    key, spec = a_key(), a_task("sleep", "600")
    handle = await anyone.executor.submit(key, spec)
    later = anyone.again()
    assert await later.find(key, spec) == handle
    await until(later, handle, lambda seen: seen.state is State.RUNNING)
    await later.cancel(handle)
    assert (await ended(later, handle)).state is State.CANCELED
