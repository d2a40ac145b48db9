"""The streams of a task's steps: whole, in part, and as they grow."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conftest import TES
from tests.api.follower import Followed
from tests.builders import HELLO, a_task, an_attempt, become, execute
from wesgate.api import following
from wesgate.api.dependencies import Context
from wesgate.api.following import Growing, Place
from wesgate.api.tes import streams
from wesgate.api.tes.streams import Stream
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db.session import Database

TWO = {**HELLO, "executors": [HELLO["executors"][0]] * 2}
NOBODY = "00000000-0000-0000-0000-000000000000"


async def attempt(database: Database, task: UUID, number: int, directory: str | None) -> None:
    report = None if directory is None else {"directory": directory, "steps": [{}]}
    await an_attempt(database, Kind.TASK, task, report, number)


def log(files: Path, directory: str, name: str = "0.stdout") -> Path:
    path = files / directory / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
async def running(database: Database, caller: Caller, files: Path) -> UUID:
    """A task of two steps in its first attempt, which has said `hello`."""
    task = await a_task(database, caller, document=TWO)
    await attempt(database, task, 1, "o/a1")
    await become(database, Kind.TASK, task, "RUNNING")
    log(files, "o/a1").write_bytes(b"hello")
    return task


def followed_step(context: Context, who: Caller, task: UUID, begin: int = 0, number: int = 1) -> Followed:
    look = partial(streams._look, context.database, who, Stream(task, number, 0, "stdout"))
    return Followed(context.events, task, look, Growing(context.files, Place(begin)))


async def test_a_stream_is_there_in_whole_and_in_part(client: httpx.AsyncClient, running: UUID, files: Path) -> None:
    url = f"{TES}/tasks/{running}/logs"
    log(files, "o/a1", "1.stderr").write_bytes(b"<script>\xff")
    whole = await client.get(f"{url}/0/stdout")
    assert (whole.text, whole.headers["content-type"]) == ("hello", "text/plain; charset=utf-8")
    assert (whole.headers["x-content-type-options"], "sandbox" in whole.headers["content-security-policy"]) == (
        "nosniff",
        True,
    )
    part = await client.get(f"{url}/0/stdout", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "el", "bytes 1-2/5")
    assert (await client.get(f"{url}/1/stderr")).content == b"<script>\xff"
    assert (await client.get(f"{url}/1/stdout")).content == b""


@pytest.mark.parametrize(
    ("text", "lines", "wanted"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc", 2, "b\nc"), ("a\nb\n", 9, "a\nb\n"), ("a\n", 0, ""),
        ("", 3, ""), ("\n\n", 1, "\n"),
        ("x" * 300_000 + "\n" + "y" * 300_000 + "\n", 1, "y" * 300_000 + "\n"),
        ("z\n" * 400_000, 300_000, "z\n" * 300_000), ("no end" * 100_000, 1, "no end" * 100_000),
    ],
    ids=["two", "no newline", "all", "none", "nothing", "empty lines", "long lines", "many lines", "one line"],
)  # fmt: skip
async def test_a_stream_is_there_by_its_last_lines(
    client: httpx.AsyncClient, running: UUID, files: Path, text: str, lines: int, wanted: str
) -> None:
    log(files, "o/a1").write_text(text)
    answer = await client.get(f"{TES}/tasks/{running}/logs/0/stdout?tail={lines}", headers={"Range": "bytes=0-0"})
    assert (answer.status_code, answer.text == wanted, answer.headers["content-length"]) == (
        200, True, str(len(wanted))
    )  # fmt: skip


async def test_a_stream_is_followed_from_its_last_lines_on(
    client: httpx.AsyncClient, database: Database, running: UUID, files: Path
) -> None:
    log(files, "o/a1").write_text("a\nb\nc\n")
    await become(database, Kind.TASK, running, "COMPLETE")
    url = f"{TES}/tasks/{running}/logs/0/stdout?follow=true&tail=1"
    assert (await client.get(url)).text == 'id: 6\ndata: "c\\n"\n\nevent: end\ndata: {}\n\n'
    read_on = await client.get(url, headers={"Last-Event-ID": "2"})
    assert read_on.text == 'id: 6\ndata: "b\\nc\\n"\n\nevent: end\ndata: {}\n\n'


async def test_each_attempt_has_its_own(
    client: httpx.AsyncClient, database: Database, running: UUID, files: Path
) -> None:
    await attempt(database, running, 2, "o/a2")
    log(files, "o/a2").write_bytes(b"again")
    url = f"{TES}/tasks/{running}/logs/0/stdout"
    assert [(await client.get(url, params=asked)).text for asked in ({}, {"attempt": "1"}, {"attempt": "2"})] == [
        "again", "hello", "again"
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["0", "3", "999999999"])
async def test_an_attempt_that_there_is_not_is_not_found(client: httpx.AsyncClient, running: UUID, number: str) -> None:
    for more in ("", "&follow=true"):
        answer = await client.get(f"{TES}/tasks/{running}/logs/0/stdout?attempt={number}{more}")
        assert answer.status_code == 404


async def test_a_task_that_waits_has_empty_streams(
    client: httpx.AsyncClient, database: Database, caller: Caller
) -> None:
    task = await a_task(database, caller)
    answer = await client.get(f"{TES}/tasks/{task}/logs/0/stdout", params={"attempt": "1"})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["2/stdout", "-1/stdout", "x/stdout", "0/stdin", "0/..", "%30%00/stdout", "٣/stdout",
                                  "99999999999/stdout", "0/stdout/", "..%2f0/stdout"])  # fmt: skip
async def test_a_stream_that_there_is_not_is_not_found(client: httpx.AsyncClient, running: UUID, path: str) -> None:
    for more in ("", "?follow=true"):
        assert (await client.get(f"{TES}/tasks/{running}/logs/{path}{more}")).status_code == 404


@pytest.mark.parametrize("query", ["attempt=x", "attempt=-1", "attempt=1e1", "attempt=", "attempt=1&attempt=1",
                                   "attempt=٣", "follow=1", "follow=", "attempt=%00", "follow=%FF", "tail=-1",
                                   "tail=x", "tail=", "tail=1&tail=1", "tail=1000000", "tail=٣"])  # fmt: skip
async def test_a_question_in_another_form_is_refused(client: httpx.AsyncClient, running: UUID, query: str) -> None:
    assert (await client.get(f"{TES}/tasks/{running}/logs/0/stdout?{query}")).status_code == 400


@pytest.mark.parametrize("last", ["x", "-1", "1-00000000", "1" * 19, "", "\u00b2"])
async def test_a_place_that_we_never_gave_is_refused(client: httpx.AsyncClient, running: UUID, last: str) -> None:
    headers = {"Last-Event-ID": last.encode()}
    url = f"{TES}/tasks/{running}/logs/0/stdout?follow=true"
    assert (await client.get(url, headers=headers)).status_code == 400  # type: ignore[arg-type]


async def test_another_owners_streams_are_as_those_that_do_not_exist(
    client: httpx.AsyncClient, database: Database, stranger: Caller, head: dict[str, str], run_id: str, running: UUID
) -> None:
    theirs = await a_task(database, stranger)
    for more in ("", "?follow=true", "?attempt=1"):
        none = await client.get(f"{TES}/tasks/{uuid4()}/logs/0/stdout{more}")
        assert none.status_code == 404
        assert (await client.get(f"{TES}/tasks/{theirs}/logs/0/stdout{more}")).content == none.content
        assert (await client.get(f"{TES}/tasks/{running}/logs/0/stdout{more}", headers=head)).content == none.content


async def test_a_link_out_of_the_shared_root_is_not_followed(
    client: httpx.AsyncClient, running: UUID, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    log(files, "o/a1", "0.stderr").symlink_to(tmp_path / "secret")
    answer = await client.get(f"{TES}/tasks/{running}/logs/0/stderr")
    assert (answer.status_code, "hunter2" in answer.text) == (404, False)
    full = await client.get(f"{TES}/tasks/{running}", params={"view": "FULL"})
    assert (full.status_code, "hunter2" in full.text) == (200, False)


async def test_a_stream_is_followed_to_the_end_of_its_task(
    context: Context, database: Database, caller: Caller, running: UUID, files: Path
) -> None:
    await context.events.open()
    followed = followed_step(context, caller, running)
    await followed.until("hello")
    with log(files, "o/a1").open("ab") as file:
        file.write(b" world\n")
    await followed.until("world\n")
    with log(files, "o/a1").open("ab") as file:
        file.write(b"bye")
    await become(database, Kind.TASK, running, "COMPLETE")
    assert await followed.to_the_end() == "hello world\nbye"
    assert (followed.ended, followed.at) == (True, "15")


async def test_what_is_followed_need_not_have_begun(
    context: Context, database: Database, caller: Caller, files: Path
) -> None:
    task = await a_task(database, caller)
    await context.events.open()
    followed = followed_step(context, caller, task)
    waiting = asyncio.ensure_future(followed.until("late"))
    log(files, "o/a9").write_bytes(b"late")
    await attempt(database, task, 1, "o/a9")
    await become(database, Kind.TASK, task, "RUNNING")
    await waiting
    await become(database, Kind.TASK, task, "EXECUTOR_ERROR")
    assert await followed.to_the_end() == "late"


async def test_an_attempt_that_is_over_is_told_and_ended(
    context: Context, database: Database, caller: Caller, running: UUID
) -> None:
    await attempt(database, running, 2, "o/a2")
    await context.events.open()
    followed = followed_step(context, caller, running)
    assert (await followed.to_the_end(), followed.ended) == ("hello", True)


async def test_whoever_was_cut_off_reads_on(
    context: Context, database: Database, caller: Caller, running: UUID, files: Path
) -> None:
    whole = "äß€𝄞" * 50_000
    log(files, "o/a1").write_text(whole)
    await become(database, Kind.TASK, running, "COMPLETE")
    await context.events.open()
    first = followed_step(context, caller, running)
    await first.until("𝄞")
    await first.close()
    rest = followed_step(context, caller, running, int(first.at))
    assert 0 < len(first.text) < len(whole)
    assert first.text + await rest.to_the_end() == whole


async def test_a_stream_ends_without_a_word_when_the_service_stops(
    context: Context, caller: Caller, running: UUID
) -> None:
    await context.events.open()
    followed = followed_step(context, caller, running)
    await followed.until("hello")
    context.events.end()
    assert (await followed.to_the_end(), followed.ended) == ("hello", False)
    assert not context.events._watches


async def test_nothing_is_followed_without_a_database(
    context: Context, client: httpx.AsyncClient, running: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setattr(context.events, "_database", away)
    answer = await client.get(f"{TES}/tasks/{running}/logs/0/stdout?follow=true")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_followed_stream_is_an_inert_answer(
    client: httpx.AsyncClient, database: Database, running: UUID
) -> None:
    await become(database, Kind.TASK, running, "COMPLETE")
    answer = await client.get(f"{TES}/tasks/{running}/logs/0/stdout?follow=true", headers={"Last-Event-ID": "1"})
    assert answer.text == 'id: 5\ndata: "ello"\n\nevent: end\ndata: {}\n\n'
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize(
    ("pieces", "texts", "last"),
    [
        ([b"\xe2\x82", b"\xacx"], ["", "€x"], 4), ([b"a\xe2", b"\x82"], ["a", ""], 1),
        ([b"\xffa"], ["\ufffda"], 2), ([b'"\n\r\0'], ['"\n\r\0'], 4),
    ],
    ids=["a character in two", "half of one", "no UTF-8", "signs of the protocol"],
)  # fmt: skip
def test_no_character_is_split(tmp_path: Path, pieces: list[bytes], texts: list[str], last: int) -> None:
    with Growing(tmp_path) as growing, (tmp_path / "f").open("wb", buffering=0) as file:
        growing.path, told = "f", []
        for piece in pieces:
            file.write(piece)
            event = growing.read(over=False).decode()
            told.append(json.loads(event.split("data: ", 1)[1]) if event else "")
            last_id = int(event.split("\n")[0][4:]) if event else None
            assert last_id in (None, last) or piece is not pieces[-1]
        assert told == texts


def test_half_a_character_at_the_end_is_told_as_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xe2\x82")
    with Growing(tmp_path) as growing:
        growing.path = "f"
        told = [growing.read(over=True) for _ in range(3)]
    assert told == [b'id: 1\ndata: "a"\n\n', 'id: 3\ndata: "\ufffd"\n\n'.encode(), b""]


def test_a_file_is_read_to_its_end_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xe2\x82")
    (tmp_path / "g").write_bytes(b"\xacb")
    with Growing(tmp_path, several=True) as growing:
        growing.path = "f"
        first = growing.read(over=False)
        growing.path = "g"
        told = [first, *(growing.read(over=False) for _ in range(3))]
    assert [json.loads(event.split(b"data: ")[1]) for event in filter(None, told)] == ["a", "\ufffd", "\ufffdb"]
    assert told[-1] == b""


def test_a_long_stream_comes_in_bounded_pieces(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1_000_000)
    with Growing(tmp_path) as growing:
        growing.path = "f"
        sizes = [len(growing.read(over=False)) for _ in range(16)]
    assert max(sizes) < following.CHUNK_BYTES + 100


async def full(client: httpx.AsyncClient, task: UUID, view: str = "FULL") -> Any:
    return (await client.get(f"{TES}/tasks/{task}", params={"view": view})).json()["logs"][-1]["logs"]


async def test_a_running_tasks_streams_are_shown_as_they_are_now(
    client: httpx.AsyncClient, running: UUID, files: Path
) -> None:
    for text in ("hello", "hello world"):
        log(files, "o/a1").write_text(text)
        assert await full(client, running) == [{"exit_code": -1, "stdout": text, "stderr": ""}]
    log(files, "o/a1").write_text("x" * 20_000 + "\0end")
    (step,) = await full(client, running)
    assert (len(step["stdout"]), step["stdout"][-4:]) == (10_000, "\ufffdend")
    assert await full(client, running, "BASIC") == [{"exit_code": -1}]


async def test_a_step_that_the_stored_report_does_not_know_yet_is_shown(
    client: httpx.AsyncClient, running: UUID, files: Path
) -> None:
    for name, text in (("1.stdout", "second"), ("1.stderr", "")):
        log(files, "o/a1", name).write_text(text)
    log(files, "o/a1", "0.stderr").write_text("")
    assert [step["stdout"] for step in await full(client, running)] == ["hello", "second"]
    listed = (await client.get(f"{TES}/tasks", params={"view": "FULL"})).json()["tasks"][0]
    assert [step["stdout"] for step in listed["logs"][0]["logs"]] == ["hello", "second"]


async def test_a_step_that_ended_is_as_it_was_reported(
    client: httpx.AsyncClient, database: Database, running: UUID, files: Path
) -> None:
    report = {"directory": "o/a1", "steps": [{"exit_code": 0, "end_time": "2026-01-01T00:00:00Z", "stdout": "told"}]}
    await execute(database, "UPDATE attempts SET report = CAST(:r AS json)", r=json.dumps(report))
    assert [step["stdout"] for step in await full(client, running)] == ["told", ""]
    await become(database, Kind.TASK, running, "COMPLETE")
    assert [step["stdout"] for step in await full(client, running)] == ["told"]
