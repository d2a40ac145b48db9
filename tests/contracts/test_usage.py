"""What a step used is measured: its memory at the most, and its time on the processors."""

from __future__ import annotations

import pytest

from tests.contracts.ground import Ground, Seen
from wesgate.core.spec import Step
from wesgate.core.states import State

BURN = "timeout 1 sh -c 'while true; do :; done'; true"
HOLD = "dd if=/dev/zero of=/dev/null bs=100000000 count=1"
"""busybox fills a buffer of 100 MB."""


def used(seen: Seen) -> tuple[int, float]:
    assert seen.report
    return int(seen.report.metadata["peak_memory_bytes"]), float(seen.report.metadata["cpu_seconds"])


async def test_the_peak_is_that_of_the_largest_step(ground: Ground) -> None:
    peak, _ = used(await ground.run(ground.task("true", HOLD, "true")))
    assert 100_000_000 < peak < 160_000_000


async def test_the_time_is_that_of_all_steps(ground: Ground) -> None:
    _, seconds = used(await ground.run(ground.task(BURN, BURN)))
    assert 1.0 < seconds < 2.6


async def test_a_step_that_sleeps_uses_no_time(ground: Ground) -> None:
    _, seconds = used(await ground.run(ground.task("sleep 1")))
    assert seconds < 0.4


@pytest.mark.parametrize("code", [0, 1])
async def test_a_step_that_ends_at_once_is_measured(ground: Ground, code: int) -> None:
    peak, seconds = used(await ground.run(ground.task(f"exit {code}")))
    assert peak > 100_000
    assert seconds < 1


async def test_what_was_canceled_is_measured(ground: Ground) -> None:
    handle = await ground.start(ground.task(f"{BURN}; echo up; sleep 600"))
    await ground.says(handle, "up")
    await ground.executor.cancel(handle)
    seen = await ground.end(handle)
    assert seen.state is State.CANCELED
    assert used(seen)[1] > 0.3


async def test_what_never_ran_is_not_measured(ground: Ground) -> None:
    seen = await ground.run(ground.task(Step("--no-image", ("true",), stdin="/no/such/file")))
    assert seen.report
    assert "cpu_seconds" not in seen.report.metadata
