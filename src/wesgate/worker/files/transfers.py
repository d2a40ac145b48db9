"""Move many files at a time, within one task's bounds, and leave off as soon as the attempt is to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from wesgate.core.spec import Fetching, Store
from wesgate.storage.connections import Network
from wesgate.storage.mux import Remote
from wesgate.storage.patience import Bounds, Transfer
from wesgate.worker.interrupts import Interrupts

AT_ONCE = 6

T = TypeVar("T")


@dataclass(slots=True)
class Transfers:
    """What a task moves. The bytes are those that were really moved: neither mounted nor linked."""

    remote: Remote
    bounds: Bounds
    interrupts: Interrupts
    bytes_in: int = 0
    bytes_out: int = 0

    def metadata(self) -> dict[str, str]:
        return {"bytes_in": str(self.bytes_in), "bytes_out": str(self.bytes_out)}

    def begin(self) -> Transfer:
        """The time of all inputs, or of all outputs, begins."""
        return Transfer(self.bounds)

    def together(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """What these jobs give, several at a time. The first that fails ends it; so does a cancel, at once."""
        if not jobs:
            return []
        todo = iter(enumerate(jobs))
        turn = threading.Lock()
        results: dict[int, T] = {}

        def work() -> None:
            while True:
                with turn:
                    number, job = next(todo, (-1, None))
                if job is None:
                    return
                results[number] = job()

        pool = ThreadPoolExecutor(min(AT_ONCE, len(jobs)))
        try:
            threads = [pool.submit(work) for _ in range(min(AT_ONCE, len(jobs)))]
            self.interrupts.wait_until(
                lambda: all(one.done() for one in threads) or any(_failed(one) for one in threads)
            )
            # A transfer that was told to stop has failed as well.
            self.interrupts.check()
            for one in threads:
                if one.done():
                    one.result()
        finally:
            with turn:
                list(todo)  # nobody takes another
            # What is under way ends with the process; nobody waits for a silent server.
            pool.shutdown(wait=False, cancel_futures=True)
        return [results[number] for number in range(len(jobs))]


def transfers(fetching: Fetching, stores: Sequence[Store], interrupts: Interrupts) -> Transfers:
    """The transfers of one task."""
    bounds = Bounds(fetching.max_bytes, fetching.timeout_s, interrupts.requested)
    return Transfers(Remote(Network(fetching.allow_private), tuple(stores)), bounds, interrupts)


def _failed(one: Future[None]) -> bool:
    return one.done() and one.exception() is not None
