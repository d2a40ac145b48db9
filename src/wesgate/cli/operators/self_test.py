"""What `wesgate self-test` checks: the promises an operator relies on, on the executor as it is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from wesgate.core.backend import Handle, Observation
from wesgate.core.report import TaskReport
from wesgate.core.spec import Input, Step, TaskSpec, attempt_key
from wesgate.core.states import TERMINAL, State
from wesgate.executors.local import LocalExecutor

OWNER = "self-test"
TIMEOUT_S = 120.0
POLL_S = 0.1

Check = Callable[[LocalExecutor, str], Awaitable[str]]


async def check(executor: LocalExecutor, image: str, say: Callable[[str], None]) -> dict[str, str]:
    """Run each check with steps in `image`, and say how it went; what was wrong, by name, empty where nothing was."""
    checks: dict[str, Check] = {
        "a step runs and its output is kept": _runs,
        "a step that fails is told from a fault": _fails,
        "inline content reaches the step": _stages,
        "a canceled step is stopped": _stops,
    }
    found = {}
    for name, done in checks.items():
        found[name] = await _wrong(done(executor, image))
        say(f"  FAILED {name}: {found[name]}" if found[name] else f"  ok     {name}")
    return found


async def _wrong(done: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await done
    except TimeoutError:
        return f"it took longer than {TIMEOUT_S:.0f} s"


async def _runs(executor: LocalExecutor, image: str) -> str:
    seen = await _ended(executor, image, "echo hello")
    right = seen.state is State.COMPLETE and seen.report is not None and seen.report.steps[0].stdout == "hello\n"
    return "" if right else seen.detail or f"it ended {seen.state}, and its output was not kept"


async def _fails(executor: LocalExecutor, image: str) -> str:
    seen = await _ended(executor, image, "exit 3")
    right = seen.state is State.EXECUTOR_ERROR and seen.report is not None and seen.report.steps[0].exit_code == 3
    return "" if right else seen.detail or f"it ended {seen.state}"


async def _stages(executor: LocalExecutor, image: str) -> str:
    given = Input("/mnt/self-test/given", content="given")
    seen = await _ended(executor, image, 'test "$(cat /mnt/self-test/given)" = given', given)
    return "" if seen.state is State.COMPLETE else seen.detail or f"it ended {seen.state}"


async def _stops(executor: LocalExecutor, image: str) -> str:
    handle = await executor.submit(*_job(image, "sleep 600"))
    await _seen(executor, handle, TERMINAL | {State.RUNNING})
    await executor.cancel(handle)
    seen = await _seen(executor, handle, TERMINAL)
    return "" if seen.state is State.CANCELED else seen.detail or f"it ended {seen.state}"


async def _ended(executor: LocalExecutor, image: str, script: str, *inputs: Input) -> Observation[TaskReport]:
    return await _seen(executor, await executor.submit(*_job(image, script, *inputs)), TERMINAL)


async def _seen(executor: LocalExecutor, handle: Handle, wanted: frozenset[State]) -> Observation[TaskReport]:
    while True:
        seen = (await executor.poll([handle]))[handle]
        if seen.state in wanted:
            return seen
        await asyncio.sleep(POLL_S)


def _job(image: str, script: str, *inputs: Input) -> tuple[str, TaskSpec]:
    return attempt_key(uuid4(), 1), TaskSpec(OWNER, (Step(image, ("/bin/sh", "-c", script)),), inputs)
