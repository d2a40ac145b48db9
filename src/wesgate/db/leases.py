"""Claim rows, and write to them only while the claim holds.

Every write names the lease epoch it was claimed with and the state it saw, so a process that lost its lease, or a
caller who canceled meanwhile, makes it match no row: then someone else has the row, and that is no error. Times are
the database's; no worker's clock decides about a lease.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wesgate.core import codec
from wesgate.core.backend import Handle
from wesgate.core.decide import Phase, Row, Submit
from wesgate.core.spec import Kind
from wesgate.core.states import TERMINAL, State

LEASE = timedelta(seconds=30)
"""How long a claim holds. A sweep stops acting before it ends, so nothing is extended."""

CLAIM = """
    WITH due AS (
        SELECT wanted.id, wanted.due_at, attempts.row_id AS tried, attempts.handle, attempts.report
        FROM {table} AS wanted
        LEFT JOIN attempts                                     -- none yet: this attempt is only planned
            ON attempts.row_id = wanted.id AND attempts.number = wanted.attempt
        WHERE wanted.backend = :backend                        -- one loop per backend: a slow one delays no other
          AND wanted.due_at IS NOT NULL                        -- it wants something; ended and waiting rows do not,
          AND (wanted.due_at <= now()                          -- now, or somebody has news of it,
               OR wanted.id = ANY(:news)
               OR wanted.due_at > now() + interval '10 min')   -- or the clock was set back: nothing waits so long
          AND (wanted.lease_until IS NULL                      -- nobody works on it,
               OR wanted.lease_until < now()                   -- or whoever did is gone,
               OR wanted.lease_until > now() + interval '1 min')  -- or the clock was set back
        ORDER BY wanted.due_at                                 -- the longest wait first
        LIMIT :limit
        FOR UPDATE OF wanted SKIP LOCKED                       -- what another claims now is not ours
    )
    UPDATE {table} AS wanted
    SET lease_holder = :holder,
        lease_until = now() + :lease,
        lease_epoch = wanted.lease_epoch + 1                   -- from here on, older holders' writes match nothing
    FROM due
    WHERE wanted.id = due.id
    RETURNING wanted.id, wanted.backend, wanted.state, wanted.attempt, wanted.max_attempts, wanted.preemptions,
              wanted.max_preemptions, wanted.lease_epoch, wanted.failures, wanted.state_since, wanted.missing_since,
              wanted.document, wanted.due_at, wanted.owner_id, {own}, due.tried, due.handle, due.report,
              now() AS claimed_at
"""

_OWN = {
    Kind.RUN: "wanted.directory, NULL AS lane, NULL AS run_id, NULL AS policy",
    Kind.TASK: "NULL AS directory, wanted.lane, wanted.run_id, wanted.policy",
    Kind.INSTANCE: "NULL AS directory, NULL AS lane, NULL AS run_id, NULL AS policy",
}

SUBMITTING = """
    WITH mine AS (
        UPDATE {table} AS wanted
        SET attempt = claimed.attempt, detail = claimed.detail, missing_since = NULL,
            preemptions = wanted.preemptions + claimed.preempted::int
        FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[]), CAST(:states AS text[]),
                    CAST(:attempts AS int[]), CAST(:details AS text[]), CAST(:preempted AS boolean[]),
                    CAST(:reports AS json[]))
            AS claimed(id, epoch, state, attempt, detail, preempted, report)
        WHERE wanted.id = claimed.id AND wanted.lease_epoch = claimed.epoch AND wanted.state = claimed.state
        RETURNING wanted.id, wanted.attempt, claimed.report
    ), kept AS (
        UPDATE attempts SET report = mine.report FROM mine            -- how the attempt before this one was lost
        WHERE attempts.row_id = mine.id AND attempts.number = mine.attempt - 1 AND mine.report IS NOT NULL
    )
    INSERT INTO attempts (row_id, number, kind)
    SELECT id, attempt, :kind FROM mine
    ON CONFLICT (row_id, number) DO UPDATE SET kind = attempts.kind      -- found SUBMITTING after a crash
    RETURNING row_id
"""

SUBMITTED = """
    WITH mine AS (
        UPDATE {table} AS wanted
        SET due_at = CASE WHEN wanted.due_at <> claimed.due_at         -- it has news already
                          THEN wanted.due_at ELSE now() + :soon END,
            failures = 0, lease_holder = NULL, lease_until = NULL
        FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[]), CAST(:dues AS timestamptz[]),
                    CAST(:handles AS text[]))
            AS claimed(id, epoch, due_at, handle)
        WHERE wanted.id = claimed.id AND wanted.lease_epoch = claimed.epoch
        RETURNING wanted.id, wanted.attempt, claimed.handle
    )
    UPDATE attempts SET handle = mine.handle FROM mine
    WHERE attempts.row_id = mine.id AND attempts.number = mine.attempt
    RETURNING attempts.row_id
"""

BECOME = """
    WITH mine AS (
        UPDATE {table} AS wanted
        SET state = claimed.target, failures = 0, missing_since = NULL,
            detail = CASE WHEN claimed.target = 'CANCELED' AND claimed.detail = ''
                          THEN wanted.detail ELSE claimed.detail END,  -- who canceled it
            started_at = CASE WHEN wanted.started_at IS NULL AND claimed.began IS NOT NULL
                              THEN least(now(), greatest(wanted.created_at, claimed.began))  -- by another clock
                              ELSE wanted.started_at END,
            due_at = CASE WHEN claimed.ended THEN NULL ELSE now() + :soon END, lease_holder = NULL, lease_until = NULL
        FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[]), CAST(:states AS text[]), CAST(:targets AS text[]),
                    CAST(:details AS text[]), CAST(:ended AS boolean[]), CAST(:reports AS json[]),
                    CAST(:began AS timestamptz[]))
            AS claimed(id, epoch, state, target, detail, ended, report, began)
        WHERE wanted.id = claimed.id AND wanted.lease_epoch = claimed.epoch AND wanted.state = claimed.state
        RETURNING wanted.id, wanted.attempt, claimed.report
    ), kept AS (
        UPDATE attempts SET report = mine.report FROM mine
        WHERE attempts.row_id = mine.id AND attempts.number = mine.attempt AND mine.report IS NOT NULL
    )
    SELECT id FROM mine
"""

WAIT = """
    WITH mine AS (
        UPDATE {table} AS wanted
        SET due_at = CASE WHEN wanted.due_at <> claimed.due_at         -- someone asked for a look meanwhile
                          THEN wanted.due_at ELSE claimed.until END,
            missing_since = claimed.missing_since,
            failures = claimed.failures,
            detail = coalesce(claimed.detail, wanted.detail),
            lease_holder = NULL, lease_until = NULL
        FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[]), CAST(:dues AS timestamptz[]),
                    CAST(:untils AS timestamptz[]), CAST(:missing AS timestamptz[]), CAST(:failures AS int[]),
                    CAST(:details AS text[]), CAST(:reports AS json[]))
            AS claimed(id, epoch, due_at, until, missing_since, failures, detail, report)
        WHERE wanted.id = claimed.id AND wanted.lease_epoch = claimed.epoch AND wanted.ended_at IS NULL
        RETURNING wanted.id, wanted.attempt, claimed.report
    ), kept AS (
        UPDATE attempts SET report = mine.report FROM mine
        WHERE attempts.row_id = mine.id AND attempts.number = mine.attempt AND mine.report IS NOT NULL
    )
    SELECT id FROM mine
"""

GIVE_BACK = """
    UPDATE {table} AS wanted
    SET lease_holder = NULL, lease_until = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[])) AS claimed(id, epoch)
    WHERE wanted.id = claimed.id AND wanted.lease_epoch = claimed.epoch AND wanted.lease_until IS NOT NULL
"""

NEXT_DUE = """
    SELECT extract(epoch FROM min(greatest(due_at, lease_until)) - now())
    FROM {table} WHERE backend = :backend AND due_at IS NOT NULL
"""

_SOON = timedelta(milliseconds=250)
"""When a job that was just submitted, or just changed, is looked at next; a wake-up makes it sooner."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed row, with what the loop needs to write it back and `ga4gh` to read its document (a task's has a
    `policy`). `now` is the database's time of the claim."""

    row: Row
    owner_id: UUID
    lane: str | None
    directory: str | None
    run_id: UUID | None
    policy: Mapping[str, Any]
    due_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """A state to write, with the attempt's report."""

    claim: Claim
    state: State
    detail: str
    report: Any = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to do before `until`."""

    claim: Claim
    until: datetime
    missing_since: datetime | None = None
    failures: int = 0
    detail: str | None = None
    report: Any = None


async def claim(
    connection: AsyncConnection, kind: Kind, backend: str, holder: str, limit: int, news: Collection[UUID] = ()
) -> list[Claim]:
    """Take up to `limit` rows of one backend that are due, or of which there is news."""
    values = {"backend": backend, "limit": limit, "holder": holder, "lease": LEASE, "news": list(news)}
    found = (await connection.execute(_of(kind, CLAIM), values)).mappings().all()
    # Later writes lock rows in this order: two of them never wait for each other.
    return sorted((_claim(kind, row) for row in found), key=lambda claimed: claimed.row.id)


async def submitting(
    connection: AsyncConnection, kind: Kind, wanted: Sequence[tuple[Claim, Submit]]
) -> frozenset[UUID]:
    """Record that these attempts are about to be submitted, and how the ones before them were lost; the ids that are
    still ours."""
    values = {
        **_fence([claimed for claimed, _ in wanted]),
        "states": [claimed.row.state.value for claimed, _ in wanted],
        "attempts": [submit.attempt for _, submit in wanted],
        "details": [codec.storable(submit.detail) for _, submit in wanted],
        "preempted": [submit.preempted for _, submit in wanted],
        "reports": [_news(claimed, submit.report) for claimed, submit in wanted],
        "kind": kind.value,
    }
    return await _ids(connection, SUBMITTING, kind, values)


async def submitted(connection: AsyncConnection, kind: Kind, done: Sequence[tuple[Claim, Handle]]) -> frozenset[UUID]:
    """Record the handles of submitted jobs, and give the rows back."""
    claims = [claimed for claimed, _ in done]
    dues = [claimed.due_at for claimed in claims]
    values = {**_fence(claims), "dues": dues, "handles": [handle for _, handle in done], "soon": _SOON}
    return await _ids(connection, SUBMITTED, kind, values)


async def become(connection: AsyncConnection, kind: Kind, outcomes: Sequence[Outcome]) -> frozenset[UUID]:
    """Write states, and give the rows back; the ids that were still ours and in the state that was seen."""

    def told() -> list[str | None]:
        return [_news(outcome.claim, outcome.report) for outcome in outcomes]

    values = {
        **_fence([outcome.claim for outcome in outcomes]),
        "states": [outcome.claim.row.state.value for outcome in outcomes],
        "targets": [outcome.state.value for outcome in outcomes],
        "details": [codec.storable(outcome.detail) for outcome in outcomes],
        "ended": [outcome.state in TERMINAL for outcome in outcomes],
        # The outputs of a run may be megabytes.
        "reports": await asyncio.to_thread(told) if kind is Kind.RUN else told(),
        "began": [_began(outcome.report) for outcome in outcomes],
        "soon": _SOON,
    }
    return await _ids(connection, BECOME, kind, values)


async def wait(connection: AsyncConnection, kind: Kind, pauses: Sequence[Pause]) -> frozenset[UUID]:
    """Give rows back until a time; a wake-up that came meanwhile stands."""
    values = {
        **_fence([pause.claim for pause in pauses]),
        "dues": [pause.claim.due_at for pause in pauses],
        "untils": [pause.until for pause in pauses],
        "missing": [pause.missing_since for pause in pauses],
        "failures": [pause.failures for pause in pauses],
        "details": [codec.storable(pause.detail) for pause in pauses],
        "reports": [_news(pause.claim, pause.report) for pause in pauses],
    }
    return await _ids(connection, WAIT, kind, values)


async def give_back(connection: AsyncConnection, kind: Kind, claims: Sequence[Claim]) -> None:
    """End these claims without a word on their rows, as far as they still hold."""
    await connection.execute(_of(kind, GIVE_BACK), _fence(claims))


async def release(connection: AsyncConnection, kind: Kind, holder: str) -> None:
    """Give back at once everything this holder has: a graceful stop lets nobody wait for a lease to run out."""
    await connection.execute(
        text(
            f"UPDATE {kind}s SET lease_holder = NULL, lease_until = NULL "
            "WHERE lease_holder = :holder AND due_at IS NOT NULL"
        ),
        {"holder": holder},
    )


async def next_due(connection: AsyncConnection, kind: Kind, backend: str) -> float | None:
    """Seconds until the next row of a backend may be claimed (negative when it is late); None for none."""
    seconds = await connection.scalar(_of(kind, NEXT_DUE), {"backend": backend})
    return None if seconds is None else float(seconds)


def _claim(kind: Kind, found: Any) -> Claim:
    handle = found["handle"]
    phase = Phase.SUBMITTED if handle else Phase.SUBMITTING if found["tried"] else Phase.PLANNED
    row = Row(
        kind=kind,
        id=found["id"],
        backend=found["backend"],
        state=State(found["state"]),
        phase=phase,
        attempt=found["attempt"],
        max_attempts=found["max_attempts"],
        preemptions=found["preemptions"],
        max_preemptions=found["max_preemptions"],
        handle=Handle(handle) if handle else None,
        lease_epoch=found["lease_epoch"],
        failures=found["failures"],
        state_since=found["state_since"],
        missing_since=found["missing_since"],
        report=_parsed(found["report"]),
        document=_parsed(found["document"]) or {},
    )
    return Claim(
        row, found["owner_id"], found["lane"], found["directory"], found["run_id"], _parsed(found["policy"]) or {},
        found["due_at"], found["claimed_at"],
    )  # fmt: skip


def _fence(claims: Sequence[Claim]) -> dict[str, Any]:
    return {"ids": [item.row.id for item in claims], "epochs": [item.row.lease_epoch for item in claims]}


async def _ids(connection: AsyncConnection, statement: str, kind: Kind, values: dict[str, Any]) -> frozenset[UUID]:
    result = await connection.execute(_of(kind, statement), values)
    return frozenset(result.scalars())


@cache
def _of(kind: Kind, statement: str) -> TextClause:
    return text(statement.format(table=f"{kind}s", own=_OWN[kind]))


def _news(claim: Claim, report: Any) -> str | None:
    """The report as JSON, if it says something that the row does not have yet."""
    if report is None:
        return None
    told = codec.storable(codec.dump(report))
    return None if told == claim.row.report else json.dumps(told, allow_nan=False)


def _began(report: Any) -> datetime | None:
    """When the work began, as its worker tells it: the loop may see it only later, or not before its end."""
    with suppress(TypeError, ValueError):
        told = datetime.fromisoformat(getattr(report, "start_time", None) or "")
        return told if told.tzinfo else None
    return None


def _parsed(value: Any) -> dict[str, Any] | None:
    parsed: dict[str, Any] | None = json.loads(value) if isinstance(value, str) else value
    return parsed
