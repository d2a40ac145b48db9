"""Find again the tasks that an earlier head of the same run left, so that no command runs twice."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wesgate.engines.miniwdl.head.tes.request import (
    ATTEMPT_TAG,
    CALL_TAG,
    FINGERPRINT_TAG,
    HEAD_TAG,
    CallFacts,
)

# A task that TES or someone else stopped says nothing about the command: it is run anew.
_WORTH = frozenset({"QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "COMPLETE", "EXECUTOR_ERROR"})
_HEAD = re.compile(r"attempt-[0-9]{1,9}")

_Mark = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Left:
    """A task that an earlier head created, and the name of that head's attempt directory."""

    id: str
    head_attempt: str


class Adoptable:
    """The tasks left by earlier heads, each given out once."""

    def __init__(self, tasks: Iterable[Mapping[str, Any]] = ()) -> None:
        self._left = left_tasks(tasks)
        self._lock = threading.Lock()

    def take(self, call: CallFacts, digest: str) -> Left | None:
        """The task that is this very attempt of this call, if an earlier head created it."""
        with self._lock:
            return self._left.pop((call.call, str(call.attempt), digest), None)


def left_tasks(tasks: Iterable[Mapping[str, Any]]) -> dict[_Mark, Left]:
    """Tasks worth adopting by call, attempt and fingerprint; of several alike, one that did not fail."""
    found: dict[_Mark, Left] = {}
    for task in sorted(tasks, key=lambda task: task.get("state") != "EXECUTOR_ERROR"):
        tags = task.get("tags") or {}
        head = str(tags.get(HEAD_TAG))
        if task.get("state") in _WORTH and _HEAD.fullmatch(head):
            mark = (str(tags.get(CALL_TAG)), str(tags.get(ATTEMPT_TAG)), str(tags.get(FINGERPRINT_TAG)))
            found[mark] = Left(str(task["id"]), head)
    return found
