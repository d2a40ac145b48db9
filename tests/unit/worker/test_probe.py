"""Which runtime is chosen, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from wesgate.worker.runtimes.probe import Try, choose, trying


def works(*programs: str, limits: bool = True) -> Try:
    def attempt(argv: Sequence[str]) -> str | None:
        if argv[0] not in programs:
            return f"{argv[0]} is not installed"
        return "no cgroup" if "--memory=64000000" in argv and not limits else None

    return attempt


def test_auto_takes_the_first_that_works_and_says_why_not_the_others() -> None:
    chosen, rejected = choose("auto", works("docker", "bwrap"))
    assert chosen is not None
    assert chosen.runtime == "docker"
    assert [(verdict.runtime, verdict.reason) for verdict in rejected] == [("podman", "podman is not installed")]


def test_process_never_takes_containers_and_ends_with_plain() -> None:
    chosen, rejected = choose("process", works("podman"))
    assert chosen is not None
    assert chosen.runtime == "process:plain"
    assert [verdict.runtime for verdict in rejected] == ["process:bubblewrap", "process:namespace"]


def test_a_runtime_by_name_has_no_stand_in() -> None:
    chosen, rejected = choose("podman", works("bwrap"))
    assert chosen is None
    assert len(rejected) == 1


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_containers_without_cgroups_are_used_without_limits(program: str) -> None:
    chosen, _ = choose(program, works(program, limits=False))
    assert chosen is not None
    assert (chosen.works, chosen.limits) == (True, False)
    assert "no cgroup" in chosen.reason


def test_a_docker_that_answers_but_starts_no_container_is_not_taken_and_nothing_is_left_of_the_trial() -> None:
    asked: list[list[str]] = []

    def attempt(argv: Sequence[str]) -> str | None:
        asked.append(list(argv))
        return "no cgroup" if argv[1] == "run" else None

    _, rejected = choose("docker", attempt)
    assert [verdict.reason for verdict in rejected] == ["no cgroup"]
    image = next(argv[-1] for argv in asked if argv[1] == "import")
    names = [argv[argv.index("--name") + 1] for argv in asked if argv[1] == "run"]
    assert [argv[2:] for argv in asked if argv[1] == "rm"] == [["--force", name] for name in names]
    assert asked[-1] == ["docker", "image", "rm", "--force", image]


def test_podman_under_the_name_of_docker_is_not_taken() -> None:
    def attempt(argv: Sequence[str]) -> str | None:
        return "can't evaluate field KernelVersion" if "{{.Server.KernelVersion}}" in argv else None

    assert choose("docker", attempt)[0] is None


def test_an_unknown_runtime_is_answered_with_the_known_ones() -> None:
    _, rejected = choose("lxc", works())
    assert "use podman, docker, process:bubblewrap" in rejected[0].reason


def test_a_try_is_bounded_in_time_and_tells_the_last_complaint() -> None:
    attempt = trying({"PATH": "/usr/bin:/bin"}, timeout_s=0.1)
    assert attempt(["sleep", "5"]) == "`sleep 5` gave no answer within 0 s"
    assert attempt(["sh", "-c", "echo one >&2; echo two >&2; exit 3"]) == "two"
    assert attempt(["sh", "-c", "exit 3"]) == "`sh -c` exited with code 3"
    assert attempt(["true"]) is None


@pytest.mark.parametrize("words", [
    # podman 4.3.1, rootless on cgroups v1; its exit code is 0.
    "Resource limits are not supported and ignored on cgroups V1 rootless systems",
    # dockerd, daemon/daemon_unix.go, the same.
    "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
])  # fmt: skip
def test_limits_that_are_ignored_count_as_none(words: str) -> None:
    attempt = trying({"PATH": "/usr/bin:/bin"})
    assert attempt(["sh", "-c", f"echo '{words}' >&2"]) == words
