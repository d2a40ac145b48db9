"""Give waiting tasks the slots of an executor, fairly between owners."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wesgate.core.spec import Lane


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one lane of an executor can hold at a time: so many jobs, cores, GB of memory, and GPUs; None is
    unbounded."""

    jobs: int | None = None
    cpu_cores: float | None = None
    ram_gb: float | None = None
    gpus: int | None = None


_ADMIT = text(
    "SELECT wesgate_admit(:backend, :lane, CAST(:jobs AS int), CAST(:cores AS float), CAST(:ram AS float), "
    "CAST(:gpus AS int), :most)"
)


async def admit(connection: AsyncConnection, backend: str, lane: Lane, capacity: Capacity, most: int = 200) -> int:
    """Give free slots to waiting tasks; how many got one. The migrations hold the function: it takes a lock before it
    looks, so no slot is given twice."""
    values = {
        "backend": backend, "lane": lane.value, "most": most,
        "jobs": capacity.jobs, "cores": capacity.cpu_cores, "ram": capacity.ram_gb, "gpus": capacity.gpus,
    }  # fmt: skip
    admitted: int = await connection.scalar(_ADMIT, values)
    return admitted
