"""What becomes of a run's outputs: kept, sent, published to files and stores, and removed when their time is over."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles import stores
from tests.doubles.stores import Ware
from tests.e2e.service import PATIENCE_S, Service, gone

pytestmark = pytest.mark.usefixtures("quick")

WES = "/ga4gh/wes/v1/runs"

WORKFLOW = """version 1.0
task make {
  input { Int n }
  command <<< mkdir -p d; printf ~{n} > "d/part ~{n}.txt" >>>
  output { File part = "d/part ~{n}.txt" }
}
workflow w {
  input { Int code = 0 }
  scatter (n in range(2)) { call make { input: n = n } }
  output { Array[File] parts = make.part  Int number = 7 }
}
"""
ALONE = """version 1.0
workflow w { output { File words = write_lines(["a", "b"]) } }
"""


@dataclass(frozen=True)
class Place:
    """Where outputs may be published: how a service is told of it, what is asked for, and how to look there."""

    url: str
    settings: dict[str, str]
    ware: Ware | None = None
    folder: Path = Path()

    def read(self, inner: str) -> bytes:
        return self.ware.get(f"out/{inner}") if self.ware else (self.folder / inner).read_bytes()


def told(ware: Ware) -> dict[str, str]:
    return {"storage__stores": json.dumps([{"url": ware.store.url, "options": dict(ware.store.options)}])}


@pytest.fixture(params=["file", "s3", "az"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    match request.param:
        case "file":
            folder = tmp_path / "shared" / "out"
            folder.parent.mkdir()
            yield Place(f"file://{folder}", {"files__allowed": json.dumps([str(folder.parent)])}, folder=folder)
        case "s3":
            with stores.moto(tmp_path) as endpoint:
                ware = stores.s3(endpoint)
                yield Place(ware.url("out"), told(ware), ware)
        case _:
            with stores.azurite(tmp_path) as endpoint:
                ware = stores.az(endpoint)
                yield Place(ware.url("out"), told(ware), ware)


def run(service: Service, workflow: str, params: dict[str, Any] | None = None, **asked: str) -> str:
    """The id of a new run with these engine parameters."""
    form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl",
            "workflow_params": json.dumps(params or {}), "workflow_engine_parameters": json.dumps(asked)}  # fmt: skip
    sent = service.post(WES, data=form, files=[("workflow_attachment", ("main.wdl", workflow.encode()))])
    assert sent.status_code == 200, sent.text
    return str(sent.json()["run_id"])


def ended(service: Service, run_id: str) -> Any:
    service.ended(f"{WES}/{run_id}/status")
    return service.get(f"{WES}/{run_id}")


def directory(service: Service) -> Path:
    """The directory of the service's only run."""
    (found,) = (service.data / "files").glob("*/run-*")
    return found


def test_outputs_are_published_and_told_where_they_are(service: Service, place: Place) -> None:
    service.start(**place.settings)
    run_id = run(service, WORKFLOW, output_to=place.url)
    log = ended(service, run_id)
    assert log["state"] == "COMPLETE", log
    quoted = "%20" if place.ware is None else " "
    parts = [f"{place.url}/parts/part{quoted}{n}.txt" for n in range(2)]
    assert log["outputs"] == {"w.parts": parts, "w.number": 7}
    assert [place.read(f"parts/part {n}.txt") for n in range(2)] == [b"0", b"1"]
    listed = service.get(f"{WES}/{run_id}/outputs")["outputs"]
    assert [one["digest"] for one in listed] == [f"sha256:{hashlib.sha256(text).hexdigest()}" for text in (b"0", b"1")]
    assert [httpx.get(one["url"]).content for one in listed] == [b"0", b"1"]


def test_a_slash_at_the_end_publishes_into_a_folder_of_the_runs_own(service: Service, tmp_path: Path) -> None:
    service.start(files__allowed=json.dumps([str(tmp_path)]))
    run_id = run(service, ALONE, output_to=f"{tmp_path}/out/")
    (words,) = ended(service, run_id)["outputs"].values()
    assert Path(words).parent == tmp_path / "out" / run_id / "words"
    assert Path(words).read_text() == "a\nb\n"


def test_a_run_that_failed_publishes_nothing(service: Service, tmp_path: Path) -> None:
    service.start(files__allowed=json.dumps([str(tmp_path)]))
    run_id = run(service, WORKFLOW.replace("mkdir", "exit 3; mkdir"), output_to=f"{tmp_path}/out")
    log = ended(service, run_id)
    assert log["state"] == "EXECUTOR_ERROR"
    assert not any("matches nothing" in line for line in log["run_log"]["system_logs"])
    assert not (tmp_path / "out").exists()


def test_a_run_without_files_has_nothing_to_publish(service: Service, tmp_path: Path) -> None:
    service.start(files__allowed=json.dumps([str(tmp_path)]))
    run_id = run(service, "version 1.0\nworkflow w { output { Int n = 1 } }", output_to=f"{tmp_path}/out")
    assert ended(service, run_id)["outputs"] == {"w.n": 1}
    assert service.get(f"{WES}/{run_id}/outputs") == {"outputs": []}


def test_outputs_that_cannot_be_published_fail_the_run_with_the_reason(service: Service, tmp_path: Path) -> None:
    with stores.moto(tmp_path) as endpoint:
        ware = stores.s3(endpoint)
        service.start(**told(ware))
        log = ended(service, run(service, ALONE, output_to="s3://no-such-bucket/out"))
    assert log["state"] == "SYSTEM_ERROR", log
    assert log["outputs"] == {}
    sentence = log["run_log"]["system_logs"][0]
    assert sentence.startswith("the workflow succeeded, and its outputs could not be put at s3://no-such-bucket/out: ")
    assert stores.SECRET not in json.dumps(log)


def test_a_worker_that_is_killed_while_it_publishes_is_followed_by_one_that_does_it(
    service: Service, tmp_path: Path
) -> None:
    roots = json.dumps([str(tmp_path)])
    service.start(files__allowed=roots, failpoints="worker-staged-out=kill", executors__local__max_attempts="1000")
    run_id = run(service, ALONE, output_to=f"{tmp_path}/out")
    service.until(f"{WES}/{run_id}", lambda _: len(list((service.data / "files").glob("*/wg-*"))) > 1)
    assert (tmp_path / "out/words").is_dir()
    service.kill()
    service.start(files__allowed=roots)
    log = ended(service, run_id)
    assert log["state"] == "COMPLETE", log
    (words,) = log["outputs"].values()
    assert Path(words).read_text() == "a\nb\n"
    assert [path.name for path in directory(service).glob("attempt-*")] == ["attempt-1"]
    assert service.stop() == 0
    assert gone(service.data) == []


def test_outputs_of_one_run_are_inputs_of_another(service: Service) -> None:
    service.start()
    made = ended(service, run(service, WORKFLOW))["outputs"]["w.parts"]
    read = """version 1.0
    task t { input { File f }  command { cat "~{f}" }  output { String s = read_string(stdout()) } }
    workflow r { input { File f }  call t { input: f = f }  output { String s = t.s } }"""
    assert ended(service, run(service, read, {"r.f": made[1]}))["outputs"] == {"r.s": "1"}


def test_files_of_tasks_go_when_the_run_wants_it_and_its_outputs_and_logs_stay(service: Service) -> None:
    service.start()
    run_id = run(service, WORKFLOW, delete_after="success")
    log = ended(service, run_id)
    waited_for(lambda: not list(directory(service).glob("attempt-*")))
    assert [Path(part).read_text() for part in log["outputs"]["w.parts"]] == ["0", "1"]
    assert "wdl.w:w" in service.get_text(f"{WES}/{run_id}/logs/stderr")
    task = log["task_logs"][0]["id"]
    assert service.get_text(f"{WES}/{run_id}/tasks/{task}/logs/stdout") == ""
    again = ended(service, run(service, WORKFLOW))
    assert again["state"] == "COMPLETE", "what was cached and is gone is computed anew"
    assert len(again["task_logs"]) == 2


def test_a_run_stays_known_when_its_files_are_no_longer_kept(service: Service) -> None:
    service.start(runs__keep_days="1e-5")
    run_id = run(service, WORKFLOW)
    ended(service, run_id)
    waited_for(lambda: not list((service.data / "files").glob("*/run-*")))
    waited_for(lambda: not list((service.data / "files").glob("*/wg-*")))
    assert service.get(f"{WES}/{run_id}")["state"] == "COMPLETE"
    sent = httpx.get(f"{service.url}{WES}/{run_id}/outputs")
    assert sent.status_code == 404
    assert "were removed" in sent.json()["msg"]
    assert service.get_text(f"{WES}/{run_id}/logs/stderr") == ""


def waited_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
