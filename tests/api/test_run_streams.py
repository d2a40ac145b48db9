"""A run's own log as it grows, from one start of its engine to the next, and all that becomes of the run and its
tasks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conftest import WES
from tests.api.follower import Followed
from tests.builders import a_new_task, a_run, a_task, an_attempt, become, execute, scalar
from wesgate.api.dependencies import Context
from wesgate.api.events import KEEP_ALIVE_S
from wesgate.api.following import Growing, Place
from wesgate.api.wes import events as run_events
from wesgate.api.wes import streams
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind, Lane
from wesgate.db import history, tasks
from wesgate.db.history import Reading
from wesgate.db.session import Database


async def starts(database: Database, run: UUID, directory: str) -> None:
    """The run's engine is started, with its logs in a directory."""
    report = {"stdout": f"{directory}/0.stdout", "stderr": f"{directory}/0.stderr"}
    await an_attempt(database, Kind.RUN, run, report)


def log(files: Path, directory: str, name: str = "0.stderr") -> Path:
    (files / directory).mkdir(parents=True, exist_ok=True)
    return files / directory / name


@pytest.fixture
async def running(database: Database, caller: Caller, files: Path) -> UUID:
    """A run whose engine was started and has said `hello`."""
    run = await a_run(database, caller)
    await starts(database, run, "o/1")
    await become(database, Kind.RUN, run, "RUNNING")
    log(files, "o/1").write_bytes(b"hello\n")
    return run


def followed_run(context: Context, who: Caller, run: UUID, last: Place = Place()) -> Followed:  # noqa: B008  # frozen
    look = partial(streams._look_at_run, context.database, who.owner, run, "stderr")
    return Followed(context.events, run, look, Growing(context.files, last, several=True))


def place(at: str) -> Place:
    offset, file = at.split("-")
    return Place(int(offset), file)


# The log


async def test_a_runs_log_is_followed_from_one_start_of_its_engine_to_the_next(
    context: Context, database: Database, caller: Caller, running: UUID, files: Path
) -> None:
    await context.events.open()
    followed = followed_run(context, caller, running)
    await followed.until("hello\n")
    log(files, "o/1").write_bytes(b"hello\nlast words of the first")
    log(files, "o/2").write_bytes(b"second")
    await starts(database, running, "o/2")
    await become(database, Kind.RUN, running, "CANCELING")
    await followed.until("second")
    await become(database, Kind.RUN, running, "CANCELED")
    assert (await followed.to_the_end(), followed.ended) == ("hello\nlast words of the firstsecond", True)


async def test_whoever_was_cut_off_reads_on_where_the_engine_was_started_again(
    context: Context, database: Database, caller: Caller, running: UUID, files: Path
) -> None:
    await context.events.open()
    first = followed_run(context, caller, running)
    await first.until("hello\n")
    await first.close()
    log(files, "o/1").write_bytes(b"hello\nworld")
    same = followed_run(context, caller, running, place(first.at))
    await same.until("world")
    log(files, "o/2").write_bytes(b"second, and longer than the first")
    await starts(database, running, "o/2")
    await become(database, Kind.RUN, running, "COMPLETE")
    assert (same.text, await followed_run(context, caller, running, place(same.at)).to_the_end()) == (
        "world", "second, and longer than the first"
    )  # fmt: skip


async def test_a_log_that_has_not_begun_is_empty_and_may_be_followed(
    context: Context, client: httpx.AsyncClient, database: Database, caller: Caller, files: Path
) -> None:
    run = await a_run(database, caller)
    answer = await client.get(f"{WES}/runs/{run}/logs/stdout")
    assert (answer.status_code, answer.content) == (200, b"")
    await context.events.open()
    followed = followed_run(context, caller, run)
    waiting = asyncio.ensure_future(followed.until("late"))
    log(files, "o/1").write_bytes(b"late")
    await starts(database, run, "o/1")
    await become(database, Kind.RUN, run, "RUNNING")
    await waiting
    await become(database, Kind.RUN, run, "COMPLETE")
    assert await followed.to_the_end() == "late"


async def test_a_run_that_ended_without_an_engine_has_no_more_to_say(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    run = await a_run(database, caller)
    await become(database, Kind.RUN, run, "SYSTEM_ERROR")
    assert (await client.get(f"{WES}/runs/{run}/logs/stderr?follow=true")).text == "event: end\ndata: {}\n\n"


async def test_the_last_lines_of_a_run_and_of_a_task(
    client: httpx.AsyncClient, database: Database, caller: Caller, running: UUID, files: Path
) -> None:
    task = await a_task(database, Caller(caller.owner, running))
    log(files, "o/1").write_bytes(b"a\nb\nc\n")
    log(files, "t/logs", "0.stdout").write_bytes(b"d\ne\nf")
    await an_attempt(database, Kind.TASK, task, {"directory": "t", "steps": [{}]})
    url = f"{WES}/runs/{running}"
    assert (await client.get(f"{url}/logs/stderr?tail=2")).text == "b\nc\n"
    assert (await client.get(f"{url}/tasks/{task}/logs/stdout?tail=2")).text == "e\nf"
    assert (await client.get(f"{url}/tasks/{task}/logs/stdout", headers={"Range": "bytes=2-"})).text == "e\nf"
    await become(database, Kind.TASK, task, "COMPLETE")
    answer = await client.get(f"{url}/tasks/{task}/logs/stdout?tail=1&follow=true")
    assert 'data: "f"\n\nevent: end' in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("query", ["follow=yes", "tail=x", "tail=1&tail=2", "follow=true&follow=true"])
async def test_a_question_in_another_form_is_refused(client: httpx.AsyncClient, running: UUID, query: str) -> None:
    assert (await client.get(f"{WES}/runs/{running}/logs/stderr?{query}")).status_code == 400


@pytest.mark.parametrize("path", ["logs/stdin", "logs/directory", "logs/..%2fstderr", "logs/stderr/", "logs/%00"])
async def test_a_log_that_there_is_not_is_not_found(client: httpx.AsyncClient, running: UUID, path: str) -> None:
    for more in ("", "?follow=true"):
        assert (await client.get(f"{WES}/runs/{running}/{path}{more}")).status_code == 404


async def test_another_owners_run_is_as_one_that_does_not_exist(
    client: httpx.AsyncClient, database: Database, stranger: Caller
) -> None:
    theirs = await a_run(database, stranger)
    for path in ("events", "logs/stderr?follow=true", f"tasks/{uuid4()}/logs/stdout?follow=true"):
        answers = [await client.get(f"{WES}/runs/{one}/{path}") for one in (theirs, uuid4())]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content


async def test_a_head_follows_nothing(client: httpx.AsyncClient, run_id: str, head: dict[str, str]) -> None:
    for path in ("events", "logs/stderr?follow=true"):
        assert (await client.get(f"{WES}/runs/{run_id}/{path}", headers=head)).status_code == 403


# The events


class Told:
    """The events of a run as a client has them."""

    def __init__(self, context: Context, who: Caller, run: UUID, last: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = False
        self._stream: AsyncIterator[bytes] = run_events._events(context, who.owner, Reading(run, last))

    async def until(self, number: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.events) < number:
                self._take(await anext(self._stream))
        return self.events

    async def to_the_end(self) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            async for piece in self._stream:
                self._take(piece)
        return self.events

    def states(self) -> list[str]:
        return [event["data"]["state"] for event in self.events]

    def _take(self, piece: bytes) -> None:
        for event in filter(None, piece.decode().split("\n\n")):
            lines = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":"))
            self.ended = lines.get("event") == "end"
            if "id" in lines:
                told = {"id": int(lines["id"]), "event": lines["event"], "data": json.loads(lines["data"])}
                self.events.append(told)


async def test_a_runs_events_are_what_was_and_what_comes_until_its_end(
    context: Context, database: Database, caller: Caller
) -> None:
    run = await a_run(database, caller)
    await become(database, Kind.RUN, run, "RUNNING")
    await a_task(database, Caller(caller.owner, run), lane=Lane.HEAD)
    await context.events.open()
    told = Told(context, caller, run)
    assert [event["event"] for event in await told.until(2)] == ["run", "run"]
    task = await a_task(database, Caller(caller.owner, run))
    await a_task(database, Caller(caller.owner, run), lane=Lane.HEAD)
    await a_task(database, caller)
    await told.until(3)
    await become(database, Kind.TASK, task, "COMPLETE", "why")
    await told.until(4)
    await become(database, Kind.RUN, run, "COMPLETE")
    first, _, _, last_of_task, last = await told.to_the_end()
    assert told.states() == ["QUEUED", "RUNNING", "QUEUED", "COMPLETE", "COMPLETE"]
    assert (first["data"].pop("time")[-1], last_of_task["data"].pop("time")[-1]) == ("Z", "Z")
    assert first["data"] == {"run_id": str(run), "state": "QUEUED", "detail": ""}
    assert last_of_task["data"] == {"task_id": str(task), "name": "hello", "state": "COMPLETE", "detail": "why"}
    assert (last["event"], told.ended) == ("run", True)
    assert not context.events._watches


async def test_events_go_on_until_the_last_task_has_ended(context: Context, database: Database, caller: Caller) -> None:
    run = await a_run(database, caller)
    task = await a_task(database, Caller(caller.owner, run))
    await become(database, Kind.RUN, run, "COMPLETE")
    await context.events.open()
    told = Told(context, caller, run)
    assert (await told.until(4), told.ended) == (told.events, False)
    await become(database, Kind.TASK, task, "CANCELED")
    await told.to_the_end()
    assert (told.states(), told.ended) == (["QUEUED", "QUEUED", "COMPLETE", "CANCELING", "CANCELED"], True)


async def test_a_run_that_is_over_is_told_whole_though_changes_of_others_never_end(
    context: Context, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SETTLE_S", 3600)
    run, another = await a_run(database, caller), await a_run(database, caller)
    await become(database, Kind.RUN, run, "COMPLETE")
    await context.events.open()
    told = Told(context, caller, run)
    async with database.transaction() as connection:
        await connection.exec_driver_sql(f"UPDATE runs SET state = 'RUNNING' WHERE id = '{another}'")
        await told.to_the_end()
    assert (told.states(), told.ended) == (["QUEUED", "COMPLETE"], True)


async def test_a_run_is_not_over_while_a_task_of_it_is_being_made(database: Database, caller: Caller) -> None:
    run = await a_run(database, caller)
    connection = await database.listener()
    async with connection.transaction():
        made = json.dumps([tasks._columns(a_new_task())])
        assert await connection.fetch(tasks.INSERT_TASKS, caller.owner.id, run, made, [])
        ending = asyncio.create_task(become(database, Kind.RUN, run, "COMPLETE"))
        await asyncio.sleep(0.2)
        assert not ending.done()
    await ending
    await connection.close()
    assert not await history.is_over(database, caller.owner, run)


async def test_a_transaction_in_another_database_holds_nothing_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SETTLE_S", 0.05)
    elsewhere = Database(database.url.set(database="postgres").render_as_string(hide_password=False))
    async with elsewhere.transaction() as connection:
        await connection.exec_driver_sql("SELECT pg_current_xact_id()")
        assert (await history.settled(database)).is_sure
    await elsewhere.close()


async def test_whoever_comes_back_is_told_what_came_since(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    run = await a_run(database, caller)
    await become(database, Kind.RUN, run, "RUNNING")
    await become(database, Kind.RUN, run, "COMPLETE")
    whole = (await client.get(f"{WES}/runs/{run}/events")).text
    first, second, _, end, _ = whole.split("\n\n")
    since = await client.get(f"{WES}/runs/{run}/events", headers={"Last-Event-ID": first.split("\n")[0][4:]})
    assert since.text == whole.removeprefix(f"{first}\n\n")
    assert (second.split("\n")[1], end) == ("event: run", "event: end\ndata: {}")
    assert (since.headers["cache-control"], since.headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("last", ["x", "-1", "1-00000000", "", "1" * 19])
async def test_a_place_that_we_never_gave_is_refused(client: httpx.AsyncClient, running: UUID, last: str) -> None:
    answer = await client.get(f"{WES}/runs/{running}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 400


async def test_no_event_is_lost_whose_change_was_committed_late(any_database: Database, somebody: Caller) -> None:
    """Ids are given out before the commit. The task's change has the lower id, and is there after the run's."""
    run = await a_run(any_database, somebody)
    task = await a_task(any_database, Caller(somebody.owner, run))
    reading = Reading(run, 0)
    await reading.page(any_database, (await history.settled(any_database)).upto)
    async with any_database.transaction() as connection:
        await connection.exec_driver_sql(f"UPDATE tasks SET state = 'RUNNING' WHERE id = '{task}'")
        await become(any_database, Kind.RUN, run, "RUNNING")
        settling = asyncio.create_task(history.settled(any_database))
        await asyncio.sleep(0.2)
        assert not settling.done()
    whole = await settling
    assert [row["name"] for row in await reading.page(any_database, whole.upto)] == ["hello", None]


async def test_a_change_that_is_under_way_for_long_is_not_waited_for(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SETTLE_S", 0.1)
    run = await a_run(database, caller)
    async with database.transaction() as connection:
        await connection.exec_driver_sql(f"UPDATE runs SET state = 'RUNNING' WHERE id = '{run}'")
        assert not (await history.settled(database)).is_sure
    assert (await history.settled(database)).is_sure


async def test_a_long_history_is_told_in_pages(
    context: Context, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await a_run(database, caller)
    await execute(
        database, "INSERT INTO history (row_id, kind, state, detail) SELECT :run, 'run', 'RUNNING', '' "
        "FROM generate_series(1, 2500)", run=run,
    )  # fmt: skip
    await become(database, Kind.RUN, run, "COMPLETE")
    await context.events.open()
    told = Told(context, caller, run)
    ids = [event["id"] for event in await told.to_the_end()]
    assert (len(ids), ids) == (2502, sorted(set(ids)))


async def test_a_history_that_is_read_in_part_goes_on_as_news(database: Database, caller: Caller) -> None:
    run = await a_run(database, caller)
    reading, seen = Reading(run, 0), []
    for count in (0, 1500, 3, 1000):
        await execute(
            database, "INSERT INTO history (row_id, kind, state, detail) SELECT :run, 'run', 'RUNNING', '' "
            "FROM generate_series(1, :count)", run=run, count=count,
        )  # fmt: skip
        upto = (await history.settled(database)).upto
        while page := await reading.page(database, upto):
            seen += [row["id"] for row in page]
    assert len(seen) == len(set(seen)) == 1 + 1500 + 3 + 1000
    assert seen == sorted(seen)
    assert reading.after == await scalar(database, "SELECT max(id) FROM history")


async def test_events_end_without_a_word_when_the_service_stops(
    context: Context, caller: Caller, running: UUID
) -> None:
    await context.events.open()
    told = Told(context, caller, running)
    await told.until(2)
    context.events.end()
    assert (len(await told.to_the_end()), told.ended) == (2, False)


async def test_a_quiet_run_is_kept_alive(
    context: Context, caller: Caller, running: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEEP_ALIVE_S <= 15
    monkeypatch.setattr(run_events, "KEEP_ALIVE_S", 0.05)
    await context.events.open()
    stream = run_events._events(context, caller.owner, Reading(running, 0))
    await anext(stream)
    assert await asyncio.wait_for(anext(stream), 10) == b":\n\n"


async def test_nothing_is_told_without_a_database(
    context: Context, client: httpx.AsyncClient, running: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context.events, "_database", Database("postgresql://nobody@127.0.0.1:9/none"))
    for path in ("events", "logs/stderr?follow=true"):
        assert (await client.get(f"{WES}/runs/{running}/{path}")).status_code == 503
