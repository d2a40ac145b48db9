"""What `wesgate self-test` checks: the promises an operator relies on, on the executor as it is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from wesgate.core.backend import Handle, Observation
from wesgate.core.errors import Misconfigured
from wesgate.core.report import TaskReport
from wesgate.core.spec import Input, Step, TaskSpec, attempt_key
from wesgate.core.states import TERMINAL, State
from wesgate.executors.local import LocalExecutor

OWNER = "self-test"
IMAGE = "busybox"
TIMEOUT_S = 120.0
POLL_S = 0.1


async def check(executor: LocalExecutor) -> None:
    """Run each check and say how it went; Misconfigured if any failed."""
    print(f"executor local, runtime {executor.runtime}")
    checks: dict[str, Callable[[LocalExecutor], Awaitable[bool]]] = {
        "a step runs and its output is kept": _runs,
        "a step that fails is told from a fault": _fails,
        "inline content reaches the step": _stages,
        "a canceled step is stopped": _stops,
    }
    failed = [name for name, done in checks.items() if not await _said(name, done(executor))]
    if failed:
        raise Misconfigured(f"{len(failed)} of {len(checks)} checks failed; see above and the log")


async def _said(name: str, done: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            passed = await done
    except TimeoutError:
        passed = False
    print(f"  {'ok    ' if passed else 'FAILED'} {name}", flush=True)
    return passed


async def _runs(executor: LocalExecutor) -> bool:
    seen = await _ended(executor, "echo hello")
    return seen.state is State.COMPLETE and seen.report is not None and seen.report.steps[0].stdout == "hello\n"


async def _fails(executor: LocalExecutor) -> bool:
    seen = await _ended(executor, "exit 3")
    return seen.state is State.EXECUTOR_ERROR and seen.report is not None and seen.report.steps[0].exit_code == 3


async def _stages(executor: LocalExecutor) -> bool:
    given = Input("/mnt/self-test/given", content="given")
    seen = await _ended(executor, 'test "$(cat /mnt/self-test/given)" = given', given)
    return seen.state is State.COMPLETE


async def _stops(executor: LocalExecutor) -> bool:
    handle = await executor.submit(*_job("sleep 600"))
    await _seen(executor, handle, TERMINAL | {State.RUNNING})
    await executor.cancel(handle)
    return (await _seen(executor, handle, TERMINAL)).state is State.CANCELED


async def _ended(executor: LocalExecutor, script: str, *inputs: Input) -> Observation[TaskReport]:
    seen = await _seen(executor, await executor.submit(*_job(script, *inputs)), TERMINAL)
    if seen.detail:
        print(f"         {seen.detail}")
    return seen


async def _seen(executor: LocalExecutor, handle: Handle, wanted: frozenset[State]) -> Observation[TaskReport]:
    while True:
        seen = (await executor.poll([handle]))[handle]
        if seen.state in wanted:
            return seen
        await asyncio.sleep(POLL_S)


def _job(script: str, *inputs: Input) -> tuple[str, TaskSpec]:
    return attempt_key(uuid4(), 1), TaskSpec(OWNER, (Step(IMAGE, ("/bin/sh", "-c", script)),), inputs)
