"""What all tasks of one head share: the way to TES, on which they are created, waited for and canceled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import Terminated

from wesgate.engines.miniwdl.head.tes.adopt import Adoptable
from wesgate.engines.miniwdl.head.tes.client import Refused, TesClient, Unreachable
from wesgate.engines.miniwdl.head.tes.outcome import Ended, read_end
from wesgate.engines.miniwdl.head.tes.watch import GONE, Watch

CANCEL_WAIT_S = 60.0


class TaskLost(WDL.Error.RuntimeError):
    """A task could not be carried out, through no fault of the workflow."""


@dataclass(frozen=True, slots=True)
class Session:
    """`directory` is the run's, `head_attempt` the name of this head's own in it; `images` are maps of images, the
    site's before the run's."""

    client: TesClient
    watch: Watch
    adoptable: Adoptable
    run_id: str
    directory: Path
    head_attempt: str
    host_paths: bool
    runtime_defaults: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[Mapping[str, str]] = ()

    def image(self, named: str) -> str:
        """The image that is used where a task names this one."""
        for images in self.images:
            named = images.get(named, named)
        return named

    def create(self, document: Mapping[str, Any], key: str, terminating: Callable[[], bool]) -> str:
        """Hand a task to TES; its id."""
        try:
            return self.client.create(dict(document), key, terminating)
        except (Refused, Unreachable) as error:
            if terminating():
                raise Terminated() from error
            raise TaskLost(f"the task could not be handed to TES: {error}") from error

    def wait(self, task_id: str, terminating: Callable[[], bool]) -> Ended:
        """Wait for the end of a task; cancel it when the run is to stop."""
        while not terminating():
            if state := self.watch.end(task_id, 1.0):
                return self._read_end(task_id, state)
        self._cancel(task_id)
        raise Terminated()

    def _cancel(self, task_id: str) -> None:
        deadline = time.monotonic() + CANCEL_WAIT_S
        try:
            self.client.cancel(task_id)
        except (Refused, Unreachable) as error:
            # The run's end is swept by its engine, which cancels what is left.
            logging.getLogger("wesgate").warning("TES task %s could not be canceled: %s", task_id, error)
            return
        while time.monotonic() < deadline and not self.watch.end(task_id, 1.0):
            pass

    def _read_end(self, task_id: str, state: str) -> Ended:
        if state == GONE:
            raise TaskLost(f"task {task_id}: TES does not know it any more, or no longer talks to this run")
        try:
            return read_end(self.client.get(task_id, "FULL"))
        except (Refused, Unreachable) as error:
            raise TaskLost(f"task {task_id} ended as {state}, and its log cannot be read: {error}") from error
