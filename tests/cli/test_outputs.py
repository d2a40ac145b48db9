"""`outputs --download`: files fetched whole, taken up where they were left, verified, and kept in their directory."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run
from tests.cli.test_screen import read_all


@pytest.fixture
def wesgate(wesgate: Double) -> Double:
    wesgate.add(a_run("r", outputs={"w.bam": "/x/a.bam", "w.n": 3}))
    wesgate.files = {"bam/a b.bam": b"reads" * 1000, "plots/0/p.pdf": b"%PDF", "plots/1/p.pdf": b""}
    return wesgate


def part_of(wesgate: Double, folder: Path) -> Path:
    digest = hashlib.sha256(wesgate.files["bam/a b.bam"]).hexdigest()
    return folder / "bam" / f".a b.bam.{digest[:16]}.part"


def there(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_fetched_to_its_place(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path / "new"))
    assert (said.code, there(tmp_path / "new")) == (0, wesgate.files)
    assert said.out.splitlines() == [f"{tmp_path}/new/{path}" for path in wesgate.files]


@pytest.mark.parametrize("name", ["w.bam", "bam", "a b.bam", "bam/a b.bam"])
def test_only_what_is_named_is_fetched(cli: Cli, wesgate: Double, tmp_path: Path, name: str) -> None:
    told = json.loads(cli(wesgate, "outputs", "r", name, "--download", str(tmp_path), "--json").out)
    assert list(there(tmp_path)) == ["bam/a b.bam"]
    assert told["files"][0]["path"] == str(tmp_path / "bam" / "a b.bam")


def test_a_name_that_is_none_is_answered_with_those_there_are(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    said = cli(wesgate, "outputs", "r", "bai", "--download", str(tmp_path))
    assert (said.code, "no output 'bai'; its outputs are w.bam, w.plots" in said.err) == (2, True)
    assert "its outputs are w.bam, w.n" in cli(wesgate, "outputs", "r", "bai").err
    assert json.loads(cli(wesgate, "outputs", "r", "n", "--json").out) == {"w.n": 3}


@pytest.mark.parametrize("name", ["n", "w.n"])
def test_what_is_no_file_is_told_so(cli: Cli, wesgate: Double, tmp_path: Path, name: str) -> None:
    said = cli(wesgate, "outputs", "r", name, "--download", str(tmp_path))
    assert (said.code, f"{name} is no file; see it with `wesgate outputs r {name}`" in said.err) == (2, True)


def test_a_run_without_files_has_nothing_to_fetch(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    wesgate.files = {}
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, said.err) == (0, "nothing to fetch: the run has no output files\n")


def test_the_files_of_all_pages_are_fetched(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    wesgate.page = 2
    assert cli(wesgate, "outputs", "r", "--download", str(tmp_path)).code == 0
    assert there(tmp_path) == wesgate.files


def test_files_that_were_removed_are_told(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    assert cli(wesgate, "outputs", "r").err == ""
    wesgate.removed = "the files of this run were removed"
    said = cli(wesgate, "outputs", "r", "--json")
    assert (said.code, json.loads(said.out)["w.bam"]) == (0, "/x/a.bam")
    assert said.err.endswith("/runs/r/outputs is not there: the files of this run were removed\n")
    assert cli(wesgate, "outputs", "r", "n").err == ""
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, said.err.endswith("were removed\n")) == (3, True)


def test_published_files_stay_when_those_of_the_run_are_removed(cli: Cli, wesgate: Double) -> None:
    wesgate.removed = "the files of this run were removed"
    wesgate.runs["r"][0]["request"]["workflow_engine_parameters"] = {"output_to": "/x"}
    assert cli(wesgate, "outputs", "r").err == ""


def test_a_broken_connection_is_taken_up_where_it_broke(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    wesgate.cut = 1234
    assert cli(wesgate, "outputs", "r", "bam", "--download", str(tmp_path)).code == 0
    assert there(tmp_path) == {"bam/a b.bam": wesgate.files["bam/a b.bam"]}
    assert wesgate.ranges == ["", "bytes=1234-"]


def test_what_an_earlier_call_began_is_taken_up(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    part = part_of(wesgate, tmp_path)
    part.parent.mkdir()
    part.write_bytes(wesgate.files["bam/a b.bam"][:100])
    assert cli(wesgate, "outputs", "r", "bam", "--download", str(tmp_path)).code == 0
    assert there(tmp_path) == {"bam/a b.bam": wesgate.files["bam/a b.bam"]}
    assert wesgate.ranges == ["bytes=100-"]


def test_a_file_that_is_there_is_not_fetched_again(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    for _ in range(2):
        assert cli(wesgate, "outputs", "r", "bam", "--download", str(tmp_path)).code == 0
    assert wesgate.ranges == [""]


def test_another_file_of_that_name_is_left_as_it_is(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    (tmp_path / "bam").mkdir()
    (tmp_path / "bam" / "a b.bam").write_text("mine")
    said = cli(wesgate, "outputs", "r", "bam", "--download", str(tmp_path))
    assert (said.code, "is there and is another file" in said.err) == (2, True)
    assert there(tmp_path) == {"bam/a b.bam": b"mine"}


def test_what_is_not_what_its_digest_says_is_not_kept(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    wesgate.listing = [wesgate.told("bam/a b.bam")]
    wesgate.files["bam/a b.bam"] = b"bytes" * 1000
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, "not what its digest says" in said.err, there(tmp_path)) == (3, True, {})


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", "./x", "a/.", "..", "a\0b", "a\ud800"])
def test_a_name_that_leaves_the_directory_fetches_nothing(cli: Cli, wesgate: Double, tmp_path: Path, path: str) -> None:
    wesgate.listing = [wesgate.told("plots/0/p.pdf"), {"name": "w.x", "path": path, "size_bytes": 4}]
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path / "d"))
    assert (said.code, "would leave" in said.err, wesgate.ranges) == (3, True, [])
    assert there(tmp_path) == {}


def test_a_link_in_the_directory_leads_nowhere(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "bam").symlink_to(tmp_path)
    said = cli(wesgate, "outputs", "r", "bam", "--download", str(tmp_path / "d"))
    assert (said.code, "by a link that is in it" in said.err, there(tmp_path)) == (3, True, {})


def test_files_that_are_elsewhere_are_told(cli: Cli, wesgate: Double, tmp_path: Path) -> None:
    wesgate.listing = [{"name": "w.ref", "url": "file:///data/ref.fa"}]
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, "w.ref is elsewhere and was not fetched: file:///data/ref.fa" in said.err) == (0, True)


@pytest.mark.parametrize(
    "odd",
    [
        [None, 7, {"name": ["x"], "path": 7, "size_bytes": "x", "digest": 7, "url": {}}],
        [{"name": "w.x", "path": "plots/0/p.pdf", "size_bytes": True, "digest": "md5:no"}],
        [{"name": "x" * 300, "path": "plots/0/p.pdf", "size_bytes": None, "url": "http://[::"}],
    ],
)
def test_members_of_wrong_types_are_borne(cli: Cli, wesgate: Double, tmp_path: Path, odd: list[Any]) -> None:
    wesgate.listing = odd
    wesgate.files["7"] = b"seven"
    said = cli(wesgate, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, said.err.count("\n") <= 2) == (0, True)


def test_a_terminal_shows_how_far_a_file_has_come(wesgate: Double, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "wesgate", "outputs", "r", "--download", str(tmp_path), "--url", wesgate.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        text = read_all(ours)
    assert (process.returncode, "a b.bam (file 1 of 3)  5 kB of 5 kB" in text) == (0, True)


def test_a_server_without_files_says_so(cli: Cli, any_server: Double, tmp_path: Path) -> None:
    any_server.add(a_run("r"))
    said = cli(any_server, "outputs", "r", "--download", str(tmp_path))
    assert (said.code, "sends no output files (wesgate does)" in said.err) == (3, True)
