"""The command line of containers, and how their ends are read."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from wesgate.core.spec import Resources, Step, TaskSpec
from wesgate.worker.faults import Fault
from wesgate.worker.files.mounts import Mount
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt, Limits, Order
from wesgate.worker.runtimes.containers import Containers, devices, limits, mount_option, read_end, split_environment
from wesgate.worker.runtimes.runtime import Task, check_environment, exit_code

STARTED = {"Status": "exited", "StartedAt": "2026-11-21T03:20:52Z", "OOMKilled": False}
# What podman 4.3.1 says of a container whose command it could not find.
CREATED = {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z", "ExitCode": 0, "Error": ""}


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 255])
def test_the_containers_own_exit_code_counts(code: int) -> None:
    ended = read_end({**STARTED, "ExitCode": code}, 1, "", None)
    assert (ended.exit_code, ended.problem) == (code, "")


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_cannot_be_run_is_the_steps_error(code: int) -> None:
    ended = read_end(CREATED, code, 'exec: "x": not found', None)
    assert (ended.exit_code, ended.problem) == (code, "")
    assert "not found" in ended.note


@pytest.mark.parametrize("state", [{}, CREATED])
def test_a_container_that_did_not_start_is_not_the_steps_error(state: dict[str, Any]) -> None:
    assert read_end(state, 125, "no such runtime", None).problem == (
        "the container could not be started: no such runtime"
    )


@pytest.mark.parametrize(
    ("oom", "memory", "words"),
    [(True, None, "limit of the machine"), (False, 64, "limit 64 bytes"), (False, None, "probably")],
)
def test_a_kill_that_nobody_here_sent_is_told_as_want_of_memory(oom: bool, memory: int | None, words: str) -> None:
    # podman on cgroups v1 says OOMKilled=false even when the memory limit killed the container.
    assert words in read_end({**STARTED, "ExitCode": 137, "OOMKilled": oom}, 137, "", memory).note


def test_limits_follow_the_resources() -> None:
    flags = limits(Resources(cpu_cores=0.5, ram_gb=2), Limits(pids=7, network=False))
    assert flags == ["--network=none", "--pids-limit=7", "--memory=2000000000", "--cpus=0.5"]


def test_limits_that_the_machine_cannot_keep_are_left_out() -> None:
    assert limits(Resources(cpu_cores=1, ram_gb=1), Limits(memory=False)) == []


def test_more_than_the_machine_has_or_less_than_can_start_is_not_asked_for() -> None:
    flags = limits(Resources(cpu_cores=10_000, ram_gb=0.0001), Limits())
    assert "--memory=6291456" in flags
    assert "--cpus=10000" not in flags


@pytest.mark.parametrize("path", ["/a b", '/a,b"c', "/a:b", "/ü"])
def test_any_path_survives_the_mount_option(path: str) -> None:
    (row,) = csv.reader(io.StringIO(mount_option(Mount(path, path))))
    assert row == ["type=bind", f"source={path}", f"target={path}", "readonly"]


def test_a_path_with_a_line_break_is_refused() -> None:
    with pytest.raises(Fault, match="line break"):
        mount_option(Mount("/a\nb", "/c"))


def test_values_with_line_breaks_are_passed_beside_the_file() -> None:
    assert split_environment({"A": "1", "B": "x\ny"}, "podman") == ("A=1\n", {"B": "x\ny"})


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "CONTAINERS_CONF", "CONTAINER_HOST", "_CONTAINERS_ROOTLESS_UID", "DOCKER_HOST",
             "REGISTRY_AUTH_FILE", "STORAGE_DRIVER", "XDG_RUNTIME_DIR", "LD_PRELOAD", "https_proxy", "GODEBUG"]
)  # fmt: skip
def test_a_value_with_line_breaks_cannot_reach_the_client_itself(name: str) -> None:
    assert split_environment({name: "x"}, "podman") == (f"{name}=x\n", {})
    with pytest.raises(Fault, match="podman itself reads a variable of this name"):
        split_environment({name: "x\ny"}, "podman")


@pytest.mark.parametrize("name", ["", "A=B", "A\nB", "#A", "A*", " A", "A\0"])
def test_a_name_that_would_be_read_as_something_else_is_refused(name: str) -> None:
    with pytest.raises(Fault):
        check_environment({name: "x"})


@pytest.mark.parametrize(
    ("options", "user"), [("[name=seccomp name=cgroupns]", "7:8"), ("[name=seccomp name=rootless]", "0:0")]
)
def test_what_steps_write_in_docker_belongs_to_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, user: str
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{options}'\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os, "getuid", lambda: 7)
    monkeypatch.setattr(os, "getgid", lambda: 8)
    step = Step("image", ("true",))
    task = Task(Order("key", TaskSpec("owner", (step,)), "docker", "/"), Attempt(tmp_path), ())
    containers = Containers("docker", task, Interrupts(tmp_path / "cancel"))
    containers.prepare()
    argv = containers.launch(0, step, stdin=False).argv
    assert argv[argv.index("--user") + 1] == user


ROOTLESS = [
    ("4321", "--userns=keep-id:uid=4321,gid=4321 --user 4321:4321", ""),
    ("4321:99", "--userns=keep-id:uid=4321,gid=99 --user 4321:99", ""),
    ("polly", "--user 0:0", "only a number can be mapped here"),
    ("0", "--user 0:0", ""),
]


@pytest.mark.parametrize(("user", "flags", "words"), ROOTLESS)
def test_the_user_of_an_image_is_mapped_to_the_services_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, flags: str, words: str
) -> None:
    said = f'[ "$1" = --version ] && echo podman version 4.3.1 || echo \'{{"User": "{user}"}}\''
    containers = podman_of_an_ordinary_user(tmp_path, monkeypatch, said)
    notes = " ".join(containers.prepare())
    assert " ".join(containers.users["image"]) == flags
    assert words in notes
    assert bool(words) == bool(notes)


def test_an_old_podman_runs_images_as_root_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '[ "$1" = --version ] && echo podman version 4.2.0 || echo \'{"User": "4321"}\''
    containers = podman_of_an_ordinary_user(tmp_path, monkeypatch, said)
    assert "needs podman 4.3 or newer" in " ".join(containers.prepare())
    assert containers.users["image"] == ("--user", "0:0")


def podman_of_an_ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Containers:
    (tmp_path / "podman").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os, "getuid", lambda: 7)
    monkeypatch.setattr("wesgate.worker.runtimes.containers.has_others", lambda _: True)
    order = Order("key", TaskSpec("owner", (Step("image", ("true",)),)), "podman", "/")
    return Containers("podman", Task(order, Attempt(tmp_path), ()), Interrupts(tmp_path / "cancel"))


def test_podman_is_not_asked_again_about_a_step_that_went_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    containers = podman_of_an_ordinary_user(tmp_path, monkeypatch, f"touch {tmp_path}/asked")
    assert containers.ended(0, 0).problem == ""
    assert not (tmp_path / "asked").exists()
    assert "could not be started" in containers.ended(0, 125).problem


def test_gpus_are_asked_for_as_each_program_wants_it() -> None:
    assert devices("podman", (0, 2)) == ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=2"]
    assert devices("docker", (0, 2)) == ['--gpus="device=0,2"']
    assert devices("docker", ()) == []


def test_a_step_is_told_of_a_process_that_was_killed_for_memory() -> None:
    assert "a process of it was killed" in read_end({**STARTED, "ExitCode": 3, "OOMKilled": True}, 3, "", 64).note


def test_a_signal_is_told_as_shells_do() -> None:
    assert [exit_code(code) for code in (-9, -15, 3)] == [137, 143, 3]
