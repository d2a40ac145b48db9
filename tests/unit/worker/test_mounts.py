"""The plan of what a task sees where."""

from __future__ import annotations

import pytest

from wesgate.core.spec import FileType, Output, Step, TaskSpec
from wesgate.worker.faults import Fault
from wesgate.worker.files.mounts import Mount, covering, fixed_part, plan, relative


def backing(path: str) -> str:
    return "/files" + path


def targets(spec: TaskSpec, *given: Mount) -> list[tuple[str, str, bool]]:
    return [(mount.source, mount.target, mount.writable) for mount in plan(spec, given, backing)]


def a_task(*outputs: str, volumes: tuple[str, ...] = (), stdout: str = "") -> TaskSpec:
    return TaskSpec(
        "o", (Step("i", ("c",), stdout=stdout),), outputs=tuple(Output(path, "/u") for path in outputs), volumes=volumes
    )


def test_writable_directories_collapse_into_the_outermost() -> None:
    spec = a_task("/w/a/f", "/w/g", volumes=("/w/a/b/c",), stdout="/s/out")
    assert targets(spec) == [("/files/s", "/s", True), ("/files/w", "/w", True)]


def test_names_that_begin_alike_do_not_collapse() -> None:
    assert [target for _, target, _ in targets(a_task("/w/f", "/w2/f"))] == ["/w", "/w2"]


def test_an_output_directory_holds_the_files_below_it() -> None:
    out = Mount("/host/w", "/w", writable=True)
    assert targets(a_task("/w/sub/f"), out) == [("/host/w", "/w", True)]


def test_outer_mounts_come_first() -> None:
    inner, outer = Mount("/i", "/w/a/b", directory=False), Mount("/o", "/w", writable=True)
    assert [mount.target for mount in plan(a_task(), [inner, outer], backing)] == ["/w", "/w/a/b"]


def test_an_output_in_an_input_directory_is_refused() -> None:
    with pytest.raises(Fault, match="lies in an input, which is read-only"):
        targets(a_task("/in/f"), Mount("/i", "/in"))


def test_two_inputs_at_one_path_are_refused_unless_they_are_the_same() -> None:
    one, two = Mount("/1", "/in", directory=False), Mount("/2", "/in", directory=False)
    assert len(targets(a_task(), one, one)) == 1
    with pytest.raises(Fault, match="the same path /in"):
        targets(a_task(), one, two)


@pytest.mark.parametrize("path", ["/f", "//f", "/proc/f", "/sys/a/f", "/dev/shm/f", "w/f", "/a/../f"])
def test_what_a_container_needs_for_itself_cannot_be_replaced(path: str) -> None:
    with pytest.raises(Fault):
        targets(a_task(path))


def test_wildcards_are_mounted_at_their_fixed_part() -> None:
    assert fixed_part("/w/a*/b/c?") == "/w"
    assert fixed_part("/w/b/[c]") == "/w/b"
    assert [target for _, target, _ in targets(a_task("/w/x/*.txt"))] == ["/w/x"]


def test_the_innermost_mount_covers_a_path() -> None:
    mounts = [Mount("/o", "/w"), Mount("/i", "/w/a"), Mount("/f", "/w/f", directory=False)]
    found = covering(mounts, "/w/a/b")
    assert found == mounts[1]
    assert relative(mounts[1], "/w/a/b") == ["b"]
    assert covering(mounts, "/w/f/x") == mounts[0]
    assert covering(mounts, "/elsewhere") is None


def test_a_directory_output_with_wildcards_is_gathered_not_mounted() -> None:
    spec = TaskSpec("o", (), outputs=(Output("/w/d*", "/u", FileType.DIRECTORY),))
    assert [target for _, target, _ in targets(spec)] == ["/w"]
