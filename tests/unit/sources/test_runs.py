"""Runs whose workflow and inputs come from elsewhere: real heads, real git, and a registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.git import GitServer
from tests.doubles.pages import Pages
from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import READ
from tests.unit.sources.test_zips import zipped
from wesgate.core.backend import Observation
from wesgate.core.report import RunReport
from wesgate.core.spec import Fetching, RunTerms
from wesgate.core.states import State

LIBRARY = "version 1.0\ntask answer {\n  command {}\n  output { Int x = %d }\n}\n"
ANSWER = "version 1.0\nworkflow w {\n  input { Int x = 1 }\n  output { Int y = x }\n}\n"
MAIN = """version 1.0
import "../lib/inner.wdl" as lib
workflow w {
  input { Int x = 1 }
  output { Int y = x }
}
"""
INNER = 'version 1.0\nimport "deep/er.wdl" as er\nworkflow inner {}\n'
TREE = {"wf/main.wdl": MAIN, "lib/inner.wdl": INNER, "lib/deep/er.wdl": "version 1.0\nworkflow er {}\n"}


async def run(site: Site, url: str, terms: RunTerms | None = None, **more: Any) -> Observation[RunReport]:
    spec = replace(site.spec(more.get("files", {}), more.get("params"), url=url), terms=terms or RunTerms())
    return await site.finish(await site.begin(spec))


def what_ran(seen: Observation[RunReport]) -> str:
    assert seen.report
    (line,) = [line for line in seen.report.system_logs if line.startswith("workflow: ")]
    return line


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_tree(tree: Mapping[str, str]) -> str:
    names = {"wf/main.wdl": "main.wdl", "lib/inner.wdl": "../lib/inner.wdl", "lib/deep/er.wdl": "../lib/deep/er.wdl"}
    return digest("".join(sorted(f"{names[name]} {digest(text)}\n" for name, text in tree.items())))


async def test_what_ran_is_told_with_its_commit_and_digest(site: Site, git: GitServer) -> None:
    commit = git.repository().commit(TREE)
    seen = await run(site, f"{git.url()}@main#wf/main.wdl")
    assert outputs(seen) == {"w.y": 1}
    pinned = f"{git.url()}@{commit}#wf/main.wdl"
    assert what_ran(seen) == f"workflow: {pinned}, sha256:{digest_of_tree(TREE)}, WDL 1.0"
    assert what_ran(await run(site, pinned)) == what_ran(seen)


async def test_the_digest_is_that_of_the_files_wherever_they_lie(site: Site, pages: Pages) -> None:
    documents = {"main.wdl": MAIN, "../lib/inner.wdl": INNER, "../lib/deep/er.wdl": TREE["lib/deep/er.wdl"]}
    told = {what_ran(await run(site, "wf/main.wdl", files=TREE)).split()[2]}
    pages.pages["/a.zip"] = zipped({f"top/{name}": text for name, text in TREE.items()} | {
        "top/MANIFEST.json": '{"mainWorkflowURL": "wf/main.wdl"}'})  # fmt: skip
    told.add(what_ran(await run(site, f"{pages.url}/a.zip")).split()[2])
    told.add(what_ran(await run(site, pages.tool("a", "v", documents))).split()[2])
    assert told == {f"sha256:{digest_of_tree(TREE)},"}


@pytest.mark.parametrize("text", [ANSWER, ANSWER.replace("\n", "\r\n")], ids=["LF", "CRLF"])
async def test_the_digest_of_one_document_is_what_sha256sum_says(site: Site, text: str) -> None:
    spec = site.spec({}, url="main.wdl")
    attached = Path(spec.directory) / "attachments/main.wdl"
    attached.parent.mkdir(parents=True)
    attached.write_bytes(text.encode())
    seen = await site.finish(await site.begin(spec))
    assert what_ran(seen) == f"workflow: main.wdl, sha256:{digest(text)}, WDL 1.0"


async def test_a_run_that_failed_tells_what_ran_too(site: Site) -> None:
    source = "version 1.1\nworkflow w {\n  input { File x }\n}\n"
    assert what_ran(await run(site, "main.wdl", files={"main.wdl": source})).endswith("WDL 1.1")


async def test_a_repository_without_a_path_has_its_workflow_found(site: Site, git: GitServer) -> None:
    git.repository().commit({"a/main.wdl": ANSWER, "b/other.wdl": ANSWER, "inputs.json": '{"w.x": "String"}'})
    assert outputs(await run(site, f"{git.url()}#a/")) == {"w.y": 1}
    text = failed(await run(site, git.url()), State.EXECUTOR_ERROR)
    assert "the repository holds 2 workflows" in text
    assert "it has no file" in failed(await run(site, f"{git.url()}#none.wdl"), State.EXECUTOR_ERROR).replace(
        f"{git.url()} has", "it has")  # fmt: skip


async def test_a_head_that_is_started_again_uses_the_same_commit(site: Site, git: GitServer, tmp_path: Path) -> None:
    """A branch that moved, a repository that is gone: nothing is fetched twice."""
    git.repository().commit({"main.wdl": ANSWER.replace("x = 1", "x = 41")})
    handle = await site.begin(site.spec({}, url=f"{git.url()}@main#main.wdl"))
    first = what_ran(await site.finish(handle))
    asked = len(git.asked)
    git.repository().commit({"main.wdl": ANSWER.replace("x = 1", "x = 42")})
    directory = site.root / handle.partition(":")[2]
    (directory / "result.json").unlink()
    head = next(iter(site.queue.heads))
    await site.queue.start(head)
    seen = await site.finish(handle)
    assert outputs(seen) == {"w.y": 41}
    assert what_ran(seen) == first
    assert len(git.asked) == asked


async def test_a_head_that_was_killed_while_it_fetched_fetches_again(site: Site, git: GitServer) -> None:
    git.repository().commit({"main.wdl": ANSWER})
    spec = site.spec({}, url=f"{git.url()}#main.wdl")
    left = Path(spec.directory) / "source/workflow/half"
    left.parent.mkdir(parents=True)
    left.write_text("left by a head that was killed")
    seen = await site.finish(await site.begin(spec))
    assert outputs(seen) == {"w.y": 1}
    assert not left.exists()


async def test_a_registry_gives_all_documents_that_it_lists(site: Site, pages: Pages) -> None:
    url = pages.tool("#workflow/github.com/o/r", "v/1", {"main.wdl": MAIN, "../lib/inner.wdl": INNER,
                                                         "../lib/deep/er.wdl": TREE["lib/deep/er.wdl"]})  # fmt: skip
    seen = await run(site, f"{url}/PLAIN_WDL/descriptor/main.wdl")
    assert outputs(seen) == {"w.y": 1}
    assert what_ran(seen).startswith(f"workflow: {url}/PLAIN_WDL/descriptor/main.wdl, ")


async def test_a_registry_without_the_tool_is_told(site: Site, pages: Pages) -> None:
    text = failed(await run(site, f"{pages.url}/ga4gh/trs/v2/tools/a/versions/v"), State.EXECUTOR_ERROR)
    assert text.endswith("could not be fetched: the server answered 404 Not Found")


async def test_documents_of_a_registry_have_a_bound_together(site: Site, pages: Pages) -> None:
    long = ANSWER + "#" * 1000
    url = pages.tool("a", "v", {"main.wdl": long, "other.wdl": long})
    site = site.with_settings(fetching=Fetching(allow_private=True, tree_bytes=2 * len(long) - 1))
    text = failed(await run(site, url), State.EXECUTOR_ERROR)
    assert text.endswith("its documents are too large together")


@pytest.mark.parametrize("form", ["attached", "web"])
async def test_a_bundle_brings_its_inputs_and_files(site: Site, pages: Pages, tes: TesDouble, form: str) -> None:
    files = {"main.wdl": READ, "inputs.json": '{"w.file": "data/x.txt"}', "data/x.txt": "from the bundle"}
    pages.pages["/wf.zip"] = zipped(files)
    spec = site.spec({}, url="wf.zip" if form == "attached" else f"{pages.url}/wf.zip")
    attached = Path(spec.directory) / "attachments/wf.zip"
    attached.parent.mkdir(parents=True)
    attached.write_bytes(pages.pages["/wf.zip"])
    assert outputs(await site.finish(await site.begin(spec)))["w.content"] == "from the bundle"


async def test_inputs_of_the_run_win_over_those_of_its_inputs_url_and_these_over_the_bundle(
    site: Site, pages: Pages
) -> None:
    ask = "version 1.0\nworkflow w {\n  input { Int a Int b Int c }\n  output { Array[Int] y = [a, b, c] }\n}\n"
    pages.pages["/wf.zip"] = zipped({"main.wdl": ask, "inputs.json": '{"w.a": 1, "w.b": 1, "w.c": 1}'})
    pages.pages["/in.json"] = b'{"w.b": 2, "w.c": 2}'
    terms = RunTerms(inputs_url=f"{pages.url}/in.json")
    seen = await run(site, f"{pages.url}/wf.zip", terms, params={"w.c": 3})
    assert outputs(seen) == {"w.y": [1, 2, 3]}


async def test_a_run_tells_the_words_of_inputs_that_came_from_elsewhere(site: Site, pages: Pages) -> None:
    pages.pages["/in.json"] = b'{"w.file": "Sample_7.txt"}'
    terms = RunTerms(inputs_url=f"{pages.url}/in.json")
    seen = await run(site, "main.wdl", terms, files={"main.wdl": READ})
    failed(seen, State.EXECUTOR_ERROR)
    assert seen.report is not None
    assert seen.report.words == ("sample", "7", "txt")
    own = await site.run(READ, {"w.file": "Sample_7.txt"})
    assert own.report is not None
    assert own.report.words == ()


async def test_inputs_come_from_git_with_the_files_beside_them(site: Site, git: GitServer) -> None:
    git.repository().commit({"in/x.json": '{"w.file": "in/x.txt"}', "in/x.txt": "from git"})
    terms = RunTerms(inputs_url=f"{git.url()}@main#in/x.json")
    seen = await run(site, "main.wdl", terms, files={"main.wdl": READ})
    assert outputs(seen)["w.content"] == "from git"


async def test_a_link_in_a_repository_is_no_way_to_a_file_of_the_machine(site: Site, git: GitServer) -> None:
    """A31."""
    repository = git.repository()
    repository.commit({"main.wdl": 'version 1.0\nimport "lib.wdl" as a\nworkflow w {}\n'})
    repository.commit_entry("120000", "lib.wdl", repository.blob(b"/etc/passwd"))
    text = failed(await run(site, f"{git.url()}#main.wdl"), State.EXECUTOR_ERROR)
    assert "lib.wdl:1:" in text
    assert "root:" not in text


async def test_a_site_may_run_what_it_has_listed_alone(site: Site, git: GitServer) -> None:
    git.repository().commit({"main.wdl": ANSWER})
    fetching = Fetching(allow_private=True, allowed=(git.url(), f"sha256:{digest(ANSWER)}"))
    site = site.with_settings(fetching=fetching)
    assert outputs(await run(site, f"{git.url()}#main.wdl")) == {"w.y": 1}
    assert outputs(await run(site, "main.wdl", files={"main.wdl": ANSWER})) == {"w.y": 1}
    other = await run(site, "main.wdl", files={"main.wdl": ANSWER + "\n"})
    assert f"sha256:{digest(ANSWER + chr(10))}" in failed(other, State.EXECUTOR_ERROR)
    site = site.with_settings(fetching=replace(fetching, allowed=("https://example.org/",)))
    asked = len(git.asked)
    assert "sources.allowed" in failed(await run(site, f"{git.url()}#main.wdl"), State.EXECUTOR_ERROR)
    assert len(git.asked) == asked
