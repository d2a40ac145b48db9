"""Whatever a server answers, the person gets one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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
from tests.cli.tes_double import a_step, a_task
from wesgate.cli.remote import connection

RUNS = [
    ["ls"], ["status", "r" * 32], ["logs", "r" * 32], ["cancel", "r" * 32], ["outputs", "r" * 32], ["find", "x"],
    ["find", "--counts"], ["run", "https://e.org/w.wdl", "--dry-run"], ["run", "--resume", "r" * 32],
]  # fmt: skip
TASKS = [
    ["ls"], ["get", "t" * 32], ["logs", "t" * 32], ["cancel", "t" * 32], ["cancel", "--state", "queued"],
    ["wait", "t" * 32], ["create", "--image", "i", "x"], ["create", "--image", "i", "--dry-run", "x"],
]  # fmt: skip
COMMANDS = [*RUNS, *(["task", *words] for words in TASKS)]

ANSWERS = [
    pytest.param(HTMLResponse("<h1>Bad\x1b[2J gateway</h1>", 502), "HTTP status 502", id="error page"),
    pytest.param(HTMLResponse("<h1>Welcome</h1>"), "S server does", id="web page"),
    pytest.param(PlainTextResponse("{" * 100_000), "S server does", id="broken json"),
    pytest.param(PlainTextResponse("[" * 100_000), "S server does", id="deep json"),
    pytest.param(JSONResponse([1, 2]), "S server does", id="list"),
    pytest.param(JSONResponse(None), "S server does", id="null"),
    pytest.param(Response(b"\xff\xfe\x00"), "S server does", id="bytes"),
    pytest.param(Response(b""), "S server does", id="nothing"),
    pytest.param(Response(b"no gzip at all", headers={"Content-Encoding": "gzip"}), "broke", id="no gzip"),
    pytest.param(JSONResponse({"msg": "no\x1b[2J\nentry"}, 403), "no\\x1b[2J entry; give a valid token", id="refused"),
    pytest.param(JSONResponse({"message": "x" * 10_000}, 500), "xxx…", id="long message"),
    pytest.param(RedirectResponse("https://other.example/"), "has moved to https://other.example/", id="moved"),
    pytest.param(RedirectResponse("//[", 308), "has moved to", id="moved nowhere"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize(("answer", "cause"), ANSWERS)
def test_a_strange_answer_is_one_line(cli: Cli, server: Double, words: list[str], answer: Response, cause: str) -> None:
    server.instead = answer
    said = cli(server, *words)
    assert said.code == 3
    assert cause in said.err
    assert said.err.count("\n") == 1 + said.err.count("with `--key ")
    assert "\x1b" not in said.err + said.out


def test_an_endless_answer_is_cut_off(cli: Cli, server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    monkeypatch.setattr(connection, "MAX_REPLY", 1 << 20)
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


@pytest.mark.parametrize(
    "odd",
    [
        {"state": 7, "tags": ["x"], "executors": "no", "logs": {"a": 1}, "creation_time": 7, "name": ["n"]},
        {"state": "ODD", "tags": {"a": 1}, "executors": [None, 7, {"command": "x"}], "logs": [None, 7]},
        {"logs": [{"logs": {"a": 1}, "outputs": [1, {"size_bytes": "1e999"}], "metadata": [1], "system_logs": "x"}]},
        {"logs": [{"logs": [{"exit_code": "1", "stdout": 7}], "outputs": "x", "metadata": {"cpu_seconds": "NaN"}}]},
        {"id": {"a": 1}, "logs": [{"start_time": "9999-12-31T23:59:59Z", "end_time": "0001-01-01T00:00:00Z"}]},
    ],
)
@pytest.mark.parametrize("words", [["get"], ["logs"], ["logs", "-f"], ["cancel"], ["wait"]], ids=" ".join)
def test_members_of_tasks_of_wrong_types_are_borne(
    cli: Cli, server: Double, words: list[str], odd: dict[str, Any]
) -> None:
    server.instead = JSONResponse({**a_task("t" * 32), **odd})
    said = cli(server, "task", *words, "t" * 32)
    assert said.code in (0, 1)
    assert said.err.count("\n") <= 3


def test_what_a_task_says_cannot_command_the_terminal(cli: Cli, server: Double) -> None:
    evil = "x\x1b]0;owned\x07\x9b2J\u202egnp\ud800\r\ny"
    log = {"logs": [a_step(1, evil, evil)], "system_logs": [evil], "metadata": {"waiting_reason": evil}}
    log["outputs"] = [{"url": evil, "path": evil, "size_bytes": evil}]
    tags, steps = {evil: evil}, [{"image": evil, "command": [evil]}]
    for state in ("QUEUED", "EXECUTOR_ERROR", evil):
        server.tasks.add(a_task("t" * 32, state, log, name=evil, tags=tags, executors=steps))
        for command in ("ls", "get", "logs", "cancel", *(["wait"] if state != "QUEUED" else [])):
            said = cli(server, "task", command, *(["t" * 32] if command != "ls" else []))
            assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said.out + said.err)


def test_a_server_that_accepts_without_an_id_or_with_too_few_is_told(cli: Cli, server: Double, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    for told in ({}, {"id": None}, {"id": "", "ids": ["a"]}, {"ids": "ab"}):
        server.instead = JSONResponse(told)
        assert "without telling its id" in cli(server, "task", "create", "--image", "i", "x").err
        assert cli(server, "task", "create", *[str(tmp_path / "t.json")] * 2).code == 3
    server.instead = JSONResponse({"canceled": "all"})
    assert "did not tell how many" in cli(server, "task", "cancel", "--state", "queued").err


@pytest.mark.parametrize("task_id", ["..", ".", "a/../../x", "a?b#c", "%2e%2e", "ü\n"])
def test_the_id_of_a_task_never_leaves_its_place_in_the_path(cli: Cli, server: Double, task_id: str) -> None:
    for command in ("cancel", "get", "logs", "wait"):
        assert cli(server, "task", command, task_id).code == 2
    assert server.tasks.canceled == []
