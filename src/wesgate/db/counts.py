"""How many runs there are in each state: counted anew for every request, or for some, where that takes long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from wesgate.core.owner import Owner
from wesgate.db import runs
from wesgate.db.lists.filters import Filter
from wesgate.db.session import Database

LARGE = 10_000
COUNTED_PER_SECOND = 500_000
READ_PER_SECOND = 50_000
MOST_KEPT = 1000


class Counts:
    """Counts of runs by state, exact as of when they were counted.

    That is now, but where LARGE of them or more were counted: clients ask for all before every command, and to count a
    million takes the index a tenth of a second. Such counts are kept, in this process, for a second for every
    COUNTED_PER_SECOND of them or, where rows had to be read for tags, names or words, for every READ_PER_SECOND.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._large: dict[tuple[UUID, Filter], _Kept] = {}

    async def of(self, database: Database, owner: Owner, wanted: Filter = runs.ALL) -> dict[str, int]:
        """How many of the owner's runs that are wanted are in each state."""
        kept = self._large.get((owner.id, wanted))
        if kept is None:
            return self._keep(owner, wanted, await runs.counts(database, owner, wanted))
        async with kept.counting:  # whoever comes meanwhile takes what the first one counted
            if self._clock() < kept.until:
                return kept.counts
            return self._keep(owner, wanted, await runs.counts(database, owner, wanted))

    def _keep(self, owner: Owner, wanted: Filter, counts: dict[str, int]) -> dict[str, int]:
        total = sum(counts.values())
        if total >= LARGE:
            kept = self._large.pop((owner.id, wanted), None) or _Kept()
            rate = READ_PER_SECOND if wanted.reads_rows else COUNTED_PER_SECOND
            kept.counts, kept.until = counts, self._clock() + total / rate
            self._large[owner.id, wanted] = kept
            if len(self._large) > MOST_KEPT:
                del self._large[next(iter(self._large))]
        return counts


@dataclass(slots=True)
class _Kept:
    counts: dict[str, int] = field(default_factory=dict)
    until: float = 0.0
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
