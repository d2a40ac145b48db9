"""How much of the disk an attempt fills, found by walks that take a small part of a processor however much there is."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice

from wesgate.core.paths import within
from wesgate.worker.faults import Exceeded

SLICE_S = 0.02
"""How long a look walks at a time, so that a cancel is heeded; the next look goes on where this one stopped."""

REST = 20
"""A walk rests this many times as long as it took."""

LEAST_PAUSE_S, MOST_PAUSE_S = 0.25, 5.0
A_FEW = 64
"""Entries between two looks at the clock."""

ENTRY_BYTES = 512
"""What a name and an inode cost besides their blocks: empty files fill a disk as well."""

MOST_ENTRIES = 5_000_000
MOST_DEPTH = 200
"""A walk holds one descriptor for each level, of the 1024 that a process has on many machines."""

TOO_DEEP = "it made directories too deep for their files to be counted"

KNOWN_BEFORE = 10_000
"""A directory that holds more than this when the steps begin is not counted: to walk it again and again costs too
much."""


@dataclass(slots=True)
class Gauge:
    """Whether an attempt keeps to `limit_bytes` in these directories; `before` is what was in them from the start."""

    limit_bytes: int
    places: tuple[str, ...]
    before: int = 0
    _walk: Iterator[int] | None = field(default=None, init=False)
    _found: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)

    def look(self, more: Sequence[str], now: float) -> float:
        """Seconds until the next look; `Exceeded` once too much is there. `more` are directories of the step alone."""
        if now < self._due:
            return self._due - now
        if self._walk is None:
            self._walk, self._found = sizes([*self.places, *more]), 0
        finished = self._go_on(self._walk, now + SLICE_S)
        cost = time.monotonic() - now
        if finished:
            self._walk = None
        pause = min(MOST_PAUSE_S, max(LEAST_PAUSE_S, cost * REST))
        self._due = now + cost + pause
        return pause

    def _go_on(self, walk: Iterator[int], until: float) -> bool:
        while some := list(islice(walk, A_FEW)):
            self._found += sum(some)
            if self._found > self.limit_bytes + self.before:
                gigabytes = self.limit_bytes / 1e9
                raise Exceeded(f"it wrote more than the {gigabytes:g} GB of disk that the task may use")
            if time.monotonic() > until:
                return False
        return True


def gauge(limit_gb: float, own: Sequence[str], given: Sequence[str]) -> Gauge:
    """A gauge for the attempt's `own` directories and those that it is `given` for writing, where what was there
    before does not count."""
    apart = [place for place in sorted(set(given)) if not any(within(place, mine) for mine in own)]
    outermost = [place for place in apart if not any(place != other and within(place, other) for other in apart)]
    before = {place: _before(place) for place in outermost}
    counted = [place for place, found in before.items() if len(found) <= KNOWN_BEFORE]
    return Gauge(int(limit_gb * 1e9), (*own, *counted), sum(sum(before[place]) for place in counted))


def _before(place: str) -> list[int]:
    """What is in a directory from the start, up to more than is counted: so is one whose end is too deep."""
    try:
        return list(islice(sizes([place]), KNOWN_BEFORE + 1))
    except Exceeded:
        return [0] * (KNOWN_BEFORE + 1)


def sizes(places: Sequence[str]) -> Iterator[int]:
    """The bytes that each file and directory below these takes, whatever changes there meanwhile. What cannot be read
    is left out; `Exceeded` if there is no end to it."""
    for number, entry in enumerate(chain.from_iterable(map(_entries, places))):
        yield _size(entry)
        if number >= MOST_ENTRIES:
            raise Exceeded("it made more files than can be counted")


def _entries(place: str) -> Iterator[os.DirEntry[str]]:
    levels = _listing(place)
    try:
        while levels:
            entry = _next(levels[-1])
            if entry is None:
                levels.pop().close()
                continue
            yield entry
            if entry.is_dir(follow_symlinks=False):
                levels += _listing(entry.path)
            if len(levels) > MOST_DEPTH:
                raise Exceeded(TOO_DEEP)
    finally:
        for level in levels:
            level.close()


def _listing(path: str) -> list[os._ScandirIterator[str]]:
    try:
        return [os.scandir(path)]
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Exceeded(TOO_DEEP) from error
        return []


def _next(level: os._ScandirIterator[str]) -> os.DirEntry[str] | None:
    with suppress(OSError):
        return next(level, None)
    return None


def _size(entry: os.DirEntry[str]) -> int:
    with suppress(OSError):
        seen = entry.stat(follow_symlinks=False)
        # Blocks, since a file with holes takes less than its length. Each name of a file counts for its share.
        links = 1 if stat.S_ISDIR(seen.st_mode) else max(1, seen.st_nlink)
        return seen.st_blocks * 512 // links + ENTRY_BYTES
    return 0
