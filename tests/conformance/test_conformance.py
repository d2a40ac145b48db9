"""The conformance set, run through WES: all of it at once on one service, awaited one by one."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.cases import CASES, PAGE, WDL, WEB, Case, table
from tests.doubles.pages import serving_files
from tests.e2e.service import Service, serving
from tests.podman import BASH, podman_environment

RUNS = "/ga4gh/wes/v1/runs"
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A web server for the files of `web/`."""
    with serving_files(Path(__file__).parent / "web") as url:
        yield url


@pytest.fixture(scope="module")
def processes(short_tmp: Path, web: str) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service whose tasks are processes, with all cases for it under way."""
    settings = {"sources__allow_private": "true", "executors__local__slots__cpu_cores": "16"}
    with serving(short_tmp / "conf-p", dict(os.environ), **settings) as service:
        yield service, submit_all(service, "process", web)


@pytest.fixture(scope="module")
def containers(short_tmp: Path, web: str) -> Iterator[tuple[Service, dict[str, str]]]:
    """The same, whose tasks run in podman."""
    folder = short_tmp / "conf-c"
    folder.mkdir()
    settings = {"sources__allow_private": "true", "executors__local__runtime": "podman"}
    with serving(folder, podman_environment(folder, BASH), **settings) as service:
        yield service, submit_all(service, "podman", web)


def submit_all(service: Service, runtime: str, web: str) -> dict[str, str]:
    """The run of each case, by the case's name."""
    return {case.name: submit(service, case, web) for case in CASES if case.runtime == runtime}


def submit(service: Service, case: Case, web: str) -> str:
    form = {
        "workflow_type": "WDL",
        "workflow_type_version": case.says or case.version,
        "workflow_url": "bundle.zip" if case.zipped else case.url,
        "workflow_params": json.dumps(dict(case.params)).replace(WEB, web),
        "workflow_engine_parameters": json.dumps(dict(case.engine)),
        "tags": json.dumps({"case": case.name}),
    }
    sent = {"bundle.zip": zipped(case.files)} if case.zipped else case.files
    files = [("workflow_attachment", (name, content)) for name, content in sent.items()]
    answer = service.post(RUNS, data=form, files=files)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def cases(runtime: str) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES if case.runtime == runtime]


@pytest.mark.timeout(PATIENCE_S + 30)
@pytest.mark.parametrize("case", cases("process"))
def test_a_workflow_ends_as_it_should(case: Case, processes: tuple[Service, dict[str, str]]) -> None:
    service, runs = processes
    ends_as_it_should(service, case, runs[case.name])


@pytest.mark.timeout(PATIENCE_S + 30)
@pytest.mark.parametrize("case", cases("podman"))
def test_a_workflow_in_containers_ends_as_it_should(case: Case, containers: tuple[Service, dict[str, str]]) -> None:
    service, runs = containers
    ends_as_it_should(service, case, runs[case.name])


def ends_as_it_should(service: Service, case: Case, run_id: str) -> None:
    wait(service, run_id)
    run = service.get(f"{RUNS}/{run_id}")
    told = "\n".join(run["run_log"]["system_logs"])
    if case.error:
        assert run["state"] == "EXECUTOR_ERROR", told
        assert case.error in told
    else:
        assert run["state"] == "COMPLETE", told
        assert shown(run["outputs"]) == case.outputs


def test_a_resumed_run_does_and_tells_the_rest(processes: tuple[Service, dict[str, str]]) -> None:
    service, runs = processes
    wait(service, runs["resume"])
    form = {
        "workflow_type": "WDL",
        "workflow_type_version": "1.0",
        "workflow_url": "main.wdl",
        "workflow_params": '{"w.file": "lines.txt", "w.code": 0}',
        "workflow_engine_parameters": json.dumps({"resume": runs["resume"]}),
    }
    resumed = service.post(RUNS, data=form).json()["run_id"]
    wait(service, resumed)
    done = {log["name"]: log["id"] for log in service.get(f"{RUNS}/{runs['resume']}/tasks")["task_logs"]}
    logs = {log["name"]: log for log in service.get(f"{RUNS}/{resumed}/tasks")["task_logs"]}
    assert service.get(f"{RUNS}/{resumed}")["outputs"] == {"w.lines": 2}
    assert {name: log["exit_code"] for name, log in logs.items()} == {"call-sort": 0, "call-count": 0, "call-last": 0}
    for name in ("call-sort", "call-count"):
        assert logs[name]["system_logs"] == [f"from the call cache: task {done[name]} of run {runs['resume']}"]
    assert "tes_uri" in logs["call-last"]


def wait(service: Service, run_id: str) -> None:
    """Until the events of the run have come to their end."""
    with httpx.stream("GET", f"{service.url}{RUNS}/{run_id}/events", timeout=PATIENCE_S) as events:
        assert events.status_code == 200
        assert "event: end" in events.iter_lines()


def shown(value: Any) -> Any:
    """Outputs with files told by their text, and directories by the texts of their files."""
    match value:
        case str() if value.startswith("/") and Path(value).is_file():
            return Path(value).read_text()
        case str() if value.startswith("/") and Path(value).is_dir():
            files = sorted(path for path in Path(value).rglob("*") if path.is_file())
            return {str(path.relative_to(value)): path.read_text() for path in files}
        case list():
            return [shown(each) for each in value]
        case dict():
            return {name: shown(each) for name, each in value.items()}
    return value


def test_every_workflow_of_the_folder_is_run() -> None:
    assert sorted(case.name for case in CASES) == sorted(folder.name for folder in WDL.iterdir())


def test_the_page_tells_what_is_run() -> None:
    is_current = PAGE.read_text() == table()
    assert is_current, f"write it anew: python -m tests.conformance.cases > {PAGE}"
