"""`wesgate task create`: documents from files and command lines, dry runs, batches, keys, and seeing it through."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from tests.cli.conftest import Cli
from tests.cli.double import Double
from tests.cli.tes_double import DOCUMENT, a_step, a_task
from wesgate.cli.tasks import create

FORECAST = {
    "executor": "local",
    "submitter": "cromwell",
    "policy": {"missing_outputs": "fail", "timeout_s": 3600, "x\x1b": [1]},
    "warnings": ["disk_gb has no\x1b[2J effect"],
}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three files of a task each."""
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_text(json.dumps({**DOCUMENT, "name": f"n{number}"}))
    return [str(path) for path in paths]


def of_line(cli: Cli, server: Double, *words: str) -> dict[str, Any]:
    """What is submitted by a command line."""
    said = cli(server, "task", "create", "--image", "i", *words, "--", "sh", "-c", "x")
    assert said.code == 0, said.err
    return server.tasks.created[-1]


def test_a_file_is_submitted_as_it_is_and_the_id_printed(cli: Cli, server: Double, files: list[str]) -> None:
    said = cli(server, "task", "create", files[0], "--token", "s3cret")
    assert (said.code, said.out) == (0, "task-1\n")
    assert "wesgate task get task-1" in said.err
    assert server.tasks.created == [{**DOCUMENT, "name": "n0"}]
    assert set(server.tokens) == {"Bearer s3cret"}
    assert json.loads(cli(server, "task", "create", files[0], "--json").out)["id"] == "task-2"


def test_letters_of_any_kind_are_sent(cli: Cli, server: Double, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"name": "é\\ud800"}')
    assert cli(server, "task", "create", str(tmp_path / "t.json")).code == 0
    assert server.tasks.created == [{"name": "é\ud800"}]


def test_standard_input_is_a_file_too(cli: Cli, server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(DOCUMENT).encode())))
    assert cli(server, "task", "create", "-").code == 0
    assert server.tasks.created == [DOCUMENT]


def test_a_command_line_becomes_a_task_of_one_step(cli: Cli, server: Double) -> None:
    words = ["--name", "n", "--cpu", "2", "--ram", "4", "--disk", "1.5", "--gpus", "1", "--env", "A=b=c"]
    document = of_line(cli, server, *words, "--tag", "k=v", "--param", "timeout_s=60")
    assert document == {
        "name": "n",
        "executors": [{"image": "i", "command": ["sh", "-c", "x"], "env": {"A": "b=c"}}],
        "resources": {
            "cpu_cores": 2,
            "ram_gb": 4.0,
            "disk_gb": 1.5,
            "backend_parameters": {"timeout_s": "60", "gpus": "1"},
        },
        "tags": {"k": "v"},
    }
    assert isinstance(document["resources"]["cpu_cores"], int)
    assert of_line(cli, server) == {"executors": [{"image": "i", "command": ["sh", "-c", "x"]}]}


def test_local_inputs_are_read_in_place_where_tasks_may_and_sent_along_otherwise(
    cli: Cli, server: Double, tmp_path: Path
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "in.txt").write_text("there already")
    (tmp_path / "in.txt").write_text("mine: é")
    server.storage = [f"file://{tmp_path}/a%20b"]
    inputs = [f"/x/1={tmp_path}/a b/in.txt", f"/x/2={tmp_path}/in.txt", "/x/3=s3://b/k", f"/d/={tmp_path}/a b"]
    document = of_line(cli, server, *(word for text in inputs for word in ("--input", text)))
    assert document["inputs"] == [
        {"path": "/x/1", "url": f"file://{tmp_path}/a%20b/in.txt", "type": "FILE"},
        {"path": "/x/2", "content": "mine: é", "type": "FILE"},
        {"path": "/x/3", "url": "s3://b/k", "type": "FILE"},
        {"path": "/d", "url": f"file://{tmp_path}/a%20b", "type": "DIRECTORY"},
    ]


def test_outputs_are_files_directories_or_wildcards(cli: Cli, server: Double, tmp_path: Path) -> None:
    outputs = ["/o/a=s3://b/a", "/o/d/=s3://b/d", f"/o/x*/*.txt={tmp_path}/a b", "/*=s3://b/"]
    document = of_line(cli, server, *(word for text in outputs for word in ("--output", text)))
    assert document["outputs"] == [
        {"path": "/o/a", "url": "s3://b/a", "type": "FILE"},
        {"path": "/o/d", "url": "s3://b/d", "type": "DIRECTORY"},
        {"path": "/o/x*/*.txt", "url": f"file://{tmp_path}/a%20b", "type": "FILE", "path_prefix": "/o/"},
        {"path": "/*", "url": "s3://b/", "type": "FILE", "path_prefix": "/"},
    ]


def test_an_input_that_can_be_neither_read_nor_sent_is_named(cli: Cli, server: Double, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (128 * 1024 + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    server.storage = []
    for name, cause in (("large", "more than 128 KiB"), ("binary", "not text"), ("", "directory"), ("no", "no such")):
        said = cli(server, "task", "create", "--image", "i", "--input", f"/x={tmp_path}/{name}", "x")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert cause in said.err
    assert server.tasks.created == []


def test_several_files_are_one_batch_with_one_key(cli: Cli, server: Double, files: list[str]) -> None:
    said = cli(server, "task", "create", *files)
    assert (said.code, said.out) == (0, "task-1\ntask-2\ntask-3\n")
    assert len(server.tasks.keys) == 3
    assert len(set(server.tasks.keys)) == 1


@pytest.mark.parametrize("status", [404, 405, 413, 501])
def test_without_batches_they_are_submitted_one_by_one(cli: Cli, server: Double, files: list[str], status: int) -> None:
    server.tasks.refuse_batch = status
    said = cli(server, "task", "create", *files, "--key", "mine", "--json")
    assert json.loads(said.out)["ids"] == ["task-1", "task-2", "task-3"]
    assert server.tasks.keys == ["mine-0", "mine-1", "mine-2"]


def test_more_than_a_batch_takes_are_several(
    cli: Cli, server: Double, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "TOGETHER", 2)
    assert cli(server, "task", "create", *files, "--key", "mine").out == "task-1\ntask-2\ntask-3\n"
    assert server.tasks.keys == ["mine.0", "mine.0", "mine.2"]


def test_a_connection_that_breaks_tells_the_key_to_send_it_again_with(cli: Cli, files: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(65536)

        threading.Thread(target=hang_up, daemon=True).start()
        server = Double(f"http://127.0.0.1:{listener.getsockname()[1]}")
        said = cli(server, "task", "create", files[0])
    assert said.code == 3
    key = said.err.partition("`--key ")[2].partition("`")[0]
    assert len(key) == 36
    assert "--key" not in cli(None, "task", "create", files[0]).err


def test_a_dry_run_says_what_would_become_of_it(cli: Cli, server: Double, files: list[str]) -> None:
    server.tasks.forecast = FORECAST
    said = cli(server, "task", "create", files[0], "--dry-run")
    assert said.code == 0
    for told in (
        "would be         accepted",
        "executor         local",
        "submitter        cromwell",
        "timeout_s        3600",
    ):
        assert told in said.out
    assert "warning: disk_gb has no\\x1b[2J effect\n" in said.out
    assert "\x1b" not in said.out
    assert json.loads(cli(server, "task", "create", files[0], "--dry-run", "--json").out)["executor"] == "local"
    assert server.tasks.created == []


def test_a_dry_run_elsewhere_checks_what_can_be_checked_here(cli: Cli, server: Double, files: list[str]) -> None:
    server.tasks.plain = True
    said = cli(server, "task", "create", *files, "--dry-run")
    assert said.code == 0
    assert "cannot say what would become of a task" in said.err
    assert server.tasks.created == []


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({}, "executors: a task needs at least one"),
        ({"executors": [7]}, "executors.0.image"),
        ({"executors": [{"image": "i", "command": "ls -l"}]}, "executors.0.command: a list of words"),
        ({**DOCUMENT, "inputs": [{"path": "x", "url": "u"}]}, "inputs.0.path: an absolute path"),
        ({**DOCUMENT, "inputs": [{"path": "/x"}]}, "inputs.0: url or content"),
        ({**DOCUMENT, "outputs": {"path": "/x"}}, "outputs: a list"),
    ],
)
def test_a_dry_run_names_what_is_missing(
    cli: Cli, server: Double, tmp_path: Path, document: dict[str, Any], cause: str
) -> None:
    (tmp_path / "t.json").write_text(json.dumps(document))
    said = cli(server, "task", "create", str(tmp_path / "t.json"), "--dry-run")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert cause in said.err


def test_a_server_that_would_refuse_says_so_in_a_dry_run(cli: Cli, server: Double, files: list[str]) -> None:
    server.instead = JSONResponse({"msg": "inputs.0.url is under none of the roots"}, 400)
    said = cli(server, "task", "create", files[0], "--dry-run")
    assert (said.code, "under none of the roots" in said.err) == (3, True)


def test_waiting_for_what_was_submitted_exits_as_it_ends(cli: Cli, server: Double, files: list[str]) -> None:
    output = {"url": "s3://b/o", "path": "/o", "size_bytes": "7"}
    server.tasks.next_tasks = [
        [a_task("a", "QUEUED"), a_task("a", "COMPLETE", {"outputs": [output]})],
        [a_task("b", "EXECUTOR_ERROR", {"logs": [a_step(2)]})],
    ]
    said = cli(server, "task", "create", files[0], "--wait")
    assert said.code == 0
    assert "task a ended COMPLETE\nOUTPUT    SIZE\ns3://b/o  7 B\n" in said.out
    assert cli(server, "task", "create", files[0], "--wait").code == 1


def test_following_prints_what_the_task_prints_and_its_changes_aside(cli: Cli, server: Double) -> None:
    server.tasks.next_tasks = [
        [
            a_task("a", "QUEUED", {"metadata": {"waiting_reason": "no slot", "queue_position": "2"}}),
            *[a_task("a", "RUNNING", {"logs": [a_step(None)]})] * 3,
            a_task("a", "EXECUTOR_ERROR", {"logs": [a_step(3)]}),
        ]
    ]
    server.tasks.logs[1, 0, "stderr"] = b"no gene\n"
    said = cli(server, "task", "create", "--image", "i", "--follow", "x")
    assert said.code == 1
    assert said.out.startswith("a\n==> stderr <==\nno gene\ntask a ended EXECUTOR_ERROR\nstep 0 failed: exit code 3\n")
    assert "task QUEUED: no slot, number 2 in the queue\n" in said.err
    assert said.err.count("task RUNNING") == 1


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([], "there is nothing to submit"),
        (["none.json"], "none.json cannot be read"),
        (["BAD"], "is not JSON"),
        (["NAN"], "is not JSON"),
        (["--image", "i", "--cpu", "inf", "x"], "--cpu inf is no amount"),
        (["LIST"], "holds no JSON object"),
        (["GOOD", "--cpu", "2"], "go with --image"),
        (["GOOD", "GOOD", "--follow"], "--follow prints what one task prints"),
        (["-", "-"], "give - once"),
        (["--image", "i", "--env", "A", "x"], "key=value"),
        (["--image", "i", "--input", "x=y", "x"], "absolute path in the container"),
        (["--image", "i", "--output", "/x=y", "--url", "http://192.0.2.1", "x"], "not on this machine"),
        (["GOOD", "--key", "a\nb"], "--key takes"),
        (["GOOD", "--url", "ftp://x"], "--url takes http"),
    ],
)
def test_a_wrong_command_exits_2_with_one_line(
    cli: Cli, server: Double, tmp_path: Path, words: list[str], cause: str
) -> None:
    for name, text in (("BAD", "{"), ("NAN", '{"a": [NaN]}'), ("LIST", "[]"), ("GOOD", json.dumps(DOCUMENT))):
        (tmp_path / name).write_text(text)
    said = cli(server, "task", "create", *(str(tmp_path / word) if word.isupper() else word for word in words))
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert cause in said.err
    assert server.tasks.created == []
