"""How long a transfer may take, when it is to stop, and when it is tried again; the same for every kind of store."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from wesgate.storage.target import Broken, Refused

ATTEMPTS = 4
GLANCE_S = 0.25
"""How often whoever waits looks whether to go on."""

T = TypeVar("T")


class Patience(Protocol):
    """Whoever waits asks it how long it may."""

    def wait_s(self, most: float) -> float:
        """Seconds to wait now, at most these; `Refused` once there is no more to wait for."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may come, how long it may take, and when to give up: `stop` is asked often."""

    max_bytes: int
    timeout_s: float
    stop: Callable[[], bool]
    attempts: int = ATTEMPTS


@dataclass(slots=True)
class Transfer:
    """One transfer under way, or several that share their time. `deadline` is on the monotonic clock; else there is
    the bounds' time from now."""

    bounds: Bounds
    deadline: float = 0.0
    _look_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.deadline = self.deadline or time.monotonic() + self.bounds.timeout_s

    def wait_s(self, most: float) -> float:
        """See `Patience`."""
        now = time.monotonic()
        if now > self.deadline:
            raise Refused(f"it took longer than the {self.bounds.timeout_s:g} s allowed")
        if now >= self._look_at:
            self._look_at = now + GLANCE_S
            if self.bounds.stop():
                raise Refused("it was told to stop")
        return min(most, max(0.001, self.deadline - now))

    def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(self.wait_s(min(left, GLANCE_S)))

    def refuse_size(self, size: int) -> None:
        """`Refused` if this is more than may come."""
        if size > self.bounds.max_bytes:
            raise Refused(f"it is larger than the {self.bounds.max_bytes} bytes allowed: {size}")

    def retried(self, act: Callable[[], T], kept: Callable[[], int] = lambda: 0) -> T:
        """What this gives, tried again with pauses while it is `Broken`. A try that got further than any before it, by
        what it says is `kept`, is not counted."""
        attempt, reached = 1, 0
        while True:
            try:
                return act()
            except Broken:
                attempt, reached = (1, kept()) if kept() > reached else (attempt, reached)
                pause = random.uniform(0.5, 1.0) * 2**attempt / 4  # noqa: S311  # jitter, not a secret
                if attempt == self.bounds.attempts or time.monotonic() + pause > self.deadline:
                    raise
            self.sleep(pause)
            attempt += 1
