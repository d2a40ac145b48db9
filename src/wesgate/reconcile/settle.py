"""Settles runs that ended: lets them be found by their outputs, and removes files that are not to be kept any longer.

Whatever it does can be done again, so it may be killed anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from wesgate.core.errors import Unavailable
from wesgate.core.failpoints import failpoint
from wesgate.core.paths import CACHE, CACHE_ENTRIES, OUTPUTS_LISTING
from wesgate.core.spec import DeleteAfter
from wesgate.core.states import State
from wesgate.db import runs, settle
from wesgate.db.session import Database
from wesgate.db.settle import Ended
from wesgate.reconcile.removal import Interrupted, remove

log = logging.getLogger(__name__)

BATCH = 20
LONGEST_REST_S = 5.0
"""Nobody tells of a run that ended: it is looked for so often."""
ALIVE_PAUSE = timedelta(minutes=1)
FAULT_PAUSE = timedelta(days=1)

OF_A_RUN = re.compile(r"attempt-[0-9]+|downloads|source")
OF_A_TASK = ("files", "inputs", "tmp", "reserve")
"""What is in the directories of a run and of its tasks for the tasks alone. Results, what was sent, and the streams
that are served stay."""

_RUN = re.compile(r"run-[0-9a-f]{32}")
_ENTRY = re.compile(r"\w+/\w+/\w+", re.ASCII)
_NAMES_BYTES = 16 << 20


class Settler:
    """Settles what is due until it is stopped. Any number of them, in any number of processes, may share a database.
    Files are kept for `keep` after a run has ended, without it for ever."""

    channel = ""

    def __init__(self, database: Database, files: Path, keep: timedelta | None = None) -> None:
        self._database = database
        self._files = files
        self._keep = keep
        self._woken = asyncio.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """A run may have ended."""
        self._woken.set()

    def stop(self) -> None:
        """Leave off, and return from `run`."""
        self._stopping.set()
        self.wake()

    async def run(self) -> None:
        """Serve until stopped."""
        is_new = self._keep is not None
        while not self._stopping.is_set():
            self._woken.clear()
            rest = LONGEST_REST_S
            try:
                if is_new and self._keep is not None:
                    await settle.bring_forward(self._database, self._keep)
                    is_new = False
                rest = 0.0 if await self.sweep() == BATCH else await self._rest()
            except (Unavailable, TimeoutError) as error:
                log.warning("settle.paused", extra={"error": str(error)})
            except Exception:
                log.exception("settle.fault")
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken.wait()

    async def sweep(self) -> int:
        """Settle some of the runs that are due; how many there were."""
        due = await settle.claim(self._database, BATCH, self._keep)
        if not due:
            return 0
        failpoint("settle-claimed")
        if new := [run.id for run in due if not run.is_over]:
            await runs.add_words(self._database, new)
        for run in due:
            await self._settle(run)
        return len(due)

    async def _settle(self, run: Ended) -> None:
        if run.is_alive:
            await settle.later(self._database, run, ALIVE_PAUSE)
            return
        try:
            if run.is_over or is_wanted(run):
                keys = await settle.attempts(self._database, run)
                await asyncio.to_thread(remove, doomed(self._files, run, keys), self._stopping.is_set)
                log.info("files.removed", extra={"run": str(run.id), "all": run.is_over})
        except Interrupted:
            await settle.later(self._database, run, timedelta(0))
            return
        except (OSError, RecursionError) as error:
            log.warning("files.left", extra={"run": str(run.id), "error": str(error)})
            await settle.later(self._database, run, FAULT_PAUSE)
            return
        failpoint("settle-removed")
        await settle.settled(self._database, run, self._keep, removed=run.is_over)
        failpoint("settle-settled")

    async def _rest(self) -> float:
        seconds = await settle.next_due(self._database)
        return LONGEST_REST_S if seconds is None else min(LONGEST_REST_S, max(0.02, seconds))


def is_wanted(run: Ended) -> bool:
    """Whether this run wants the files of its tasks removed now."""
    succeeded = run.state is State.COMPLETE
    match run.delete_after:
        case DeleteAfter.SUCCESS:
            return succeeded
        case DeleteAfter.FAILURE:
            return not succeeded
        case DeleteAfter.ALWAYS:
            return True
        case DeleteAfter.NEVER:
            return False


def doomed(files: Path, run: Ended, keys: Sequence[str]) -> Iterable[Path]:
    """What is to be removed of a run: all of it, or what its tasks had for themselves."""
    directory = files / run.directory
    if not _RUN.fullmatch(directory.name):
        return
    attempts = [directory.parent / key for key in keys]
    if run.is_over:
        yield directory / OUTPUTS_LISTING  # from here on, clients are told that they are gone
    if directory.is_dir():
        yield from (path for path in directory.iterdir() if OF_A_RUN.fullmatch(path.name))
    if run.is_over:
        yield from (*_cache_entries(directory), directory, *attempts)
        return
    yield from (attempt / name for attempt in attempts for name in OF_A_TASK)


def _cache_entries(directory: Path) -> Iterator[Path]:
    """What other runs of the owner could have taken from this one's calls: it holds the values of their outputs."""
    with suppress(OSError):
        # Tasks without mounts can put anything here: nothing is followed, and nothing waited for.
        names = os.open(directory / CACHE_ENTRIES, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(names, "rb") as file:
            for name in file.read(_NAMES_BYTES).decode("utf-8", "replace").splitlines():
                if _ENTRY.fullmatch(name):
                    yield directory.parent / CACHE / f"{name}.json"
