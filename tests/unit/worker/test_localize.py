"""Inputs on their way to this host."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wesgate.core.spec import Fetching, Input, Step, TaskSpec
from wesgate.worker.faults import Canceled
from wesgate.worker.files.localize import localize
from wesgate.worker.files.places import places
from wesgate.worker.files.transfers import transfers
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt


class Late(Interrupts):
    """Sees a cancel only after the threads have seen it."""

    def wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            time.sleep(0.01)


def test_a_fetch_that_a_cancel_ended_is_a_cancel_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "cancel").touch()
    spec = TaskSpec("o", (Step("i", ("true",)),), inputs=(Input("/f", "http://127.0.0.1:9/f"),))
    moved = transfers(Fetching(), (), Late(tmp_path / "cancel"))
    with pytest.raises(Canceled):
        localize(spec, Attempt(tmp_path), places(str(tmp_path), spec), moved)
