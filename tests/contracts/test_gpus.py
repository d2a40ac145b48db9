"""GPUs are an attempt's own: the numbers are real, the devices need not be there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.contracts.conftest import CONTAINERS, LOCAL, Grounds
from tests.contracts.ground import Ground, said
from wesgate.core.backend import Handle
from wesgate.core.spec import Policy
from wesgate.core.states import State

ONE, TWO = Policy(gpus=1), Policy(gpus=2)
TELL = 'echo "have $CUDA_VISIBLE_DEVICES,$NVIDIA_VISIBLE_DEVICES."'


@pytest.fixture(params=[runtime for runtime in LOCAL if runtime not in CONTAINERS])
async def ground(request: pytest.FixtureRequest, grounds: Grounds) -> AsyncIterator[Ground]:
    """A machine with three GPUs, whose owner nobody has seen before."""
    plain = await grounds(request.param)
    made = replace(plain, executor=plain.make(gpus=3), owner=uuid.uuid4().hex)
    await made.executor.start()
    yield made
    await made.executor.close()


async def waits(ground: Ground, handle: Handle) -> None:
    await asyncio.sleep(0.3)  # nothing tells that it does
    assert (await ground.executor.poll([handle]))[handle].state is State.INITIALIZING


async def test_two_attempts_never_share_a_gpu_and_a_third_waits(ground: Ground) -> None:
    first = await ground.start(ground.task(f"{TELL}; sleep 600", policy=TWO))
    await ground.says(first, "have 0,1,0,1.")
    second = await ground.start(ground.task(f"{TELL}; sleep 600", policy=ONE))
    await ground.says(second, "have 2,2.")
    third = await ground.start(ground.task(TELL, policy=ONE))
    await waits(ground, third)
    await ground.executor.cancel(first)
    assert said(await ground.end(third)) == "have 0,0.\n"
    await ground.executor.cancel(second)
    assert {(await ground.end(handle)).state for handle in (first, second)} == {State.CANCELED}


async def test_who_waits_for_a_gpu_can_be_canceled(ground: Ground) -> None:
    first = await ground.start(ground.task("echo up; sleep 600", policy=Policy(gpus=3)))
    await ground.says(first, "up")
    second = await ground.start(ground.task("true", policy=ONE))
    await waits(ground, second)
    await ground.executor.cancel(second)
    assert (await ground.end(second)).state is State.CANCELED
    await ground.executor.cancel(first)
    await ground.end(first)


async def test_a_step_that_asked_for_no_gpu_is_told_that_it_has_none(ground: Ground) -> None:
    seen = await ground.run(ground.task(ground.sh(TELL, env={"CUDA_VISIBLE_DEVICES": "0"})))
    assert said(seen) == "have ,void.\n"


async def test_more_gpus_than_there_are_is_a_sentence(ground: Ground) -> None:
    seen = await ground.run(ground.task("true", policy=Policy(gpus=4)))
    assert seen.state is State.SYSTEM_ERROR
    assert seen.detail.startswith("the task asks for 4 GPUs, and this service has 3: ask for fewer")
