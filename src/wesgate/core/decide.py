"""decide(row, observation, now): the pure heart of the loop.

| state      | phase      | observation            | action                                   |
| ---------- | ---------- | ---------------------- | ---------------------------------------- |
| CANCELING  | PLANNED    |                        | Become CANCELED: nothing was submitted   |
| CANCELING  | SUBMITTING |                        | Submit (find only), then Cancel          |
| CANCELING  | SUBMITTED  | ended or gone          | Become CANCELED                          |
| CANCELING  | SUBMITTED  | alive                  | Cancel, look again                       |
| other      | PLANNED    |                        | Submit                                   |
| other      | SUBMITTING |                        | Submit: finds before it submits          |
| other      | SUBMITTED  | absent, for less than the grace | Wait                            |
| other      | SUBMITTED  | absent for longer, or infrastructure | Submit the next attempt, or Become SYSTEM_ERROR |
| other      | SUBMITTED  | preempted              | Submit the next attempt, or Become PREEMPTED |
| other      | SUBMITTED  | canceled               | Become SYSTEM_ERROR: nobody here asked   |
| other      | SUBMITTED  | ahead of the row, ended | Become that                             |
| other      | SUBMITTED  | as the row             | Wait (keeping a changed report)          |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from wesgate.core import codec
from wesgate.core.backend import Handle, Observation
from wesgate.core.report import TaskReport
from wesgate.core.spec import Kind, attempt_key
from wesgate.core.states import TERMINAL, TRANSITIONS, State

PREEMPTED = "its machine was taken away (preempted)"

MISSING_GRACE = timedelta(seconds=60)
"""How long a job may be absent from its backend's answers before it counts as lost (F22: never on the first miss)."""


class Phase(StrEnum):
    """How far an attempt's submit has come. SUBMITTING is committed before the backend is called."""

    PLANNED = "PLANNED"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"


@dataclass(frozen=True, slots=True)
class Row:
    """A claimed run, task or instance, as the loop sees it."""

    kind: Kind
    id: UUID
    backend: str
    state: State
    phase: Phase
    attempt: int
    max_attempts: int
    preemptions: int
    max_preemptions: int
    handle: Handle | None
    lease_epoch: int
    failures: int
    state_since: datetime
    missing_since: datetime | None
    report: dict[str, Any] | None
    document: dict[str, Any]

    @property
    def key(self) -> str:
        return attempt_key(self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class Submit:
    """Submit this attempt, after a `find` if a submit may have happened. `attempt` above the row's own starts a new
    one, once the old job is cleared away: `report` is what that one left, and `preempted` says that it was."""

    attempt: int
    detail: str = ""
    report: Any = None
    preempted: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the job, then look again at `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Become:
    """Write this state. `clear` asks for the job's remains to be cancelled first."""

    state: State
    detail: str = ""
    report: Any = None
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`; `report`, if given, is news worth keeping."""

    until: datetime
    report: Any = None
    missing_since: datetime | None = None


Action = Submit | Cancel | Become | Wait


def decide(row: Row, seen: Observation[Any] | None, now: datetime) -> Action:
    """What to do about a row, given how its job stands. `seen` is None when there is no job, or no trace of it."""
    if row.state is State.CANCELING:
        return _canceling(row, seen, now)
    if row.phase is not Phase.SUBMITTED:
        return Submit(row.attempt)
    if seen is None:
        return _missing(row, now)
    if seen.infrastructure:
        return _lost(row, seen.detail, seen.report)
    if seen.state is State.PREEMPTED and row.preemptions < row.max_preemptions:
        return _again(row, seen.detail or PREEMPTED, seen.report, preempted=True)
    if seen.state is State.CANCELED:
        return Become(State.SYSTEM_ERROR, "the job was canceled by someone else than its caller", seen.report)
    if seen.state in TRANSITIONS[row.state]:
        return Become(seen.state, seen.detail, seen.report)
    return Wait(next_look(row, now), seen.report)


def next_look(row: Row, now: datetime) -> datetime:
    """A job that just changed is looked at soon, one that has run for long less often: 1 s up to 10 s."""
    quiet = (now - row.state_since).total_seconds()
    return now + timedelta(seconds=min(10.0, max(1.0, quiet / 10)))


def _canceling(row: Row, seen: Observation[Any] | None, now: datetime) -> Action:
    match row.phase:
        case Phase.PLANNED:
            return Become(State.CANCELED, "canceled before it was submitted")
        case Phase.SUBMITTING:
            return Submit(row.attempt)
        case Phase.SUBMITTED:
            if seen is None or seen.infrastructure:
                return Become(State.CANCELED, report=seen.report if seen else None, clear=True)
            if seen.state in TERMINAL:
                return Become(State.CANCELED, report=seen.report)
            return Cancel(until=now + timedelta(seconds=1))


def _missing(row: Row, now: datetime) -> Action:
    since = row.missing_since or now
    if now - since < MISSING_GRACE:
        return Wait(now + timedelta(seconds=5), missing_since=since)
    return _lost(row, "the backend has no trace of the job", None)


def _lost(row: Row, detail: str, report: Any) -> Action:
    if row.attempt - row.preemptions < row.max_attempts:
        return _again(row, detail, report, preempted=False)
    return Become(State.SYSTEM_ERROR, detail, report, clear=True)


def _again(row: Row, detail: str, report: Any, *, preempted: bool) -> Submit:
    if report is None and row.kind is Kind.TASK:
        report = codec.load(TaskReport, row.report or {})
    if isinstance(report, TaskReport) and detail not in report.system_logs:
        report = replace(report, system_logs=(*report.system_logs, detail))
    return Submit(row.attempt + 1, detail, report, preempted)
