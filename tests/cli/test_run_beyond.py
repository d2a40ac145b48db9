"""`wesgate run` beyond WES: terms, tags of the environment, resume, and the dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run
from wesgate.settings import unknown_variables


def test_terms_are_sent_as_engine_parameters_and_only_when_asked_for(
    cli: Cli, wesgate: Double, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    main = str(folder / "main.wdl")
    cli(wesgate, "run", main)
    assert "workflow_engine_parameters" not in wesgate.forms[-1]
    words = ["--output-to", "s3://b/out", "--delete-after", "success", "--input", "s3://b/in.json"]
    assert cli(wesgate, "run", main, *words, "--engine-param", "max_tasks=3").code == 0
    told = {"output_to": "s3://b/out", "delete_after": "success", "inputs_url": "s3://b/in.json", "max_tasks": "3"}
    assert json.loads(wesgate.forms[-1]["workflow_engine_parameters"]) == told
    monkeypatch.setenv("WESGATE_OUTPUT_TO", f"{tmp_path}/my out")
    monkeypatch.setenv("WESGATE_DELETE_AFTER", "always")
    cli(wesgate, "run", main)
    told = {"output_to": f"file://{tmp_path}/my%20out", "delete_after": "always"}
    assert json.loads(wesgate.forms[-1]["workflow_engine_parameters"]) == told


def test_a_slash_at_the_end_of_a_local_output_to_is_kept(
    cli: Cli, wesgate: Double, folder: Path, tmp_path: Path
) -> None:
    cli(wesgate, "run", str(folder / "main.wdl"), "--output-to", f"{tmp_path}/out/")
    assert json.loads(wesgate.forms[-1]["workflow_engine_parameters"]) == {"output_to": f"file://{tmp_path}/out/"}


def test_tags_of_the_environment_go_along_under_those_given(
    cli: Cli, server: Double, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESGATE_RUN_TAGS", "study=lambda,center=north,")
    cli(server, "run", str(folder), "--tag", "center=south", "--name", "n")
    assert json.loads(server.forms[-1]["tags"]) == {"study": "lambda", "center": "south", "name": "n"}
    monkeypatch.setenv("WESGATE_RUN_TAGS", "study")
    assert "tag in WESGATE_RUN_TAGS 'study'" in cli(server, "run", str(folder)).err


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--output-to", "s3://b/x"], "takes no output_to"),
        (["--delete-after", "always"], "takes no delete_after"),
        (["--input", "https://e.org/in.json"], "takes no inputs_url"),
        (["--resume", "old"], "takes no resume"),
        (["--dry-run"], "has no dry run"),
    ],
)
def test_a_server_that_would_not_do_it_is_sent_nothing(
    cli: Cli, any_server: Double, folder: Path, words: list[str], cause: str
) -> None:
    any_server.add(a_run("old"))
    said = cli(any_server, "run", str(folder), *words)
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert cause in said.err
    assert any_server.forms == []


def an_old_run(**request: Any) -> dict[str, Any]:
    told = {"workflow_params": {"hello.reads": "inputs/1/a.fq", "hello.who": "Ada"}, "tags": {"name": "n", "a": "1"}}
    kept = {"workflow_engine_parameters": {"resume": "older", "max_tasks": "3"}}
    return {"request": {**a_run("x")["request"], **told, **kept, **request}}


@pytest.mark.parametrize("words", [["who=Bob"], []])
def test_resume_alone_runs_the_same_again(cli: Cli, wesgate: Double, words: list[str]) -> None:
    wesgate.add(a_run("0ld-run", **an_old_run()))
    assert cli(wesgate, "run", "--resume", "0ld", *words, "--tag", "a=2").code == 0
    form = wesgate.forms[0]
    who = "Bob" if words else "Ada"
    assert json.loads(form["workflow_params"]) == {"hello.reads": "inputs/1/a.fq", "hello.who": who}
    assert json.loads(form["tags"]) == {"name": "n", "a": "2"}
    assert json.loads(form["workflow_engine_parameters"]) == {"resume": "0ld-run", "max_tasks": "3"}
    told = (form["workflow_url"], form["workflow_type"], form["workflow_type_version"])
    assert (told, wesgate.attachments) == (("wf.wdl", "WDL", "1.0"), {})


def test_a_run_without_a_name_is_resumed_with_one(cli: Cli, wesgate: Double) -> None:
    wesgate.add(a_run("0ld-run", **an_old_run(tags={"a": "1"})))
    assert cli(wesgate, "run", "--resume", "0ld").code == 0
    assert json.loads(wesgate.forms[0]["tags"]) == {"name": "wf", "a": "1"}


def test_resume_with_a_workflow_uses_that_one(cli: Cli, wesgate: Double, folder: Path) -> None:
    wesgate.add(a_run("0ld-run", **an_old_run()))
    assert cli(wesgate, "run", str(folder / "main.wdl"), "who=Eve", "--resume", "last").code == 0
    assert json.loads(wesgate.forms[0]["workflow_params"]) == {"hello.who": "Eve"}
    assert json.loads(wesgate.forms[0]["workflow_engine_parameters"]) == {"resume": "0ld-run"}
    assert set(wesgate.attachments) == {"main.wdl"}


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([], "say which WORKFLOW"),
        (["x.wdl", "--dry-run", "--wait"], "none to --wait for"),
        (["--resume", "0ld", "--type", "CWL"], "go with a WORKFLOW"),
    ],
)
def test_what_cannot_be_meant_is_said(cli: Cli, wesgate: Double, words: list[str], cause: str) -> None:
    wesgate.add(a_run("0ld", **an_old_run()))
    said = cli(wesgate, "run", *words)
    assert (said.code, cause in said.err, wesgate.forms) == (2, True, [])


def test_a_dry_run_tells_the_inputs_and_starts_nothing(cli: Cli, wesgate: Double, folder: Path) -> None:
    inputs = [
        {"name": "hello.n", "type": "Int", "optional": True, "default": "1"},
        {"name": "hello.x", "type": "Int?", "optional": True},
        {"name": "hello.reads", "type": "File", "optional": False},
    ]
    wesgate.forecast = {"valid": True, "workflow_type_version": "1.0", "inputs": inputs, "errors": []}
    said = cli(wesgate, "run", str(folder / "main.wdl"), "--dry-run")
    rows = [
        "hello.reads  File  (needed)",
        "hello.n      Int   1",
        "hello.x      Int?  (optional)",
        "",
        "valid, WDL 1.0",
    ]
    assert (said.code, said.out.splitlines()[2:]) == (0, rows)
    assert wesgate.runs == {}
    assert json.loads(cli(wesgate, "run", str(folder / "main.wdl"), "--dry-run", "--json").out) == wesgate.forecast


def test_a_dry_run_of_what_is_wrong_exits_1_with_the_places(
    cli: Cli, wesgate: Double, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    errors = [{"message": "no\x1b[2J such\nname", "file": "main.wdl", "line": 3, "column": 7}, {"message": "and x"}, 7]
    wesgate.forecast = {"valid": False, "errors": errors}
    said = cli(wesgate, "run", "wf", "--dry-run")
    lines = ["wf/main.wdl:3:7: no\\x1b[2J such name", "and x", "no cause was given", "not valid"]
    assert (said.code, said.out.splitlines()) == (1, lines)


@pytest.mark.parametrize(
    "odd",
    [
        {"inputs": 7, "errors": {"a": 1}, "digest": 7, "workflow_type_version": []},
        {"inputs": [None, {"name": ["x"], "type": 7, "default": {}}], "errors": [None, {"file": 7, "line": "x"}]},
        {"errors": [{"message": "\ud800\x9b2J", "file": "\x1b]0;x\x07", "line": 1e9}]},
    ],
)
def test_a_forecast_of_wrong_types_is_borne(cli: Cli, wesgate: Double, folder: Path, odd: dict[str, Any]) -> None:
    wesgate.forecast = {"valid": False, **odd}
    said = cli(wesgate, "run", str(folder), "--dry-run")
    assert (said.code, said.err) == (1, "")
    assert not {"\x1b", "\x07", "\x9b"} & set(said.out)


def test_the_variables_of_these_commands_are_known_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OUTPUT_TO", "DELETE_AFTER", "RUN_TAGS", "OUTPUT_TOO"):
        monkeypatch.setenv(f"WESGATE_{name}", "x")
    assert [name for name in unknown_variables() if "_TO" in name or "RUN" in name] == ["WESGATE_OUTPUT_TOO"]


@pytest.mark.parametrize(("told", "cause"), [({"run_id": "r-1"}, "wesgate cancel r-1"), ({}, "did not tell")])
def test_a_dry_run_that_was_none_is_told(
    cli: Cli, wesgate: Double, folder: Path, told: dict[str, str], cause: str
) -> None:
    wesgate.forecast = dict(told)
    said = cli(wesgate, "run", str(folder), "--dry-run")
    assert (said.code, cause in said.err) == (3, True)
