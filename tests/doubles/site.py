"""A site with one owner, one engine and its doubles: what a test of runs needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.doubles.heads import HostQueue
from tests.doubles.tes import TesDouble
from wesgate.core.backend import Handle, Observation
from wesgate.core.report import RunReport
from wesgate.core.spec import Fetching, RunSpec
from wesgate.core.states import State
from wesgate.engines.miniwdl.addresses import announced
from wesgate.engines.miniwdl.config import MiniwdlSettings
from wesgate.engines.miniwdl.engine import MiniwdlEngine, head_task

OWNER = "owner1"


@dataclass
class Site:
    """`run` takes a workflow from submit to its end; the steps are there to be taken one by one, too."""

    root: Path
    tes: TesDouble
    settings: MiniwdlSettings = field(default_factory=lambda: MiniwdlSettings(fetching=Fetching(allow_private=True)))
    host_paths: bool = False
    stack: list[AbstractContextManager[Path]] = field(default_factory=list)  # its end is the end of the announcement

    def __post_init__(self) -> None:
        self.queue = HostQueue(self.root, self.tes)

    @property
    def engine(self) -> MiniwdlEngine:
        if not self.stack:
            self.stack.append(announced(self.root, self.tes.url))
            self.stack[0].__enter__()
        return MiniwdlEngine(self.settings, self.queue, self.root, lambda: self.host_paths)

    def with_settings(self, **changes: Any) -> Site:
        return replace(self, settings=replace(self.settings, **changes))

    def spec(
        self,
        files: Mapping[str, str] | str,
        params: Mapping[str, Any] | None = None,
        engine_parameters: Mapping[str, str] | None = None,
        url: str = "main.wdl",
    ) -> RunSpec:
        """A run whose attachments are these files; one text alone is `main.wdl`."""
        run_id = uuid4()
        directory = self.root / OWNER / f"run-{run_id.hex}"
        for name, text in ({"main.wdl": files} if isinstance(files, str) else files).items():
            path = directory / "attachments" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return RunSpec(
            id=run_id,
            owner=OWNER,
            directory=str(directory),
            workflow_url=url,
            params=params or {},
            engine_parameters=engine_parameters or {},
        )

    async def begin(self, spec: RunSpec) -> Handle:
        handle = await self.engine.submit(f"wg-{spec.id.hex}-1", spec)
        await self.queue.start(head_task(handle))
        return handle

    async def run(self, *args: Any, **kwargs: Any) -> Observation[RunReport]:
        handle = await self.begin(self.spec(*args, **kwargs))
        await self.queue.ended(head_task(handle))
        return await self.see(handle)

    async def see(self, handle: Handle) -> Observation[RunReport]:
        return (await self.engine.poll([handle]))[handle]

    async def kill_head(self, handle: Handle) -> None:
        """SIGKILL, as a machine that fails does it."""
        head = self.queue.heads[head_task(handle)]
        assert head.process
        os.kill(head.process.pid, signal.SIGKILL)
        await self.queue.ended(head.id)

    async def finish(self, handle: Handle) -> Observation[RunReport]:
        await self.queue.ended(head_task(handle))
        return await self.see(handle)

    def log(self, handle: Handle) -> str:
        return self.queue.stderr(head_task(handle))


def failed(seen: Observation[RunReport], state: State) -> str:
    """The sentences of a run that ended in this state, without the one that tells what ran."""
    assert seen.report is not None
    text = "\n".join(line for line in seen.report.system_logs if not line.startswith("workflow: "))
    assert seen.state is state, f"{seen.state}: {text}"
    return text


def outputs(seen: Observation[RunReport]) -> Mapping[str, Any]:
    """The outputs of a run that is complete."""
    assert seen.report is not None
    assert seen.state is State.COMPLETE, seen
    return seen.report.outputs
