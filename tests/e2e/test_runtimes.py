"""A workflow through WES in everything that steps may run in, and what a run says when something is amiss."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.e2e.documents import HELLO
from tests.e2e.service import Service, serving
from tests.podman import BASH, podman_environment
from wesgate.core.report import WHAT_RAN

WES = "/ga4gh/wes/v1/runs"

WITHOUT = {"process:bubblewrap": (), "process:namespace": ("bwrap",), "process:plain": ("bwrap", "unshare")}
"""The programs that do not work where a process runtime is the best there is."""


@pytest.fixture(scope="module", params=WITHOUT)
def process(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Service]:
    """A service with each of the process runtimes."""
    folder = short_tmp / request.param.replace(":", "-")
    folder.mkdir()
    path = os.pathsep.join([str(broken(folder / "broken", *WITHOUT[request.param])), os.environ["PATH"]])
    with serving(folder, os.environ | {"PATH": path}) as service:
        if f"local.runtime runtime={request.param}\n" not in service.log():
            missing(f"a working {request.param}")
        yield service


def broken(folder: Path, *names: str) -> Path:
    """Programs that are there and do not work, as where the kernel forbids what they do."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def podman(short_tmp: Path) -> Iterator[Service]:
    """A service with podman, and an image that has a shell as WDL wants it."""
    folder = short_tmp / "podman"
    folder.mkdir()
    settings = {"executors__local__runtime": "podman", "engines__miniwdl__default_image": BASH}
    with serving(folder, podman_environment(folder, BASH), **settings) as service:
        yield service


def run(service: Service, workflow: str = HELLO, **inputs: str) -> dict[str, Any]:
    """The run log of a run that has ended."""
    params = {f"hello.{name}": value for name, value in ({"name": "world"} | inputs).items()}
    submitted = service.submit(workflow, json.dumps(params))
    assert submitted.status_code == 200, submitted.text
    ended: dict[str, Any] = service.ended(f"{WES}/{submitted.json()['run_id']}")
    return ended


def tasks(service: Service, ended: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"{WES}/{ended['run_id']}/tasks")["task_logs"]
    return found


def why(ended: dict[str, Any]) -> str:
    """All that the run says about its end, besides what ran."""
    return "\n".join(line for line in ended["run_log"]["system_logs"] if not line.startswith(WHAT_RAN))


# What works


def greets(service: Service, name: str) -> dict[str, Any]:
    ended = run(service, name=name)
    assert ended["state"] == "COMPLETE", why(ended)
    assert ended["outputs"]["hello.greeting"] == f"hello {name}"
    assert Path(ended["outputs"]["hello.letter"]).read_text() == f"hello {name}\n"
    return ended


def test_a_workflow_runs_with_each_process_runtime(process: Service) -> None:
    greets(process, "world")


def test_a_workflow_runs_in_containers(podman: Service) -> None:
    greets(podman, "world")


def test_a_task_of_a_run_is_a_task_of_tes(podman: Service) -> None:
    (log,) = tasks(podman, greets(podman, "TES"))
    task = podman.get(log["tes_uri"].removeprefix(podman.url) + "?view=FULL")
    assert (task["id"], task["state"], task["name"]) == (log["id"], "COMPLETE", log["name"])
    assert task["executors"][0]["image"] == BASH
    assert task["logs"][0]["logs"][0]["exit_code"] == log["exit_code"] == 0
    assert podman.get_text(log["stdout"].removeprefix(podman.url)) == "hello TES\n"


def test_a_task_is_in_its_runs_list_with_its_output_while_it_runs(podman: Service) -> None:
    waits = HELLO.replace("cat letter.txt", "echo so far; sleep 600")
    submitted = podman.submit(waits, '{"hello.name": "x"}')
    run_url = f"{WES}/{submitted.json()['run_id']}"
    found = podman.until(f"{run_url}/tasks", lambda page: any("stdout" in log for log in page["task_logs"]))
    (log,) = found["task_logs"]
    assert "start_time" in log
    assert "end_time" not in log
    stdout = log["stdout"].removeprefix(podman.url)
    assert podman.get_text(stdout) in ("", "so far\n")
    podman.until(run_url, lambda run: run["state"] == "RUNNING")
    podman.post(f"{run_url}/cancel")
    assert podman.ended(run_url)["state"] == "CANCELED"
    assert podman.get_text(stdout) == "so far\n"


def test_what_an_owner_ran_before_is_not_run_again(podman: Service) -> None:
    ((first,), (second,)) = (tasks(podman, greets(podman, "again")) for _ in range(2))
    assert "tes_uri" in first
    assert second["system_logs"][0].startswith(f"from the call cache: task {first['id']}")


# What does not, and how it is told


def test_a_document_that_cannot_be_read_is_told_with_its_line(process: Service) -> None:
    ended = run(process, HELLO.replace("call greet", "call nobody"))
    assert ended["state"] == "EXECUTOR_ERROR"
    assert why(ended) == "main.wdl:5:5: No such task/workflow: nobody"
    assert tasks(process, ended) == []


WITH_A_FILE = HELLO.replace(
    "workflow hello {\n    input { String name }", "workflow hello {\n    input { String name  File f }"
)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nothing.txt", "input file not found: nothing.txt"),
        ("/nonexistent/f", "input /nonexistent/f is not below a directory that runs may read"),
    ],
)
def test_an_input_that_is_not_there_is_named(process: Service, path: str, sentence: str) -> None:
    ended = run(process, WITH_A_FILE, f=path)
    assert ended["state"] == "EXECUTOR_ERROR"
    assert why(ended).startswith(sentence)
    assert tasks(process, ended) == []


def test_an_output_that_does_not_exist_is_named(process: Service) -> None:
    ended = run(process, HELLO.replace("> letter.txt; cat letter.txt", ""))
    assert ended["state"] == "EXECUTOR_ERROR"
    assert why(ended) == "File/Directory path not found in task output letter: letter.txt"
    assert ended["outputs"] == {}


def test_a_command_that_fails_is_told_with_its_last_words(process: Service) -> None:
    ended = run(process, HELLO.replace("cat letter.txt", "echo sorry >&2; exit 3"))
    assert ended["state"] == "EXECUTOR_ERROR"
    assert why(ended).startswith("call-greet: task command failed with exit status 3\n")
    assert why(ended).endswith("sorry")
    assert [log["exit_code"] for log in tasks(process, ended)] == [3]


def with_runtime(workflow: str, line: str) -> str:
    """The same with this line in the runtime section of its task."""
    return workflow.replace(
        "    output { String greeting = read", f"    runtime {{ {line} }}\n    output {{ String greeting = read"
    )


def test_an_image_that_cannot_be_had_is_named(podman: Service) -> None:
    ended = run(podman, with_runtime(HELLO, 'docker: "127.0.0.1:9/no/such:image"'))
    assert ended["state"] == "SYSTEM_ERROR"
    sentence = why(ended)
    assert "image 127.0.0.1:9/no/such:image is not on this machine and cannot be pulled" in sentence


def test_a_command_killed_for_its_memory_is_told_with_its_limit(podman: Service) -> None:
    ended = run(podman, with_runtime(HELLO.replace("cat letter.txt", "tail /dev/zero"), 'memory: "64 MB"'))
    assert ended["state"] == "EXECUTOR_ERROR"
    assert "killed: out of memory (limit 64000000 bytes)" in why(ended)
    assert [log["exit_code"] for log in tasks(podman, ended)] == [137]
