"""What is done about runs that ended: found by their outputs, and their files removed when nobody wants them."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.builders import a_new_task, a_run, an_attempt, become, execute, scalar
from wesgate.core.failpoints import FailpointRaised, arm
from wesgate.core.owner import Caller
from wesgate.core.paths import CACHE, CACHE_ENTRIES, OUTPUTS_LISTING
from wesgate.core.spec import DeleteAfter, Kind
from wesgate.core.states import State
from wesgate.db import cached_calls, owners, settle, tasks
from wesgate.db.cached_calls import CachedCall
from wesgate.db.lists.filters import Filter
from wesgate.db.runs import page
from wesgate.db.session import Database
from wesgate.reconcile.removal import Interrupted, remove
from wesgate.reconcile.settle import Settler, doomed

LASTING = ["attachments/main.wdl", "inputs.json", "result.json", OUTPUTS_LISTING, "outputs/x/a.bam"]
PASSING = ["attempt-1/call-t/work/a.bam", "downloads/d", "source/main.wdl"]
LOGS = ["logs/0.stdout", "task.json"]
WORK = ["files/tmp.bin", "inputs/0", "tmp/tmp/x", "reserve"]
DOCUMENT = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl", "tags": {}}
DAYS = timedelta(days=30)
NOBODY = 65534


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


class Run:
    """A run with a task, and the files of both."""

    def __init__(self, database: Database, files: Path, caller: Caller, run_id: UUID, task_id: UUID) -> None:
        self.database, self.id, self.task_id = database, run_id, task_id
        self.folder = files / caller.owner.directory / f"run-{run_id.hex}"
        self.task = files / caller.owner.directory / f"wg-{task_id.hex}-1"
        fill(self.folder, LASTING + PASSING)
        fill(self.task, LOGS + WORK)

    async def end(self, state: State = State.COMPLETE, *, task_too: bool = True) -> None:
        if task_too:
            statement = "UPDATE tasks SET state = CASE state WHEN 'CANCELING' THEN 'CANCELED' ELSE 'COMPLETE' END"
            await execute(self.database, f"{statement} WHERE id = :id", id=self.task_id)
        for step in [State.CANCELING, state] if state is State.CANCELED else [state]:
            await become(self.database, Kind.RUN, self.id, step)

    async def age(self, by: timedelta) -> None:
        statement = (
            "UPDATE runs SET ended_at = ended_at - CAST(:by AS interval), settle_at = settle_at - CAST(:by AS interval)"
        )
        await execute(self.database, f"{statement} WHERE id = :id", by=by, id=self.id)

    async def settle_at(self) -> str | None:
        found: str | None = await scalar(self.database, "SELECT settle_at::text FROM runs WHERE id = :id", id=self.id)
        return found


async def made(database: Database, files: Path, caller: Caller, delete_after: str = "never") -> Run:
    run_id = uuid4()
    document: dict[str, Any] = {**DOCUMENT, "workflow_engine_parameters": {"delete_after": delete_after}}
    directory = f"{caller.owner.directory}/run-{run_id.hex}"
    await a_run(database, caller, id=run_id, document=document, directory=directory)
    task_id = await tasks.create(database, Caller(caller.owner, run_id), a_new_task())
    return Run(database, files, caller, run_id, task_id)


async def took(database: Database, run: Run, source: Run, caller: Caller) -> None:
    """A call of one run was answered with what another had made."""
    call = CachedCall(uuid4(), "t", {}, {}, source.id)
    await cached_calls.record(database, Caller(caller.owner, run.id), [call])


async def swept(settler: Settler) -> int:
    """How many runs were looked at: new ones, and then others, those that were left to this among them."""
    return max(await settler.sweep(new=True), await settler.sweep(new=False))


async def settled_once_it_is_told(settler: Settler) -> None:
    """As when some time has passed after the calls that a run made were forgotten."""
    await swept(settler)
    await execute(settler._database, "UPDATE runs SET settle_at = now() WHERE settle_at < 'infinity'")
    await swept(settler)


ENDS = [State.COMPLETE, State.EXECUTOR_ERROR, State.SYSTEM_ERROR, State.CANCELED]
REMOVES = {
    DeleteAfter.NEVER: [], DeleteAfter.SUCCESS: ENDS[:1], DeleteAfter.FAILURE: ENDS[1:], DeleteAfter.ALWAYS: ENDS,
}  # fmt: skip


@pytest.mark.parametrize("state", ENDS)
@pytest.mark.parametrize("policy", list(DeleteAfter))
async def test_files_of_tasks_go_after_the_ends_that_the_run_names(
    database: Database, caller: Caller, tmp_path: Path, policy: DeleteAfter, state: State
) -> None:
    run = await made(database, tmp_path, caller, policy)
    await run.end(state)
    assert await swept(Settler(database, tmp_path)) == 1
    is_removed = state in REMOVES[policy]
    assert left(run.folder) == {*LASTING, *([] if is_removed else PASSING)}
    assert left(run.task) == {*LOGS, *([] if is_removed else WORK)}
    assert await run.settle_at() == "infinity"


async def test_a_run_that_has_not_ended_is_let_alone(database: Database, caller: Caller, tmp_path: Path) -> None:
    run = await made(database, tmp_path, caller, "always")
    assert await swept(Settler(database, tmp_path, DAYS)) == 0
    assert left(run.folder) == {*LASTING, *PASSING}


async def test_nothing_is_removed_while_a_task_of_the_run_lives(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller, "always")
    await run.end(task_too=False)
    settler = Settler(database, tmp_path)
    assert await swept(settler) == 1
    assert left(run.folder) == {*LASTING, *PASSING}
    await run.end()
    await execute(database, "UPDATE runs SET settle_at = now()")
    await swept(settler)
    assert left(run.folder) == set(LASTING)


async def test_all_files_go_when_they_were_kept_for_long_enough(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run, young = [await made(database, tmp_path, caller) for _ in range(2)]
    settler = Settler(database, tmp_path, DAYS)
    for one in (run, young):
        await one.end()
    assert await swept(settler) == 2
    await run.age(DAYS + timedelta(seconds=1))
    assert await swept(settler) == 1
    assert not run.folder.exists()
    assert not run.task.exists()
    assert left(young.folder) == {*LASTING, *PASSING}
    assert await run.settle_at() is None
    assert [one.state for one in await page(database, caller.owner, Filter(), None, 9)] == ["COMPLETE"] * 2


async def test_what_a_run_put_into_the_cache_of_calls_goes_with_it(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller)
    cache = run.folder.parent / CACHE
    fill(cache, ["t/mine/1.json", "t/other/1.json", "x.json"])
    (run.folder / CACHE_ENTRIES).write_text("t/mine/1\n../calls/t/other/1\nt/gone/1\n\n/etc/passwd\nx\n")
    await run.end()
    await run.age(DAYS + timedelta(seconds=1))
    await settled_once_it_is_told(Settler(database, tmp_path, DAYS))
    assert left(cache) == {"t/other/1.json", "x.json"}
    assert not run.folder.exists()


async def test_the_cache_of_calls_forgets_a_run_before_its_files_go(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller, "always")
    cache = run.folder.parent / CACHE
    fill(cache, ["t/mine/1.json"])
    (run.folder / CACHE_ENTRIES).write_text("t/mine/1\n")
    await run.end()
    settler = Settler(database, tmp_path)
    await swept(settler)
    assert (left(cache), left(run.folder)) == (set(), {*LASTING, *PASSING})
    assert await scalar(database, "SELECT settle_at > now() + interval '5 s' FROM runs"), "hits are still being told"
    await settled_once_it_is_told(settler)
    assert left(run.folder) == set(LASTING)


@pytest.mark.parametrize("delete_after", ["always", "never"])
async def test_files_stay_while_a_run_goes_on_that_took_them_from_the_cache(
    database: Database, caller: Caller, tmp_path: Path, delete_after: str
) -> None:
    source = await made(database, tmp_path, caller, delete_after)
    between, user = [await made(database, tmp_path, caller) for _ in range(2)]
    await took(database, between, source, caller)
    await took(database, user, between, caller)  # by a link to what `between` took
    for run in (source, between):
        await run.end()
    settler = Settler(database, tmp_path, timedelta(0) if delete_after == "never" else None)
    await swept(settler)
    assert left(source.folder) == {*LASTING, *PASSING}
    await user.end()
    await settled_once_it_is_told(settler)
    assert left(source.folder) == (set() if delete_after == "never" else set(LASTING))


async def test_nobody_keeps_files_of_another_owner(database: Database, caller: Caller, tmp_path: Path) -> None:
    stranger = Caller(await owners.ensure(database, "test", "stranger"))
    run, theirs = await made(database, tmp_path, caller, "always"), await made(database, tmp_path, stranger)
    await took(database, theirs, run, stranger)
    await run.end()
    await swept(Settler(database, tmp_path))
    assert left(run.folder) == set(LASTING)


async def test_a_pipe_in_the_place_of_names_is_not_waited_for(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller)
    os.mkfifo(run.folder / CACHE_ENTRIES)
    await run.end()
    await run.age(DAYS + timedelta(seconds=1))
    async with asyncio.timeout(20):
        await settled_once_it_is_told(Settler(database, tmp_path, DAYS))
    assert not run.folder.exists()


async def test_what_tells_of_outputs_is_removed_before_them(database: Database, caller: Caller, tmp_path: Path) -> None:
    run = await made(database, tmp_path, caller)
    await run.end()
    await run.age(DAYS)
    (ended,) = await settle.claim(database, 9, timedelta(days=1), new=True)
    assert next(iter(doomed(tmp_path, ended, []))) == run.folder / OUTPUTS_LISTING


async def test_a_site_that_takes_to_removing_removes_what_was_to_stay_for_ever(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller)
    await run.end()
    await swept(Settler(database, tmp_path))
    await execute(database, "UPDATE runs SET ended_at = now() - interval '40 days'")
    settler = Settler(database, tmp_path, DAYS)
    serving = asyncio.create_task(settler.run())
    async with asyncio.timeout(30):
        while await run.settle_at() is not None:
            await asyncio.sleep(0.02)
    settler.stop()
    await serving
    assert not run.folder.exists()


async def test_a_run_is_found_by_its_outputs_once_it_is_settled(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller)
    await an_attempt(database, Kind.RUN, run.id, {"outputs": {"w.x": "/files/sample_12.bam"}})
    await run.end()
    await swept(Settler(database, tmp_path))
    found = await scalar(database, "SELECT id FROM runs WHERE words @@ to_tsquery('simple', 'sample & 12 & bam')")
    assert found == run.id


async def test_files_that_take_long_to_remove_hold_up_no_other_run(
    database: Database, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: going.wait(30))
    slow, other = await made(database, tmp_path, caller, "always"), await made(database, tmp_path, caller)
    settler = Settler(database, tmp_path)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        await slow.end()
        while await scalar(database, "SELECT settle_at <= ended_at FROM runs WHERE id = :id", id=slow.id):
            settler.wake()
            await asyncio.sleep(0.02)
        await other.end()
        while await other.settle_at() != "infinity":
            settler.wake()
            await asyncio.sleep(0.02)
        assert await slow.settle_at() != "infinity"
        monkeypatch.undo()
        going.set()
        settler.stop()


async def test_two_that_settle_at_once_share_the_runs(database: Database, caller: Caller, tmp_path: Path) -> None:
    all_of_them = [await made(database, tmp_path, caller, "always") for _ in range(30)]
    for run in all_of_them:
        await run.end()
    counts = await asyncio.gather(*(Settler(database, tmp_path).sweep(new=True) for _ in range(2)))
    assert sum(counts) == 30
    assert sum(await asyncio.gather(*(Settler(database, tmp_path).sweep(new=False) for _ in range(2)))) == 30
    assert all(left(run.folder) == set(LASTING) for run in all_of_them)


async def test_a_run_that_another_claims_is_passed_by(database: Database, caller: Caller, tmp_path: Path) -> None:
    run, other = [await made(database, tmp_path, caller) for _ in range(2)]
    for one in (run, other):
        await one.end()
    async with database.transaction() as connection:
        await connection.execute(text("SELECT FROM runs WHERE id = :id FOR UPDATE"), {"id": run.id})
        assert [one.id for one in await settle.claim(database, 9, None, new=True)] == [other.id]


@pytest.mark.parametrize("name", ["settle-claimed", "settle-removed", "settle-settled"])
async def test_a_settler_that_dies_is_followed_by_one_that_does_the_rest(
    database: Database, caller: Caller, tmp_path: Path, name: str
) -> None:
    run = await made(database, tmp_path, caller, "always")
    await run.end()
    arm(f"{name}=raise")
    with pytest.raises(FailpointRaised):
        await swept(Settler(database, tmp_path))
    arm("")
    assert await swept(Settler(database, tmp_path)) == 0, "its lease holds"
    await execute(database, "UPDATE runs SET settle_at = now() WHERE settle_at < 'infinity'")
    assert await swept(Settler(database, tmp_path)) == (name != "settle-settled")
    assert left(run.folder) == set(LASTING)
    assert await run.settle_at() == "infinity"


async def test_whose_lease_ran_out_leaves_the_end_to_another(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    run = await made(database, tmp_path, caller)
    await run.end()
    (mine,) = await settle.claim(database, 9, None, new=True)
    await execute(database, "UPDATE runs SET settle_at = now()")
    (theirs,) = await settle.claim(database, 9, None, new=False)
    await settle.settled(database, mine, None, removed=True)
    assert await run.settle_at() not in (None, "infinity")
    await settle.settled(database, theirs, None, removed=False)
    assert await run.settle_at() == "infinity"


async def test_what_cannot_be_removed_is_tried_again_and_told(
    database: Database,
    caller: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = await made(database, tmp_path, caller, "always")
    await run.end()

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "not ours", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    await swept(Settler(database, tmp_path))
    assert [record.message for record in caplog.records] == ["files.left"]
    monkeypatch.undo()
    await execute(database, "UPDATE runs SET settle_at = now()")
    await swept(Settler(database, tmp_path))
    assert left(run.folder) == set(LASTING)


async def test_a_directory_that_is_no_runs_is_never_removed(database: Database, caller: Caller, tmp_path: Path) -> None:
    await a_run(database, caller, directory=".")
    fill(tmp_path, ["attempt-1/x", "data"])
    await execute(database, "UPDATE runs SET state = 'COMPLETE'")
    await execute(database, "UPDATE runs SET ended_at = ended_at - interval '90 days'")
    assert await swept(Settler(database, tmp_path, DAYS)) == 1
    assert left(tmp_path) == {"attempt-1/x", "data"}


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, ["run/a", "elsewhere/precious"])
    (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    remove([tmp_path / "run", tmp_path / "link", tmp_path / "none"], lambda: False)
    assert left(tmp_path) == {"elsewhere/precious"}


def test_read_only_directories_are_removed(short_tmp: Path) -> None:
    fill(short_tmp, ["mine/run/d/deep/x"])
    for path in (short_tmp / "mine/run/d/deep", short_tmp / "mine/run/d", short_tmp / "mine/run", short_tmp / "mine"):
        path.chmod(0o500 if path.parent.name in ("run", "d") else 0o700)
        with suppress(PermissionError):
            os.chown(path, NOBODY, -1)
    was = os.geteuid()
    os.seteuid(was or NOBODY)  # root may write anywhere
    try:
        remove([short_tmp / "mine/run"], lambda: False)
    finally:
        os.seteuid(was)
    assert not (short_tmp / "mine/run").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but root can make what its own user cannot remove")
def test_what_cannot_be_removed_keeps_nothing_else(short_tmp: Path) -> None:
    fill(short_tmp, ["bad/a/x", *(f"bad/run/d/{n}/x" for n in range(9)), "bad/run/d/theirs/file", "bad/z"])
    for path in (short_tmp / "bad", *(short_tmp / "bad").rglob("*")):
        os.chown(path, 0 if "theirs" in path.parts else NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(OSError, match=r"not all could be removed: .*/d: .*'file'"):
            remove([short_tmp / "bad" / name for name in ("a", "run", "z")], lambda: False)
    finally:
        os.seteuid(0)
    assert left(short_tmp / "bad") == {"run/d/theirs/file"}


def test_removing_stops_in_the_middle_when_it_is_told_to(tmp_path: Path) -> None:
    fill(tmp_path, [f"run/{n}/x" for n in range(10)])
    asked = iter([False] * 3 + [True] * 9)
    with pytest.raises(Interrupted):
        remove([tmp_path / "run"], lambda: next(asked))
    assert len(left(tmp_path)) == 7
