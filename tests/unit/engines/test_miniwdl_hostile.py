"""Documents and inputs that cannot or must not be used: each ends the run with one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import WDL

from tests.doubles import web
from tests.doubles.pages import serving_files
from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import READ
from wesgate.core.spec import Fetching
from wesgate.core.states import State
from wesgate.engines.miniwdl.head.complaints import complaints


async def test_a_syntax_error_is_told_with_its_line(site: Site) -> None:
    text = failed(await site.run("version 1.0\nworkflow w {\n  call }\n"), State.EXECUTOR_ERROR)
    assert text.startswith("main.wdl:3:")


async def test_every_validation_error_is_told_with_its_line(site: Site) -> None:
    source = 'version 1.0\nworkflow w {\n  Int a = "x" + true\n  call nothing\n  Int b = c\n}\n'
    text = failed(await site.run(source), State.EXECUTOR_ERROR)
    assert "main.wdl:4:3: No such task/workflow: nothing" in text


async def test_an_error_in_an_import_is_told_with_its_own_line(site: Site) -> None:
    files = {"main.wdl": 'version 1.0\nimport "lib/a.wdl" as a\nworkflow w {}\n', "lib/a.wdl": "version 1.0\ntask {\n"}
    text = failed(await site.run(files), State.EXECUTOR_ERROR)
    assert "main.wdl:2:1: Failed to import lib/a.wdl" in text
    assert "lib/a.wdl:2:6:" in text


async def test_a_circle_of_imports_is_told_once_with_its_place(site: Site) -> None:
    first, second = (f'version 1.0\n\nimport "{other}.wdl" as x\n' for other in "ba")
    files = {"main.wdl": 'version 1.0\nimport "lib/a.wdl" as a\n', "lib/a.wdl": first, "lib/b.wdl": second}
    text = failed(await site.run(files), State.EXECUTOR_ERROR)
    assert text == "lib/a.wdl:3:1: Failed to import b.wdl: the imports lead in a circle, or more than nine deep"


@pytest.mark.parametrize("path", ["../head.json", "nothing"])
async def test_a_message_names_the_files_of_a_run_as_seen_from_its_directory(site: Site, path: str) -> None:
    source = f'version 1.2\nworkflow w {{ input {{ File f = "{path}" }} output {{ String s = read_string(f) }} }}'
    text = failed(await site.run(source), State.EXECUTOR_ERROR)
    assert " attachments/" in text
    assert str(site.root) not in text


def test_a_message_has_the_directory_of_a_run_by_neither_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to("real")
    named = f"{tmp_path}/run/a {tmp_path}/real/b {tmp_path}/real"
    (told,) = complaints(WDL.Error.RuntimeError(named), tmp_path / "run")
    assert told.message == "a b ."


@pytest.mark.parametrize("put_out", ['glob("x*")', '["{}"]'], ids=["glob", "named"])
async def test_a_name_that_is_too_long_to_be_an_output_is_the_workflows_fault(site: Site, put_out: str) -> None:
    name = "x" * 240
    source = f"""version 1.0
task t {{ command {{ touch {name} }}  output {{ Array[File] f = {put_out.format(name)} }} }}
workflow w {{ call t  output {{ Array[File] f = t.f }} }}
"""
    text = failed(await site.run(source), State.EXECUTOR_ERROR)
    assert text == f"a file's name is too long, it may have 200 bytes; it begins with {'x' * 50}"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../../../../etc/passwd", "file:///etc/passwd"])
async def test_an_import_from_outside_the_attachments_is_refused(site: Site, target: str) -> None:
    text = failed(await site.run(f'version 1.0\nimport "{target}" as a\nworkflow w {{}}\n'), State.EXECUTOR_ERROR)
    assert "is outside the attachments of the run" in text


@pytest.mark.parametrize("given", ["/etc/passwd", "file:///etc/passwd", "../../../../../../../../../../etc/passwd"])
async def test_an_input_outside_the_roots_is_refused(site: Site, tes: TesDouble, given: str) -> None:
    text = failed(await site.run(READ, {"w.file": given}), State.EXECUTOR_ERROR)
    assert f"input {given} is not below a directory that runs may read" in text
    assert not tes.tasks


@pytest.mark.parametrize("given", ["../token", "../head.json", "link", "file://{run}/token", "{run}/../cache/x"])
async def test_a_record_of_the_service_is_no_input(site: Site, given: str) -> None:
    """A head can read them, and a workflow that reads a file in an expression reads it in the head."""
    source = "version 1.0\nworkflow w { input { File f } output { String s = read_string(f) } }"
    spec = site.spec(source)
    run = Path(spec.directory)
    (run / "attachments/link").symlink_to(run / "head.json")
    seen = await site.finish(await site.begin(replace(spec, params={"w.f": given.format(run=run)})))
    assert "is, or holds, a record of the service" in failed(seen, State.EXECUTOR_ERROR)


async def test_a_link_out_of_the_roots_is_refused(site: Site) -> None:
    spec = site.spec(READ, {"w.file": "innocent"})
    (Path(spec.directory) / "attachments/innocent").symlink_to("/etc/passwd")
    handle = await site.begin(spec)
    assert "is not below a directory" in failed(await site.finish(handle), State.EXECUTOR_ERROR)


@pytest.mark.parametrize("source", ['"/etc/passwd"', '"/etc/" + "passwd"'])
async def test_a_document_cannot_name_a_file_of_the_machine(site: Site, tes: TesDouble, source: str) -> None:
    document = READ.replace("input { File file }\n  call", f"File file = {source}\n  call")
    text = failed(await site.run(document), State.EXECUTOR_ERROR)
    assert "/etc/passwd" in text
    assert not tes.tasks


async def test_a_file_below_a_configured_root_is_used_where_it_is(site: Site, tes: TesDouble, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a b%20c.txt").write_text("from the data root")
    site = site.with_settings(roots=(str(tmp_path / "data"),))
    seen = await site.run(READ, {"w.file": f"{tmp_path}/data/a b%20c.txt"})
    assert outputs(seen)["w.content"] == "from the data root"
    (task,) = tes.tasks.values()
    assert task.document["inputs"][1]["url"] == f"file://{tmp_path}/data/a%20b%2520c.txt"


async def test_a_relative_input_is_an_attachment(site: Site) -> None:
    files = {"main.wdl": READ, "data/x.txt": "attached"}
    assert outputs(await site.run(files, {"w.file": "data/x.txt"}))["w.content"] == "attached"


async def test_a_missing_input_is_named(site: Site) -> None:
    text = failed(await site.run(READ, {"w.file": "data/none.txt"}), State.EXECUTOR_ERROR)
    assert text == "input file not found: data/none.txt"


async def test_a_name_that_is_too_long_is_its_senders_fault_and_not_repeated_whole(site: Site) -> None:
    text = failed(await site.run(READ, {"w.file": "x" * 100_000}), State.EXECUTOR_ERROR)
    assert text.startswith("input file not found: xxx")
    assert len(text) < 5000


LEAVES = """version 1.0
task t {
  input { String path  String target }
  command <<< ln -s '~{target}' link >>>
  output { File? there = path }
}
workflow w { input { String path  String target = "x" }  call t { input: path = path, target = target } }
"""


@pytest.mark.parametrize("name", ["etc/passwd", "etc/none"])
@pytest.mark.parametrize("by", ["path", "link"])
async def test_an_output_tells_nothing_of_what_the_host_has(site: Site, by: str, name: str) -> None:
    up = "../" * 30 + name
    params = {"w.path": up} if by == "path" else {"w.path": "link", "w.target": f"/{name}"}
    text = failed(await site.run(LEAVES, params), State.EXECUTOR_ERROR)
    assert text == f"task outputs attempted to use a path outside its working directory: {params['w.path']}"


async def test_an_output_that_leads_nowhere_inside_is_not_there(site: Site) -> None:
    seen = await site.run(
        LEAVES.replace("workflow w {", "workflow w { output { File? x = t.there } "), {"w.path": "link"}
    )
    assert outputs(seen) == {"w.x": None}


async def test_advice_for_people_who_run_miniwdl_themselves_is_left_out(site: Site) -> None:
    source = 'version 1.0\nworkflow w { output { File f = "/etc/passwd" } }'
    text = failed(await site.run(source), State.EXECUTOR_ERROR)
    assert text.endswith("not expressly supplied with workflow inputs: /etc/passwd")


async def test_a_required_input_that_was_not_given_is_named(site: Site) -> None:
    assert "missing required inputs" in failed(await site.run(READ), State.EXECUTOR_ERROR)


@pytest.mark.parametrize("params", [{"w.file": 7}, {"w.file": {"a": []}}, {"w.nothing": 1}, {"": 1}, {"w.file": None}])
async def test_params_that_do_not_fit_are_the_callers_fault(site: Site, params: dict[str, object]) -> None:
    failed(await site.run(READ, params), State.EXECUTOR_ERROR)


async def test_an_http_input_is_fetched(site: Site, tmp_path: Path) -> None:
    (tmp_path / "reads.txt").write_text("from the web")
    with serving_files(tmp_path) as url:
        assert outputs(await site.run(READ, {"w.file": f"{url}/reads.txt"}))["w.content"] == "from the web"


async def test_an_http_input_that_is_not_there_is_named(site: Site, tmp_path: Path) -> None:
    with serving_files(tmp_path) as url:
        text = failed(await site.run(READ, {"w.file": f"{url}/none?secret=1"}), State.EXECUTOR_ERROR)
    assert text == f"input {url}/none could not be fetched: the server answered 404 Not Found"


async def test_a_login_in_the_url_of_an_input_is_not_repeated(site: Site, tmp_path: Path) -> None:
    with serving_files(tmp_path) as url:
        login = url.replace("http://", "http://me:hunter2@")
        seen = await site.run(READ, {"w.file": f"{login}/none"})
    assert failed(seen, State.EXECUTOR_ERROR).startswith(f"input {url}/none could not be fetched")
    assert "hunter2" not in repr(seen)


async def test_an_http_input_may_not_be_larger_than_allowed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "reads.txt").write_text("x" * 2000)
    with serving_files(tmp_path) as url:
        site = site.with_settings(fetching=Fetching(allow_private=True, max_bytes=1000))
        text = failed(await site.run(READ, {"w.file": f"{url}/reads.txt"}), State.EXECUTOR_ERROR)
    assert "is larger than the 1000 bytes allowed" in text


async def test_a_redirect_to_the_clouds_credentials_is_refused(site: Site) -> None:
    with web.serving() as server:
        server.replies = [web.moved("http://169.254.169.254/latest/meta-data")]
        text = failed(await site.run(READ, {"w.file": f"http://{server.host}/elsewhere"}), State.EXECUTOR_ERROR)
    assert "it redirects to http://169.254.169.254/latest/meta-data: it names an address that is not public" in text


async def test_hosts_that_are_not_public_are_refused_by_default(site: Site, tmp_path: Path) -> None:
    site = site.with_settings(fetching=Fetching(allow_private=False))
    with serving_files(tmp_path) as url:
        text = failed(await site.run(READ, {"w.file": f"{url}/x"}), State.EXECUTOR_ERROR)
    assert "names a host that is not public" in text


@pytest.mark.parametrize("given", ["s3://bucket/key", "gs://b/k", "ftp://h/f"])
async def test_other_schemes_are_refused(site: Site, tes: TesDouble, given: str) -> None:
    text = failed(await site.run(READ, {"w.file": given}), State.EXECUTOR_ERROR)
    assert f"input {given} cannot be fetched: give an http or https URL" in text
    assert not tes.tasks


async def test_a_workflow_and_its_imports_may_come_by_http(site: Site, tmp_path: Path) -> None:
    (tmp_path / "lib.wdl").write_text(READ.split("workflow", maxsplit=1)[0])
    main = 'version 1.0\nimport "lib.wdl" as lib\nworkflow w { output { Int x = 1 } }\n'
    (tmp_path / "main.wdl").write_text(main)
    with serving_files(tmp_path) as url:
        assert outputs(await site.run({}, url=f"{url}/main.wdl")) == {"w.x": 1}


async def test_a_workflow_from_the_web_cannot_import_from_the_machine(site: Site, tmp_path: Path) -> None:
    (tmp_path / "main.wdl").write_text('version 1.0\nimport "file:///etc/passwd" as a\nworkflow w {}\n')
    with serving_files(tmp_path) as url:
        text = failed(await site.run({}, url=f"{url}/main.wdl"), State.EXECUTOR_ERROR)
    assert "is not an http or https URL" in text


async def test_an_output_that_does_not_exist_is_named(site: Site) -> None:
    source = READ.replace("String content = read_string(stdout())", 'File content = "none.txt"')
    source = source.replace("String content", "File content")
    files = {"main.wdl": source, "x": "y"}
    text = failed(await site.run(files, {"w.file": "x"}), State.EXECUTOR_ERROR)
    assert "none.txt" in text


@pytest.mark.parametrize("count", [1_500_000, 2_000_000_000])
async def test_a_workflow_that_computes_too_much_ends_and_the_machine_lives(site: Site, count: int) -> None:
    """With little at a time, nothing is left in the end, not even for saying so."""
    small = site.with_settings(head_memory_gb=0.6)
    seen = await small.run(f"version 1.0\nworkflow w {{ output {{ Array[Int] s = range({count}) }} }}")
    assert "fits into the memory" in failed(seen, State.EXECUTOR_ERROR)
