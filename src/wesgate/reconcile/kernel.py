"""One pass over the due rows of one backend: claim, look at their jobs in one call, decide, act, write.

No transaction is open while the backend is called. A pass has an end, before its leases': every call is given what is
left until then, and what does not fit any more comes back with the next pass. What was settled is written first, so
that a slow backend delays nothing that is known already; what was not settled is given back, whatever happened.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, assert_never
from uuid import UUID

from wesgate.core import codec
from wesgate.core.backend import Backend, Handle, Observation
from wesgate.core.decide import Become, Cancel, Phase, Submit, Wait, decide
from wesgate.core.errors import Permanent, Retryable
from wesgate.core.failpoints import failpoint
from wesgate.core.spec import Kind, Lane, attempt_key
from wesgate.core.states import TERMINAL, State
from wesgate.db import leases, slots
from wesgate.db.leases import LEASE, Claim, Outcome, Pause
from wesgate.db.session import Database

log = logging.getLogger(__name__)

BATCH = 100
AT_ONCE = 16
CALL_TIMEOUT_S = 9.0
ACT_FOR_S = LEASE.total_seconds() - 4
"""A pass makes no call later than this; the rest of the lease is for writing down what came of it."""
SOON = timedelta(seconds=1)
LONGEST_BACKOFF_S = 300.0
GIVE_UP_AFTER = 300
"""Submits that failed in a row, about a day of them: then a task ends with the last reason."""

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


async def sweep(
    charge: Charge, database: Database, holder: str, news: Collection[UUID] = (), *, admit: bool = True
) -> int:
    """Serve the rows that are due, and those of which there is `news`; how many there were. Rows that could not be
    served come back by themselves. Without `admit` no slot can be free."""
    ends = asyncio.get_running_loop().time() + ACT_FOR_S
    async with database.statements() as connection:
        for lane, capacity in charge.capacities.items() if admit else ():
            await slots.admit(connection, charge.name, lane, capacity)
        claims = await leases.claim(connection, charge.kind, charge.name, holder, BATCH, news)
    if claims:
        failpoint("reconcile-claimed")
        await Pass(charge, database, claims, ends).run()
    return len(claims)


class Pass:
    """One batch of claimed rows. `outcomes`, `pauses` and `done` are filled while acting, and written in one statement
    each."""

    def __init__(self, charge: Charge, database: Database, claims: Sequence[Claim], ends: float) -> None:
        self.charge = charge
        self.database = database
        self.claims = claims
        self.ends = ends
        self.outcomes: list[Outcome] = []
        self.pauses: list[Pause] = []
        self.done: list[tuple[Claim, Handle]] = []
        self.settled: set[UUID] = set()

    async def run(self) -> None:
        try:
            looks = await self._look()
            slow, submits = self._decide(looks)
            await self._write()
            await self._together(slow)
            await self._submit_all(submits)
            await self._write()
        finally:
            await self._give_back()

    async def _look(self) -> Looks:
        handles = [claim.row.handle for claim in self.claims if claim.row.handle]
        if not handles:
            return {}
        try:
            looks = await self._call(self.charge.backend.poll(handles))
        except Exception as error:
            return self._passing("poll", error)
        failpoint("reconcile-polled")
        return looks

    def _decide(self, looks: Looks) -> tuple[list[Callable[[], Awaitable[None]]], list[tuple[Claim, Submit]]]:
        """Settle what needs no call; what does is returned: the stops, and the submits."""
        stops: list[Callable[[], Awaitable[None]]] = []
        submits: list[tuple[Claim, Submit]] = []
        for claim in self.claims:
            if isinstance(looks, Retryable) and claim.row.phase is Phase.SUBMITTED:
                self.pauses.append(_backoff(claim, looks))
                continue
            seen = None if isinstance(looks, Retryable) else looks.get(claim.row.handle or Handle(""))
            match decide(claim.row, seen, claim.now):
                case Wait() as wait:
                    self.pauses.append(_pause(claim, wait))
                case Become(clear=False) as end:
                    self.outcomes.append(_outcome(claim, end))
                case Become() as end:
                    stops.append(_bind(self._clear, claim, end))
                case Cancel() as cancel:
                    stops.append(_bind(self._cancel, claim, cancel))
                case Submit() as submit:
                    submits.append((claim, submit))
                case action:
                    assert_never(action)
        return stops, submits

    async def _submit_all(self, wanted: Sequence[tuple[Claim, Submit]]) -> None:
        """The submit protocol: clear an old attempt away, commit SUBMITTING, find or submit, commit the handle."""
        ready: list[tuple[Claim, Submit]] = []
        await self._together(_bind(self._clear_earlier, claim, submit, ready) for claim, submit in wanted)
        if not ready or self._is_late():
            return
        async with self.database.statements() as connection:
            ours = await leases.submitting(
                connection, self.charge.kind, [(claim, submit.attempt, submit.detail) for claim, submit in ready]
            )
        failpoint("reconcile-submitting")
        await self._together(_bind(self._submit, claim, submit) for claim, submit in ready if claim.row.id in ours)
        failpoint("reconcile-called")
        if self.done:
            async with self.database.statements() as connection:
                self.settled |= await leases.submitted(connection, self.charge.kind, self.done)
            failpoint("reconcile-submitted")

    async def _clear_earlier(self, claim: Claim, submit: Submit, ready: list[tuple[Claim, Submit]]) -> None:
        """Ready is whose earlier attempt, if there was one, is gone without a trace."""
        if submit.attempt > claim.row.attempt and claim.row.handle:
            try:
                await self._call(self.charge.backend.cancel(claim.row.handle))
            except Exception as error:
                self.pauses.append(_backoff(claim, self._passing("cancel", error)))
                return
            failpoint("reconcile-cleared")
        ready.append((claim, submit))

    async def _submit(self, claim: Claim, submit: Submit) -> None:
        key = attempt_key(claim.row.id, submit.attempt)
        found_submitting = claim.row.phase is Phase.SUBMITTING and submit.attempt == claim.row.attempt
        try:
            spec = self._spec(claim)
            handle = await self._call(self.charge.backend.find(key, spec)) if found_submitting else None
            failpoint("reconcile-found")
            if handle is None and claim.row.state is State.CANCELING:
                await self._call(self.charge.backend.forbid(key, spec))
                self.outcomes.append(_outcome(claim, Become(State.CANCELED, "canceled before it was submitted")))
                return
            if handle is None:
                handle = await self._call(self.charge.backend.submit(key, spec))
            self.done.append((claim, handle))
        except Permanent as error:
            end = State.CANCELED if claim.row.state is State.CANCELING else State.SYSTEM_ERROR
            self.outcomes.append(_outcome(claim, Become(end, str(error))))
        except Exception as error:
            await self._failed(claim, key, self._passing("submit", error))

    async def _failed(self, claim: Claim, key: str, error: Retryable) -> None:
        """A submit that failed is tried again, less and less often, and for the last time after about a day."""
        if claim.row.failures < GIVE_UP_AFTER:
            self.pauses.append(_backoff(claim, error))
            return
        try:
            await self._call(self.charge.backend.forbid(key, self._spec(claim)))
            self.outcomes.append(_outcome(claim, Become(State.SYSTEM_ERROR, f"it could not be submitted: {error}")))
        except Exception:
            self.pauses.append(_backoff(claim, error))

    async def _cancel(self, claim: Claim, cancel: Cancel) -> None:
        try:
            if claim.row.handle:
                await self._call(self.charge.backend.cancel(claim.row.handle))
            failpoint("reconcile-canceled")
            self.pauses.append(Pause(claim, cancel.until))
        except Exception as error:
            self.pauses.append(_backoff(claim, self._passing("cancel", error)))

    async def _clear(self, claim: Claim, end: Become) -> None:
        try:
            if claim.row.handle:
                await self._call(self.charge.backend.cancel(claim.row.handle))
            failpoint("reconcile-cleared")
            self.outcomes.append(_outcome(claim, end))
        except Exception as error:
            self.pauses.append(_backoff(claim, self._passing("cancel", error)))

    async def _write(self) -> None:
        outcomes, pauses = self.outcomes, self.pauses
        self.outcomes, self.pauses = [], []
        if not outcomes and not pauses:
            return
        async with self.database.statements() as connection:
            if outcomes:
                self.settled |= await leases.become(connection, self.charge.kind, outcomes)
            if pauses:
                self.settled |= await leases.wait(connection, self.charge.kind, pauses)
        if outcomes:
            failpoint("reconcile-become")
        if pauses:
            failpoint("reconcile-waited")

    async def _give_back(self) -> None:
        """Rows that somebody changed meanwhile, or that this pass did not come to, wait for no lease to run out."""
        left = [claim for claim in self.claims if claim.row.id not in self.settled]
        if left:
            async with self.database.statements() as connection:
                await leases.give_back(connection, self.charge.kind, left)

    def _spec(self, claim: Claim) -> Any:
        try:
            return self.charge.spec_of(claim)
        except Exception as error:
            log.exception("backend.fault", extra={"backend": self.charge.name, "verb": "read the document"})
            raise Permanent(f"a fault of this service: {type(error).__name__} in the stored document") from error

    def _is_late(self) -> bool:
        return asyncio.get_running_loop().time() + CALL_TIMEOUT_S > self.ends

    async def _call(self, call: Awaitable[Reply]) -> Reply:
        until = min(asyncio.get_running_loop().time() + CALL_TIMEOUT_S, self.ends)
        async with asyncio.timeout_at(until):
            return await call

    async def _together(self, acts: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Run these, at most AT_ONCE at a time, and begin none late. None of them raises for a fault of its own row."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(act: Callable[[], Awaitable[None]]) -> None:
            async with gate:
                if not self._is_late():
                    await act()

        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(one(act))

    def _passing(self, verb: str, error: Exception) -> Retryable:
        """An error of a backend as one that may pass. What is no `Retryable` is a fault of ours or of the row, and is
        logged whole; the row backs off alone and disturbs nobody."""
        name = self.charge.name
        if isinstance(error, TimeoutError):
            return Retryable(f"{name} did not answer {verb} in time")
        if isinstance(error, Retryable):
            log.warning("backend.retry", extra={"backend": name, "verb": verb, "error": str(error)})
            return error
        log.error("backend.fault", exc_info=error, extra={"backend": name, "verb": verb})
        return Retryable(f"{name} failed to {verb}: {type(error).__name__}")


def _bind(act: Callable[..., Awaitable[None]], *arguments: Any) -> Callable[[], Awaitable[None]]:
    return lambda: act(*arguments)


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
