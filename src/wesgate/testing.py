"""Backends in memory for tests: one that keeps the contract of `core.backend`, and its misbehaving kin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wesgate.core.backend import Handle, Observation
from wesgate.core.errors import Permanent, Retryable
from wesgate.core.report import TaskReport
from wesgate.core.states import TERMINAL, State

Seen = Observation[TaskReport]


@dataclass(slots=True)
class World:
    """What exists outside and outlives an executor object: the jobs, and every start and stop in order.

    The ledger holds ("started", key) once for each start of user code and ("canceled", key) for each stop.
    """

    jobs: dict[str, Seen] = field(default_factory=dict)
    ledger: list[tuple[str, str]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)

    def started(self, key: str) -> int:
        """How often user code was started under this key; a kept promise is never more than 1."""
        return self.ledger.count(("started", key))

    def finish(self, key: str, state: State, detail: str = "", *, infrastructure: bool = False) -> None:
        """Let the job under this key end."""
        self.jobs[key] = replace(self.jobs[key], state=state, detail=detail, infrastructure=infrastructure)

    def lose(self, key: str) -> None:
        """Let every trace of the job under this key go, as a backend that forgets does."""
        self.jobs.pop(key, None)


def keeps_running(_spec: object) -> Seen:
    """The default life of a fake job: it runs until the test finishes it."""
    return Observation(State.RUNNING, report=TaskReport())


class FakeExecutor:
    """Keeps the contract of every backend, for specs of any kind. Two objects over one `World` are one backend seen
    before and after a restart. `life` says how a job with this spec stands once it was submitted."""

    def __init__(self, world: World | None = None, life: Callable[[object], Seen] = keeps_running) -> None:
        self.world = world or World()
        self.life = life

    async def find(self, key: str, spec: object) -> Handle | None:
        del spec  # a fake job is known by its key alone
        self.world.calls.append(("find", key))
        return Handle(f"fake/{key}") if key in self.world.jobs else None

    async def forbid(self, key: str, spec: object) -> None:
        del spec
        self.world.calls.append(("forbid", key))
        if key in self.world.jobs:
            raise Retryable("there is a job under this key")
        self.world.forbidden.add(key)

    async def submit(self, key: str, spec: object) -> Handle:
        self.world.calls.append(("submit", key))
        if key in self.world.forbidden and key not in self.world.jobs:
            raise Permanent("this was canceled before it was submitted")
        if key not in self.world.jobs:
            self.world.ledger.append(("started", key))
            self.world.jobs[key] = self.life(spec)
        return Handle(f"fake/{key}")

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        self.world.calls.append(("poll", ",".join(handles)))
        jobs = {handle: self.world.jobs.get(_key(handle)) for handle in handles}
        return {handle: seen for handle, seen in jobs.items() if seen is not None}

    async def cancel(self, handle: Handle) -> None:
        key = _key(handle)
        self.world.calls.append(("cancel", key))
        seen = self.world.jobs.get(key)
        if seen is not None and seen.state not in TERMINAL:
            self.world.ledger.append(("canceled", key))
            self.world.finish(key, State.CANCELED)


class FlakyExecutor(FakeExecutor):
    """Fails the first submits with `Retryable`: before anything was started or, with `accepts`, after the job was
    started, as when an answer is lost on its way back."""

    def __init__(self, world: World | None = None, *, failures: int = 1, accepts: bool = False) -> None:
        super().__init__(world)
        self.failures = failures
        self.accepts = accepts

    async def submit(self, key: str, spec: object) -> Handle:
        if self.failures == 0:
            return await super().submit(key, spec)
        self.failures -= 1
        if self.accepts:
            await super().submit(key, spec)
        raise Retryable("the fake executor was told to fail this submit; submit again")


class ForgetfulExecutor(FakeExecutor):
    """Leaves jobs out of the next `misses` polls (of all polls, without a number), though they live."""

    def __init__(self, world: World | None = None, *, misses: int | None = None) -> None:
        super().__init__(world)
        self.misses = misses

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        if self.misses == 0:
            return await super().poll(handles)
        self.misses = None if self.misses is None else self.misses - 1
        return {}


class SlowExecutor(FakeExecutor):
    """Answers submit, poll and cancel only once `gate` is set; `waiting` is set when a call has come in. A submit
    has started its job before it waits."""

    def __init__(self, world: World | None = None) -> None:
        super().__init__(world)
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    async def _wait(self) -> None:
        self.waiting.set()
        await self.gate.wait()

    async def submit(self, key: str, spec: object) -> Handle:
        handle = await super().submit(key, spec)
        await self._wait()
        return handle

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        await self._wait()
        return await super().poll(handles)

    async def cancel(self, handle: Handle) -> None:
        await self._wait()
        await super().cancel(handle)


class LyingExecutor(FakeExecutor):
    """Says of every job what `says` is, whatever is true: states that run backwards, ends that did not happen."""

    def __init__(self, world: World | None = None, *, says: Seen) -> None:
        super().__init__(world)
        self.says = says

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        return dict.fromkeys(await super().poll(handles), self.says)


def _key(handle: Handle) -> str:
    return handle.removeprefix("fake/")
