"""`wesgate run` and what comes of it: submit, wait, watch, report, exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run, a_task
from wesgate.cli.remote import waiting

WDL = "version 1.0\nworkflow hello {\n  input {\n    File reads\n    Int n = 1\n  }\n}\n"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.wdl"
    path.write_text(WDL)
    return path


def test_a_run_is_submitted_and_its_id_printed(cli: Cli, any_server: Double, hello: Path) -> None:
    said = cli(any_server, "run", str(hello), "n=3", "--name", "mine", "--tag", "a=b", "--engine-param", "x=y")
    assert (said.code, said.out) == (0, "new-run\n")
    assert "wesgate status new-run --follow" in said.err
    form = any_server.forms[0]
    assert json.loads(form["workflow_params"]) == {"hello.n": 3}
    assert json.loads(form["tags"]) == {"a": "b", "name": "mine"}
    assert json.loads(form["workflow_engine_parameters"]) == {"x": "y"}
    told = (form["workflow_type"], form["workflow_type_version"], form["workflow_url"])
    assert told == ("WDL", "1.0", "hello.wdl")
    assert any_server.attachments == {"hello.wdl": WDL.encode()}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["HELLO"], "hello"),
        (["HELLO", "--tag", "name=x"], "x"),
        (["https://e.org/r.git@v1#wf/main.wdl"], "main"),
        (["https://e.org/?x.wdl", "--type", "WDL"], None),
    ],
)
def test_a_run_is_sent_the_name_that_the_server_would_find_it_by(
    cli: Cli, any_server: Double, hello: Path, words: list[str], name: str | None
) -> None:
    assert cli(any_server, "run", *(word.replace("HELLO", str(hello)) for word in words)).code == 0
    assert json.loads(any_server.forms[0].get("tags", "{}")).get("name") == name


def test_input_files_that_runs_may_not_read_in_place_are_sent_along(
    cli: Cli, server: Double, hello: Path, tmp_path: Path
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "x.fq").write_text("mine")
    (tmp_path / "a b" / "x.fq").write_text("there already")
    for storage, name, sent in (
        ([f"file://{tmp_path}/elsewhere"], "x.fq", "inputs/1/x.fq"),
        ([f"file://{tmp_path}/a%20b"], "a b/x.fq", None),
        (None, "x.fq", None),
    ):
        server.storage, server.attachments = storage, {}
        assert cli(server, "run", str(hello), f"reads={tmp_path / name}").code == 0
        params = json.loads(server.forms[-1]["workflow_params"])
        assert params == {"hello.reads": sent or str(tmp_path / name)}
        assert server.attachments.get("inputs/1/x.fq") == (b"mine" if sent else None)


def test_imports_are_uploaded_in_their_places_without_climbing(cli: Cli, server: Double, tmp_path: Path) -> None:
    (tmp_path / "wf").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "tasks.wdl").write_text("version 1.0")
    main = tmp_path / "wf" / "main.wdl"
    main.write_text('version 1.0\nimport "../lib/tasks.wdl" as t\nworkflow w {}')
    assert cli(server, "run", str(main)).code == 0
    assert set(server.attachments) == {"wf/main.wdl", "lib/tasks.wdl"}
    assert server.forms[0]["workflow_url"] == "wf/main.wdl"


def test_a_workflow_by_url_takes_its_version_from_the_server(cli: Cli, server: Double) -> None:
    assert cli(server, "run", "https://example.org/w/main.wdl?raw=1").code == 0
    form = server.forms[0]
    assert form["workflow_url"] == "https://example.org/w/main.wdl?raw=1"
    assert (form["workflow_type"], form["workflow_type_version"]) == ("WDL", "1.1")
    assert server.attachments == {}


def test_the_token_goes_along(cli: Cli, server: Double, hello: Path) -> None:
    cli(server, "run", str(hello), "--token", "s3cret")
    assert set(server.tokens) == {"Bearer s3cret"}


@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_a_run_that_completes_prints_its_outputs_and_exits_0(
    cli: Cli, any_server: Double, hello: Path, how: str
) -> None:
    running, done = a_task("count-0", None), a_task("count-0")
    any_server.next_run = [
        a_run("new-run", "QUEUED"),
        a_run("new-run", "RUNNING", [running]),
        a_run("new-run", "COMPLETE", [done], outputs={"hello.files": ["/a", "/b"], "hello.n": 3}),
    ]
    said = cli(any_server, "run", str(hello), how)
    assert said.code == 0
    assert "run new-run ended COMPLETE after 7 s" in said.out
    assert "hello.files  /a\n             /b\nhello.n      3" in said.out


def test_following_tells_each_change_once(cli: Cli, any_server: Double, hello: Path) -> None:
    waiting = a_run("new-run", "RUNNING", [a_task("count-0", None)])
    any_server.next_run = [waiting, waiting, waiting, a_run("new-run", "COMPLETE", [a_task("count-0")])]
    said = cli(any_server, "run", str(hello), "--follow")
    assert said.out.count("task count-0 running") == 1
    assert said.out.count("task count-0 done after 7 s") == 1


def test_a_failed_run_exits_1_and_tells_why_and_where_to_look(cli: Cli, any_server: Double, hello: Path) -> None:
    any_server.texts["err"] = b"line 1\nno such gene\n"
    bad = a_task("align", 7, stderr=f"{any_server.url}/texts/err", system_logs=["it \x1b[2Jfailed"])
    any_server.next_run = [a_run("new-run", "EXECUTOR_ERROR", [a_task("index"), bad])]
    any_server.next_run[0]["run_log"]["system_logs"] = ["call align failed"]
    said = cli(any_server, "run", str(hello), "--wait")
    assert said.code == 1
    assert "call align failed\n" in said.out
    assert "task align failed: exit code 7; it \\x1b[2Jfailed" in said.out
    assert "    no such gene\n" in said.out
    assert "whole log: wesgate logs new-run id-align" in said.out


def test_tasks_stopped_with_a_canceled_run_are_not_told_as_failures(cli: Cli, any_server: Double, hello: Path) -> None:
    any_server.next_run = [a_run("new-run", "CANCELED", [a_task("align", 143)])]
    said = cli(any_server, "run", str(hello), "--wait")
    assert (said.code, said.out) == (1, "run new-run ended CANCELED after 7 s\n")


def test_json_is_one_document_for_programs(cli: Cli, any_server: Double, hello: Path) -> None:
    any_server.next_run = [a_run("new-run", "COMPLETE", [a_task("x")], outputs={"hello.o": "\x1b"})]
    said = cli(any_server, "run", str(hello), "--follow", "--json")
    told = json.loads(said.out)
    assert (told["run_id"], told["state"], told["outputs"]) == ("new-run", "COMPLETE", {"hello.o": "\x1b"})
    assert [task["state"] for task in told["tasks"]] == ["done"]
    assert "\x1b" not in said.out


@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_a_server_that_restarts_is_waited_for(cli: Cli, server: Double, hello: Path, how: str) -> None:
    server.next_run = [
        a_run("new-run", "RUNNING"),
        a_run("new-run", "AWAY"),
        a_run("new-run", "AWAY"),
        a_run("new-run"),
    ]
    assert cli(server, "run", str(hello), how).code == 0


def test_a_server_that_stays_away_is_given_up_and_the_run_goes_on(
    cli: Cli, server: Double, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "AWAY_S", 0.1)
    server.next_run = [a_run("new-run", "RUNNING"), a_run("new-run", "AWAY")]
    said = cli(server, "run", str(hello), "--wait")
    assert said.code == 3
    assert "wesgate status new-run --follow" in said.err


def test_a_state_that_wes_does_not_know_ends_the_waiting(cli: Cli, server: Double, hello: Path) -> None:
    server.next_run = [a_run("new-run", "DELETED")]
    said = cli(server, "run", str(hello), "--wait")
    assert (said.code, said.out.splitlines()[0]) == (1, "run new-run ended DELETED after 7 s")


def test_ctrl_c_leaves_the_run_going_and_says_how_to_go_on(server: Double, hello: Path) -> None:
    server.next_run = [a_run("new-run", "RUNNING")]
    command = [sys.executable, "-m", "wesgate", "run", str(hello), "--follow", "--url", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "RUNNING" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"wesgate status new-run --follow --url {server.url}" in told
    assert "wesgate cancel new-run" in told
    assert "Traceback" not in told
    assert server.canceled == []


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["no-such.wdl"], "No such file"),
        (["HELLO", "n"], "key=value"),
        (["HELLO", "--tag", "=x"], "key=value"),
        (["HELLO", "--input", "none.json"], "none.json cannot be read"),
        (["HELLO", "--attach", "none.txt"], "there is no such file"),
        (["HELLO.txt"], "--type"),
        (["HELLO", "--url", "ftp://x"], "--url takes http"),
        (["HELLO", "--token", "a\nb"], "WESGATE_TOKEN"),
    ],
)
def test_a_wrong_command_exits_2_with_one_line(
    cli: Cli, server: Double, hello: Path, words: list[str], cause: str
) -> None:
    hello.with_suffix(".wdl.txt").write_text("")
    said = cli(server, "run", *(word.replace("HELLO", str(hello)) for word in words))
    assert said.code == 2
    assert cause in said.err
    assert said.err.count("\n") == 1
    assert server.forms == []
