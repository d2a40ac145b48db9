"""miniwdl as an engine: prepares a run's directory, queues its head as a task, and reads what the head left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from wesgate.core.backend import Handle, Observation, QueuedTask, TaskQueue
from wesgate.core.errors import InvalidRequest, Misconfigured, Retryable
from wesgate.core.report import RunReport
from wesgate.core.spec import Input, Lane, MissingOutputs, Policy, Resources, RunSpec, Step, TaskSpec
from wesgate.core.states import TERMINAL, State
from wesgate.engines.miniwdl.addresses import announced
from wesgate.engines.miniwdl.config import HeadPlan, MiniwdlSettings
from wesgate.engines.miniwdl.publish import published
from wesgate.engines.miniwdl.verdict import Verdict, conclude, read_result
from wesgate.sources import arrive

__all__ = ["MiniwdlEngine", "MiniwdlSettings", "announced", "head_task"]

TOKEN_PREFIX = "wgr_"  # noqa: S105 - the public beginning of every run token, so that leaks can be searched for


class MiniwdlEngine:
    """Runs WDL. A handle is `<head task id>:<the run's directory below the files root>`; see `head_task`. `host_paths`
    says whether the executor cannot mount, so that tasks see files where the host has them; it is asked at each submit,
    since an executor knows its runtime once it was started."""

    def __init__(
        self,
        settings: MiniwdlSettings,
        queue: TaskQueue,
        files_root: Path,
        host_paths: Callable[[], bool],
        python: str = sys.executable,
    ) -> None:
        if "$" in f"{files_root}{settings.default_image}":
            raise Misconfigured("the files root and the default image may not hold '$', which miniwdl would expand")
        self._settings = settings
        self._queue = queue
        self._files_root = files_root
        self._host_paths = host_paths
        self._python = python

    async def find(self, key: str, spec: RunSpec) -> Handle | None:
        task_id = await self._queue.find(spec.id, key)
        return None if task_id is None else self._handle(task_id, spec)

    async def submit(self, key: str, spec: RunSpec) -> Handle:
        try:
            token = await asyncio.to_thread(self._prepare, Path(spec.directory), spec)
        except OSError as error:
            raise Retryable(f"the directory of the run cannot be written: {error}") from error
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        task_id = await self._queue.put(spec.id, key, self._head(spec), token_hash)
        return self._handle(task_id, spec)

    async def forbid(self, key: str, spec: RunSpec) -> None:
        """Nothing to do: the queue takes no head of a run that is being canceled or has ended, and looks at that in
        the statement that makes the head, so a submit that is under way starts nothing."""

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Observation[RunReport]]:
        heads = await self._queue.look([head_task(handle) for handle in handles])
        seen = {}
        for handle in handles:
            if head := heads.get(head_task(handle)):
                seen[handle] = await self._observe(head, self._directory(handle))
        return seen

    async def cancel(self, handle: Handle) -> None:
        await self._queue.cancel_all(head_task(handle))

    def _prepare(self, directory: Path, spec: RunSpec) -> str:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / "inputs.json", json.dumps(dict(spec.params)))
        plan = HeadPlan.of(spec, self._settings, self._files_root, host_paths=self._host_paths())
        _write(directory / "head.json", plan.write())
        return run_token(directory)

    def _handle(self, task_id: UUID, spec: RunSpec) -> Handle:
        return Handle(f"{task_id}:{Path(spec.directory).relative_to(self._files_root)}")

    def _directory(self, handle: Handle) -> Path:
        return self._files_root / handle.partition(":")[2]

    def _head(self, spec: RunSpec) -> TaskSpec:
        command = (self._python, "-m", "wesgate.engines.miniwdl.head.main", spec.directory)
        return TaskSpec(
            owner=spec.owner,
            steps=(Step(image="", command=command, workdir=spec.directory),),
            resources=Resources(cpu_cores=0.1, ram_gb=0.1),
            lane=Lane.HEAD,
            inputs=self._objects(spec),
            outputs=published(spec),
            roots=self._settings.roots,
            policy=Policy(missing_outputs=MissingOutputs.SKIP),  # a workflow may have no output that is a file
        )

    def _objects(self, spec: RunSpec) -> tuple[Input, ...]:
        try:
            return arrive.object_inputs(spec, self._settings.stores)
        except InvalidRequest:
            return ()  # its head will say why: the site may have been told other stores since the submit

    async def _observe(self, head: QueuedTask, directory: Path) -> Observation[RunReport]:
        if head.state not in TERMINAL:
            # A run whose head is being canceled is still running: its own row says that it is canceling.
            state = State.RUNNING if head.state is State.CANCELING else head.state
            return Observation(state, head.detail, run_report(head))
        if head.live_tasks:
            # A head that was killed leaves its tasks behind; a run has ended when nothing of it runs.
            await self._queue.cancel_all(head.id)
            return Observation(State.RUNNING, "its head has ended; stopping its tasks", run_report(head))
        result, arrived = await asyncio.to_thread(lambda: (read_result(directory), arrive.recorded(directory)))
        verdict = conclude(head, result)
        detail = verdict.messages[0] if verdict.messages else ""
        if ran := arrive.told(arrived):
            verdict = replace(verdict, messages=(*verdict.messages, ran))
        report = replace(run_report(head, verdict), words=arrived.words if arrived else ())
        return Observation(verdict.state, detail, report)


def head_task(handle: Handle) -> UUID:
    """The head task that a handle names."""
    return UUID(handle.partition(":")[0])


def run_report(head: QueuedTask, verdict: Verdict | None = None) -> RunReport:
    """The run as its head's log tells it, and, once it ended, the verdict."""
    report = head.report
    if report is None:
        return RunReport(system_logs=verdict.messages if verdict else ())
    logs = f"{report.directory}/logs/0" if report.directory else ""
    return RunReport(
        start_time=report.start_time,
        end_time=report.end_time if verdict else None,
        exit_code=report.steps[0].exit_code if verdict and report.steps else None,
        stdout=logs and f"{logs}.stdout",
        stderr=logs and f"{logs}.stderr",
        system_logs=verdict.messages if verdict else (),
        outputs=verdict.outputs if verdict else {},
    )


def run_token(directory: Path) -> str:
    """The run's own token, made once: a submit that is repeated finds the one that the head may already use."""
    path = directory / "token"
    part = directory / f".token.{secrets.token_hex(8)}"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w") as stream:
        stream.write(TOKEN_PREFIX + secrets.token_urlsafe(32))
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass  # an earlier submit made it
    finally:
        part.unlink()
    return path.read_text()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.rename(path)
