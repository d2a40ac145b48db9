"""Who reconciles on this machine: each has a name, a lock that dies with it, and a socket where workers push.

Nothing depends on it. Leases of a reconciler that is gone run out by themselves; the lock only proves sooner that it is
gone, for those who share its data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

log = logging.getLogger(__name__)

_KEY = re.compile(r"wg-[0-9a-f]{32}-[0-9]{1,9}")
_LOCK, _SOCKET = ".lock", ".wake"


def new_name() -> str:
    """A holder's name: of this process alone, and never used again."""
    return f"{socket.gethostname()[:24]}-{os.getpid()}-{secrets.token_hex(4)}"


class Presence:
    """`name` is here for as long as the block lasts. What workers send is checked and handed to `told`: it is only a
    hint, and anyone may send it."""

    def __init__(self, directory: Path, name: str, told: Callable[[str], None]) -> None:
        self._directory = directory
        self._name = name
        self._told = told
        self._stack = ExitStack()

    def __enter__(self) -> Presence:
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._stack:
            self._hold()
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def gone(self) -> Iterator[str]:
        """The names of those who were here and were killed; what is left of each is removed after its turn."""
        for path in sorted(self._directory.glob(f"*{_LOCK}")):
            if path.name.startswith("."):
                continue  # somebody is just coming
            with contextlib.suppress(FileNotFoundError), path.open("rb") as lock:
                if _locked(lock.fileno()):
                    name = path.name.removesuffix(_LOCK)
                    yield name
                    self._path(name, _SOCKET).unlink(missing_ok=True)
                    path.unlink()

    def _hold(self) -> None:
        # It gets its name when it is locked already: nobody may find it free before.
        part = self._path(f".{self._name}", _LOCK)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = part.rename(self._path(self._name, _LOCK))
        self._stack.callback(path.unlink, missing_ok=True)

    def _open(self) -> None:
        path = self._path(self._name, _SOCKET)
        ear = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ear.setblocking(False)
        try:
            ear.bind(str(path))
        except OSError as error:  # a path of a socket has at most 107 bytes
            log.warning("reconcile.no_wake_ups", extra={"path": str(path), "error": str(error)})
            return
        self._stack.callback(path.unlink, missing_ok=True)
        loop = asyncio.get_running_loop()
        loop.add_reader(ear, self._hear, ear)
        self._stack.callback(loop.remove_reader, ear)

    def _hear(self, ear: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                key = ear.recv(128).decode("ascii", "replace")
                if _KEY.fullmatch(key):
                    self._told(key)

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}{suffix}"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
