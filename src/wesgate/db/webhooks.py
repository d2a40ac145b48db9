"""Webhooks, and what each has still to be told. Deliveries are made by the database with the change they tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record
from sqlalchemy import text

from wesgate.core.errors import Conflict
from wesgate.core.owner import Owner
from wesgate.db import history, rows
from wesgate.db.session import Database

MOST = 20
"""How many an owner may have."""

# A state change makes deliveries for the webhooks that it sees, and would fail by the foreign key if one of these were
# deleted at that moment. So a webhook is first given a state that no run has, and is deleted once nobody can have seen
# it as it was.
_REMOVED = "'{REMOVED}'"

_INSERT = """
    WITH webhook AS (
        INSERT INTO webhooks (id, owner_id, url, secret, states) VALUES (:id, :owner, :url, :secret, :states)
        RETURNING id
    )
    INSERT INTO audit (owner_id, action, row_id) SELECT :owner, 'webhook.create', id FROM webhook
"""

_LIST = f"SELECT id, url, states FROM webhooks WHERE owner_id = $1 AND states <> {_REMOVED} ORDER BY created_at, id"

_REMOVE = f"""
    WITH webhook AS (
        UPDATE webhooks SET states = {_REMOVED} WHERE id = $2 AND owner_id = $1 AND states <> {_REMOVED} RETURNING id
    ), noted AS (
        INSERT INTO audit (owner_id, action, row_id) SELECT $1, 'webhook.remove', id FROM webhook
    )
    SELECT id FROM webhook
"""

_REMOVE_GONE = f"UPDATE webhooks SET states = {_REMOVED} WHERE id = $1"

# However much waits for a receiver, only the oldest of it is looked at: to read a hundred thousand for every four that
# are sent would take longer than to send them. These are the bounds of what waits for one receiver in the index of its
# deliveries. Were they an equality, Postgres would know that ids alone give the same order, and could go by their own
# index, past all that waits for others; or take what waits to be few, as for most receivers, and sort it.
_OLDEST = """
    SELECT id, webhook_id, run_id, due_at FROM deliveries
    WHERE (webhook_id, id) > ({0}, 0) AND webhook_id <= {0}
    ORDER BY webhook_id, id LIMIT 1000
"""

_FIRST = f"""
    SELECT DISTINCT ON (webhook_id, run_id) oldest.id, webhook_id, due_at  -- a run's later changes wait
    FROM webhooks CROSS JOIN LATERAL ({_OLDEST.format("webhooks.id")}) AS oldest
    WHERE webhooks.id <> ALL($1::uuid[])                   -- receivers that are busy, or rest
      AND states <> {_REMOVED}
    ORDER BY webhook_id, run_id, oldest.id                 -- one row's changes have their ids in their order
"""

_CLAIM = f"""
    WITH first AS ({_FIRST}), ranked AS (
        SELECT id, due_at, row_number() OVER (PARTITION BY webhook_id ORDER BY due_at, id) AS place
        FROM first WHERE due_at <= now()
    ), due AS (
        SELECT id FROM deliveries
        WHERE id = ANY(ARRAY(
            SELECT id FROM ranked WHERE place <= $2        -- a receiver takes no more than its share of the senders
            ORDER BY due_at LIMIT $3
        )) AND due_at <= now()                             -- looked at again once it is locked
        FOR UPDATE SKIP LOCKED                             -- what another claims now is not ours
    )
    UPDATE deliveries SET due_at = now() + $4              -- a lease: whoever dies with it leaves it to the next
    FROM due, webhooks
    WHERE deliveries.id = due.id AND webhooks.id = deliveries.webhook_id
    RETURNING deliveries.id, webhook_id, url, secret, run_id, state, detail, at, failures, deliveries.due_at
"""

_NEXT = f"SELECT extract(epoch FROM min(due_at) - now())::float AS seconds FROM ({_FIRST}) AS first"

# What nobody has tried is not given up: it may be this service that was away for so long.
_POSTPONE = f"""
    WITH given_up AS (
        DELETE FROM deliveries
        WHERE id = ANY(ARRAY(SELECT id FROM ({_OLDEST.format("$2")}) AS oldest))
          AND at < now() - $4::interval AND failures > 0
        RETURNING id
    ), later AS (
        UPDATE deliveries SET due_at = now() + $3::interval, failures = failures + $5
        WHERE id = $1 AND (at >= now() - $4::interval OR failures = 0)
          AND due_at = $6                                  -- its lease ran out, and another has it: it is theirs to say
    )
    SELECT count(*) AS given_up FROM given_up
"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an owner wants to be told of runs that come into these states; none means all."""

    id: UUID
    url: str
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One state change to be told to one webhook, ours until `due_at`."""

    id: int
    webhook_id: UUID
    url: str
    secret: str
    run_id: UUID
    state: str
    detail: str
    at: datetime
    failures: int
    due_at: datetime


async def create(database: Database, owner: Owner, webhook: Webhook, secret: str) -> None:
    """Make the webhook durable; Conflict if the owner has as many as there may be."""
    async with database.transaction() as connection:
        # One at a time of each owner: else two at once would both find room for the last.
        await connection.execute(text("SELECT FROM owners WHERE id = :id FOR NO KEY UPDATE"), {"id": owner.id})
        count = f"SELECT count(*) FROM webhooks WHERE owner_id = :id AND states <> {_REMOVED}"
        if int(await connection.scalar(text(count), {"id": owner.id}) or 0) >= MOST:
            raise Conflict(f"there are {MOST} webhooks, and there can be no more; delete one first")
        values = {"id": webhook.id, "owner": owner.id, "url": webhook.url, "secret": secret}
        await connection.execute(text(_INSERT), {**values, "states": list(webhook.states)})


async def listed(database: Database, owner: Owner) -> list[Webhook]:
    """The owner's webhooks in the order they were made."""
    found = await database.fetch(_LIST, owner.id)
    return [Webhook(row["id"], row["url"], tuple(row["states"])) for row in found]


async def remove(database: Database, owner: Owner, webhook_id: UUID) -> None:
    """Tell this webhook nothing more, neither what is new nor what waits; NotFound if the owner has no such."""
    await rows.one(database, _REMOVE, owner.id, webhook_id)


async def remove_gone(database: Database, webhook_id: UUID) -> None:
    """The same, since its receiver says that it is gone."""
    await database.fetch(_REMOVE_GONE, webhook_id)


async def sweep(database: Database) -> None:
    """Delete the webhooks that were removed, with what they were not told."""
    found = await database.fetch(f"SELECT id FROM webhooks WHERE states = {_REMOVED}")
    if found and (await history.settled(database)).is_sure:
        await database.fetch("DELETE FROM webhooks WHERE id = ANY($1::uuid[])", [row["id"] for row in found])


async def claim(
    database: Database, busy: Collection[UUID], of_one: int, most: int, lease: timedelta
) -> Sequence[Delivery]:
    """Take deliveries that are due, for the length of a lease: up to `most`, of each webhook up to `of_one`, and none
    of those that are busy."""
    return [_delivery(row) for row in await database.fetch(_CLAIM, list(busy), of_one, most, lease)]


async def next_due(database: Database, busy: Collection[UUID]) -> float | None:
    """In how many seconds the next delivery is due, of webhooks that are not busy; None if there is none."""
    seconds: float | None = (await rows.one(database, _NEXT, list(busy)))["seconds"]
    return seconds


async def delivered(database: Database, delivery: Delivery) -> None:
    """It was told, and nobody need tell it again."""
    await database.fetch("DELETE FROM deliveries WHERE id = $1", delivery.id)


async def postpone(
    database: Database, delivery: Delivery, pause: timedelta, keep: timedelta, *, failed: bool = True
) -> int:
    """Tell it later. What waits for this webhook for longer than `keep`, and was tried before, is given up; how many
    these were."""
    values = (delivery.id, delivery.webhook_id, pause, keep, int(failed), delivery.due_at)
    return int((await rows.one(database, _POSTPONE, *values))["given_up"])


def _delivery(row: Record) -> Delivery:
    return Delivery(**dict(row.items()))
