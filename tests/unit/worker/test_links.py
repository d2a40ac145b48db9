"""Inputs shown as links, where nothing can be mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from wesgate.worker.faults import Fault
from wesgate.worker.files.mounts import Mount
from wesgate.worker.files.points import Points

TASK = "wg-" + "a" * 32


def shown(owner: Path, attempt: str, points: Points) -> Path:
    """The input of an attempt, shown at the one path that all attempts of the task have it at."""
    source = owner / attempt / "inputs/0"
    source.parent.mkdir(parents=True)
    source.write_text(attempt)
    points.link([Mount(str(source), f"{owner}/run/source/workflow.object", directory=False)], str(owner))
    return owner / "run/source/workflow.object"


def test_a_link_that_a_killed_worker_left_is_replaced_by_the_next_attempts(tmp_path: Path) -> None:
    shown(tmp_path, f"{TASK}-1", Points())
    points = Points()
    assert shown(tmp_path, f"{TASK}-2", points).read_text() == f"{TASK}-2"
    points.remove()
    assert not list(tmp_path.glob("run/source/*"))


def test_what_another_task_has_put_there_is_left_alone(tmp_path: Path) -> None:
    there = shown(tmp_path, f"wg-{'b' * 32}-1", Points())
    with pytest.raises(Fault, match="another file is there"):
        shown(tmp_path, f"{TASK}-1", Points())
    assert there.read_text() == f"wg-{'b' * 32}-1"
