"""How a TES task ended, read from its full document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended. `exit_code` is the last step's; `reasons` are TES's system logs."""

    id: str
    state: str
    exit_code: int | None
    reasons: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Why the task could not be carried out, for people; never empty."""
        means = {
            "CANCELED": "it was canceled from outside this run",
            "PREEMPTED": "its machine was taken away",
            "EXECUTOR_ERROR": "it failed without an exit code",
            "SYSTEM_ERROR": "it could not be carried out",
        }
        reason = "; ".join(self.reasons) or means.get(self.state, f"it ended as {self.state}") + ", no reason was given"
        return f"task {self.id}: {reason}"


def read_end(task: Mapping[str, Any]) -> Ended:
    """What matters of a TES task in FULL view: the last attempt's log alone."""
    logs = task.get("logs") or [{}]
    last = logs[-1]
    codes = [step["exit_code"] for step in last.get("logs") or [] if step.get("exit_code") is not None]
    return Ended(
        id=str(task.get("id", "")),
        state=str(task.get("state", "UNKNOWN")),
        exit_code=int(codes[-1]) if codes else None,
        reasons=tuple(str(line) for line in last.get("system_logs") or []),
    )
