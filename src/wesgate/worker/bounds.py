"""What ends a step that would go on: the time that its task has, and the disk that it may fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wesgate.worker.disk import Gauge
from wesgate.worker.faults import Exceeded

NEVER_S = 3600.0


@dataclass(slots=True)
class Bounds:
    """The limits that all steps of an attempt keep to together. `grace_s`: seconds between asking a step to end and
    making it."""

    grace_s: float
    timeout_s: float | None = None
    disk: Gauge | None = None
    _until: float | None = field(default=None, init=False)

    def begin(self, now: float) -> None:
        """A step begins: with the first one, the clock."""
        if self._until is None and self.timeout_s is not None:
            self._until = now + self.timeout_s

    def look(self, more: Sequence[str], now: float) -> float:
        """Seconds until it is worth looking again; `Exceeded` if a limit is passed. `more` are directories that only
        this step fills."""
        left = NEVER_S if self._until is None else self._until - now
        if left <= 0:
            raise Exceeded(f"the task's time limit of {self.timeout_s:g} s passed")
        return left if self.disk is None else min(left, self.disk.look(more, now))
