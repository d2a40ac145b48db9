"""Measure what a step uses: its processes as the kernel sums them up, or the control group of its container."""

from __future__ import annotations

import ctypes
import os
import posixpath
import re
import resource
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

CGROUPS = "/sys/fs/cgroup"

CONTAINER_ID = re.compile("[0-9a-f]{64}")
"""In the name of every container's group. Without groups of its own (podman without root, on cgroups v1) a container
is in the group of whoever started it."""

FIRST_PAUSE_S, LEAST_PAUSE_S, MOST_PAUSE_S = 0.005, 0.05, 1.0
AT_ONCE_S = 2.0
"""How long a container is looked for often: one that runs for an instant would be missed."""

SHARE = 0.05
"""Of the time that a step has run, the pause until it is looked at again."""


PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
REAP_S = 1.0

IMAGE_VOLUME = re.compile("/volumes/[0-9a-f]{64}/_data$")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a step used."""

    peak_memory_bytes: int
    cpu_seconds: float
    killed_for_memory: int = 0
    """How many of its processes the kernel killed."""


class Meter(Protocol):
    """Measures one step from just before its start."""

    def look(self) -> tuple[float, Sequence[int]]:
        """Measure now. Seconds until that is to be done again, and descriptors that become readable if it is to be
        done at once."""
        ...

    def layers(self) -> Sequence[str]:
        """Directories of the host that the step alone fills, besides its mounts, as far as they are known."""
        ...

    def end(self) -> Usage | None:
        """What the step used, now that it ended; None if that could not be measured."""
        ...


def _children() -> tuple[float, int]:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass(slots=True)
class Processes:
    """A step that is a child of this process, and the only one that ends meanwhile, with the `orphan` that it leaves.

    The time is that of the child and of all below it that were waited for: not of what the step left running. The peak
    is the resident memory of the largest single process, not the sum of those that ran together; shared pages count
    whole. It is never less than what this worker held when it forked, since Linux carries the mark over `exec`.
    """

    orphan: Callable[[], int | None] = lambda: None
    before_s: float = field(default_factory=lambda: _children()[0])

    def look(self) -> tuple[float, Sequence[int]]:
        return 3600.0, ()

    def layers(self) -> Sequence[str]:
        return ()

    def end(self) -> Usage | None:
        orphan = self.orphan()
        if orphan is not None:
            reap(orphan)
        seconds, peak = _children()
        return Usage(peak, seconds - self.before_s)


def adopt_orphans() -> None:
    """From now on, what a child of this process leaves behind becomes its child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap(pid: int) -> None:
    """Wait a moment for this child, or an orphan that became one, so that what it used is known. Another process's is
    left alone."""
    with suppress(OSError, AttributeError):
        process = os.pidfd_open(pid)
        try:
            select.select([process], [], [], REAP_S)
            os.waitpid(pid, os.WNOHANG)
        finally:
            os.close(process)


@dataclass(slots=True)
class Container:
    """A step in a container, whose first process is found by `find` as soon as there is one.

    All that the kernel charges to the control group counts: every process together, with the cache of the files that
    they used, and the moment in which the runtime set the container up. When the first process ends, all others of the
    container have, and the group stays a moment longer: read then, it is exact. It is read now and then before, in case
    it is gone too soon.
    """

    find: Callable[[], int | None]
    began: float = field(default_factory=time.monotonic)
    _pid: int | None = field(default=None, init=False)
    _process: int | None = field(default=None, init=False)
    _files: dict[str, str] = field(default_factory=dict, init=False)
    _layers: tuple[str, ...] = field(default=(), init=False)
    _usage: Usage | None = field(default=None, init=False)

    def look(self) -> tuple[float, Sequence[int]]:
        ran = time.monotonic() - self.began
        pause = min(MOST_PAUSE_S, max(LEAST_PAUSE_S, ran * SHARE))
        if self._pid is None:
            self._begin()
            return (FIRST_PAUSE_S if ran < AT_ONCE_S and self._pid is None else pause), self._watched()
        if self._process is not None:
            self._read()
            if select.select([self._process], [], [], 0)[0]:
                self._close()
        return pause, self._watched()

    def layers(self) -> Sequence[str]:
        # Its first process enters the container's root a moment after it began; until then it sees the host's.
        if not self._layers and self._process is not None:
            with suppress(OSError):
                ours, its = (
                    Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape") for pid in ("self", self._pid)
                )
                if upper_directories(its) != upper_directories(ours):
                    root = f"/proc/{self._pid}/root"
                    self._layers = (*upper_directories(its), *(root + point for point in image_volumes(its)))
        return self._layers

    def end(self) -> Usage | None:
        self._read()
        self._close()
        return self._usage

    def _begin(self) -> None:
        self._pid = self.find()
        if self._pid is None:
            return
        with suppress(OSError, AttributeError):
            self._process = os.pidfd_open(self._pid)
            groups, ours = (Path(f"/proc/{pid}/cgroup").read_text() for pid in (self._pid, "self"))
            self._files = counters(groups, ours)
            self._read()

    def _read(self) -> None:
        found = measured(self._files)
        if found is not None:
            peak = self._usage.peak_memory_bytes if self._usage else 0
            self._usage = replace(found, peak_memory_bytes=max(peak, found.peak_memory_bytes))

    def _watched(self) -> Sequence[int]:
        return () if self._process is None else (self._process,)

    def _close(self) -> None:
        if self._process is not None:
            os.close(self._process)
            self._process = None


def counters(
    groups: str, ours: str, root: str = CGROUPS, exists: Callable[[str], bool] = os.path.exists
) -> dict[str, str]:
    """Which files count memory (`memory`), time (`cpu`) and processes killed for memory (`killed`) for a container, by
    the groups of its first process in /proc/<pid>/cgroup; `ours` are those of this one. Empty if they are not to be
    seen. See cgroups(7)."""
    own = dict[str, str]()
    for line in set(groups.splitlines()) - set(ours.splitlines()):
        _, names, path = line.split(":", 2)
        if CONTAINER_ID.search(path):
            own |= dict.fromkeys(names.split(","), path.lstrip("/"))

    def first(*candidates: tuple[str, str]) -> str | None:
        paths = [posixpath.join(root, name, own[name], file) for name, file in candidates if name in own]
        return next(filter(exists, paths), None)

    memory = first(("memory", "memory.max_usage_in_bytes"), ("", "memory.peak"), ("", "memory.current"))
    cpu = first(("cpuacct", "cpuacct.usage"), ("", "cpu.stat"))
    killed = first(("memory", "memory.oom_control"), ("", "memory.events"))
    return {"memory": memory, "cpu": cpu, "killed": killed} if memory and cpu and killed else {}


def measured(files: Mapping[str, str]) -> Usage | None:
    """What these files count now."""
    if not files:
        return None
    try:
        memory, cpu, killed = (Path(files[name]).read_text() for name in ("memory", "cpu", "killed"))
    except OSError:
        return None
    micro = re.search(r"^usage_usec (\d+)$", cpu, re.MULTILINE)
    kills = re.search(r"^oom_kill (\d+)$", killed, re.MULTILINE)
    # cpuacct.usage is one number, of nanoseconds.
    return Usage(int(memory), int(micro[1]) / 1e6 if micro else int(cpu) / 1e9, int(kills[1]) if kills else 0)


def image_volumes(mountinfo: str) -> tuple[str, ...]:
    """Where in a container the volumes are that its image asked for: without a name, below the runtime's storage."""
    mounts = (line.split(" ") for line in mountinfo.splitlines())
    return tuple(unescaped(fields[4]) for fields in mounts if IMAGE_VOLUME.search(fields[3]))


def upper_directories(mountinfo: str) -> tuple[str, ...]:
    """Where an overlay keeps what is written to a container's root: none if the root is of another kind."""
    for line in mountinfo.splitlines():
        fields, _, kind = line.partition(" - ")
        upper = re.search(r"[ ,]upperdir=([^,]*)", kind)
        if fields.split(" ")[4] == "/" and kind.startswith("overlay ") and upper:
            path = unescaped(upper[1])
            return (path,) if path.startswith("/") else ()
    return ()


def unescaped(text: str) -> str:
    """A path of mountinfo, where white space and backslashes are three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
