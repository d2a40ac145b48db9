"""Directories of runs that were never made go, and no others."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

from tests.builders import a_run
from wesgate.core.owner import Caller
from wesgate.core.paths import INCOMING
from wesgate.db.session import Database
from wesgate.reconcile.orphans import remove_orphans

DAY_S = 24 * 3600


def a_directory(files: Path, caller: Caller, run_id: UUID, *, age_s: float) -> Path:
    path = files / caller.owner.directory / f"run-{run_id.hex}"
    (path / "attachments").mkdir(parents=True)
    (path / "attachments" / "main.wdl").write_text("version 1.0")
    mark = path / INCOMING
    mark.touch()
    born = mark.stat().st_mtime - age_s
    os.utime(mark, (born, born))
    return path


async def test_a_directory_without_a_row_goes_after_a_day(database: Database, caller: Caller, tmp_path: Path) -> None:
    orphan = a_directory(tmp_path, caller, uuid4(), age_s=DAY_S + 60)
    assert await remove_orphans(database, tmp_path) == 1
    assert not orphan.exists()


async def test_a_run_keeps_its_directory_however_old(database: Database, caller: Caller, tmp_path: Path) -> None:
    run = await a_run(database, caller)
    kept = a_directory(tmp_path, caller, run, age_s=100 * DAY_S)
    assert await remove_orphans(database, tmp_path) == 0
    assert kept.exists()
    assert not (kept / INCOMING).exists()


async def test_what_was_accepted_once_stays_though_this_database_does_not_know_it(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    accepted = a_directory(tmp_path, caller, uuid4(), age_s=100 * DAY_S)
    (accepted / INCOMING).unlink()
    assert await remove_orphans(database, tmp_path) == 0
    assert (accepted / "attachments" / "main.wdl").exists()


async def test_a_young_directory_may_be_getting_its_row(database: Database, caller: Caller, tmp_path: Path) -> None:
    young = a_directory(tmp_path, caller, uuid4(), age_s=DAY_S - 60)
    assert await remove_orphans(database, tmp_path) == 0
    assert young.exists()


async def test_what_is_no_runs_directory_stays(database: Database, caller: Caller, tmp_path: Path) -> None:
    names = ["run-notes", f"run-{uuid4().hex}-copy", f"wg-{uuid4().hex}-1", "cache"]
    for name in names:
        folder = tmp_path / caller.owner.directory / name
        folder.mkdir(parents=True)
        (folder / INCOMING).touch()
        os.utime(folder / INCOMING, (0, 0))
    assert await remove_orphans(database, tmp_path) == 0
    assert {path.name for path in (tmp_path / caller.owner.directory).iterdir()} == set(names)
