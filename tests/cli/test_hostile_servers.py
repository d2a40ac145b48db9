"""Whatever a server answers, the person gets one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run
from wesgate.cli.people import client

COMMANDS = [["ls"], ["status", "r" * 32], ["logs", "r" * 32], ["cancel", "r" * 32], ["outputs", "r" * 32]]

ANSWERS = [
    pytest.param(HTMLResponse("<h1>Bad\x1b[2J gateway</h1>", 502), "HTTP status 502", id="error page"),
    pytest.param(HTMLResponse("<h1>Welcome</h1>"), "did not answer as a WES server", id="web page"),
    pytest.param(PlainTextResponse("{" * 100_000), "did not answer as a WES server", id="broken json"),
    pytest.param(PlainTextResponse("[" * 100_000), "did not answer as a WES server", id="deep json"),
    pytest.param(JSONResponse([1, 2]), "did not answer as a WES server", id="list"),
    pytest.param(JSONResponse(None), "did not answer as a WES server", id="null"),
    pytest.param(Response(b"\xff\xfe\x00"), "did not answer as a WES server", id="bytes"),
    pytest.param(Response(b""), "did not answer as a WES server", id="nothing"),
    pytest.param(Response(b"no gzip at all", headers={"Content-Encoding": "gzip"}), "broke", id="no gzip"),
    pytest.param(JSONResponse({"msg": "no\x1b[2J\nentry"}, 403), "no\\x1b[2J entry; give a valid token", id="refused"),
    pytest.param(JSONResponse({"message": "x" * 10_000}, 500), "xxx…", id="long message"),
    pytest.param(RedirectResponse("https://other.example/"), "has moved to https://other.example/", id="moved"),
    pytest.param(RedirectResponse("//[", 308), "has moved to", id="moved nowhere"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(("answer", "cause"), ANSWERS)
def test_a_strange_answer_is_one_line(cli: Cli, server: Double, words: list[str], answer: Response, cause: str) -> None:
    server.instead = answer
    said = cli(server, *words)
    assert said.code == 3
    assert cause in said.err
    assert said.err.count("\n") == 1
    assert "\x1b" not in said.err + said.out


def test_an_endless_answer_is_cut_off(cli: Cli, server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    monkeypatch.setattr(client, "MAX_REPLY", 1 << 20)
    server.instead = StreamingResponse(endless())
    said = cli(server, "ls")
    assert (said.code, "sent more than 1 MiB" in said.err) == (3, True)


@pytest.mark.parametrize(
    "odd",
    [
        {"state": 7, "tags": ["x"], "request": "no", "run_log": [], "task_logs": {"a": 1}, "outputs": "none"},
        {"state": None, "tags": {"a": 1, "name": None}, "request": None, "run_log": None, "task_logs": None},
        {"task_logs": [None, 7, {"name": 3, "exit_code": "1", "system_logs": "x", "start_time": 1e300}]},
        {"run_id": {"a": 1}, "start_time": "9999-12-31T23:59:59Z", "end_time": "0001-01-01T00:00:00Z"},
    ],
)
@pytest.mark.parametrize("command", ["status", "logs", "cancel", "outputs"])
def test_fields_of_wrong_types_are_borne(cli: Cli, any_server: Double, command: str, odd: dict[str, Any]) -> None:
    any_server.runs["r" * 32] = [{**a_run("r" * 32), **odd}]
    said = cli(any_server, command, "r" * 32)
    assert said.code in (0, 1)
    assert said.err.count("\n") <= 3


def test_pages_that_go_in_circles_end(cli: Cli, server: Double) -> None:
    server.instead = JSONResponse({"runs": [{"run_id": "a", "state": "COMPLETE"}], "next_page_token": "again"})
    assert cli(server, "ls", "--limit", "500").out.count("COMPLETE") == 2


@pytest.mark.parametrize("run_id", ["..", ".", "a/../../x", "a?b#c", "%2e%2e", "ü\n"])
def test_an_id_never_leaves_its_place_in_the_path(cli: Cli, server: Double, run_id: str) -> None:
    said = cli(server, "cancel", run_id)
    assert said.code == 2
    assert server.canceled == []
