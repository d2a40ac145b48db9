"""The ground that executors are tested on: one owner's files, steps to run there, and ways to wait for what happens."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.podman import BUSYBOX
from wesgate.core.backend import Handle, Observation
from wesgate.core.report import TaskReport
from wesgate.core.spec import FileType, Input, Output, Step, TaskSpec, attempt_key
from wesgate.core.states import TERMINAL
from wesgate.executors.local import LocalExecutor

Seen = Observation[TaskReport]


@dataclass
class Ground:
    """An executor, one owner's files, and an ear for its wake-ups. `runtime` is what steps run in: podman's containers
    also where docker's client starts them."""

    runtime: str
    make: Callable[..., LocalExecutor]
    executor: LocalExecutor
    root: Path
    ear: socket.socket
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def data(self) -> Path:
        """A directory of the owner's, outside of every attempt."""
        path = self.root / self.owner / "data"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def inside(self) -> str:
        """A directory for steps to use: any container path, where the runtime can show one."""
        return str(self.root / self.owner / "inside") if self.is_plain else "/inside"

    @property
    def is_plain(self) -> bool:
        return self.runtime == "process:plain"

    def sh(self, script: str, **step: Any) -> Step:
        """A step that runs a shell script; `$I` is the directory `inside`."""
        made = Step(BUSYBOX, ("sh", "-c", f"I='{self.inside}'; {script}"))
        return replace(made, **step)

    def task(self, *steps: Step | str, **spec: Any) -> TaskSpec:
        made = tuple(self.sh(step) if isinstance(step, str) else step for step in steps)
        return replace(TaskSpec(self.owner, made), **spec)

    def output(self, name: str, to: str | None = None) -> Output:
        return Output(f"{self.inside}/{name}", (self.data / (to or name)).as_uri())

    def directory(self, name: str) -> Output:
        """An output directory; without mounts it can only be at its own place."""
        place = Path(self.inside) / name if self.is_plain else self.data / name
        return Output(f"{self.inside}/{name}", place.as_uri(), FileType.DIRECTORY)

    def input(self, name: str, text: str) -> Input:
        """A file of the owner's on the host, shown inside."""
        path = self.data / f"from-{Path(name).name}"
        path.write_text(text)
        return Input(f"{self.inside}/{name}", path.as_uri())

    async def start(self, spec: TaskSpec) -> Handle:
        return await self.executor.submit(attempt_key(uuid.uuid4(), 1), spec)

    async def run(self, spec: TaskSpec) -> Seen:
        return await self.end(await self.start(spec))

    async def end(self, handle: Handle) -> Seen:
        return await self.until(handle, lambda seen: seen.state in TERMINAL)

    async def until(self, handle: Handle, holds: Callable[[Seen], bool]) -> Seen:
        """How the job stands once this holds: looked at again at each wake-up, and now and then without one."""
        async with asyncio.timeout(60):
            while True:
                seen = (await self.executor.poll([handle]))[handle]
                if holds(seen):
                    return seen
                await self.wake_up()

    async def says(self, handle: Handle, words: str) -> None:
        """Wait until the first step has said these words."""
        await self.until(handle, lambda seen: bool(seen.report and seen.report.steps[:1]) and words in said(seen))

    async def wake_up(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.hear()

    async def hear(self) -> str:
        """The next key that a worker tells."""
        return (await asyncio.get_running_loop().sock_recv(self.ear, 256)).decode()

    def attempt(self, handle: Handle) -> Path:
        return self.root / handle


def said(seen: Seen, step: int = 0) -> str:
    """What a step wrote to its standard output."""
    assert seen.report is not None
    return seen.report.steps[step].stdout
