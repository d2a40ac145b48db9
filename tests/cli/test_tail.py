"""`--tail`: the last lines of a log, fetched from its end, and what follows."""

from __future__ import annotations

import json

import pytest

from tests.cli.answers import T0
from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run, a_task
from tests.cli.tes_double import a_step
from tests.cli.tes_double import a_task as a_tes_task
from wesgate.cli.remote import streams
from wesgate.cli.remote.streams import last_lines

TEXT = "".join(f"line {number}\n" for number in range(1000)).encode()


@pytest.mark.parametrize(
    ("text", "lines", "end"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\nc", 9, b"a\nb\nc"),
        (b"a\n\n\n", 2, b"\n\n"),
        (b"a\nb\n", 0, b""),
        (b"", 3, b""),
        (TEXT, 1000, TEXT),
        (TEXT, 990, TEXT[TEXT.index(b"line 10\n") :]),
    ],
)
def test_the_last_lines_are_found_from_the_end(
    monkeypatch: pytest.MonkeyPatch, text: bytes, lines: int, end: bytes
) -> None:
    monkeypatch.setattr(streams, "FIRST_REACH", 4)
    assert last_lines(lambda count: (text[-count:], len(text)), lines) == (end, len(text))


def test_a_line_longer_than_the_window_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FIRST_REACH", 4)
    monkeypatch.setattr(streams, "LOG_WINDOW", 64)
    body, size = last_lines(lambda count: ((b"x" * 1000)[-count:], 1000), 1)
    assert (len(body) < 1000, size) == (True, 1000)


def test_only_the_last_lines_of_a_log_are_printed(cli: Cli, any_server: Double) -> None:
    any_server.texts["out"] = TEXT
    any_server.add(a_run("r", tasks=[a_task("t", stdout="/texts/out", stderr="as\nit\nis\n")]))
    said = cli(any_server, "logs", "r", "t", "--tail", "2")
    assert said.out == "==> stdout <==\nline 998\nline 999\n==> stderr <==\nit\nis\n"
    told = json.loads(cli(any_server, "logs", "r", "t", "--tail", "1", "--json").out)
    assert (told["stdout"], told["stderr"]) == ("line 999\n", "is\n")


def test_what_follows_the_last_lines_is_printed_once(cli: Cli, any_server: Double) -> None:
    run = a_run("r", "RUNNING", [a_task("t", None, stdout="one\ntwo\n")])
    later = a_run("r", "RUNNING", [a_task("t", None, stdout="one\ntwo\nthree\n")])
    any_server.add(run, run, *[later] * 4, a_run("r", tasks=[a_task("t", stdout="one\ntwo\nthree\nfour\n")]))
    said = cli(any_server, "logs", "r", "t", "--tail", "1", "--follow", "--stdout")
    assert (said.code, said.out) == (0, "two\nthree\nfour\n")


@pytest.mark.parametrize("plain", [False, True])
def test_tasks_have_last_lines_too(cli: Cli, server: Double, plain: bool) -> None:
    server.tasks.plain = plain
    server.tasks.logs[1, 0, "stdout"] = b"a\nb\nc\n"
    server.tasks.add(a_tes_task("x", "COMPLETE", {"start_time": T0, "logs": [a_step(0, "a\nb\nc\n")]}))
    assert cli(server, "task", "logs", "x", "--stdout", "--tail", "2").out == "b\nc\n"
