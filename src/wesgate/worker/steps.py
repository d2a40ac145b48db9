"""Run one step: start it, stream what it says to files, stop it if asked to, and record how it ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO

from wesgate.core.failpoints import failpoint
from wesgate.core.report import StepLog
from wesgate.core.spec import Step
from wesgate.worker.bounds import Bounds
from wesgate.worker.children import Child, dying_with
from wesgate.worker.faults import Exceeded, Fault, Stopped
from wesgate.worker.files.deliver import put
from wesgate.worker.files.inside import open_regular
from wesgate.worker.files.mounts import Mount, covering, relative
from wesgate.worker.files.places import container_path
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt, StepRecord, tail, write
from wesgate.worker.runtimes.meters import Meter, Usage
from wesgate.worker.runtimes.runtime import KILLED, TERMINATED, Ended, Launch, Runtime, described, exit_code

NOT_FOUND = 127
NOT_EXECUTABLE = 126
FULL_BYTES = 64 * 1024
"""With less than this free a disk is full."""

KILL_WAIT_S = 10.0

TERM_APART_S = 0.5
"""Who sends SIGTERM to all that runs here may reach a step this long before its worker."""


def run_step(
    number: int,
    step: Step,
    runtime: Runtime,
    attempt: Attempt,
    mounts: Sequence[Mount],
    interrupts: Interrupts,
    bounds: Bounds,
) -> Ended:
    """Run this step to its end, or to a limit. Its record and streams are complete when this returns or raises
    `Canceled` or `Stopped`."""
    launch = runtime.launch(number, step, stdin=bool(step.stdin))
    record = StepRecord(StepLog(start_time=now()), container=attempt.container(number))
    bounds.begin(time.monotonic())
    meter = runtime.meter(number)
    with _streams(step, number, attempt, mounts) as (stdin, out, err):
        child = _start(launch, stdin, out, err)
    if isinstance(child, Ended):
        return _record(number, attempt, record, child)
    try:
        record = replace(record, process_group=child.pid)
        write(attempt.step(number), record)
        stopped, limit = outlast(child, meter, bounds, interrupts)
        if stopped or limit:
            stop(lambda sent: runtime.send(number, child.pid, sent), child, interrupts, bounds.grace_s, meter)
        failpoint("worker-step-ended")
        ended = runtime.ended(number, child.returncode)
        used = meter.end()
        ended = replace(ended, limit=limit) if limit else with_cause(with_kills(ended, used), attempt)
        _record(number, attempt, record, ended, used)
    finally:
        _clear(runtime, number, child)
    stopped = stopped or bool(limit) or was_stopped(child.returncode, ended, interrupts)
    keep_streams(step, number, attempt, mounts)
    if stopped:
        interrupts.check()
    return ended


def outlast(child: Child, meter: Meter, bounds: Bounds, interrupts: Interrupts) -> tuple[bool, str]:
    """Wait until the child ended, or is to be stopped: for a cancel, or for a limit, which is told."""

    def look() -> tuple[float, Sequence[int]]:
        pause, files = meter.look()
        return min(pause, bounds.look(meter.layers(), time.monotonic())), files

    try:
        return not interrupts.wait_for(child, look=look), ""
    except Exceeded as limit:
        return False, str(limit)


def was_stopped(returncode: int, ended: Ended, interrupts: Interrupts) -> bool:
    """Whether a signal that ended the step was meant for the whole attempt: a shutdown sends SIGTERM to the step as to
    its worker, and the step may be gone before the worker looks."""
    codes = {exit_code(returncode), ended.exit_code}
    until = time.monotonic() + TERM_APART_S
    while TERMINATED in codes and not interrupts.requested() and (left := until - time.monotonic()) > 0:
        interrupts.wait(left)
    return bool(codes & {TERMINATED, KILLED}) and interrupts.requested()


def _clear(runtime: Runtime, number: int, child: Child) -> None:
    if child.poll() is None:  # only after a fault
        child.kill()
        child.wait()
    try:
        runtime.clear(number, child.pid)
    except (Fault, OSError) as error:
        # As `Stopped`, so that whoever sees the outcome clears before anything else.
        raise Stopped(f"what is left of step {number} could not be cleared away: {error}") from error


def with_kills(ended: Ended, used: Usage | None) -> Ended:
    """A step goes on, or ends as it likes, when another of its processes was killed."""
    if not used or not used.killed_for_memory or "out of memory" in ended.note:
        return ended
    note = f"{used.killed_for_memory} of its processes were killed: out of memory"
    return replace(ended, note=f"{ended.note}; {note}" if ended.note else note)


def with_cause(ended: Ended, attempt: Attempt) -> Ended:
    """A step that failed on a full disk failed for want of space, whatever it said."""
    if ended.exit_code == 0 or ended.problem:
        return ended
    disk = os.statvfs(attempt.directory)
    if disk.f_bavail * disk.f_frsize >= FULL_BYTES:
        return ended
    return replace(ended, problem="no space left on the disk that holds the task's files")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def stop(
    send: Callable[[signal.Signals], None],
    child: Child,
    interrupts: Interrupts,
    grace_s: float,
    meter: Meter,
) -> None:
    """Ask the child to end, and make it end once the grace is over."""
    send(signal.SIGTERM)
    if not interrupts.wait_for(child, time.monotonic() + grace_s, meter.look):
        send(signal.SIGKILL)
        if not interrupts.wait_for(child, time.monotonic() + KILL_WAIT_S, meter.look):
            child.kill()
            child.wait()


def keep_streams(step: Step, number: int, attempt: Attempt, mounts: Sequence[Mount]) -> None:
    """Put what the step said where the task wants it."""
    for wanted, log in ((step.stdout, attempt.stdout(number)), (step.stderr, attempt.stderr(number))):
        if not wanted:
            continue
        path = container_path(wanted, f"stream {wanted}")
        mount = covering(mounts, path)
        if mount is None or not relative(mount, path):
            raise Fault(f"{wanted} cannot be written: no writable directory is there")
        file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            put(file, "/".join([mount.source, *relative(mount, path)]))
        except OSError as error:
            if isinstance(error, NotADirectoryError | IsADirectoryError | PermissionError):
                raise Fault(f"{wanted} cannot be written: {error.strerror}") from error
            raise
        finally:
            os.close(file)


class _streams:  # noqa: N801  # used as a function
    """The three streams of a step, closed in the worker once the step has them."""

    def __init__(self, step: Step, number: int, attempt: Attempt, mounts: Sequence[Mount]) -> None:
        self.files: list[IO[bytes]] = []
        self.step, self.number, self.attempt, self.mounts = step, number, attempt, mounts

    def __enter__(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        self.files = [
            self._stdin(),
            self.attempt.stdout(self.number).open("ab"),
            self.attempt.stderr(self.number).open("ab"),
        ]
        return self.files[0], self.files[1], self.files[2]

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()

    def _stdin(self) -> IO[bytes]:
        path = self.step.stdin
        if not path:
            return open(os.devnull, "rb")  # noqa: PTH123  # closed by __exit__
        try:
            return os.fdopen(open_regular(self.mounts, container_path(path, f"stdin {path}")), "rb")
        except FileNotFoundError as error:
            raise Fault(f"stdin {path} of step {self.number} does not exist") from error


def _start(launch: Launch, stdin: IO[bytes], out: IO[bytes], err: IO[bytes]) -> Child | Ended:
    kept = os.environ if launch.environment is None else launch.environment  # noqa: TID251  # handed on, not read
    environment = {**kept, **launch.added}
    if launch.standby is not None:
        streams = [stream.fileno() for stream in (stdin, out, err)]
        forked = launch.standby.start(launch.argv, environment, launch.directory, streams)
        if forked is not None:
            return forked
    tie = dying_with(os.getpid(), launch.dies_by) if launch.dies_by else None
    try:
        return subprocess.Popen(
            launch.argv, stdin=stdin, stdout=out, stderr=err, env=environment, cwd=launch.directory,
            start_new_session=True, pass_fds=launch.files,
            preexec_fn=tie,  # noqa: PLW1509  # no threads run here
        )  # fmt: skip
    except FileNotFoundError as error:
        return Ended(NOT_FOUND, note=f"the command cannot be run: {error.strerror}: {error.filename}")
    except PermissionError as error:
        return Ended(NOT_EXECUTABLE, note=f"the command cannot be run: {error.strerror}: {error.filename}")
    except (OSError, ValueError) as error:
        return Ended(NOT_EXECUTABLE, note=f"the command cannot be run: {error}: {described(launch.argv)}")
    finally:
        for file in launch.files:
            os.close(file)


def _record(number: int, attempt: Attempt, record: StepRecord, ended: Ended, used: Usage | None = None) -> Ended:
    log = replace(
        record.log,
        exit_code=ended.exit_code,
        end_time=now(),
        stdout=tail(attempt.stdout(number)),
        stderr=tail(attempt.stderr(number)),
    )
    record = replace(record, log=log, process_group=None)
    if used is not None:
        record = replace(record, peak_memory_bytes=used.peak_memory_bytes, cpu_seconds=used.cpu_seconds)
    try:
        write(attempt.step(number), record)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        attempt.reserve.unlink(missing_ok=True)
        write(attempt.step(number), record)
    return ended
