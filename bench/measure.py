"""What every measurement needs: rounds that take turns, medians, and the processor time and memory of processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `measured` and `target` are in `unit`; `better` is the direction of the target."""

    name: str
    measured: float
    target: float
    unit: str
    better: str
    detail: str

    @property
    def met(self) -> bool:
        return self.measured <= self.target if self.better == "≤" else self.measured >= self.target


def by_turns(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each, measured A B A B …: what else the machine does then falls on all alike."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(found, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in found]


def adopt_orphans() -> None:
    """Make detached processes of ours come back to this process when their parent ends, so that their processor time
    can be counted."""
    if sys.platform != "linux":
        raise SystemExit("bench: counting the processor time of detached processes needs Linux")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the parent of detached processes")


class Spent:
    """Counts the processor time of everything below this process: `with Spent(without="postgres") as spent: …`.

    The kernel adds a process's time to its parent's when the parent waits for it. Children of a process that ignores
    SIGCHLD are waited for by nobody, so they are looked at every 10 ms while they live: what they do in their last
    10 ms is missed.
    """

    def __init__(self, *, without: str) -> None:
        self.seconds = 0.0
        self._without = without
        self._unwaited: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._look_once()
        self._before = self._waited() + sum(self._unwaited.values())
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()
        self._look_once()
        self.seconds = self._waited() + sum(self._unwaited.values()) - self._before

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self._look_once()

    def _look_once(self) -> None:
        for process in descendants(psutil.Process(), without=self._without):
            with contextlib.suppress(psutil.NoSuchProcess):
                if _is_unwaited(process):
                    name = (process.pid, process.create_time())
                    self._unwaited[name] = max(cpu(process), self._unwaited.get(name, 0.0))

    def _waited(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        alive = descendants(psutil.Process(), without=self._without)
        return ended.ru_utime + ended.ru_stime + sum(cpu(process) for process in alive if not _is_unwaited(process))


def _is_unwaited(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, OSError, StopIteration):
        status = Path(f"/proc/{process.ppid()}/status").read_text()
        ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
        return bool(int(ignored.split()[1], 16) >> (signal.SIGCHLD - 1) & 1)
    return False


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time of this process and of those children that it has waited for."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def pss(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory, shared pages divided among those who share them."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def descendants(root: psutil.Process, *, without: str = "") -> list[psutil.Process]:
    """All processes below this one, but for the trees of one name."""
    found, left_out = [], set[int]()
    for process in root.children(recursive=True):  # parents come before their children
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() in left_out or process.name() == without:
                left_out.add(process.pid)
            else:
                found.append(process)
    return found


def bury(known: Iterable[int]) -> None:
    """Wait for adopted processes that have ended; `known` have somebody else who waits for them."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
