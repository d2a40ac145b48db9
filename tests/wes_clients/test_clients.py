"""The clients themselves, where they can be had, against a real service that runs what they submit."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.specs import SPECS
from tests.doubles.pages import serving_files
from tests.e2e.service import Service, serving
from tests.fetched import fetched, run

HERE = Path(__file__).parent
RECORDED = HERE.parent / "recorded"
HELLO = """version 1.0
workflow hello {
    input { String name }
    call greet { input: name = name }
    output { String out = greet.out }
}
task greet {
    input { String name }
    command { echo "hello ~{name}"; echo "greeted" >&2 }
    output { String out = read_string(stdout()) }
}
"""
OUTPUTS = {"hello.out": "hello Ada"}


@pytest.fixture(scope="module")
def service(short_tmp: Path) -> Iterator[Service]:
    """A whole service of this machine."""
    folder = short_tmp / "wes-clients"
    folder.mkdir()
    with serving(folder, dict(os.environ), sources__allow_private="true", engines__miniwdl__call_cache="false") as made:
        yield made


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """A workflow with its inputs beside it."""
    (tmp_path / "job.json").write_text('{"hello.name": "Ada"}')
    path = tmp_path / "hello.wdl"
    path.write_text(HELLO)
    return path


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SDK for Python that openapi-generator makes of the official document."""
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "wes.yaml").write_text(yaml.safe_dump(bundled(), sort_keys=False))
    words = ["generate", "-g", "python", "-i", str(folder / "wes.yaml"), "-o", str(folder)]
    start = "import sys, openapi_generator_cli as one; sys.exit(one.run(sys.argv[1:]).returncode)"
    more = ["--additional-properties", "packageName=wes_sdk"]
    done = run("-c", start, *words, *more, paths=[fetched(HERE / "openapi-generator.txt")])
    assert done.returncode == 0, done.stderr[-2000:]
    return str(folder)


def bundled() -> dict[str, Any]:
    """The official document of WES with that of service-info, to which it refers, put inside."""
    inside = yaml.safe_load((RECORDED / "service-info-1.0.0.yaml").read_text())["components"]["schemas"]
    remote = "https://raw.githubusercontent.com/ga4gh-discovery/ga4gh-service-info/v1.0.0/service-info.yaml"
    document: dict[str, Any] = yaml.safe_load(
        (RECORDED / "wes-1.1.0.openapi.yaml").read_text().replace(f"{remote}#", "#")
    )
    document["components"]["schemas"] |= inside
    return document


def test_the_recorded_documents_are_the_official_ones() -> None:
    for name in ("wes-1.1.0.openapi.yaml", "service-info-1.0.0.yaml"):
        if not (SPECS / name).exists():
            pytest.skip("the official documents are not beside this checkout")
        assert (RECORDED / name).read_bytes() == (SPECS / name).read_bytes()


def drive(client: str, *words: str, path: str) -> Any:
    """What the client's library saw."""
    done = run(str(HERE / "drive.py"), client, *words, paths=[path])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_sdk_of_the_official_document_does_all_operations(service: Service, workflow: Path, sdk: str) -> None:
    saw = drive("sdk", service.url, str(workflow), path=sdk)
    assert (saw["state"], saw["outputs"], saw["exit_code"]) == ("COMPLETE", OUTPUTS, 0)
    assert saw["request"]["workflow_url"] == "sub/hello.wdl"
    assert (saw["request"]["tags"], saw["request"]["workflow_params"]) == ({"by": "sdk"}, {"hello.name": "Ada"})
    assert saw["inline"] == [saw["task"]]
    assert (saw["group"], list(saw["engines"]), saw["listed"], saw["canceled"]) == ("org.ga4gh", ["miniwdl"], 1, True)


# wes-client


def wes_client(service: Service, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    host = service.url.removeprefix("http://")
    program = ["-m", "wes_client.wes_client_main", f"--host={host}", "--proto=http"]
    return run(*program, *words, paths=[fetched(HERE / "wes-clients.txt")], folder=folder)


def test_wes_client_runs_a_workflow(service: Service, workflow: Path) -> None:
    done = wes_client(service, "hello.wdl", "job.json", folder=workflow.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == OUTPUTS


def test_wes_client_looks_at_what_there_is(service: Service, workflow: Path) -> None:
    run_id = wes_client(service, "--no-wait", "hello.wdl", "job.json", folder=workflow.parent).stdout.strip()
    assert run_id in {one["run_id"] for one in json.loads(wes_client(service, "--list").stdout)["runs"]}
    assert json.loads(wes_client(service, "--get", run_id).stdout)["request"]["workflow_params"] == {
        "hello.name": "Ada"
    }
    assert wes_client(service, "--log", run_id).returncode == 0
    assert "WDL" in json.loads(wes_client(service, "--info").stdout)["workflow_type_versions"]


def test_wes_client_shows_why_a_run_failed(service: Service, workflow: Path) -> None:
    workflow.write_text(HELLO.replace("echo", "exit 3 #"))
    done = wes_client(service, "hello.wdl", "job.json", folder=workflow.parent)
    assert done.returncode == 1
    assert "State is EXECUTOR_ERROR" in done.stderr
    assert "Run log:" in done.stderr


# gxy-wes


def test_gxy_wes_submits_looks_and_cancels(service: Service, workflow: Path) -> None:
    saw = drive("gxy-wes", service.url, str(workflow), path=fetched(HERE / "wes-clients.txt"))
    assert (saw["state"], saw["outputs"], saw["tasks"], saw["task"]) == ("COMPLETE", OUTPUTS, ["call-greet"], True)
    assert (saw["listed"], saw["canceled"], saw["types"]) == (True, True, ["WDL"])
    assert saw["refused"] == 400


# ai4gh


def test_ai4gh_submits_a_url_as_json(service: Service, workflow: Path) -> None:
    with serving_files(workflow.parent) as files:
        saw = drive("ai4gh", service.url, f"{files}/hello.wdl", path=fetched(HERE / "wes-clients.txt"))
    assert (saw["state"], saw["outputs"], saw["tags"]) == ("COMPLETE", OUTPUTS, {"by": "ai4gh"})
    assert (saw["canceled"], saw["listed"], saw["artifact"]) == (True, True, "wes")
