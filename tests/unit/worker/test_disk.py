"""How much an attempt fills: what counts, and that looking at it is cheap."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from wesgate.worker import disk
from wesgate.worker.disk import Gauge, gauge, sizes
from wesgate.worker.faults import Exceeded


def look(measured: Gauge) -> float:
    measured._due = 0.0
    return measured.look((), time.monotonic())


def test_a_file_with_holes_counts_for_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 10**9)
    look(Gauge(1_000_000, (str(tmp_path),)))


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 700_000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    look(Gauge(1_000_000, (str(tmp_path),)))


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr")
    assert len(list(sizes([str(tmp_path)]))) == 1


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert list(sizes([str(tmp_path / "no"), "/etc/passwd"])) == []


def test_a_walk_goes_on_where_it_stopped_and_rests_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SLICE_S", 0.0)
    for number in range(3 * disk.A_FEW):
        (tmp_path / str(number)).touch()
    measured = Gauge(3 * disk.A_FEW * disk.ENTRY_BYTES - 1, (str(tmp_path),))
    assert look(measured) >= disk.LEAST_PAUSE_S
    look(measured)
    with pytest.raises(Exceeded):
        look(measured)


def test_a_look_that_is_not_due_costs_nothing(tmp_path: Path) -> None:
    measured = Gauge(1, (str(tmp_path),))
    look(measured)
    (tmp_path / "f").write_bytes(b"x" * 9000)
    assert measured.look((), time.monotonic()) > 0


def test_directories_that_are_too_deep_end_the_walk(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * (disk.MOST_DEPTH + 5))).mkdir(parents=True)
    with pytest.raises(Exceeded, match="too deep"):
        list(sizes([str(tmp_path)]))


def test_more_files_than_can_be_counted_end_the_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MOST_ENTRIES", 10)
    for number in range(12):
        (tmp_path / str(number)).touch()
    with pytest.raises(Exceeded, match="more files than can be counted"):
        list(sizes([str(tmp_path)]))


def test_each_directory_is_counted_once_and_a_full_one_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "KNOWN_BEFORE", 3)
    own, given, full = (tmp_path / name for name in ("own", "given", "full"))
    for folder in (own / "inner", given / "inner", full):
        folder.mkdir(parents=True)
    for number in range(5):
        (full / str(number)).touch()
    places = [str(path) for path in (own / "inner", given, given / "inner", full)]
    assert gauge(1, [str(own)], places).places == (str(own), str(given))


def test_a_directory_that_was_too_deep_before_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * (disk.MOST_DEPTH + 5))).mkdir(parents=True)
    assert gauge(1, [], [str(tmp_path)]).places == ()
