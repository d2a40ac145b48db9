"""What happened: the record an attempt leaves, as backends tell it and the database keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAIL_BYTES = 10_000
"""How much of a stream's end is copied into reports; the whole stream stays in its file."""


@dataclass(frozen=True, slots=True)
class StepLog:
    """One step's log. Times are RFC 3339 with zone; `stdout`/`stderr` are bounded tails; the whole streams are the
    files `logs/<step>.stdout` and `.stderr` under the report's directory."""

    exit_code: int | None = None
    start_time: str | None = None
    end_time: str | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file that was put where the task wanted it."""

    url: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One attempt of a task. `directory` is the attempt's own, relative to the shared root."""

    start_time: str | None = None
    end_time: str | None = None
    steps: tuple[StepLog, ...] = ()
    outputs: tuple[OutputFile, ...] = ()
    system_logs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""


WHAT_RAN = "workflow: "
"""How the line in a run's `system_logs` begins that tells what was run; it is no reason of a failure."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run: the engine's own log and, at the end, the outputs. `stdout`/`stderr` are files relative to the shared
    root. `words` are those that the run is found by besides: of inputs that its request does not hold."""

    start_time: str | None = None
    end_time: str | None = None
    cmd: tuple[str, ...] = ()
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    system_logs: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
