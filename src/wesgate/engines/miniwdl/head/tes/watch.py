"""One thread per head that knows when its tasks end, however many threads wait for them."""

from __future__ import annotations

import logging
import threading
import time

import urllib3

from wesgate.engines.miniwdl.head.tes.client import Refused, TesClient, Unreachable

ENDS = frozenset({"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"})
GONE = "GONE"
"""Not a TES state: TES has no such task any more, or no longer talks to this run."""

SWEEP_S = 15.0  # a missed event costs this much at most
FEW = 5

log = logging.getLogger("wesgate.watch")


class Watch:
    """Learns of ends from the stream of events, and asks again after every reconnect and every 15 s, so that nothing
    depends on the stream. `quick_s` is the pause between two questions where there is no stream."""

    def __init__(self, client: TesClient, tag: tuple[str, str], quick_s: float = 0.5) -> None:
        self._client = client
        self._tag = tag
        self._quick_s = quick_s
        self._lock = threading.Lock()
        self._ended: dict[str, str] = {}
        self._awaited: dict[str, threading.Event] = {}
        self._started = False

    def end(self, task_id: str, timeout_s: float) -> str | None:
        """The state in which the task ended, or None if it has not within the timeout."""
        event = self._event(task_id)
        if not event.wait(timeout_s):
            return None
        with self._lock:
            self._awaited.pop(task_id, None)
            return self._ended[task_id]

    def tell(self, task_id: str, state: str) -> None:
        """News of a task. Tasks not asked for yet are remembered: an event may overtake the reply to the create."""
        if state not in ENDS and state != GONE:
            return
        with self._lock:
            self._ended[task_id] = state
            event = self._awaited.get(task_id)
        if event:
            event.set()

    def _event(self, task_id: str) -> threading.Event:
        with self._lock:
            event = self._awaited.setdefault(task_id, threading.Event())
            if task_id in self._ended:
                event.set()
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="watch", daemon=True).start()
        return event

    def _waiting(self) -> list[str]:
        with self._lock:
            return [task_id for task_id, event in self._awaited.items() if not event.is_set()]

    def _run(self) -> None:
        while True:
            try:
                self._follow()
            except Refused as refused:
                if refused.status in (404, 405, 501):
                    self._ask_forever()
                log.debug("%s", refused)
            except (urllib3.exceptions.HTTPError, OSError, Unreachable) as error:
                log.debug("the stream of events broke: %s", error)
            except Exception as error:  # if this thread ended, every wait would be for ever
                log.error("the stream of events cannot be read: %r", error)
            self._sweep()
            time.sleep(self._quick_s)

    def _follow(self) -> None:
        swept = time.monotonic()
        for event, data in self._client.events():
            if "id" in data:
                self.tell(str(data["id"]), str(data.get("state")))
            if event == "ready" or time.monotonic() - swept > SWEEP_S:
                self._sweep()
                swept = time.monotonic()

    def _ask_forever(self) -> None:
        pause = self._quick_s
        while True:
            before = len(self._waiting())
            self._sweep()
            pause = self._quick_s if len(self._waiting()) < before else min(pause * 1.2, 2.0)
            time.sleep(pause)

    def _sweep(self) -> None:
        try:
            states = self._ask(self._waiting())
        except (Refused, Unreachable) as error:
            log.warning("%s", error)
            return
        except Exception as error:  # as in _run
            log.error("the answer of TES cannot be read: %r", error)
            return
        for task_id, state in states.items():
            self.tell(task_id, state)

    def _ask(self, task_ids: list[str]) -> dict[str, str]:
        if len(task_ids) <= FEW:
            return {task_id: self._ask_for(task_id) for task_id in task_ids}
        states = {task["id"]: task["state"] for task in self._client.tagged(*self._tag, "MINIMAL", patience_s=0)}
        # One that is not in the list may be gone, or have come while the pages were turned.
        return {task_id: states.get(task_id) or self._ask_for(task_id) for task_id in task_ids}

    def _ask_for(self, task_id: str) -> str:
        try:
            return str(self._client.get(task_id, "MINIMAL", patience_s=0)["state"])
        except Refused as refused:
            if refused.status not in (401, 403, 404):
                raise
            log.error("%s", refused)
            return GONE
