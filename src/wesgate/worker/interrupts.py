"""Wake the worker for what it waits for: an ended child, a cancel."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wesgate.worker.children import Child
from wesgate.worker.faults import Canceled, Stopped

GLANCE_S = 1.0
"""How often the cancel marker is looked for, should the signal be lost."""

Look = Callable[[], tuple[float, Sequence[int]]]
"""Does something while a child is waited for. Seconds until it is to be done again, and descriptors that become
readable if that is to be at once."""


def idle() -> tuple[float, Sequence[int]]:
    return GLANCE_S, ()


@dataclass(slots=True)
class Interrupts:
    """Whether the attempt is to stop.

    A cancel is the marker; the signal only says to look. SIGTERM without the marker is the machine's: it shuts down, or
    a scheduler takes it away.
    """

    marker: Path
    terminated: bool = False
    _reader: int = field(default=-1, init=False)

    def install(self) -> None:
        """Take over this process's SIGTERM and SIGCHLD."""
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the default would not write to the wake-up pipe
        # Whoever starts a worker blocks SIGTERM, so that one that comes early is not lost and does not kill.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def check(self) -> None:
        """Raise `Canceled` or `Stopped` if this attempt is to stop."""
        if self.marker.exists():
            raise Canceled("canceled")
        if self.terminated:
            raise Stopped("the worker was stopped with its machine (SIGTERM)")
        if not self.marker.parent.exists():
            raise Stopped("the attempt's directory was removed")

    def requested(self) -> bool:
        # Without its directory nobody could find, cancel or read this attempt any more.
        return self.terminated or self.marker.exists() or not self.marker.parent.exists()

    def wait(self, seconds: float, files: Sequence[int] = ()) -> None:
        """Sleep, at most this long, until a signal comes in or one of these descriptors can be read."""
        ready, _, _ = select.select([self._reader, *files], [], [], seconds)
        if self._reader in ready:
            os.read(self._reader, 4096)

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait for something that other threads do; raise as soon as the attempt is to stop."""
        pause = 0.001
        while not done():
            self.check()
            self.wait(pause)
            pause = min(pause * 2, 0.1)

    def wait_for(self, child: Child, deadline: float | None = None, look: Look = idle) -> bool:
        """Wait until this child ended (True), or until a cancel or the deadline on the monotonic clock (False). What
        `look` raises ends the wait."""
        while child.poll() is None:
            left = GLANCE_S if deadline is None else min(GLANCE_S, deadline - time.monotonic())
            if left <= 0 or (deadline is None and self.requested()):
                return False
            pause, files = look()
            self.wait(min(left, pause), files)
        return True

    def _terminate(self, *_: object) -> None:
        self.terminated = True
