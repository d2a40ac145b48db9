"""The task queue as engines see it: a run's head job is a task like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID, uuid4

from wesgate.core import codec
from wesgate.core.backend import QueuedTask
from wesgate.core.errors import Conflict, InvalidRequest, NotPermitted, Permanent, Retryable, TooLarge, Unavailable
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller, Owner
from wesgate.core.report import TaskReport
from wesgate.core.spec import TaskSpec
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.db.tasks import CANCELED_AT_ONCE
from wesgate.ga4gh import tes
from wesgate.ga4gh.parameters import Terms

_LOOK = """
    SELECT head.id, head.state, head.detail, attempts.report::text AS report,
           (SELECT count(*) FROM tasks WHERE tasks.run_id = head.run_id AND tasks.ended_at IS NULL) AS live
    FROM tasks AS head
    LEFT JOIN attempts ON attempts.row_id = head.id AND attempts.number = head.attempt
    WHERE head.id = ANY($1)
"""

_CANCEL_ALL = """
    WITH wanted AS (
        SELECT id FROM tasks
        WHERE run_id = (SELECT run_id FROM tasks WHERE id = $1) AND ended_at IS NULL AND state <> 'CANCELING'
        ORDER BY id LIMIT $2                           -- as the loop locks rows: neither waits for the other for ever
        FOR UPDATE
    )
    UPDATE tasks SET state = 'CANCELING', detail = 'its run was canceled'
    FROM wanted
    WHERE tasks.id = wanted.id
    RETURNING tasks.id
"""


class HeadQueue:
    """`core.backend.TaskQueue` over the tasks table. `backend` is the executor that heads run on; a head whose worker
    is lost is tried again `max_attempts` times in all, since a restarted head adopts what its predecessor started."""

    def __init__(self, database: Database, backend: str, max_attempts: int) -> None:
        self._database = database
        self._backend = backend
        self._max_attempts = max_attempts

    async def find(self, run_id: UUID, key: str) -> UUID | None:
        with _retryable():
            row = await self._database.fetch_row(
                "SELECT id FROM tasks WHERE run_id = $1 AND idempotency_key = $2", run_id, key
            )
        return row["id"] if row else None

    async def put(self, run_id: UUID, key: str, spec: TaskSpec, token_hash: str) -> UUID:
        document = tes.document_of(spec, f"run {run_id}", {"wesgate-run": str(run_id), "wesgate-head": "true"})
        head = tasks.NewTask(
            id=uuid4(),
            backend=self._backend,
            document=document,
            cpu_cores=spec.resources.cpu_cores or 0,
            ram_gb=spec.resources.ram_gb or 0,
            terms=Terms(spec.policy, self._max_attempts),
            lane=spec.lane,
            key=key,
            digest=key,
            token_hash=token_hash,
        )
        with _retryable():
            row = await self._database.fetch_row(
                "SELECT o.id, o.issuer, o.subject, o.tenant FROM runs JOIN owners o ON o.id = owner_id "
                "WHERE runs.id = $1",
                run_id,
            )
            if row is None:
                raise Permanent("the run is gone")
            caller = Caller(Owner(row["id"], row["issuer"], row["subject"], row["tenant"]), run_id)
            try:
                made = await tasks.create(self._database, caller, head)
            except NotPermitted as error:
                raise Retryable(str(error)) from error
            except (Conflict, InvalidRequest, TooLarge) as error:
                raise Permanent(f"the head cannot be queued: {error}") from error
        failpoint("queue-put")
        return made

    async def look(self, task_ids: Sequence[UUID]) -> Mapping[UUID, QueuedTask]:
        with _retryable():
            rows = await self._database.fetch(_LOOK, list(task_ids))
        return {
            row["id"]: QueuedTask(
                row["id"],
                State(row["state"]),
                row["detail"],
                codec.load(TaskReport, json.loads(row["report"])) if row["report"] else None,
                row["live"],
            )
            for row in rows
        }

    async def cancel_all(self, task_id: UUID) -> None:
        with _retryable():
            while len(await self._database.fetch(_CANCEL_ALL, task_id, CANCELED_AT_ONCE)) == CANCELED_AT_ONCE:
                pass
        failpoint("queue-canceled")


@contextmanager
def _retryable() -> Iterator[None]:
    """To an engine, a database that is away is a backend that is away."""
    try:
        yield
    except Unavailable as error:
        raise Retryable(str(error)) from error
