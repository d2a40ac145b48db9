"""A task queue that runs heads as processes of this machine, and starts a killed head again as an executor would."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from tests.doubles.tes import TesDouble
from wesgate.core.backend import QueuedTask
from wesgate.core.report import StepLog, TaskReport
from wesgate.core.spec import Lane, TaskSpec
from wesgate.core.states import TERMINAL, State


@dataclass
class Head:
    """One queued head and its process, if that was started."""

    id: UUID
    key: str
    spec: TaskSpec
    token_hash: str
    directory: str
    state: State = State.QUEUED
    detail: str = ""
    code: int | None = None
    process: asyncio.subprocess.Process | None = None


class HostQueue:
    """`core.backend.TaskQueue` for one run at a time. Nothing starts before `start`."""

    def __init__(self, files_root: Path, tes: TesDouble) -> None:
        self._files_root = files_root
        self._tes = tes
        self.heads: dict[UUID, Head] = {}

    async def find(self, run_id: UUID, key: str) -> UUID | None:
        return next((head.id for head in self.heads.values() if head.key == key), None)

    async def put(self, run_id: UUID, key: str, spec: TaskSpec, token_hash: str) -> UUID:
        if found := await self.find(run_id, key):
            assert self.heads[found].token_hash == token_hash
            return found
        assert spec.lane is Lane.HEAD
        head = Head(uuid4(), key, spec, token_hash, f"{spec.owner}/{key}")
        self.heads[head.id] = head
        return head.id

    async def look(self, task_ids: Sequence[UUID]) -> Mapping[UUID, QueuedTask]:
        return {task_id: self._show(self.heads[task_id]) for task_id in task_ids if task_id in self.heads}

    async def cancel_all(self, task_id: UUID) -> None:
        head = self.heads[task_id]
        if head.state not in TERMINAL:
            head.state = State.CANCELING
            if head.process and head.process.returncode is None:
                os.killpg(head.process.pid, signal.SIGTERM)
            else:
                head.state = State.CANCELED
        else:
            self._tes.cancel_all()

    async def start(self, task_id: UUID) -> None:
        """Start the head's process, as an executor does with the first attempt or a later one."""
        head = self.heads[task_id]
        logs = self._files_root / head.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        step = head.spec.steps[0]
        with (logs / "0.stdout").open("ab") as stdout, (logs / "0.stderr").open("ab") as stderr:
            head.process = await asyncio.create_subprocess_exec(
                *step.command, cwd=step.workdir, stdout=stdout, stderr=stderr, start_new_session=True
            )
        head.state = State.RUNNING

    async def ended(self, task_id: UUID) -> int:
        """Wait for the head's process and take its end down; killed by SIGKILL, it stays to be started again."""
        head = self.heads[task_id]
        assert head.process
        code = await asyncio.wait_for(head.process.wait(), 60)
        if code == -signal.SIGKILL:
            return code
        head.code = code
        if head.state is State.CANCELING:
            head.state = State.CANCELED
        else:
            head.state = State.COMPLETE if code == 0 else State.EXECUTOR_ERROR
        return code

    def lose(self, task_id: UUID, detail: str) -> None:
        """The head's worker is gone for good."""
        head = self.heads[task_id]
        head.state, head.detail = State.SYSTEM_ERROR, detail

    def stderr(self, task_id: UUID) -> str:
        return (self._files_root / self.heads[task_id].directory / "logs/0.stderr").read_text()

    def _show(self, head: Head) -> QueuedTask:
        steps = (StepLog(exit_code=head.code),) if head.process else ()
        report = TaskReport(steps=steps, directory=head.directory) if head.process else None
        alive = head.state not in TERMINAL
        return QueuedTask(head.id, head.state, head.detail, report, self._tes.live() + alive)
