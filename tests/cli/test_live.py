"""Logs followed by server-sent events: told once, taken up where they broke, whatever the server sends."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run, a_task
from wesgate.cli.errors import ServerProblem
from wesgate.cli.remote import live, waiting
from wesgate.cli.remote.live import Event, read_events, together

END = b"event: end\ndata: {}\n\n"


def said(place: str, text: str) -> bytes:
    return f"id: {place}\ndata: {json.dumps(text)}\n\n".encode()


@pytest.fixture
def wesgate(wesgate: Double) -> Double:
    wesgate.add(a_run("r", "RUNNING", [a_task("t", None)]))
    return wesgate


def test_a_log_is_told_as_it_comes(cli: Cli, wesgate: Double) -> None:
    wesgate.live = {"logs/stderr": [[said("3", "one\n"), b":\n\n", said("6", "two\x1b[2J\n"), END]]}
    told = cli(wesgate, "logs", "r", "--follow", "--stderr")
    assert (told.code, told.out) == (0, "one\ntwo\\x1b[2J\n")
    assert wesgate.asked == [("logs/stderr?follow=true", None)]


def test_a_broken_log_is_taken_up_where_it_broke(cli: Cli, wesgate: Double) -> None:
    wesgate.live = {"tasks/id-t/logs/stdout": [[said("4-ab", "one\n"), b"id: 9\nda"], [said("8-ab", "two\n"), END]]}
    told = cli(wesgate, "logs", "r", "t", "-f", "--stdout", "--tail", "5")
    assert (told.code, told.out) == (0, "one\ntwo\n")
    assert [last for _, last in wesgate.asked] == [None, "4-ab"]
    assert {asked for asked, _ in wesgate.asked} == {"tasks/id-t/logs/stdout?follow=true&tail=5"}


def test_both_streams_are_followed_at_once(cli: Cli, wesgate: Double) -> None:
    wesgate.live = {"logs/stdout": [[said("1", "o\n"), END]], "logs/stderr": [[END]]}
    told = cli(wesgate, "logs", "r", "-f")
    assert told.out == "==> stdout <==\no\n"
    assert "nothing there" not in told.err
    wesgate.live = {"logs/stdout": [[END]], "logs/stderr": [[END]]}
    assert cli(wesgate, "logs", "r", "-f").err == "stdout: nothing there\nstderr: nothing there\n"


def test_a_server_that_stays_away_is_given_up(cli: Cli, wesgate: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AWAY_S", 0.05)
    wesgate.live = {"logs/stdout": [[said("1", "o\n")]]}
    told = cli(wesgate, "logs", "r", "-f", "--stdout")
    assert (told.code, told.out, told.err.count("\n")) == (3, "o\n", 1)


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([b"data: a\n", b"\ndata: b\n\n"], [Event(data="a"), Event(data="b")]),
        ([b"id: 1\r\nevent: x\r\ndata: a\r\ndata:b\r\n\r\n"], [Event("x", "1", "a\nb")]),
        ([b":\n\n", b"data: \xff\n\ndata: cut"], [Event(), Event(data="\ufffd")]),
        ([b"\r", b"\n", b"data: a\r", b"\n\r\n"], [Event(data="a")]),
        ([], []),
    ],
)
def test_events_are_read_however_they_are_cut(chunks: list[bytes], events: list[Event]) -> None:
    assert [event for event in read_events(iter(chunks)) if event != Event()] == [e for e in events if e != Event()]


def test_an_endless_event_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_EVENT", 1000)
    with pytest.raises(ServerProblem, match="sent an event of more than"):
        list(read_events(iter([b"data: " + b"x" * 600] * 3)))


def test_a_failure_of_one_source_ends_them_all() -> None:
    def fails() -> Iterator[str]:
        yield "a"
        raise ServerProblem("away")

    with pytest.raises(ServerProblem, match="away"):
        list(together({"one": fails, "other": lambda: iter("bc")}))
