"""Files below a directory, links that lead elsewhere, and mount points."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wesgate.worker.faults import Fault, StepFault
from wesgate.worker.files.deliver import matches, put
from wesgate.worker.files.inside import Escape, directory, open_regular, resolve
from wesgate.worker.files.mounts import Mount
from wesgate.worker.files.points import Points


def content(mounts: list[Mount], path: str) -> bytes:
    with os.fdopen(open_regular(mounts, path), "rb") as file:
        return file.read()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    place = tmp_path / "out"
    place.mkdir()
    (place / "real").write_text("real")
    (tmp_path / "secret").write_text("secret")
    return place


@pytest.mark.parametrize("target", ["real", "/w/real", "./sub/../real", "../w/real", "../../../w/real"])
def test_a_link_is_followed_as_the_step_sees_it(out: Path, target: str) -> None:
    (out / "link").symlink_to(target)
    assert content([Mount(str(out), "/w")], "/w/link") == b"real"


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "/w/../etc/passwd", "link"])
def test_a_link_out_of_the_mounts_is_refused(out: Path, target: str) -> None:
    (out / "link").symlink_to(target)
    with pytest.raises(Escape):
        content([Mount(str(out), "/w")], "/w/link")


def test_a_link_to_a_directory_in_the_way_is_followed_inside_only(out: Path, tmp_path: Path) -> None:
    (out / "dir").symlink_to(str(tmp_path))
    with pytest.raises(Escape):
        content([Mount(str(out), "/w")], "/w/dir/secret")


def test_a_link_may_lead_from_one_mount_to_another(out: Path, tmp_path: Path) -> None:
    (out / "link").symlink_to("/in/f")
    mounts = [Mount(str(out), "/w"), Mount(str(tmp_path / "secret"), "/in/f", directory=False)]
    assert resolve(mounts, "/w/link") == "/in/f"
    assert content(mounts, "/w/link") == b"secret"


def test_what_is_no_regular_file_is_refused_without_waiting(out: Path) -> None:
    os.mkfifo(out / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(out / "socket"))
        for name in ("fifo", "socket"):
            with pytest.raises(StepFault, match="not a regular file"):
                content([Mount(str(out), "/w")], f"/w/{name}")
    with pytest.raises(StepFault, match="not a regular file"):
        content([Mount(str(out), "/w")], "/w")


def test_directories_are_not_made_through_a_link(out: Path, tmp_path: Path) -> None:
    (out / "link").symlink_to(tmp_path)
    with (
        pytest.raises(OSError, match=r"Not a directory|Too many levels"),
        directory(str(out), ["link", "new"], make=True),
    ):
        pass
    assert not (tmp_path / "new").exists()


def test_a_file_is_put_whole_and_over_what_was_there(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "f"
    for may_link in (True, False, True):
        with (out / "real").open("rb") as file:
            put(file.fileno(), str(target), may_link=may_link)
        assert target.read_text() == "real"
        assert [path.name for path in target.parent.iterdir()] == ["f"]


def test_an_input_is_copied_not_linked(out: Path, tmp_path: Path) -> None:
    with (out / "real").open("rb") as file:
        put(file.fileno(), str(tmp_path / "copy"), may_link=False)
    assert not (tmp_path / "copy").samefile(out / "real")


def test_wildcards_do_not_cross_slashes_or_name_hidden_files(out: Path) -> None:
    for name in (".hidden", "a.txt", "sub/b.txt"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).touch()
    mounts = [Mount(str(out), "/w")]
    assert matches("/w/*", mounts) == ["/w/a.txt", "/w/real", "/w/sub"]
    assert matches("/w/*/?.t[xy]t", mounts) == ["/w/sub/b.txt"]
    assert matches("/w/.h*", mounts) == ["/w/.hidden"]


def test_wildcards_do_not_list_what_a_link_leads_to(out: Path) -> None:
    (out / "etc").symlink_to("/etc")
    assert matches("/w/etc/pass*", [Mount(str(out), "/w")]) == []


def test_mount_points_are_made_and_taken_away(out: Path, tmp_path: Path) -> None:
    mounts = [Mount(str(out), "/w", writable=True), Mount(str(tmp_path / "secret"), "/w/a/b/f", directory=False)]
    points = Points()
    points.make(mounts)
    assert (out / "a" / "b" / "f").is_file()
    points.remove()
    assert sorted(path.name for path in out.iterdir()) == ["real"]


def test_a_mount_point_that_was_there_stays(out: Path, tmp_path: Path) -> None:
    points = Points()
    points.make([Mount(str(out), "/w", writable=True), Mount(str(tmp_path / "secret"), "/w/real", directory=False)])
    points.remove()
    assert (out / "real").read_text() == "real"


def test_no_mount_point_is_made_through_a_link(out: Path, tmp_path: Path) -> None:
    (out / "link").symlink_to(tmp_path)
    mounts = [Mount(str(out), "/w", writable=True), Mount("/x", "/w/link/new", directory=False)]
    with pytest.raises(Fault, match="a link or another file is there"):
        Points().make(mounts)
    assert not (tmp_path / "new").exists()


def test_no_mount_point_is_made_in_an_input(out: Path) -> None:
    with pytest.raises(Fault, match="it lies in the input /w and is not there"):
        Points().make([Mount(str(out), "/w"), Mount("/x", "/w/new", directory=False)])
