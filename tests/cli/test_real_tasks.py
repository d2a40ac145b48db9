"""`wesgate task` against a real service: one story, from a dry run to the logs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double
from tests.e2e.service import Service


@pytest.fixture(scope="module")
def service(short_tmp: Path) -> Iterator[Double]:
    """A service; as a double it has the URL only."""
    data = short_tmp / "task-cli" / "data"
    data.mkdir(parents=True)
    made = Service(data).start()
    yield Double(made.url)
    with contextlib.suppress(AssertionError):
        made.stop()


def test_a_task_of_the_command_line_is_seen_through(cli: Cli, service: Double, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("mine\n")
    words = ["--image", "i", "--name", "cli-1", "--tag", "k=v", "--input", f"/in/a={tmp_path}/in.txt", "--follow"]
    said = cli(service, "task", "create", *words, "--", "sh", "-c", "cat /in/a; echo oops >&2")
    assert said.code == 0, said
    task_id, *lines = said.out.splitlines()
    assert {"==> stdout <==", "mine", "==> stderr <==", "oops"} <= set(lines)
    assert lines[-1].startswith(f"task {task_id} ended COMPLETE")
    assert cli(service, "task", "logs", "last", "--step", "0", "--stdout").out == "mine\n"
    told = json.loads(cli(service, "task", "ls", "--tag", "k=v", "--name", "cli", "--json").out)
    assert [task["id"] for task in told["tasks"]] == [task_id]
    assert json.loads(cli(service, "task", "get", task_id[:8], "--json").out)["state"] == "COMPLETE"
    assert "COMPLETE" in cli(service, "task", "get", task_id).out


def test_a_task_that_fails_is_told_with_its_last_words(cli: Cli, service: Double) -> None:
    said = cli(service, "task", "create", "--image", "i", "--wait", "--", "sh", "-c", "echo no gene >&2; exit 7")
    assert said.code == 1
    assert "step 0 failed: exit code 7\n    no gene\n" in said.out


def test_the_same_key_makes_one_task(cli: Cli, service: Double) -> None:
    words = ["task", "create", "--image", "i", "--key", "cli-key", "true"]
    assert cli(service, *words).out == cli(service, *words).out


def test_a_task_is_canceled(cli: Cli, service: Double) -> None:
    task_id = cli(service, "task", "create", "--image", "i", "sleep", "600").out.strip()
    assert "CANCEL" in cli(service, "task", "cancel", task_id).out
    said = cli(service, "task", "wait", task_id)
    assert (said.code, "ended CANCELED" in said.out) == (1, True)


def test_a_dry_run_says_what_this_service_would_do(cli: Cli, service: Double) -> None:
    words = ["task", "create", "--image", "i", "--param", "walk=1", "--param", "timeout_s=60", "--dry-run", "true"]
    told = json.loads(cli(service, *words, "--json").out)
    assert (told["executor"], told["policy"]["timeout_s"]) == ("local", 60)
    assert "warning: backend_parameters that this service does not know were left out: walk" in cli(service, *words).out
    said = cli(service, "task", "create", "--image", "i", "--output", "/o=/etc/x", "--dry-run", "true")
    assert (said.code, "outputs.0.url" in said.err) == (3, True)


def test_tasks_are_submitted_together_and_canceled_by_what_they_are(cli: Cli, service: Double, tmp_path: Path) -> None:
    steps = [{"image": "i", "command": ["sleep", "600"]}]
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({"name": f"many-{name}", "executors": steps, "tags": {"many": "1"}}))
    ids = cli(service, "task", "create", str(tmp_path / "a"), str(tmp_path / "b")).out.split()
    assert cli(service, "task", "cancel", "--tag", "many=1", "--name", "many-").out == "2 tasks canceled\n"
    said = cli(service, "task", "wait", *ids)
    assert (said.code, said.out.count("ended CANCELED")) == (1, 2)


def test_logs_are_whole_step_by_step(cli: Cli, service: Double, tmp_path: Path) -> None:
    commands = ["seq 1 20000", "echo two"]
    steps = [{"image": "i", "command": ["sh", "-c", command]} for command in commands]
    (tmp_path / "t.json").write_text(json.dumps({"executors": steps}))
    said = cli(service, "task", "create", str(tmp_path / "t.json"), "--follow")
    lines = "".join(f"{number}\n" for number in range(1, 20001))
    assert said.code == 0, said
    assert f"==> step 0 stdout <==\n{lines}==> step 1 stdout <==\ntwo\n" in said.out
    assert cli(service, "task", "logs", "last", "--step", "0", "--stdout").out == lines
