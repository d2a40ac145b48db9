"""Tells the service of calls that were answered from the call cache: many at once, and none twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from wesgate.engines.miniwdl.head.calls import Hit
from wesgate.engines.miniwdl.head.runtime import call_path
from wesgate.engines.miniwdl.head.tes.client import Refused, TesClient, Unreachable

GATHER_S = 0.3
AT_ONCE = 500
LAST_PATIENCE_S = 30.0


class Teller:
    """Takes hits from any thread, and tells of them a moment later, and of the last at `close`. A run is not failed by
    a list that misses some; `stop` is asked while the API is away."""

    def __init__(self, client: TesClient, run_id: str, attempt_directory: Path, stop: Callable[[], bool]) -> None:
        self._client = client
        self._run_id = run_id
        self._attempt_directory = attempt_directory
        self._stop = stop
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._pending: list[Hit] = []

    def add(self, hit: Hit) -> None:
        """What this run's own earlier head ran is in the list already."""
        if hit.run == UUID(self._run_id).hex:
            return
        with self._lock:
            self._pending.append(hit)
            if len(self._pending) == 1:
                timer = threading.Timer(GATHER_S, self.flush)
                timer.daemon = True
                timer.start()

    def close(self) -> None:
        self.flush(LAST_PATIENCE_S)

    def flush(self, patience_s: float = 300.0) -> None:
        with self._sending:
            with self._lock:
                hits, self._pending = self._pending, []
            for first in range(0, len(hits), AT_ONCE):
                self._tell(hits[first : first + AT_ONCE], patience_s)

    def _tell(self, hits: list[Hit], patience_s: float) -> None:
        calls = [self._call(hit) for hit in hits]
        try:
            self._client.tell_cached(self._run_id, calls, patience_s, self._stop)
        except (Refused, Unreachable) as error:
            logging.getLogger("wesgate").warning("%d cached calls are missing in the task list: %s", len(hits), error)

    def _call(self, hit: Hit) -> dict[str, str]:
        place = call_path(self._attempt_directory, Path(hit.directory), hit.name)
        run = str(UUID(hex=hit.run)) if hit.run else ""
        # as tasks are named that are run
        return {"call": place, "name": Path(place).name, "task": hit.task_id, "run": run}
