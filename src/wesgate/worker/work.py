"""One attempt under way: inputs in, steps one after the other, outputs out, one outcome."""

from __future__ import annotations

import errno
import os
import posixpath
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wesgate.core.codec import storable
from wesgate.core.failpoints import FailpointRaised, failpoint
from wesgate.core.paths import within
from wesgate.core.report import OutputFile, TaskReport
from wesgate.core.spec import Lane, MissingOutputs, Store, TaskSpec
from wesgate.core.states import State
from wesgate.worker.bounds import Bounds
from wesgate.worker.disk import Gauge, gauge
from wesgate.worker.faults import Fault, Fenced, Missing, StepFault, Stopped
from wesgate.worker.files.deliver import deliver
from wesgate.worker.files.inside import real_directory, refuse_moved
from wesgate.worker.files.localize import localize, output_directories, refuse_unsupported_outputs
from wesgate.worker.files.mounts import Mount, made_beforehand, plan
from wesgate.worker.files.places import container_path, places
from wesgate.worker.files.points import Points
from wesgate.worker.files.transfers import transfers
from wesgate.worker.gpus import take
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt, Order, Outcome, Status, StepRecord, keep_names, read_steps, write
from wesgate.worker.runtimes.containers import Containers
from wesgate.worker.runtimes.process import Plain, Sandboxed
from wesgate.worker.runtimes.runtime import Ended, Runtime, Task, described, runtime_name
from wesgate.worker.runtimes.sandbox import PROGRAM_PLACES
from wesgate.worker.steps import now, run_step
from wesgate.worker.wake import wake
from wesgate.worker.warm import Standby

RESERVE_BYTES = 256 * 1024
"""Held so that the records and the result can be written when the disk is full."""

MOST_LISTED = 20_000
"""How many delivered files a report names: it is read whole, by the loop and by whoever asks for the task."""

FIRST_LOOK_S = 0.2
"""Whoever submitted an attempt looks at it soon by itself; a step that starts before then need not be told of."""


class Work:
    """One attempt under way."""

    def __init__(
        self, order: Order, attempt: Attempt, interrupts: Interrupts, stores: Sequence[Store], standby: Standby | None
    ) -> None:
        self.order = order
        self.spec = order.spec
        self.attempt = attempt
        self.interrupts = interrupts
        self.standby = standby
        self.allowed = places(order.files_root, order.spec, order.limits.private)
        self.start_time = now()
        self.began = time.monotonic()
        self.system_logs: list[str] = []
        self.outputs: list[OutputFile] = []
        self.points = Points()
        self.transfers = transfers(order.limits.fetching, stores, interrupts)

    def outcome(self) -> Outcome:
        """Do the work and say how it ended; nothing but a failpoint or a kill keeps this from an answer."""
        try:
            self._work()
            return self._ended(State.COMPLETE, "")
        except Fault as fault:
            return self._ended(fault.state, str(fault), infrastructure=isinstance(fault, Stopped))
        except OSError as error:
            return self._ended(State.SYSTEM_ERROR, described_os_error(error))
        except (FailpointRaised, Fenced):
            raise
        except Exception as error:  # whatever it is, the task must end with a sentence
            traceback.print_exc()
            return self._ended(State.SYSTEM_ERROR, f"the worker failed: {type(error).__name__}: {error}")

    def _work(self) -> None:
        self._note(State.INITIALIZING)
        self.interrupts.check()
        for folder in (self.attempt.stdout(0).parent, self.attempt.files, self.attempt.tmp):
            folder.mkdir(exist_ok=True)
        self._keep_reserve()
        self.attempt.tmp.chmod(0o1777)
        refuse_unsupported_outputs(self.spec.outputs, self.transfers.remote)
        mounts = self._mounts()
        runtime = self._runtime(mounts)
        try:
            if isinstance(runtime, Plain):
                self.points.link(mounts, self.allowed.own)
            else:
                self.points.make(mounts)
            self.points.folders(mounts, made_beforehand(self.spec))
            self.system_logs += runtime.prepare()
            self.interrupts.check()
            self._steps_and_outputs(runtime, mounts)
        finally:
            self.points.remove()

    def _keep_reserve(self) -> None:
        with self.attempt.reserve.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            else:
                file.write(b"\0" * RESERVE_BYTES)

    def _mounts(self) -> tuple[Mount, ...]:
        given = localize(self.spec, self.attempt, self.allowed, self.transfers)
        given += output_directories(self.spec.outputs, self.allowed)
        match runtime_name(self.order):
            case "process:plain":
                return plan(with_workdirs(self.spec, given, plain=True), given, self._at_its_own_path)
            case "podman" | "docker":
                return plan(self.spec, given, self._backing)
            case _:
                given += self._temporary(given)
                return plan(with_workdirs(self.spec, given, plain=False), given, self._backing)

    def _temporary(self, given: list[Mount]) -> list[Mount]:
        taken = {mount.target for mount in given}
        wanted = {"/tmp": self.attempt.tmp / "tmp", "/var/tmp": self.attempt.tmp / "var"}  # noqa: S108  # the sandbox's own
        for folder in wanted.values():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o1777)
        return [Mount(str(source), target, writable=True) for target, source in wanted.items() if target not in taken]

    def _backing(self, path: str) -> str:
        folder = os.path.realpath(self.attempt.files) + path
        with real_directory(folder, make=True):
            return folder

    def _at_its_own_path(self, path: str) -> str:
        real = self.allowed.writable(path, f"directory {path}")
        with real_directory(real, make=True):
            return real

    def _runtime(self, mounts: tuple[Mount, ...]) -> Runtime:
        gpus = take(self.order.files_root, self.spec.policy.gpus, self.order.limits.gpus, self.interrupts)
        task = Task(self.order, self.attempt, mounts, gpus)
        match runtime_name(self.order):
            case "podman" | "docker" as program:
                return Containers(program, task, self.interrupts)
            case "process:plain":
                return Plain(task, self.standby)
            case "process:bubblewrap" | "process:namespace" as name:
                return Sandboxed(task, with_bubblewrap=name == "process:bubblewrap")
            case other:
                raise Fault(f"there is no runtime {other}")

    def _steps_and_outputs(self, runtime: Runtime, mounts: tuple[Mount, ...]) -> None:
        try:
            self.attempt.started.mkdir()
        except FileExistsError as error:
            raise Fenced from error
        keep_names(self.attempt.directory)
        failpoint("worker-started")
        self._note(State.RUNNING)
        if time.monotonic() - self.began > FIRST_LOOK_S:
            wake(self.order.wake, self.order.key)
        failed = self._steps(runtime, mounts)
        self._deliver(mounts, failed)
        failpoint("worker-staged-out")
        if failed:
            raise failed

    def _steps(self, runtime: Runtime, mounts: tuple[Mount, ...]) -> Fault | None:
        bounds = Bounds(self.order.limits.grace_s, self.spec.policy.timeout_s, self._gauge(mounts))
        for number, step in enumerate(self.spec.steps):
            refuse_moved(mounts)
            ended = run_step(number, step, runtime, self.attempt, mounts, self.interrupts, bounds)
            if ended.limit:
                return StepFault(f"step {number} was stopped: {ended.limit}")
            if ended.note:
                self.system_logs.append(f"step {number}: {ended.note}")
            if ended.problem:
                return Fault(f"step {number}: {ended.problem}")
            if ended.exit_code != 0 and not step.ignore_error:
                return self._failed(number, ended)
        return None

    def _gauge(self, mounts: tuple[Mount, ...]) -> Gauge | None:
        # The site's own bound is for tasks: what a head keeps of its run is bounded by nothing but its tasks' outputs.
        by_default = self.order.limits.disk_gb if self.spec.lane is Lane.TASK else None
        limit_gb = self.spec.resources.disk_gb or by_default
        if limit_gb is None:
            return None
        own = [str(path) for path in (self.attempt.stdout(0).parent, self.attempt.files, self.attempt.tmp)]
        given = [mount.source for mount in mounts if mount.writable and mount.directory and not mount.live]
        return gauge(limit_gb, own, given)

    def _failed(self, number: int, ended: Ended) -> Fault:
        reason = f" ({ended.note})" if ended.note else ""
        command = described(self.spec.steps[number].command)
        return StepFault(f"step {number} exited with code {ended.exit_code}{reason}: {command}")

    def _deliver(self, mounts: tuple[Mount, ...], failed: Fault | None) -> None:
        """Deliver every output there is. What is missing matters only if the steps went well."""
        # Mount points inside an output directory are no outputs.
        self.points.remove()
        problem: Fault | None = None
        delivered = 0
        for found in deliver(self.spec.outputs, mounts, self.allowed, self.transfers):
            if isinstance(found, OutputFile):
                delivered += 1
                self.outputs += [found] if delivered <= MOST_LISTED else []
                continue
            is_skipped = isinstance(found, Missing) and self.spec.policy.missing_outputs is MissingOutputs.SKIP
            problem = problem or (None if is_skipped else found)
            self.system_logs.append(f"{found}; skipped" if is_skipped else str(found))
        if delivered > MOST_LISTED:
            self.system_logs.append(f"{delivered} files were delivered; the first {MOST_LISTED} of them are listed")
        if problem is not None and failed is None:
            raise problem

    def _note(self, state: State) -> None:
        write(self.attempt.status, Status(state, self.start_time, tuple(self.system_logs)))

    def _ended(self, state: State, detail: str, *, infrastructure: bool = False) -> Outcome:
        detail = storable(detail)
        if detail and state is not State.CANCELED and detail not in self.system_logs:
            self.system_logs.append(detail)
        records: list[StepRecord] = []
        with suppress(OSError, ValueError):
            records = read_steps(self.attempt, len(self.spec.steps))
        report = TaskReport(
            start_time=self.start_time,
            end_time=now(),
            steps=tuple(record.log for record in records),
            outputs=tuple(self.outputs),
            metadata={**usage(records), **self.transfers.metadata()},
            system_logs=tuple(storable(line) for line in self.system_logs),
            directory=posixpath.join(self.spec.owner, self.order.key),
        )
        return Outcome(state, detail, report, infrastructure)


def usage(records: Sequence[StepRecord]) -> dict[str, str]:
    """What the steps used, as far as it was measured."""
    peaks = [record.peak_memory_bytes for record in records if record.peak_memory_bytes is not None]
    seconds = [record.cpu_seconds for record in records if record.cpu_seconds is not None]
    if not peaks or not seconds:
        return {}
    return {"peak_memory_bytes": str(max(peaks)), "cpu_seconds": f"{sum(seconds):.3f}"}


def with_workdirs(spec: TaskSpec, given: list[Mount], *, plain: bool) -> TaskSpec:
    """The spec with every working directory that is not there otherwise as one more writable directory, as docker makes
    it on demand."""
    wanted = []
    for step in spec.steps:
        if not step.workdir:
            continue
        if posixpath.normpath(step.workdir) in ("/", "//"):
            continue
        path = container_path(step.workdir, "a step's working directory")
        there = Path(path).is_dir() if plain else any(within(path, place) for place in PROGRAM_PLACES)
        if not there and not any(within(path, mount.target) and not mount.writable for mount in given):
            wanted.append(path)
    return replace(spec, volumes=(*spec.volumes, *wanted))


def described_os_error(error: OSError) -> str:
    """One sentence for a person who cannot see this machine."""
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left on the disk that holds the task's files{where}"
        case _:
            return f"the worker could not go on: {error.strerror or error}{where}"
