"""Give waiting tasks the slots of an executor, fairly between owners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wesgate.core.spec import Lane


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one lane of an executor can hold at a time: so many jobs, cores and GB of memory; None is unbounded."""

    jobs: int | None = None
    cpu_cores: float | None = None
    ram_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that wants a slot."""

    id: UUID
    cpu_cores: float
    ram_gb: float


_WAITING = text("""
    SELECT EXISTS (
        SELECT 1 FROM tasks WHERE backend = :backend AND lane = :lane AND admitted_at IS NULL AND state = 'QUEUED'
    )
""")

_PLACED = text("""
    SELECT count(*), coalesce(sum(cpu_cores), 0), coalesce(sum(ram_gb), 0)
    FROM tasks WHERE backend = :backend AND lane = :lane AND admitted_at IS NOT NULL AND ended_at IS NULL
""")

_NEXT = text("""
    WITH placed AS (
        SELECT owner_id, count(*) AS jobs
        FROM tasks
        WHERE backend = :backend AND lane = :lane AND admitted_at IS NOT NULL AND ended_at IS NULL
        GROUP BY owner_id
    )
    SELECT line.id, line.cpu_cores, line.ram_gb
    FROM owners
    LEFT JOIN placed ON placed.owner_id = owners.id
    CROSS JOIN LATERAL (                                       -- the head of each owner's own line,
        SELECT id, cpu_cores, ram_gb, created_at, row_number() OVER (ORDER BY created_at, id) AS place
        FROM (
            SELECT id, cpu_cores, ram_gb, created_at
            FROM tasks
            WHERE backend = :backend AND lane = :lane AND owner_id = owners.id
              AND admitted_at IS NULL AND state = 'QUEUED'
            ORDER BY created_at, id
            LIMIT :limit
        ) AS first
    ) AS line
    ORDER BY coalesce(placed.jobs, 0) + line.place,            -- whoever has least comes first: a long line of one
             line.created_at, line.id                          -- owner does not delay another's first task
    LIMIT :limit
""")

_ADMIT = text("""
    UPDATE tasks SET admitted_at = now(), due_at = now()
    WHERE id = ANY(:ids) AND admitted_at IS NULL AND state = 'QUEUED'
""")


async def admit(connection: AsyncConnection, backend: str, lane: Lane, capacity: Capacity, limit: int = 200) -> int:
    """Give free slots to waiting tasks; how many got one. Others who try meanwhile wait, so no slot is given twice."""
    where = {"backend": backend, "lane": lane.value}
    if not await connection.scalar(_WAITING, where):
        return 0
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"slots {backend} {lane}"}
    )
    jobs, cores, ram = (await connection.execute(_PLACED, where)).one()
    rows = (await connection.execute(_NEXT, {**where, "limit": limit})).all()
    chosen = fit([Waiting(*row) for row in rows], capacity, jobs, cores, ram)
    await connection.execute(_ADMIT, {"ids": chosen})
    return len(chosen)


def fit(line: Sequence[Waiting], capacity: Capacity, jobs: int, cores: float, ram: float) -> list[UUID]:
    """Who of the line fits beside what is placed already. It stops at the first who does not, so that a large task
    is not overtaken for ever; one larger than the whole lane counts as the whole lane, and so gets it to itself."""
    chosen: list[UUID] = []
    for task in line:
        jobs += 1
        cores += min(task.cpu_cores, capacity.cpu_cores or task.cpu_cores)
        ram += min(task.ram_gb, capacity.ram_gb or task.ram_gb)
        if _over(jobs, capacity.jobs) or _over(cores, capacity.cpu_cores) or _over(ram, capacity.ram_gb):
            break
        chosen.append(task.id)
    return chosen


def _over(amount: float, limit: float | None) -> bool:
    return limit is not None and amount > limit + 1e-9
