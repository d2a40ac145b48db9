"""Which host paths a task may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from wesgate.core.spec import TaskSpec
from wesgate.worker.faults import Fault
from wesgate.worker.files.places import container_path, host_path, places, scheme

KEY = "wg-" + "a" * 32 + "-1"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/bare/a%20b", "/bare/a%20b"),
        ("file:///a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("file:///a?b#c", "/a?b#c"),
        ("file:///a%FF", "/a\udcff"),
    ],
)
def test_a_file_url_is_decoded_and_a_bare_path_is_taken_as_it_is(url: str, path: str) -> None:
    assert (scheme(url), host_path(url)) == ("file", path)


@pytest.mark.parametrize("url", ["file://host/a", "file://", "file:///a/../..//%00"])
def test_other_file_urls_name_nothing_here(url: str, tmp_path: Path) -> None:
    with pytest.raises(Fault):
        places(str(tmp_path), TaskSpec("o", ())).readable(host_path(url), "it")


def test_only_the_owners_directory_and_the_roots_may_be_named(tmp_path: Path) -> None:
    shared, root = tmp_path / "shared", tmp_path / "root"
    for path in (shared / "o", shared / "other", root):
        path.mkdir(parents=True)
        (path / "f").touch()
    allowed = places(str(shared), TaskSpec("o", (), roots=(str(root),)))
    assert allowed.readable(str(root / "f"), "it") == str((root / "f").resolve())
    assert allowed.readable(str(shared / "o" / "f"), "it")
    for path in (shared / "other" / "f", shared, shared / "o" / ".." / "other" / "f", tmp_path / "root2", Path("/")):
        with pytest.raises(Fault):
            allowed.readable(str(path), "it")


def test_a_root_around_the_shared_root_does_not_open_it(tmp_path: Path) -> None:
    (tmp_path / "shared" / "other").mkdir(parents=True)
    allowed = places(str(tmp_path / "shared"), TaskSpec("o", (), roots=(str(tmp_path), "/")))
    for path in (tmp_path, tmp_path / "shared" / "other"):
        with pytest.raises(Fault, match="not available to this owner"):
            allowed.readable(str(path), "it")


def test_a_root_around_the_services_own_directory_does_not_open_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "db").mkdir(parents=True)
    spec = TaskSpec("o", (), roots=(str(tmp_path),))
    allowed = places(str(tmp_path / "shared"), spec, (str(tmp_path / "data"),))
    for path in (tmp_path / "data", tmp_path / "data" / "db"):
        with pytest.raises(Fault, match="not available to this owner"):
            allowed.readable(str(path), "it")


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "link").symlink_to("/etc")
    with pytest.raises(Fault, match="outside"):
        places(str(tmp_path), TaskSpec("o", ())).readable(str(tmp_path / "o" / "link" / "passwd"), "it")


RUN, OTHER = "run-" + "a" * 32, "run-" + "b" * 32
RECORDS = [
    "", KEY, f"{KEY}/task.json", f"{KEY}/logs/0.stdout", f"{KEY}/filesx/a", "cache", "cache/calls/w/x.json",
    RUN, f"{RUN}/token", f"{RUN}/head.json", f"{RUN}/attempt-1x/a", f"{RUN}/attachments/main.wdl",
    f"{OTHER}/attempt-1/a",
]  # fmt: skip


@pytest.mark.parametrize("path", RECORDS)
def test_the_records_of_the_service_cannot_be_written(tmp_path: Path, path: str) -> None:
    for run in ("", "a" * 32):
        with pytest.raises(Fault, match="the service's own records"):
            places(str(tmp_path), TaskSpec("o", (), run=run)).writable(str(tmp_path / "o" / path), "it")


def test_a_run_is_written_by_its_own_tasks_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "o" / RUN / "attempt-1" / "call-x" / "work")
    assert places(str(tmp_path), TaskSpec("o", (), run="a" * 32)).writable(path, "it") == path
    for run in ("", "b" * 32, ".*"):
        with pytest.raises(Fault, match="the service's own records"):
            places(str(tmp_path), TaskSpec("o", (), run=run)).writable(path, "it")


@pytest.mark.parametrize("path", ["", KEY, f"{KEY}/task.json", RUN, f"{RUN}/token", f"{RUN}/head.json", "cache"])
def test_tokens_and_orders_cannot_be_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "o" / path).mkdir(parents=True)
    with pytest.raises(Fault, match="a record of the service"):
        places(str(tmp_path), TaskSpec("o", (), run="a" * 32)).readable(str(tmp_path / "o" / path), "it")


@pytest.mark.parametrize(
    "path", ["mine", f"{KEY}/logs/0.stdout", f"{OTHER}/attempt-1/out/f", f"{RUN}/attachments/f", f"{RUN}/downloads/f"]
)
def test_files_of_all_runs_of_the_owner_can_be_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "o" / path).mkdir(parents=True)
    assert places(str(tmp_path), TaskSpec("o", ())).readable(str(tmp_path / "o" / path), "it")


@pytest.mark.parametrize("path", ["runs/1/out", f"{KEY}/files/a", "mine/a"])
def test_everything_else_of_the_owners_can_be_written(tmp_path: Path, path: str) -> None:
    assert places(str(tmp_path), TaskSpec("o", ())).writable(str(tmp_path / "o" / path), "it")


def test_container_paths_have_one_spelling() -> None:
    assert container_path("//a/./b/../c/", "it") == "/a/c"
