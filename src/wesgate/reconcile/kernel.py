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
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, assert_never
from uuid import UUID

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
CALL_TIMEOUT_S = 9.0
ACT_FOR_S = LEASE.total_seconds() - 4
"""A pass makes no call later than this; the rest of the lease is for writing down what came of it."""
SOON = timedelta(seconds=1)
LONGEST_BACKOFF_S = 300.0
GIVE_UP_AFTER = 300
"""Submits that failed in a row, about a day of them: then a task ends with the last reason."""
UNSEEN = timedelta(minutes=10)
"""A job that was told to stop for so long, and could not be looked at, counts as stopped."""
UNSTORABLE = "what became of it cannot be stored"

Reply = TypeVar("Reply")
Looks = Mapping[Handle, Observation[Any] | Retryable]
"""How each job stands, or why that could not be seen."""


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
            if await slots.admit(connection, charge.name, lane, capacity):
                failpoint("reconcile-admitted")
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
            handles = [claim.row.handle for claim in self.claims if claim.row.handle]
            looks = await self._look(handles) if handles else {}
            if handles:
                failpoint("reconcile-polled")
            stops, submits = self._decide(looks)
            await self._write()
            await self._together(stops)
            await self._submit_all(submits)
            await self._write()
        finally:
            await self._give_back()

    async def _look(self, handles: Sequence[Handle]) -> Looks:
        try:
            return await self._call(self.charge.backend.poll(handles))
        except Exception as error:
            failed = self._passing("poll", error)
            if isinstance(error, Retryable | TimeoutError) or len(handles) == 1:
                return dict.fromkeys(handles, failed)
        # The fault may be one job's: each is looked at alone, so that it hides no other.
        alone = await self._together(partial(self._look, [handle]) for handle in handles)
        looks: dict[Handle, Observation[Any] | Retryable] = {}
        for handle, look in zip(handles, alone, strict=True):
            looks |= {handle: failed} if look is None else look
        return looks

    def _decide(self, looks: Looks) -> tuple[list[Callable[[], Awaitable[None]]], list[tuple[Claim, Submit]]]:
        """Settle what needs no call; what does is returned: the stops, and the submits."""
        stops: list[Callable[[], Awaitable[None]]] = []
        submits: list[tuple[Claim, Submit]] = []
        for claim in self.claims:
            seen = looks.get(claim.row.handle or Handle(""))
            if isinstance(seen, Retryable):
                if claim.row.state is State.CANCELING:
                    stops.append(self._stop_unseen(claim, seen))
                else:
                    self.pauses.append(_backoff(claim, seen))
                continue
            match decide(claim.row, seen, claim.now):
                case Wait() as wait:
                    self.pauses.append(Pause(claim, wait.until, wait.missing_since, report=wait.report))
                case Become(clear=False) as end:
                    self.outcomes.append(_outcome(claim, end))
                case Become() as end:
                    stops.append(partial(self._clear, claim, end))
                case Cancel() as cancel:
                    stops.append(partial(self._cancel, claim, Pause(claim, cancel.until)))
                case Submit() as submit:
                    submits.append((claim, submit))
                case action:
                    assert_never(action)
        return stops, submits

    def _stop_unseen(self, claim: Claim, error: Retryable) -> Callable[[], Awaitable[None]]:
        if claim.now - claim.row.state_since > UNSEEN:
            return partial(self._clear, claim, Become(State.CANCELED, clear=True))
        return partial(self._cancel, claim, _backoff(claim, error))

    async def _submit_all(self, wanted: Sequence[tuple[Claim, Submit]]) -> None:
        """The submit protocol: clear an old attempt away, commit SUBMITTING, find or submit, commit the handle."""
        cleared = await self._together(partial(self._clear_earlier, *each) for each in wanted)
        ready = [each for each, is_cleared in zip(wanted, cleared, strict=True) if is_cleared]
        if not ready or self._is_late():
            return
        ours = await self._mark(ready)
        failpoint("reconcile-submitting")
        await self._together(partial(self._submit, *each) for each in ready if each[0].row.id in ours)
        failpoint("reconcile-called")
        if self.done:
            async with self.database.statements() as connection:
                self.settled |= await leases.submitted(connection, self.charge.kind, self.done)
            failpoint("reconcile-submitted")

    async def _mark(self, ready: Sequence[tuple[Claim, Submit]]) -> frozenset[UUID]:
        """Commit SUBMITTING; the ids that are still ours. What cannot be stored of a lost attempt is left out."""
        try:
            async with self.database.statements() as connection:
                return await leases.submitting(connection, self.charge.kind, ready)
        except Unavailable:
            raise
        except Exception as error:
            if len(ready) > 1:
                return frozenset().union(*[await self._mark([each]) for each in ready])
            claim, submit = ready[0]
            log.error("reconcile.refused", extra={"row": str(claim.row.id), "error": type(error).__name__})
            return await self._mark([(claim, replace(submit, report=None))]) if submit.report else frozenset()

    async def _clear_earlier(self, claim: Claim, submit: Submit) -> bool:
        """Whether its earlier attempt, if there was one, is gone without a trace."""
        if submit.attempt > claim.row.attempt and claim.row.handle:
            try:
                await self._call(self.charge.backend.cancel(claim.row.handle))
            except Exception as error:
                self.pauses.append(_backoff(claim, self._passing("cancel", error)))
                return False
            failpoint("reconcile-cleared")
        return True

    async def _submit(self, claim: Claim, submit: Submit) -> None:
        key = attempt_key(claim.row.id, submit.attempt)
        found_submitting = claim.row.phase is Phase.SUBMITTING and submit.attempt == claim.row.attempt
        try:
            spec = self._spec(claim)
            handle = await self._call(self.charge.backend.find(key, spec)) if found_submitting else None
            failpoint("reconcile-found")
            if handle is None and claim.row.state is State.CANCELING:
                await self._call(self.charge.backend.forbid(key, spec))
                failpoint("reconcile-forbidden")
                self.outcomes.append(Outcome(claim, State.CANCELED, "canceled before it was submitted"))
                return
            if handle is None:
                handle = await self._call(self.charge.backend.submit(key, spec))
            self.done.append((claim, handle))
        except Permanent as error:
            self.outcomes.append(_failure(claim, str(error)))
        except Exception as error:
            await self._failed(claim, key, self._passing("submit", error))

    async def _failed(self, claim: Claim, key: str, error: Retryable) -> None:
        """A submit that failed is tried again, less and less often, and for the last time after about a day."""
        if claim.row.failures < GIVE_UP_AFTER:
            self.pauses.append(_backoff(claim, error))
            return
        try:
            await self._call(self.charge.backend.forbid(key, self._spec(claim)))
            failpoint("reconcile-forbidden")
            self.outcomes.append(_failure(claim, f"it could not be submitted: {error}"))
        except Exception:
            self.pauses.append(_backoff(claim, error))

    async def _cancel(self, claim: Claim, then: Pause) -> None:
        try:
            if claim.row.handle:
                await self._call(self.charge.backend.cancel(claim.row.handle))
            failpoint("reconcile-canceled")
            self.pauses.append(then)
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
        items: list[Outcome | Pause] = [*outcomes, *pauses]
        try:
            await self._store(items)
        except Unavailable:
            raise
        except Exception:
            # One value that cannot be stored fails the statement of all rows: each alone, then.
            for item in items:
                if item.claim.row.id not in self.settled:
                    await self._store_alone(item)
        if outcomes:
            failpoint("reconcile-become")
        if pauses:
            failpoint("reconcile-waited")

    async def _store(self, items: Sequence[Outcome | Pause]) -> None:
        outcomes = [item for item in items if isinstance(item, Outcome)]
        pauses = [item for item in items if isinstance(item, Pause)]
        if not items:
            return
        async with self.database.statements() as connection:
            if outcomes:
                self.settled |= await leases.become(connection, self.charge.kind, outcomes)
            if pauses:
                self.settled |= await leases.wait(connection, self.charge.kind, pauses)

    async def _store_alone(self, item: Outcome | Pause) -> None:
        """Write one row; what the database refuses of it is left out, and a job that runs goes on."""
        for told in (item, *_less(item)):
            try:
                await self._store([told])
            except Unavailable:
                raise
            except Exception as error:
                reason = str(getattr(error, "orig", error)).partition("\n")[0][:200]  # not the statement's values
                log.error("reconcile.refused", extra={"row": str(item.claim.row.id), "error": reason})
            else:
                return

    async def _give_back(self) -> None:
        """Rows that somebody changed meanwhile, or that this pass did not come to, wait for no lease to run out."""
        left = [claim for claim in self.claims if claim.row.id not in self.settled]
        if left:
            async with self.database.statements() as connection:
                await leases.give_back(connection, self.charge.kind, left)
            failpoint("reconcile-given-back")

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

    async def _together(self, acts: Iterable[Callable[[], Awaitable[Reply]]]) -> list[Reply | None]:
        """Run these, at most AT_ONCE at a time, and begin none late: None stands for what was not begun. None of them
        raises for a fault of its own row."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(act: Callable[[], Awaitable[Reply]]) -> Reply | None:
            async with gate:
                return None if self._is_late() else await act()

        async with asyncio.TaskGroup() as group:
            begun = [group.create_task(one(act)) for act in acts]
        return [task.result() for task in begun]

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


def _backoff(claim: Claim, error: Retryable) -> Pause:
    failures = claim.row.failures + 1
    delay = min(LONGEST_BACKOFF_S, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311  # spreads retries
    until = claim.now + timedelta(seconds=delay)
    return Pause(claim, until, claim.row.missing_since, failures, detail=f"waiting to try again: {error}")


def _outcome(claim: Claim, end: Become) -> Outcome:
    return Outcome(claim, end.state, end.detail, end.report)


def _failure(claim: Claim, detail: str) -> Outcome:
    """The end of a row that cannot be carried out; one that is being canceled is canceled by it."""
    return Outcome(claim, State.CANCELED if claim.row.state is State.CANCELING else State.SYSTEM_ERROR, detail)


def _less(refused: Outcome | Pause) -> list[Outcome | Pause]:
    """What is written of a row when this cannot be: the first that can."""
    later = _backoff(refused.claim, Retryable(UNSTORABLE))
    if isinstance(refused, Outcome) and refused.state in TERMINAL:
        return [_failure(refused.claim, f"a fault of this service: {UNSTORABLE}"), later]
    return [later]
