"""`wesgate run`, `find`, `logs` and `outputs` against a real service: from a dry run to the files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double
from tests.e2e.service import Service

WDL = """version 1.0
task copy {
  input {
    File reads
    String who
  }
  command <<<
    cat ~{reads} > copied.txt
    seq 1 5 >&2
    [ ~{who} != nobody ]
  >>>
  output {
    File copied = "copied.txt"
  }
}
workflow w {
  input {
    File reads
    String who
    Int unused = 3
  }
  call copy { input: reads = reads, who = who }
  output {
    File copied = copy.copied
  }
}
"""


@pytest.fixture(scope="module")
def service(short_tmp: Path) -> Iterator[Double]:
    """A service; as a double it has the URL only."""
    data = short_tmp / "run-cli" / "data"
    data.mkdir(parents=True)
    made = Service(data).start()
    yield Double(made.url)
    with contextlib.suppress(AssertionError):
        made.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "wf"
    made.mkdir()
    (made / "main.wdl").write_text(WDL)
    (made / "reads.fq").write_text("reads\n")
    (made / "inputs.json").write_text('{"w.reads": "reads.fq"}')
    return made


def test_a_directory_is_run_and_its_files_fetched(cli: Cli, service: Double, folder: Path, tmp_path: Path) -> None:
    said = cli(service, "run", str(folder), "who=Ada", "--tag", "study=cli", "--follow")
    assert said.code == 0, said
    for _ in range(2):
        told = cli(service, "outputs", "last", "copied", "--download", str(tmp_path / "out"), "--json")
    (file,) = json.loads(told.out)["files"]
    assert Path(file["path"]).read_text() == "reads\n"
    assert cli(service, "logs", "last", "copy", "--stderr", "--tail", "2").out == "4\n5\n"


def test_a_run_is_found_by_what_it_is(cli: Cli, service: Double, folder: Path) -> None:
    run_id = cli(service, "run", str(folder), "who=Findme", "--name", "needle-1", "--tag", "kind=hay").out.strip()
    for words in (
        ["findme"],
        ["--name", "needle"],
        ["--tag", "kind"],
        ["findme", "--tag", "kind=hay", "--since", "1h"],
    ):
        told = json.loads(cli(service, "find", *words, "--json").out)
        assert [run["run_id"] for run in told["runs"]] == [run_id]
        assert json.loads(cli(service, "find", *words, "--counts", "--json").out)["total"] == 1
    assert cli(service, "find", "findme", "--until", "1 day").out == "no runs\n"
    assert json.loads(cli(service, "ls", "--tag", "kind", "--json").out)["runs"][0]["run_id"] == run_id


def test_a_run_without_a_name_is_found_as_it_is_shown(cli: Cli, service: Double, folder: Path) -> None:
    (folder / "main.wdl").rename(folder / "unnamed.wdl")
    run_id = cli(service, "run", str(folder / "unnamed.wdl"), f"reads={folder}/reads.fq", "who=Ada").out.strip()
    for words in (["find", "--name", "unnamed"], ["ls", "--limit", "1"]):
        told = json.loads(cli(service, *words, "--json").out)["runs"]
        assert [(run["run_id"], run["name"]) for run in told] == [(run_id, "unnamed")]
    assert json.loads(cli(service, "status", run_id, "--json").out)["name"] == "unnamed"


def test_what_the_engine_says_of_a_step_is_told_with_the_step_only(cli: Cli, service: Double, folder: Path) -> None:
    said = cli(service, "run", str(folder), "who=nobody", "--wait")
    assert (said.code, said.out.count("exited with code 1")) == (1, 1), said
    assert [said.out.count(line) for line in ("    5\n", "\n5\n", "call-copy:")] == [1, 0, 0], said


def test_a_log_is_followed_to_its_end(cli: Cli, service: Double, tmp_path: Path) -> None:
    (tmp_path / "slow.wdl").write_text(
        "version 1.0\ntask t {\n  command <<< for i in 1 2 3; do echo line $i; sleep 0.3; done >>>\n}"
    )
    cli(service, "run", str(tmp_path / "slow.wdl"))
    said = cli(service, "logs", "last", "--follow", "--stderr")
    assert (said.code, "done" in said.out) == (0, True)
    assert json.loads(cli(service, "status", "last", "--json").out)["state"] == "COMPLETE"


def test_a_dry_run_tells_what_is_wrong_and_starts_nothing(cli: Cli, service: Double, folder: Path) -> None:
    before = json.loads(cli(service, "find", "--counts", "--json").out)["total"]
    said = cli(service, "run", str(folder), "who=Ada", "--dry-run")
    assert said.code == 0, said
    assert {"w.reads   File    (needed)", "w.unused  Int     3"} <= set(said.out.splitlines())
    (folder / "main.wdl").write_text(WDL.replace("reads = reads", "reads = raeds"))
    said = cli(service, "run", str(folder), "who=Ada", "--dry-run")
    assert (said.code, f"{folder}/main.wdl:22:30: " in said.out) == (1, True), said
    assert json.loads(cli(service, "find", "--counts", "--json").out)["total"] == before


def test_a_run_that_failed_is_resumed_with_another_parameter(cli: Cli, service: Double, folder: Path) -> None:
    failed = cli(service, "run", str(folder), "who=nobody", "--tag", "study=again", "--wait", "--json")
    run_id = json.loads(failed.out)["run_id"]
    said = cli(service, "run", "--resume", run_id[:12], "who=Bob", "--wait", "--json")
    told = json.loads(said.out)
    assert (failed.code, said.code, told["tags"], told["state"]) == (
        1,
        0,
        {"study": "again", "name": "main"},
        "COMPLETE",
    )
