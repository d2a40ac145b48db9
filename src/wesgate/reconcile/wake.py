"""Where workers on this machine push: a datagram with a task's key asks for a look at it now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

log = logging.getLogger(__name__)

_KEY = re.compile(r"wg-[0-9a-f]{32}-[0-9]{1,9}")


class WakeSocket:
    """A unix datagram socket of this process in `directory`, for as long as the block lasts. Each reconciler has its
    own; a worker sends to all. What is sent is checked: it is only a hint, and anyone may send it."""

    def __init__(self, directory: Path, told: Callable[[str], None]) -> None:
        self._directory = directory
        self._told = told
        self._path = directory / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> WakeSocket:
        self._directory.mkdir(parents=True, exist_ok=True)
        _sweep(self._directory)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                key = self._socket.recv(128).decode("ascii", "replace")
                if _KEY.fullmatch(key):
                    self._told(key)


def _sweep(directory: Path) -> None:
    """Remove the sockets of processes that were killed."""
    for path in directory.iterdir():
        pid = path.name.partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
