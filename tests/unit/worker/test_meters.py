"""Where the kernel counts what a container uses, in both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from wesgate.worker.runtimes.containers import first_in_group
from wesgate.worker.runtimes.meters import Usage, counters, measured, upper_directories

ID = "0ecc2fccc9d7e4c9ed2c3d95eb8533bc00faf384d73ef27449323668ea4526d1"
# podman 4.3.1 on cgroups v1, and docker 28 on cgroups v2 with systemd.
FIRST = f"4:memory:/libpod_parent/libpod-{ID}\n2:cpu,cpuacct:/libpod_parent/libpod-{ID}\n0::/\n"
SECOND = f"0::/system.slice/docker-{ID}.scope\n"
OURS = "4:memory:/process_api/x\n2:cpuacct:/\n0::/\n"


def written(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_first_version_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    group = f"libpod_parent/libpod-{ID}"
    written(tmp_path, {
        f"memory/{group}/memory.max_usage_in_bytes": "7000000\n",
        f"memory/{group}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        f"cpuacct/{group}/cpuacct.usage": "1500000000\n",
    })  # fmt: skip
    assert measured(counters(FIRST, OURS, str(tmp_path))) == Usage(7_000_000, 1.5, 2)


@pytest.mark.parametrize("name", ["memory.peak", "memory.current"])
def test_the_second_version_has_one_tree(tmp_path: Path, name: str) -> None:
    group = f"system.slice/docker-{ID}.scope"
    written(tmp_path, {
        f"{group}/{name}": "7000000\n",
        f"{group}/memory.events": "low 0\noom 1\noom_kill 1\noom_group_kill 0\n",
        f"{group}/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    })  # fmt: skip
    assert measured(counters(SECOND, OURS, str(tmp_path))) == Usage(7_000_000, 1.5, 1)


@pytest.mark.parametrize(("groups", "ours"), [(FIRST, FIRST), ("0::/user.slice/user-1000.slice\n", OURS), ("", OURS)])
def test_what_is_no_containers_own_group_is_not_measured(groups: str, ours: str) -> None:
    assert counters(groups, ours, exists=lambda _: True) == {}


def test_a_group_that_is_gone_is_not_measured(tmp_path: Path) -> None:
    files = counters(SECOND, OURS, str(tmp_path), lambda _: True)
    assert files
    assert measured(files) is None


def test_the_layer_of_a_container_is_found_in_its_mounts() -> None:
    root = "92 50 0:40 / / rw - overlay overlay rw,lowerdir=/l/A,upperdir=/over\\040lay/diff,workdir=/over/work,uuid=on"
    assert upper_directories(f"93 92 0:41 / /proc rw - proc proc rw\n{root}\n") == ("/over lay/diff",)
    assert upper_directories("92 50 8:1 / / rw - ext4 /dev/vda rw\n") == ()


def test_a_container_of_dockers_is_found_by_its_group(tmp_path: Path) -> None:
    assert first_in_group(ID, str(tmp_path)) is None
    # The last one listed is no first process of a namespace, nor is one that ended.
    written(tmp_path, {f"memory/docker/{ID}/cgroup.procs": "999999999\n1\n"})
    assert first_in_group(ID, str(tmp_path)) is None
