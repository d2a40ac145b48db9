"""Dry runs for the API: each in a process of its own, which may be killed, and few at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from wesgate.core.environment import for_fetching
from wesgate.core.errors import Unavailable
from wesgate.core.spec import RunSpec
from wesgate.engines.miniwdl.config import HeadPlan, MiniwdlSettings
from wesgate.engines.miniwdl.head.bounds import TOO_MUCH, WALL_S
from wesgate.sources import arrive

AT_A_TIME = 2
WAITING = 16
WAIT_S = 10.0
TOO_SLOW = f"the workflow could not be fetched and read within {WALL_S:.0f} s"
NOT_FETCHED = "a dry run fetches nothing from object stores, whose credentials only runs have: attach the workflow"
BUSY = "too many dry runs are under way; try again shortly"

log = logging.getLogger(__name__)


class DryRuns:
    """What `check` finds of runs that are not to be run; Unavailable while too many ask. `environment` is this
    machine's, which the look has as far as it fetches."""

    def __init__(
        self, settings: MiniwdlSettings, files_root: Path, environment: Mapping[str, str], python: str = sys.executable
    ) -> None:
        self._settings = settings
        self._files_root = files_root
        self._environment = for_fetching(environment)
        self._python = python
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._waiting = 0

    async def __call__(self, spec: RunSpec) -> dict[str, Any]:
        """`spec.directory` holds the attachments, and is the caller's to remove."""
        directory = Path(spec.directory)
        plan = HeadPlan.of(spec, self._settings, self._files_root)
        (directory / "inputs.json").write_text(json.dumps(dict(spec.params)), encoding="utf-8")
        (directory / "head.json").write_text(plan.write(), encoding="utf-8")
        if arrive.object_inputs(spec, self._settings.stores):
            return _unread(NOT_FETCHED)
        async with self._slot():
            return await self._check(directory)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING:
            raise Unavailable(BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable(BUSY) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _check(self, directory: Path) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            self._python, "-P", "-m", "wesgate.engines.miniwdl.head.check", str(directory),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd=directory, start_new_session=True,
            env={"PATH": os.defpath, **self._environment, "LANG": "C.UTF-8", "HOME": str(directory)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(WALL_S):
                answer, _ = await child.communicate()
        except TimeoutError:
            return _unread(TOO_SLOW)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # git ends with it, see sources/git.py
            await child.wait()
        return _read(answer, child.returncode)


def _read(answer: bytes, code: int | None) -> dict[str, Any]:
    if code == -signal.SIGXCPU:
        return _unread(TOO_MUCH)
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        log.warning("wdl.unread", extra={"code": code})
        return _unread(f"reading the workflow ended miniwdl (code {code})")
    return found


def _unread(message: str) -> dict[str, Any]:
    return {"valid": False, "workflow_type_version": "", "digest": "", "inputs": [], "errors": [{"message": message}]}
