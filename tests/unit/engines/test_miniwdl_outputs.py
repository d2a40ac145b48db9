"""What a run's outputs become: files of the run's own, told one by one, and nothing else of the machine's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import WDL
from WDL.runtime.error import Terminated

from tests.doubles.site import OWNER, Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import HELLO, SCATTER
from wesgate.core.backend import Observation, QueuedTask
from wesgate.core.report import RunReport
from wesgate.core.spec import RunSpec, RunTerms, TaskSpec
from wesgate.core.states import State
from wesgate.engines.miniwdl.head.inputs import Places
from wesgate.engines.miniwdl.head.outputs import Laying, Unusable, keep, places_of
from wesgate.engines.miniwdl.publish import destination, published
from wesgate.engines.miniwdl.verdict import Fault, Result, conclude
from wesgate.worker.faults import Fault as WorkerFault
from wesgate.worker.files.places import places as worker_places

MANY = """version 1.2
struct Pair2 { File one  File? two }
task make {
  command <<<
    echo a > a.txt; echo b > b.txt; mkdir -p same/1 same/2 tree/deep
    echo 1 > same/1/x; echo 2 > same/2/x; echo in > tree/deep/in.txt; echo out > outside.txt
    ln -s ../outside.txt tree/link.txt; ln -s /etc/passwd tree/passwd; mkfifo tree/pipe
  >>>
  output {
    File one = "a.txt"
    Array[File] equal = ["same/1/x", "same/2/x"]
    Map[String, File] named = {"a": "a.txt", "b": "b.txt"}
    Pair[File, File] pair = ("a.txt", "b.txt")
    Pair2 grouped = Pair2 { one: "a.txt" }
    File? none = "none.txt"
    Int number = 3
  }
}
workflow w {
  input { File? passed }
  call make
  output {
    File one = make.one
    Array[File] equal = make.equal
    Map[String, File] named = make.named
    Pair[File, File] pair = make.pair
    Pair2 grouped = make.grouped
    File? none = make.none
    File? again = passed
    Int number = make.number
  }
}
"""


def folder(seen: Observation[RunReport], site: Site) -> Path:
    """The directory of a site's only run."""
    assert seen.report
    (found,) = (site.root / OWNER).glob("run-*")
    return found


def listing(run: Path) -> dict[str, dict[str, Any]]:
    """What is told of each output file, by where it is, or else by its URL."""
    told = json.loads((run / "outputs.json").read_text())
    return {one.get("path", one.get("url")): one for one in told}


@pytest.mark.parametrize("host_paths", [False, True], ids=["mounts", "host"])
async def test_every_file_of_a_run_is_kept_under_its_outputs_name(site: Site, host_paths: bool) -> None:
    site.host_paths = host_paths
    seen = await site.run(MANY)
    found, run = outputs(seen), folder(seen, site)
    assert found["w.one"] == f"{run}/outputs/one/a.txt"
    assert [Path(path).read_text() for path in found["w.equal"]] == ["1\n", "2\n"]
    assert found["w.named"] == {name: f"{run}/outputs/named/{name}.txt" for name in "ab"}
    assert [found["w.pair"][side] for side in ("left", "right")] == [f"{run}/outputs/pair/{x}.txt" for x in "ab"]
    assert found["w.grouped"] == {"one": f"{run}/outputs/grouped/a.txt", "two": None}
    assert (found["w.none"], found["w.number"]) == (None, 3)


async def test_kept_files_are_told_with_size_and_digest_and_take_no_room(site: Site) -> None:
    run = folder(seen := await site.run(MANY), site)
    assert seen.state is State.COMPLETE
    told = listing(run)
    digest = "sha256:" + hashlib.sha256(b"a\n").hexdigest()
    assert told["one/a.txt"] == {
        "name": "w.one",
        "path": "one/a.txt",
        "type": "FILE",
        "size_bytes": 2,
        "digest": digest,
    }
    assert set(told) == {
        str(path.relative_to(run / "outputs")) for path in (run / "outputs").rglob("*") if path.is_file()
    }
    assert (run / "outputs/one/a.txt").stat().st_nlink > 1


async def test_equal_names_get_numbered_folders(site: Site) -> None:
    found = outputs(await site.run(SCATTER))
    assert [Path(path).parts[-3:] for path in found["squares.parts"]] == [
        ("parts", str(n), "out.txt") for n in range(3)
    ]


async def test_an_input_that_is_passed_through_stays_where_it_is_and_is_told(site: Site, tmp_path: Path) -> None:
    data = tmp_path / "data" / "ref é.fa"
    data.parent.mkdir()
    data.write_text("ACGT")
    seen = await site.with_settings(roots=(str(data.parent),)).run(MANY, {"w.passed": str(data)})
    assert outputs(seen)["w.again"] == str(data)
    url = f"file://{tmp_path}/data/ref%20%C3%A9.fa"
    assert listing(folder(seen, site))[url] == {"name": "w.again", "type": "FILE", "url": url}


async def test_an_attachment_that_is_passed_through_is_copied(site: Site) -> None:
    seen = await site.run({"main.wdl": MANY, "x.txt": "attached"}, {"w.passed": "x.txt"})
    kept = Path(outputs(seen)["w.again"])
    assert (kept.read_text(), kept.stat().st_nlink) == ("attached", 1)


async def test_outputs_outlive_the_files_of_the_tasks_that_made_them(site: Site) -> None:
    seen = await site.run(SCATTER)
    shutil.rmtree(folder(seen, site) / "attempt-1")
    assert [Path(part).read_text() for part in outputs(seen)["squares.parts"]] == ["0\n", "1\n", "4\n"]


async def test_a_cached_result_whose_files_are_gone_is_computed_anew(site: Site, tes: TesDouble) -> None:
    first = await site.run(SCATTER)
    shutil.rmtree(folder(first, site))
    assert outputs(await site.run(SCATTER))["squares.sum"] == 5
    assert len(tes.tasks) == 4 + 4


async def test_a_run_that_failed_has_no_outputs(site: Site) -> None:
    spec = site.spec(HELLO.replace('echo "hello', 'exit 3; echo "hello'))
    left = Path(spec.directory) / "outputs" / "said"
    left.mkdir(parents=True)
    handle = await site.begin(spec)
    failed(await site.finish(handle), State.EXECUTOR_ERROR)
    assert not (Path(spec.directory) / "outputs").exists()
    assert not (Path(spec.directory) / "outputs.json").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "TOKEN"])
async def test_a_workflow_gets_no_file_of_the_host_and_none_of_the_services(site: Site, path: str) -> None:
    spec = site.spec("version 1.0\nworkflow w { input { String p } output { File f = p } }", {})
    path = path.replace("TOKEN", f"{spec.directory}/token")
    spec.params["w.p"] = path  # type: ignore[index]  # a dict of the test's own
    handle = await site.begin(spec)
    seen = await site.finish(handle)
    assert seen.state is State.EXECUTOR_ERROR, seen
    assert not list(Path(spec.directory).glob("outputs/**/*"))


@pytest.fixture
def laying(tmp_path: Path) -> Laying:
    """A run's directory with an attempt, for outputs made by hand."""
    run = tmp_path / OWNER / f"run-{'0' * 32}"
    (run / "attempt-1" / "work").mkdir(parents=True)
    places = Places(run / "attachments", (tmp_path / OWNER,))
    return Laying(run, os.path.realpath(tmp_path / OWNER), places, lambda: False)


def made(laying: Laying, name: str, text: str = "x") -> Path:
    path = laying.directory / "attempt-1" / "work" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def kept(laying: Laying, value: Any, publish: str = "") -> Any:
    """The only output, once it was kept."""
    bindings: Any = WDL.Env.Bindings().bind("out", value)
    return keep(bindings, "w", laying, publish).resolve("out").json


def tree(laying: Laying) -> list[str]:
    below = laying.directory / "outputs"
    return sorted(str(path.relative_to(below)) for path in below.rglob("*") if not path.is_dir())


def test_a_directory_is_kept_with_links_to_the_runs_files_and_without_those_to_elsewhere(laying: Laying) -> None:
    inner = made(laying, "d/deep/in.txt")
    (inner.parent / "beside").symlink_to(made(laying, "beside.txt", "beside"))
    (inner.parent / "passwd").symlink_to("/etc/passwd")
    (inner.parent / "up").symlink_to("..")
    (inner.parent / "token").symlink_to(laying.directory / "token")
    (laying.directory / "token").write_text("secret")
    os.mkfifo(inner.parent / "pipe")
    assert kept(laying, WDL.Value.Directory(f"{inner.parent.parent}")) == f"{laying.directory}/outputs/out/d"
    assert tree(laying) == ["out/d/deep/beside", "out/d/deep/in.txt"]
    assert not (laying.directory / "outputs/out/d/deep/beside").is_symlink()


def test_an_empty_directory_is_kept(laying: Laying) -> None:
    folder = made(laying, "d/x").parent
    (folder / "x").unlink()
    assert Path(kept(laying, WDL.Value.Directory(str(folder)))).is_dir()


def test_a_file_that_became_a_pipe_is_refused_and_not_waited_for(laying: Laying) -> None:
    path = made(laying, "x")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Unusable, match=r"output w\.out: out/x cannot be kept"):
        kept(laying, WDL.Value.File(str(path)))


@pytest.mark.parametrize("target", ["/etc/passwd", "token", "../../other/secret"])
def test_a_file_that_became_a_link_to_elsewhere_is_refused(laying: Laying, target: str) -> None:
    path = made(laying, "x")
    path.unlink()
    path.symlink_to(laying.directory / target)
    with pytest.raises(Unusable, match="neither a file that the run made") as refused:
        kept(laying, WDL.Value.File(str(path)))
    assert "passwd" not in str(refused.value)


def test_no_name_leads_out_of_the_outputs() -> None:
    names = places_of({"/a/../../x": "/x", "/a/b/..": "/a", "/a/./.": "/a2", "/": "/"})
    assert not any(part in ("", "..", ".") for name in names.values() for part in name.split("/"))


def test_the_same_file_twice_is_kept_once(laying: Laying) -> None:
    path = str(made(laying, "x"))
    file = WDL.Value.File(path)
    two = WDL.Value.Array(WDL.Type.File(), [file, file])
    assert kept(laying, two) == [f"{laying.directory}/outputs/out/x"] * 2
    assert len(laying.listed) == 1


def test_ten_thousand_files_are_kept_in_seconds(laying: Laying) -> None:
    files = [WDL.Value.File(str(made(laying, f"{n}/out.txt"))) for n in range(10_000)]
    began = time.monotonic()
    names = kept(laying, WDL.Value.Array(WDL.Type.File(), list(files)))
    assert time.monotonic() - began < 60
    assert names[42] == f"{laying.directory}/outputs/out/0042/out.txt"
    assert len(laying.listed) == 10_000


def test_a_name_that_is_not_utf8_is_kept(laying: Laying) -> None:
    folder = made(laying, "d/x").parent
    (folder / os.fsdecode(b"\xff")).write_text("y")
    kept(laying, WDL.Value.Directory(str(folder)))
    assert (laying.directory / "outputs/out/d" / os.fsdecode(b"\xff")).exists()


@pytest.mark.parametrize("answers", [[True], [False, True]], ids=["between files", "in one"])
def test_keeping_stops_when_the_run_is_to_stop(laying: Laying, answers: list[bool]) -> None:
    asked = iter(answers)
    stopped = Laying(laying.directory, laying.owner, laying.places, lambda: next(asked))
    with pytest.raises(Terminated):
        kept(stopped, WDL.Value.File(str(made(laying, "x"))))
    assert not (laying.directory / "outputs").exists()


def test_what_was_left_half_kept_is_replaced(laying: Laying) -> None:
    for left in ("outputs/old", ".outputs.part/old"):
        (laying.directory / left).mkdir(parents=True)
    kept(laying, WDL.Value.File(str(made(laying, "x"))))
    assert tree(laying) == ["out/x"]
    assert not (laying.directory / ".outputs.part").exists()


@pytest.mark.parametrize(
    ("publish", "told"),
    [
        ("s3://b/k", "s3://b/k/out/a?b c"),
        ("file:///data/o", "file:///data/o/out/a%3Fb%20c"),
        ("/data/o", "/data/o/out/a?b c"),
        ("https://acc.blob.core.windows.net/c?sig=s", "https://acc.blob.core.windows.net/c/out/a%3Fb%20c"),
    ],
)
def test_values_name_where_files_will_be_published(laying: Laying, publish: str, told: str) -> None:
    assert kept(laying, WDL.Value.File(str(made(laying, "a?b c"))), publish) == told


def a_run(output_to: str) -> RunSpec:
    return RunSpec(UUID(int=1), OWNER, "/files/o/run-1", "main.wdl", {}, terms=RunTerms(output_to=output_to))


def test_a_slash_at_the_end_asks_for_a_folder_of_the_runs_own() -> None:
    run_id = "00000000-0000-0000-0000-000000000001"
    assert destination(a_run("s3://b/k")) == "s3://b/k"
    assert destination(a_run("s3://b/k/")) == f"s3://b/k/{run_id}"
    assert destination(a_run("https://h/c/?sig=x")) == f"https://h/c/{run_id}?sig=x"
    assert published(a_run("")) == ()


def head(state: State, detail: str = "") -> QueuedTask:
    return QueuedTask(UUID(int=2), state, detail, None, 0)


def test_a_run_whose_outputs_could_not_be_published_is_no_success() -> None:
    result = Result(Fault.NONE, outputs={"w.x": "s3://b/x"}, published="s3://b")
    assert conclude(head(State.COMPLETE), result).outputs == {"w.x": "s3://b/x"}
    verdict = conclude(head(State.SYSTEM_ERROR, "output x: access denied"), result)
    assert (verdict.state, dict(verdict.outputs)) == (State.SYSTEM_ERROR, {})
    assert verdict.messages == (
        "the workflow succeeded, and its outputs could not be put at s3://b: output x: access denied",
    )
    assert conclude(head(State.CANCELED), result).state is State.CANCELED


@pytest.mark.parametrize("fault", [Fault.SYSTEM, Fault.TERMINATED])
def test_of_a_canceled_run_its_head_says_only_how_it_was_stopped(fault: Fault) -> None:
    result = Result(fault, ("task 1: it was canceled from outside this run, no reason was given",))
    assert conclude(head(State.CANCELED), result).messages == ()


async def test_a_head_that_is_killed_after_its_work_starts_none_anew(site: Site, tes: TesDouble) -> None:
    """Its successor finds the result, and the worker of that delivers again."""
    handle = await site.begin(site.spec(SCATTER))
    first = await site.finish(handle)
    queue = site.queue.heads[next(iter(site.queue.heads))]
    before = {path: path.stat().st_ino for path in folder(first, site).rglob("outputs/**/*")}
    await site.queue.start(queue.id)
    assert await site.queue.ended(queue.id) == 0
    assert {path: path.stat().st_ino for path in folder(first, site).rglob("outputs/**/*")} == before
    assert len(tes.tasks) == 4


def test_outputs_are_read_by_the_owners_tasks_and_written_by_the_runs_own_alone(laying: Laying, tmp_path: Path) -> None:
    kept(laying, WDL.Value.File(str(made(laying, "x"))))
    path = str(laying.directory.resolve() / "outputs" / "out" / "x")
    theirs, own = [worker_places(str(tmp_path), TaskSpec(OWNER, (), run=run)) for run in ("", "0" * 32)]
    assert theirs.readable(path, "it") == own.writable(path, "it") == path
    with pytest.raises(WorkerFault, match="the service's own records"):
        theirs.writable(path, "it")


@pytest.mark.parametrize(
    ("length", "number", "told"), [(0, 1_000_000, "has more than 1000000 values"), (17 << 20, 1, "is more than 16 MiB")]
)
def test_outputs_that_the_service_could_not_bear_are_refused(
    laying: Laying, length: int, number: int, told: str
) -> None:
    values = WDL.Value.Array(WDL.Type.String(), [WDL.Value.String("x" * length)] * number)
    with pytest.raises(Unusable, match=f"what the workflow puts out {told}: write it to a file"):
        keep(WDL.Env.Bindings(WDL.Env.Binding("s", values)), "w", laying)
