"""What every measurement needs: rounds that take turns, medians, and the processor time and memory of processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    """Make detached processes of ours come back to this process when their parent ends, so that they can be found."""
    if sys.platform != "linux":
        raise SystemExit("bench: finding detached processes needs Linux")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the parent of detached processes")


def machine_cpu() -> float:
    """Seconds of processor time that this machine has spent so far. What short-lived detached processes take, and the
    kernel on their behalf, is in no other number."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


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


def bury() -> None:
    """Wait for adopted processes that have ended."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
