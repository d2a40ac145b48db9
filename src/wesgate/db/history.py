"""What became of a run and of its tasks, state by state, in the order of its ids."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from wesgate.core.owner import Owner
from wesgate.db import rows
from wesgate.db.session import Database

PAGE = 1000
SETTLE_S = 5.0
"""How long a change that is under way is waited for. Ours are single statements; what takes longer belongs to somebody
else's transaction."""
GLANCE_S, MOST_GLANCE_S = 0.02, 0.5
"""How often it is looked at: less and less often."""

# Ids are given out before the commit: a row with a lower one may appear after a row with a higher one. Whatever has a
# lower one began, and so had its transaction's number, before the higher one could be seen. Who has a number is looked
# up after the statement's snapshot was taken, and loses it only when all can see what it did: so a lower one is either
# seen, or under way here. A snapshot would tell it too, but with the transactions of all databases of this Postgres.
_UNDER_WAY = """
    SELECT (SELECT coalesce(max(id), 0) FROM history) AS newest,
           ARRAY(
               SELECT backend_xid::text FROM pg_stat_activity
               WHERE datname = current_database() AND backend_xid IS NOT NULL
                 -- which analyzes, for minutes at times, and changes no row; of other roles' this is NULL
                 AND backend_type IS DISTINCT FROM 'autovacuum worker'
               UNION ALL
               SELECT transaction::text FROM pg_prepared_xacts WHERE database = current_database()
           ) AS under_way
"""

_NEWEST = "SELECT coalesce(max(id), 0) AS newest FROM history"

# Whatever makes a task locks its run first, and whatever changes a row waits for the change before: where the last
# change of each can be seen, all before it can, too.
_IS_OVER = """
    SELECT CASE WHEN ended_at IS NOT NULL THEN
        NOT EXISTS (SELECT FROM tasks WHERE run_id = $2 AND lane = 'task' AND ended_at IS NULL)
    ELSE false END AS is_over
    FROM runs WHERE owner_id = $1 AND id = $2
"""

_ENGINE_LOG = """
    SELECT state, (SELECT report ->> $3 FROM attempts WHERE row_id = runs.id AND number = runs.attempt) AS path
    FROM runs WHERE owner_id = $1 AND id = $2
"""

_COLUMNS = "history.id, history.row_id, history.state, history.detail, history.at"

# Of a run that is read from its beginning: by its tasks, however much else there is.
_PAST = f"""
    SELECT {_COLUMNS}, NULL AS name FROM history WHERE row_id = $1 AND id > $2 AND id <= $3
    UNION ALL
    SELECT {_COLUMNS}, tasks.name
    FROM tasks JOIN history ON history.row_id = tasks.id AND history.id > $2 AND history.id <= $3
    WHERE tasks.run_id = $1 AND tasks.lane = 'task'
    ORDER BY id LIMIT {PAGE}
"""

# Of a run that is being followed: by what is new, however many tasks it has.
_NEWS = f"""
    SELECT {_COLUMNS}, tasks.name
    FROM history LEFT JOIN tasks ON tasks.id = history.row_id
    WHERE history.id > $2 AND history.id <= $3
      AND (history.row_id = $1 OR (tasks.run_id = $1 AND tasks.lane = 'task'))
    ORDER BY history.id LIMIT {PAGE}
"""


class Settled(NamedTuple):
    """Up to which id the history is whole, if nothing was under way for too long: `is_sure`."""

    upto: int
    is_sure: bool


@dataclass(slots=True)
class Reading:
    """How far the history of a run has been read: all up to `after`. It is read as news once it was read to its end."""

    run_id: UUID
    after: int
    is_caught_up: bool = False

    async def page(self, database: Database, upto: int) -> Sequence[Record]:
        """Up to PAGE of what came after, up to this id; fewer if that is all. A task has a name, and the run has None.
        The caller's right to the run was checked."""
        statement = _NEWS if self.is_caught_up else _PAST
        found = await database.fetch(statement, self.run_id, self.after, upto)
        if len(found) == PAGE:
            self.after = found[-1]["id"]
        else:
            self.after, self.is_caught_up = max(self.after, upto), True
        return found


async def is_over(database: Database, owner: Owner, run_id: UUID) -> bool:
    """Whether the run and all of its tasks have ended; NotFound if the owner has no such run. If so, all that became of
    them can be read from then on: there is nothing to wait for."""
    return bool((await rows.one(database, _IS_OVER, owner.id, run_id))["is_over"])


async def settled(database: Database) -> Settled:
    """Waits until what was under way when this was called has ended, but not for ever."""
    until, pause = asyncio.get_running_loop().time() + SETTLE_S, GLANCE_S
    begun = await rows.one(database, _UNDER_WAY)
    left = set(begun["under_way"])
    while left and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(pause)
        pause = min(MOST_GLANCE_S, pause * 2)
        left &= set((await rows.one(database, _UNDER_WAY))["under_way"])
    return Settled(begun["newest"], not left)


async def newest(database: Database) -> int:
    """The highest id that can be seen."""
    return int((await rows.one(database, _NEWEST))["newest"])


async def engine_log(database: Database, owner: Owner, run_id: UUID, stream: str) -> tuple[str, str]:
    """The state of a run, and where its engine's stdout or stderr is, relative to the shared root; that is empty while
    it is not known."""
    row = await rows.one(database, _ENGINE_LOG, owner.id, run_id, stream)
    return row["state"], row["path"] or ""
