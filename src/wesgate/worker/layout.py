"""What is where in an attempt's directory: the one agreement between a worker and the executor that starts it.

    <shared root>/<owner>/<key>/
        task.json       the order, written by the executor
        lock            flock'ed by the worker for its whole life; the kernel frees it however the worker dies
        worker.json     the process id of the worker that holds the lock; without it the lock's holder only starts one
        worker.log      what the worker itself had to say, for the operator
        started/        the start fence: made right before any user code, and never twice
        status.json     state while the attempt lives
        step-N.json     one record for each step that was started
        result.json     the outcome, written last
        cancel          marker: stop, and end CANCELED
        logs/           N.stdout and N.stderr of each step, as they are written
        files/          the host's side of writable container paths
        inputs/         inputs that came from a document or a URL
        tmp/            /tmp of sandboxed steps

Files that are read by others are written by rename, so that no reader sees half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wesgate.core.codec import dump, load, storable
from wesgate.core.report import TAIL_BYTES, StepLog, TaskReport
from wesgate.core.spec import Fetching, TaskSpec
from wesgate.core.states import State


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker keeps to, whatever the task asks for. `hidden` are the host's secret files, which sandboxes cover;
    `private` are the service's own directories, which besides no task may name. `disk_gb` is for tasks that ask for
    none; `gpus` is how many devices this machine has."""

    grace_s: float = 10.0
    pids: int = 4096
    network: bool = True
    visible: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    memory: bool = True
    disk_gb: float | None = None
    gpus: int = 0
    fetching: Fetching = field(default_factory=Fetching)


@dataclass(frozen=True, slots=True)
class Order:
    """All that a worker needs to know. `environment` is what steps that run host programs find besides their own:
    where programs and proxies are. `wake` is a directory of datagram sockets whose owners want to know of news."""

    key: str
    spec: TaskSpec
    runtime: str
    files_root: str
    wake: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    failpoints: str = ""
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """Who holds the lock."""

    pid: int


@dataclass(frozen=True, slots=True)
class Status:
    """How a living attempt stands."""

    state: State
    start_time: str | None = None
    system_logs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: its log, how to find what runs of it, and once it ended what it used."""

    log: StepLog
    process_group: int | None = None
    container: str = ""
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    state: State
    detail: str
    report: TaskReport
    infrastructure: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """The paths of one attempt."""

    directory: Path

    @property
    def key(self) -> str:
        return self.directory.name

    @property
    def order(self) -> Path:
        return self.directory / "task.json"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def worker(self) -> Path:
        return self.directory / "worker.json"

    @property
    def worker_log(self) -> Path:
        return self.directory / "worker.log"

    @property
    def started(self) -> Path:
        return self.directory / "started"

    @property
    def status(self) -> Path:
        return self.directory / "status.json"

    @property
    def result(self) -> Path:
        return self.directory / "result.json"

    @property
    def cancel(self) -> Path:
        return self.directory / "cancel"

    @property
    def files(self) -> Path:
        return self.directory / "files"

    @property
    def inputs(self) -> Path:
        return self.directory / "inputs"

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    @property
    def reserve(self) -> Path:
        return self.directory / "reserve"

    def step(self, number: int) -> Path:
        return self.directory / f"step-{number}.json"

    def stdout(self, number: int) -> Path:
        return self.directory / "logs" / f"{number}.stdout"

    def stderr(self, number: int) -> Path:
        return self.directory / "logs" / f"{number}.stderr"

    def container(self, number: int) -> str:
        return f"{self.key}-{number}"


def write(path: Path, value: Any, *, durable: bool = False) -> None:
    """Put this dataclass at this path as JSON; a reader sees the old file or the new one. `durable` waits until it is
    on the disk."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(dump(value), file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)


def keep_names(directory: Path) -> None:
    """Wait until what was made in this directory is on the disk: what `started` fences must not run anew after a loss
    of power."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read(path: Path) -> Mapping[str, Any] | None:
    """The JSON object at this path; None if there is none, or only a disk's idea of one."""
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_order(attempt: Attempt) -> Order | None:
    data = read(attempt.order)
    return load(Order, data) if data is not None else None


def read_status(attempt: Attempt) -> Status | None:
    data = read(attempt.status)
    return load(Status, data) if data is not None else None


def read_outcome(attempt: Attempt) -> Outcome | None:
    data = read(attempt.result)
    return load(Outcome, data) if data is not None else None


def read_steps(attempt: Attempt, count: int) -> list[StepRecord]:
    """The records of the steps that were started, in order."""
    found = (read(attempt.step(number)) for number in range(count))
    return [load(StepRecord, data) for data in found if data is not None]


def take_lock(attempt: Attempt) -> int | None:
    """The lock as an open file that whoever holds it may hand on; None if it is held."""
    lock = os.open(attempt.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def is_alive(attempt: Attempt) -> bool:
    """Whether a worker holds the lock, and not somebody who is about to start one."""
    return is_locked(attempt) and attempt.worker.exists()


def is_locked(attempt: Attempt) -> bool:
    """Whether there is a worker, or one may come. Looking does not disturb others who look."""
    with suppress(FileNotFoundError, NotADirectoryError):
        lock = os.open(attempt.lock, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


def tail(path: Path) -> str:
    """The end of a stream, as text whatever its bytes are; empty if there is no such file."""
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        return str(storable(file.read(TAIL_BYTES).decode("utf-8", errors="replace")))
    return ""
