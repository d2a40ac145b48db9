"""The one shape of every backend: five verbs, idempotent by key, many jobs in one look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NewType, Protocol, TypeVar
from uuid import UUID

from wesgate.core.report import RunReport, TaskReport
from wesgate.core.spec import InstanceSpec, RunSpec, TaskSpec
from wesgate.core.states import State

Handle = NewType("Handle", str)
"""A backend's own reference to a job, stored unread."""

Spec = TypeVar("Spec", contravariant=True)
Report = TypeVar("Report", covariant=True)


@dataclass(frozen=True, slots=True)
class Observation(Generic[Report]):
    """How a job stands: QUEUED, INITIALIZING, RUNNING, PAUSED or a terminal state.

    `infrastructure` says that the job ended through no fault of its own steps (its machine went, its worker was
    killed): another attempt may be made, and `cancel` must be called first to clear away what is left of it.
    """

    state: State
    detail: str = ""
    report: Report | None = None
    infrastructure: bool = False


class Backend(Protocol[Spec, Report]):
    """What runs jobs. A backend sees neither the database nor the HTTP server, and keeps nothing in memory that it
    could not find again after a restart.

    Every verb may raise `Retryable` (nothing is known; ask again later) or `Permanent` (never will be). Every verb
    returns within the kernel's call timeout or is abandoned by it.
    """

    async def find(self, key: str, spec: Spec) -> Handle | None:
        """The job that was submitted under this key, if there is one and its recorded tags agree with the key."""
        ...

    async def submit(self, key: str, spec: Spec) -> Handle:
        """Start the job. Called again with the same key, it returns the same job and starts nothing."""
        ...

    async def forbid(self, key: str, spec: Spec) -> None:
        """See that nothing is started under a key that has no job: a submit of it that is under way somewhere, or comes
        later, raises `Permanent` before user code runs. If there is a job after all, started since `find` was asked,
        this raises `Retryable`: `find` gives it now. Safe to repeat."""
        ...

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Observation[Report]]:
        """How these jobs stand, in one look. A job that the backend has no trace of is left out."""
        ...

    async def cancel(self, handle: Handle) -> None:
        """Stop the job and clear away what runs of it. Safe to repeat, and on a job that ended or is unknown."""
        ...


Executor = Backend[TaskSpec, TaskReport]
Engine = Backend[RunSpec, RunReport]
Provisioner = Backend[InstanceSpec, TaskReport]


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """What an engine may know of a task it queued. `live_tasks` counts the run's tasks that have not ended, this
    one included; `stdout` and `stderr` are the head's log files, relative to the shared root."""

    id: UUID
    state: State
    detail: str
    report: TaskReport | None
    live_tasks: int


class TaskQueue(Protocol):
    """How an engine hands its head job to the executors: as a task like any other."""

    async def find(self, run_id: UUID, key: str) -> UUID | None:
        """The head task queued under this key."""
        ...

    async def put(self, run_id: UUID, key: str, spec: TaskSpec, token_hash: str) -> UUID:
        """Queue a head task; the same key gives the same task. `token_hash` is the SHA-256 (hex) of the run token
        with which the head may create tasks of this run."""
        ...

    async def look(self, task_ids: Sequence[UUID]) -> Mapping[UUID, QueuedTask]:
        """How these tasks stand."""
        ...

    async def cancel_all(self, task_id: UUID) -> None:
        """Cancel this head task and every other task of its run."""
        ...
