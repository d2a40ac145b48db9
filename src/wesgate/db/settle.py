"""Claim runs that ended and have something left to be done: words to be found by, files to be removed.

`runs.settle_at` says when: the database sets it as a run ends; `infinity` is a run whose files are kept for ever, NULL
one that has none any more. A claim moves it ahead, so whoever dies with a run leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from wesgate.core.spec import DeleteAfter, attempt_key
from wesgate.core.states import State
from wesgate.db.session import Database

LEASE = timedelta(seconds=30)
"""What is done about a run may be done twice: a lease that ran out meanwhile costs time and nothing else."""
BROUGHT_AT_ONCE = 10_000

# Whoever was answered with what a run made may hold its files by a link of their own, and answer others with that.
_IN_USE = """
    WITH RECURSIVE users AS (
        SELECT run_id AS id FROM reuses WHERE source_id = runs.id
        UNION SELECT reuses.run_id FROM users JOIN reuses ON source_id = users.id
    )
    SELECT FROM users JOIN runs AS live USING (id) WHERE live.ended_at IS NULL
"""

# As the database sets it, before the end itself; each claim and whatever follows sets it to a later time.
_NEW, _OTHER = "settle_at <= ended_at", "settle_at > ended_at"

_CLAIM = f"""
    WITH due AS (
        SELECT id FROM runs
        WHERE settle_at <= now() AND {{which}}
        ORDER BY settle_at                             -- the longest wait first
        LIMIT $1
        FOR UPDATE SKIP LOCKED                         -- what another claims now is not ours
    )
    UPDATE runs SET settle_at = now() + $2
    FROM due
    WHERE runs.id = due.id
    RETURNING runs.id, state, directory, settle_at,
              document -> 'workflow_engine_parameters' ->> 'delete_after' AS delete_after,
              coalesce(ended_at + $3::interval <= now(), false) AS is_over,
              EXISTS (SELECT FROM tasks WHERE run_id = runs.id AND ended_at IS NULL) AS is_alive,
              EXISTS ({_IN_USE}) AS is_in_use
"""

# By the run's own state: whoever's lease ran out leaves the end to the one who has the run now.
_SETTLED = """
    UPDATE runs SET settle_at = CASE WHEN $3 THEN NULL ELSE coalesce(ended_at + $4::interval, 'infinity') END
    WHERE id = $1 AND settle_at = $2
"""
_LATER = "UPDATE runs SET settle_at = now() + $3 WHERE id = $1 AND settle_at = $2"

_NEXT = """
    SELECT extract(epoch FROM settle_at - now())::float AS seconds FROM runs
    WHERE settle_at < 'infinity' AND {which} ORDER BY settle_at LIMIT 1
"""

_BRING_FORWARD = """
    UPDATE runs SET settle_at = ended_at + $1::interval
    WHERE id IN (SELECT id FROM runs WHERE settle_at > ended_at + $1::interval AND settle_at > now() + $3 LIMIT $2)
    RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended, ours until `until`. `is_over` says that its files have been kept for long enough; `is_alive`
    that a task of it has not ended yet; `is_in_use` that a run goes on that took from the call cache what it made."""

    id: UUID
    state: State
    directory: str
    delete_after: DeleteAfter
    is_over: bool
    is_alive: bool
    is_in_use: bool
    until: datetime


async def claim(database: Database, most: int, keep: timedelta | None, *, new: bool) -> list[Ended]:
    """Take up to `most` runs that are due, for the length of a lease: new ones, which nobody has looked at since they
    ended, or others. Files are kept for `keep`, else for ever."""
    statement = _CLAIM.format(which=_NEW if new else _OTHER)
    return [_ended(row) for row in await database.fetch(statement, most, LEASE, keep)]


async def settled(database: Database, run: Ended, keep: timedelta | None, *, removed: bool) -> None:
    """All was done for now: until its files have been kept for long enough, or for ever if they were removed."""
    await database.fetch(_SETTLED, run.id, run.until, removed, keep)


async def later(database: Database, run: Ended, pause: timedelta) -> None:
    """It could not be done; try it again after so long."""
    await database.fetch(_LATER, run.id, run.until, pause)


async def next_due(database: Database, *, new: bool) -> float | None:
    """In how many seconds the next of the new runs, or of the others, is due; None if there is none."""
    row = await database.fetch_row(_NEXT.format(which=_NEW if new else _OTHER))
    return row["seconds"] if row else None


async def bring_forward(database: Database, keep: timedelta) -> None:
    """Let runs end after `keep` that were to be kept for longer, since the setting was another then."""
    while len(await database.fetch(_BRING_FORWARD, keep, BROUGHT_AT_ONCE, LEASE)) == BROUGHT_AT_ONCE:
        pass


async def attempts(database: Database, run: Ended) -> Sequence[str]:
    """The keys of all attempts that the run's tasks had, its heads among them."""
    rows = await database.fetch("SELECT id, attempt FROM tasks WHERE run_id = $1", run.id)
    return [attempt_key(row["id"], number) for row in rows for number in range(1, row["attempt"] + 1)]


def _ended(row: Record) -> Ended:
    return Ended(
        id=row["id"],
        state=State(row["state"]),
        directory=row["directory"],
        delete_after=DeleteAfter(row["delete_after"]) if row["delete_after"] in set(DeleteAfter) else DeleteAfter.NEVER,
        is_over=row["is_over"],
        is_alive=row["is_alive"],
        is_in_use=row["is_in_use"],
        until=row["settle_at"],
    )
