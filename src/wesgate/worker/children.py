"""The children of a worker: what is asked of them, and how they are tied to it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

UNTIED = 126
"""The exit code of a child whose worker was gone before it could be tied to it."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child(Protocol):
    """A child process, as `subprocess.Popen` and `warm.Forked` have it. `returncode` is None until its end was seen."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...

    def kill(self) -> None: ...


def dying_with(parent: int, by: int) -> Callable[[], None]:
    """What a child of this process calls so that the kernel sends it a signal when its parent ends. Where kernels
    cannot do that, nothing."""

    def tie() -> None:
        if _libc is not None:
            with suppress(OSError):
                _libc.prctl(PR_SET_PDEATHSIG, by)
            # The kernel tells of no death that came before.
            if os.getppid() != parent:
                os._exit(UNTIED)

    return tie


class Forked:
    """A child that this process forked itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        code = self._look(0)
        assert code is not None
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _look(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode
