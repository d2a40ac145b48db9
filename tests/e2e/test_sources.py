"""Workflows from elsewhere through a whole service: objects, git, a registry, and what a submit refuses at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles import git, pages, stores
from tests.doubles.git import GitServer
from tests.doubles.pages import Pages
from tests.doubles.stores import Ware
from tests.doubles.web import Web, serving
from tests.doubles.workflows import HELLO
from tests.e2e.service import Service
from tests.unit.sources.test_zips import zipped

WES = "/ga4gh/wes/v1/runs"
ANSWER = "version 1.0\nworkflow w {\n  input { Int x = 1 }\n  output { Int y = x }\n}\n"


@pytest.fixture
def ware(tmp_path: Path) -> Iterator[Ware]:
    with stores.moto(tmp_path) as endpoint:
        yield stores.s3(endpoint)


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[GitServer]:
    with git.serving(tmp_path / "repositories") as server:
        yield server


@pytest.fixture
def registry() -> Iterator[Pages]:
    with pages.serving() as server:
        yield server


@pytest.fixture
def inside() -> Iterator[Web]:
    """A server that nobody may ask."""
    with serving() as web:
        yield web
        assert not web.asked


def submit(service: Service, url: str, files: dict[str, bytes] | None = None, **parameters: str) -> httpx.Response:
    form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": url,
            "workflow_engine_parameters": json.dumps(parameters)}  # fmt: skip
    parts = [("workflow_attachment", item) for item in (files or {}).items()]
    return service.post(WES, data=form, files=parts or {"none": ("", b"")} if parts else None)


def ended(service: Service, answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    run = f"{WES}/{answer.json()['run_id']}"
    service.ended(f"{run}/status")
    return service.get(run)


def refused(service: Service, url: str, files: dict[str, bytes] | None = None, **parameters: str) -> str:
    answer = submit(service, url, files, **parameters)
    assert answer.status_code in (400, 413), answer.text
    assert service.get(WES)["runs"] == []
    return str(answer.json()["msg"])


def test_objects_are_brought_by_the_worker(service: Service, ware: Ware) -> None:
    """A document, a bundle and inputs; the head of a run knows no credentials."""
    told = [{"url": ware.store.url, "options": dict(ware.store.options)}]
    service.start(storage__stores=json.dumps(told))
    main, inputs = ware.put("wf/main.wdl", ANSWER.encode()), ware.put("in/x.json", b'{"w.x": 5}')
    bundle = ware.put("wf.zip", zipped({"main.wdl": ANSWER, "inputs.json": '{"w.x": 3}'}))
    runs = [submit(service, main), submit(service, bundle), submit(service, main, inputs_url=inputs)]
    found = [ended(service, run) for run in runs]
    assert [run["outputs"] for run in found] == [{"w.y": 1}, {"w.y": 3}, {"w.y": 5}]
    assert any(line.startswith(f"workflow: {main}, sha256:") for line in found[0]["run_log"]["system_logs"])
    assert stores.SECRET not in json.dumps(found)
    missing = ended(service, submit(service, ware.url("none.wdl")))
    assert missing["state"] == "SYSTEM_ERROR"
    assert f"input {ware.url('none.wdl')} could not be fetched" in " ".join(missing["run_log"]["system_logs"])


COUNT = """version 1.2
task count {
  input { File one  Array[File] several  Directory folder }
  command <<< cat '~{one}' ~{sep(" ", several)} ~{folder}/*; ls ~{folder} >>>
  output { Array[String] lines = read_lines(stdout()) }
}
workflow w {
  input { File one  Array[File] several  Directory folder  String prefix }
  call count { input: one = one, several = several, folder = folder }
  output { Array[String] lines = count.lines  Int size = round(size(one))  File same = one  String kept = prefix }
}
"""


@pytest.mark.parametrize("runtime", ["process", "process:plain"])
def test_inputs_of_a_run_may_be_objects(service: Service, ware: Ware, runtime: str) -> None:
    """Amazon Genomics CLI puts a user's files into S3 and names them so. What is a String stays one."""
    told = [{"url": ware.store.url, "options": dict(ware.store.options)}]
    service.start(storage__stores=json.dumps(told), executors__local__runtime=runtime)
    one, other = ware.put("in/a b.txt", b"one\n"), ware.put("in/c.txt", b"two\n")
    ware.put("dir/x.txt", b"x\n"), ware.put("dir/y.txt", b"y\n")
    params = {"w.one": one, "w.several": [other, other], "w.folder": ware.url("dir/"), "w.prefix": ware.url("none/")}
    form = {"workflow_type": "WDL", "workflow_type_version": "1.2", "workflow_url": "w.wdl",
            "workflow_params": json.dumps(params)}  # fmt: skip
    attached = [("workflow_attachment", ("w.wdl", COUNT.encode()))]
    found = ended(service, service.post(WES, data=form, files=attached))
    assert found["state"] == "COMPLETE", found["run_log"]["system_logs"]
    assert found["outputs"]["w.lines"] == ["one", "two", "two", "x", "y", "x.txt", "y.txt"]
    assert (found["outputs"]["w.size"], found["outputs"]["w.kept"]) == (4, ware.url("none/"))
    assert Path(found["outputs"]["w.same"]).read_bytes() == b"one\n"
    assert {task["name"] for task in found["task_logs"]} >= {f"bring {one}", "call-count"}
    missing = form | {"workflow_params": json.dumps(params | {"w.one": ware.url("none.txt")})}
    gone = ended(service, service.post(WES, data=missing, files=attached))
    assert "none.txt could not be fetched" in " ".join(gone["run_log"]["system_logs"])
    assert stores.SECRET not in json.dumps([found, gone])


def test_git_and_registries_through_a_whole_service(service: Service, repositories: GitServer, registry: Pages) -> None:
    service.start(sources__allow_private="true")
    commit = repositories.repository().commit(
        {"wf/main.wdl": HELLO, "in.json": '{"greet.name": "git", "#": "Sample_7"}'}
    )
    url = f"{repositories.url()}@main#wf/main.wdl"
    tool = registry.tool(
        "#workflow/x", "v1", {"main.wdl": 'version 1.0\nimport "lib.wdl" as l\nworkflow w {}\n', "lib.wdl": HELLO}
    )
    runs = [submit(service, url, inputs_url=f"{repositories.url()}#in.json"), submit(service, tool)]
    found = [ended(service, run) for run in runs]
    assert [run["state"] for run in found] == ["COMPLETE", "COMPLETE"], found
    assert found[0]["outputs"] == {"greet.said": "hello git"}
    listed = service.until(f"{WES}?search=sample_7+hello", lambda listed: listed["runs"])
    assert [run["run_id"] for run in listed["runs"]] == [found[0]["run_id"]]
    assert found[0]["request"]["workflow_url"] == url
    assert f"@{commit}#wf/main.wdl, sha256:" in " ".join(found[0]["run_log"]["system_logs"])


def test_a_service_that_is_killed_while_a_run_fetches_runs_it_with_one_commit(
    service: Service, repositories: GitServer
) -> None:
    service.start(sources__allow_private="true")
    commit = repositories.repository().commit({"main.wdl": ANSWER})
    run = submit(service, f"{repositories.url()}@main")
    service.kill()
    service.start(sources__allow_private="true")
    assert f"@{commit}#" in " ".join(ended(service, run)["run_log"]["system_logs"])


def test_a_submit_refuses_at_once_what_nobody_should_fetch(service: Service, inside: Web) -> None:
    """A21, A22, A25, A27, A30, A34: 400, no run, and nobody was asked."""
    service.start()
    here, at = inside.port, inside.host
    private = [
        f"http://{at}/main.wdl", f"http://localhost:{here}/a.zip", f"https://{at}/x.git#a.wdl", f"http://{at}#@good/",
        f"git+https://{at}/x@main#a.wdl", f"trs://{at}/a/v", f"http://{at}/ga4gh/trs/v2/tools/a/versions/v",
        f"http://0x7f000001:{here}/", f"http://127.1:{here}/", f"http://[::ffff:127.0.0.1]:{here}/", "http://2852039166/x",
        "http://169.254.169.254/x", "http://0251.0376.0251.0376/", "http://[64:ff9b::a9fe:a9fe]/", "http://[fd00:ec2::254]/",
    ]  # fmt: skip
    odd = [
        f"http://good@{at}/", "http:\\\\127.0.0.1/", "http://h/a\tb", "file:///etc/passwd", "gopher://h/", "ftp://h/x",
        "data:,x", "s3://wesgate/x", "ext::sh -c id", "ssh://-oProxyCommand=x/y", "fd::17", "/etc/passwd",
        "https://example.org/x.git@--upload-pack=x", "http://1.1.1.1/x.git",
    ]  # fmt: skip
    for url in private:
        assert "not public" in refused(service, url), url
    for url in odd:
        assert "workflow_url" in refused(service, url), url
    bombs = {"ratio": zipped({"z": b"\0" * 5_000_000}), "slip": zipped({"../x": "x"}), "none": b"no zip"}
    for name, content in bombs.items():
        assert "zip bundle" in refused(service, "a.zip", {"a.zip": content}), name
    assert "inputs_url" in refused(service, "a.wdl", {"a.wdl": b"x"}, inputs_url=f"http://{at}/in.json")
    assert "inputs_url" in refused(service, "a.wdl", {"a.wdl": b"x"}, inputs_url="none.json")


def test_a_site_may_keep_a_list_of_workflows(service: Service, repositories: GitServer) -> None:
    repositories.repository().commit({"main.wdl": ANSWER})
    service.start(sources__allow_private="true", sources__allowed=json.dumps([repositories.url()]))
    assert "sources.allowed" in refused(service, "main.wdl", {"main.wdl": ANSWER.encode()})
    assert "sources.allowed" in refused(service, repositories.url("other"))
    assert ended(service, submit(service, repositories.url()))["outputs"] == {"w.y": 1}
