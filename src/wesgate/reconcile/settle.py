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
TOLD_PAUSE = timedelta(seconds=10)
"""A run that took something from the call cache is known to have done so after this: heads gather what they tell."""
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
        self._woken = {True: asyncio.Event(), False: asyncio.Event()}
        self._stopping = threading.Event()

    def wake(self) -> None:
        """A run may have ended."""
        for woken in self._woken.values():
            woken.set()

    def stop(self) -> None:
        """Leave off, and return from `run`."""
        self._stopping.set()
        self.wake()

    async def run(self) -> None:
        """Serve until stopped: the new ends and, beside them, what may take long, so that no run has to wait for the
        files of another before it is found."""
        async with asyncio.TaskGroup() as group:
            for new in (True, False):
                group.create_task(self._serve(new=new))

    async def _serve(self, *, new: bool) -> None:
        is_first = not new
        while not self._stopping.is_set():
            self._woken[new].clear()
            rest = LONGEST_REST_S
            try:
                if is_first and self._keep is not None:
                    await settle.bring_forward(self._database, self._keep)
                is_first = False
                rest = 0.0 if await self.sweep(new=new) == BATCH else await self._rest(new=new)
            except (Unavailable, TimeoutError) as error:
                log.warning("settle.paused", extra={"error": str(error)})
            except Exception:
                log.exception("settle.fault")
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken[new].wait()

    async def sweep(self, *, new: bool) -> int:
        """Settle some of the runs that are due; how many there were. New ones that want files removed are left to a
        sweep of the others."""
        due = await settle.claim(self._database, BATCH, self._keep, new=new)
        if not due:
            return 0
        failpoint("settle-claimed")
        if kept := [run.id for run in due if not run.is_over]:
            await runs.add_words(self._database, kept)
        for run in due:
            await self._settle(run, new=new)
        return len(due)

    async def _settle(self, run: Ended, *, new: bool) -> None:
        pause = await self._cleared(run, new=new)
        if pause is not None:
            await settle.later(self._database, run, pause)
            return
        failpoint("settle-removed")
        await settle.settled(self._database, run, self._keep, removed=run.is_over)
        failpoint("settle-settled")

    async def _cleared(self, run: Ended, *, new: bool) -> timedelta | None:
        """Nothing is left to be removed of a run now; or the pause until that is tried again."""
        if run.is_alive:
            return ALIVE_PAUSE
        if not (run.is_over or is_wanted(run)):
            return None
        if new:
            self._woken[False].set()
            return timedelta(0)
        return await self._removed(run)

    async def _removed(self, run: Ended) -> timedelta | None:
        """Remove what is to be removed of a run; if that could not be done now, the pause until it is tried again.

        First what the call cache has of it, so that no further run comes to need its files; then, once it is known
        which do, and these have ended, the files."""
        try:
            if await asyncio.to_thread(self._forget, run):
                return TOLD_PAUSE
            if run.is_in_use:
                return ALIVE_PAUSE
            keys = await settle.attempts(self._database, run)
            await asyncio.to_thread(remove, doomed(self._files, run, keys), self._stopping.is_set)
        except Interrupted:
            return timedelta(0)
        except OSError as error:
            log.warning("files.left", extra={"run": str(run.id), "error": str(error)})
            return FAULT_PAUSE
        log.info("files.removed", extra={"run": str(run.id), "all": run.is_over})
        return None

    def _forget(self, run: Ended) -> bool:
        """Let the call cache answer nobody with what this run made; False if that was done before."""
        names = self._files / run.directory / CACHE_ENTRIES
        if not is_a_runs(names.parent) or not os.path.lexists(names):
            return False
        try:
            remove((*_cache_entries(names), names), self._stopping.is_set)
        except OSError as error:
            log.warning("files.left", extra={"run": str(run.id), "error": str(error)})
        return not os.path.lexists(names)  # one that has to stay keeps nothing else

    async def _rest(self, *, new: bool) -> float:
        seconds = await settle.next_due(self._database, new=new)
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
    if not is_a_runs(directory):
        return
    attempts = [directory.parent / key for key in keys]
    if run.is_over:
        yield directory / OUTPUTS_LISTING  # from here on, clients are told that they are gone
    if directory.is_dir():
        yield from (path for path in directory.iterdir() if OF_A_RUN.fullmatch(path.name))
    if run.is_over:
        yield from (directory, *attempts)
        return
    yield from (attempt / name for attempt in attempts for name in OF_A_TASK)


def is_a_runs(directory: Path) -> bool:
    """Whether its name is that of a run's directory: from no other anything is removed."""
    return _RUN.fullmatch(directory.name) is not None


def _cache_entries(names: Path) -> Iterator[Path]:
    """What other runs of the owner could take from a run's calls, by their names in its directory. It holds the values
    of outputs, and leads to the run's files."""
    with suppress(OSError):
        # Tasks without mounts can put anything here: nothing is followed, and nothing waited for.
        opened = os.open(names, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as file:
            for name in file.read(_NAMES_BYTES).decode("utf-8", "replace").splitlines():
                if _ENTRY.fullmatch(name):
                    yield names.parent.parent / CACHE / f"{name}.json"
