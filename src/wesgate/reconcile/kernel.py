"""One pass over the due rows of one backend: claim, look at their jobs in one call, decide, act, write.

No transaction is open while the backend is called. Every call is bounded by CALL_TIMEOUT, and the whole pass stops
acting before its leases end, so whoever claims a row next finds nobody else at it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, assert_never
from uuid import UUID

from wesgate.core import codec
from wesgate.core.backend import Backend, Handle, Observation
from wesgate.core.decide import Become, Cancel, Phase, Submit, Wait, decide
from wesgate.core.errors import Permanent, Retryable, Unavailable
from wesgate.core.failpoints import failpoint
from wesgate.core.spec import Kind, Lane, attempt_key
from wesgate.core.states import TERMINAL, State
from wesgate.db import leases, slots
from wesgate.db.leases import LEASE, Claim, Outcome, Pause
from wesgate.db.session import Database

log = logging.getLogger(__name__)

BATCH = 100
AT_ONCE = 16
CALL_TIMEOUT_S = LEASE.total_seconds() / 3 - 1
"""Below a third of a lease: look, clear and submit fit into one, even when each takes as long as it may."""
ACT_FOR_S = LEASE.total_seconds() - 2
LONGEST_BACKOFF_S = 300.0

Reply = TypeVar("Reply")
Looks = Mapping[Handle, Observation[Any]] | Retryable


@dataclass(frozen=True, slots=True)
class Charge:
    """What one loop has charge of: the rows of one kind at one backend. `spec_of` turns a claimed row's document into
    what the backend takes; `capacities` are the slots of each lane, for a backend that has no queue of its own."""

    kind: Kind
    name: str
    backend: Backend[Any, Any]
    spec_of: Callable[[Claim], Any]
    capacities: Mapping[Lane, slots.Capacity] = field(default_factory=dict)


@dataclass(slots=True)
class Written:
    """What a pass has come to: filled while acting, written in one statement each."""

    outcomes: list[Outcome] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)


async def sweep(
    charge: Charge, database: Database, holder: str, news: Collection[UUID] = (), *, admit: bool = True
) -> int:
    """Serve the rows that are due, and those of which there is `news`; how many there were. Rows that could not be
    served come back by themselves. Without `admit` no slot can be free."""
    async with database.statements() as connection:
        for lane, capacity in charge.capacities.items() if admit else ():
            await slots.admit(connection, charge.name, lane, capacity)
        claims = await leases.claim(connection, charge.kind, charge.name, holder, BATCH, news)
    if claims:
        failpoint("reconcile-claimed")
        async with asyncio.timeout(ACT_FOR_S):
            await _serve(charge, claims, database)
    return len(claims)


async def _serve(charge: Charge, claims: Sequence[Claim], database: Database) -> None:
    looks = await _look(charge, claims)
    written = Written()
    submits: list[tuple[Claim, Submit]] = []
    acts: list[Awaitable[None]] = []
    for claim in claims:
        if isinstance(looks, Retryable) and claim.row.phase is Phase.SUBMITTED:
            written.pauses.append(_backoff(claim, looks))
            continue
        seen = None if isinstance(looks, Retryable) else looks.get(claim.row.handle or Handle(""))
        match decide(claim.row, seen, claim.now):
            case Wait() as wait:
                written.pauses.append(_pause(claim, wait))
            case Become(clear=False) as end:
                written.outcomes.append(_outcome(claim, end))
            case Become() as end:
                acts.append(_clear(charge, claim, end, written))
            case Cancel() as cancel:
                acts.append(_cancel(charge, claim, cancel, written))
            case Submit() as submit:
                submits.append((claim, submit))
            case action:
                assert_never(action)
    await _all(acts)
    await _submit_all(charge, submits, written, database)
    await _write(charge.kind, written, database)


async def _look(charge: Charge, claims: Sequence[Claim]) -> Looks:
    handles = [claim.row.handle for claim in claims if claim.row.handle]
    if not handles:
        return {}
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            looks = await charge.backend.poll(handles)
    except Exception as error:
        return _passing(charge, "poll", error)
    failpoint("reconcile-polled")
    return looks


async def _submit_all(
    charge: Charge, wanted: Sequence[tuple[Claim, Submit]], written: Written, database: Database
) -> None:
    """The submit protocol: clear an old attempt away, commit SUBMITTING, find or submit, commit the handle."""
    ready = await _cleared(charge, wanted, written)
    if not ready:
        return
    async with database.statements() as connection:
        ours = await leases.submitting(
            connection, charge.kind, [(claim, submit.attempt, submit.detail) for claim, submit in ready]
        )
    failpoint("reconcile-submitting")
    done: list[tuple[Claim, Handle]] = []
    await _all(_submit(charge, claim, submit, written, done) for claim, submit in ready if claim.row.id in ours)
    failpoint("reconcile-called")
    if done:
        async with database.statements() as connection:
            await leases.submitted(connection, charge.kind, done)
        failpoint("reconcile-submitted")


async def _cleared(
    charge: Charge, wanted: Sequence[tuple[Claim, Submit]], written: Written
) -> list[tuple[Claim, Submit]]:
    """Those whose earlier attempt, if there was one, is gone without a trace."""
    ready: list[tuple[Claim, Submit]] = []

    async def clear(claim: Claim, submit: Submit) -> None:
        if submit.attempt > claim.row.attempt and claim.row.handle:
            try:
                await _call(charge.backend.cancel(claim.row.handle))
            except Exception as error:
                written.pauses.append(_backoff(claim, _passing(charge, "cancel", error)))
                return
        ready.append((claim, submit))

    await _all(clear(claim, submit) for claim, submit in wanted)
    return ready


async def _submit(
    charge: Charge, claim: Claim, submit: Submit, written: Written, done: list[tuple[Claim, Handle]]
) -> None:
    key = attempt_key(claim.row.id, submit.attempt)
    found_submitting = claim.row.phase is Phase.SUBMITTING and submit.attempt == claim.row.attempt
    try:
        spec = charge.spec_of(claim)
        handle = await _call(charge.backend.find(key, spec)) if found_submitting else None
        if handle is None and claim.row.state is State.CANCELING:
            written.outcomes.append(_outcome(claim, Become(State.CANCELED, "canceled before it was submitted")))
            return
        if handle is None:
            handle = await _call(charge.backend.submit(key, spec))
        done.append((claim, handle))
    except Permanent as error:
        end = State.CANCELED if claim.row.state is State.CANCELING else State.SYSTEM_ERROR
        written.outcomes.append(_outcome(claim, Become(end, str(error))))
    except Exception as error:
        written.pauses.append(_backoff(claim, _passing(charge, "submit", error)))


async def _cancel(charge: Charge, claim: Claim, cancel: Cancel, written: Written) -> None:
    try:
        if claim.row.handle:
            await _call(charge.backend.cancel(claim.row.handle))
        failpoint("reconcile-canceled")
        written.pauses.append(Pause(claim, cancel.until))
    except Exception as error:
        written.pauses.append(_backoff(claim, _passing(charge, "cancel", error)))


async def _clear(charge: Charge, claim: Claim, end: Become, written: Written) -> None:
    try:
        if claim.row.handle:
            await _call(charge.backend.cancel(claim.row.handle))
        written.outcomes.append(_outcome(claim, end))
    except Exception as error:
        written.pauses.append(_backoff(claim, _passing(charge, "cancel", error)))


async def _write(kind: Kind, written: Written, database: Database) -> None:
    async with database.statements() as connection:
        if written.outcomes:
            await leases.become(connection, kind, written.outcomes)
        if written.pauses:
            await leases.wait(connection, kind, written.pauses)
    if written.outcomes:
        failpoint("reconcile-become")


async def _call(call: Awaitable[Reply]) -> Reply:
    async with asyncio.timeout(CALL_TIMEOUT_S):
        return await call


async def _all(acts: Any) -> None:
    """Run these together, at most AT_ONCE at a time. None of them raises for a fault of its own row."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(act: Awaitable[None]) -> None:
        async with gate:
            await act

    async with asyncio.TaskGroup() as group:
        for act in acts:
            group.create_task(one(act))


def _passing(charge: Charge, verb: str, error: Exception) -> Retryable:
    """An error of a backend as one that may pass. What is no `Retryable` is a fault of ours or of the row, and is
    logged whole; the row backs off alone and disturbs nobody."""
    if isinstance(error, Unavailable):
        raise error
    if isinstance(error, TimeoutError):
        return Retryable(f"{charge.name} did not answer {verb} within {CALL_TIMEOUT_S:.0f} s")
    if isinstance(error, Retryable):
        log.warning("backend.retry", extra={"backend": charge.name, "verb": verb, "error": str(error)})
        return error
    log.error("backend.fault", exc_info=error, extra={"backend": charge.name, "verb": verb})
    return Retryable(f"{charge.name} failed to {verb}: {type(error).__name__}")


def _backoff(claim: Claim, error: Retryable) -> Pause:
    failures = claim.row.failures + 1
    delay = min(LONGEST_BACKOFF_S, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311  # spreads retries
    until = claim.now + timedelta(seconds=delay)
    return Pause(claim, until, claim.row.missing_since, failures, detail=f"waiting to try again: {error}")


def _pause(claim: Claim, wait: Wait) -> Pause:
    return Pause(claim, wait.until, wait.missing_since, report=_news(claim, wait.report))


def _outcome(claim: Claim, end: Become) -> Outcome:
    return Outcome(claim, end.state, end.detail, end.state in TERMINAL, _news(claim, end.report))


def _news(claim: Claim, report: Any) -> dict[str, Any] | None:
    """The report as JSON, if it says something that the row does not have yet."""
    if report is None:
        return None
    told = codec.dump(report)
    return None if told == claim.row.report else told
