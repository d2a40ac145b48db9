"""What a head reads when it loads a workflow, and all that it refuses to: the part of a run before anything runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.doubles.git import GitServer
from tests.doubles.pages import Pages
from tests.doubles.web import OK, Web, moved, serving
from wesgate.core.spec import Fetching, Store
from wesgate.engines.miniwdl.head.complaints import explain
from wesgate.engines.miniwdl.head.documents import Sources, Workflow, load_inputs, load_workflow
from wesgate.engines.miniwdl.verdict import Fault
from wesgate.sources import downloads
from wesgate.sources.arrive import Arrived

HELLO = "version 1.0\nworkflow w {}\n"


def load(folder: Path, url: str, files: Mapping[str, str] | None = None, private: bool = True) -> Workflow:
    for name, text in (files or {}).items():
        path = folder / "attachments" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_workflow(url, sources(folder, private))


def sources(folder: Path, private: bool = True) -> Sources:
    return Sources(folder, Fetching(allow_private=private, tree_timeout_s=20), (), lambda: False)


def refused(folder: Path, url: str, files: Mapping[str, str] | None = None, private: bool = True) -> str:
    """The sentences that the run's owner is told."""
    with pytest.raises(Exception, match=r".") as failed:
        load(folder, url, files, private)
    found = explain(failed.value, folder)
    assert found.fault is Fault.WORKFLOW
    text = "\n".join(found.messages)
    assert str(folder) not in text
    return text


def importing(uri: str) -> str:
    return f'version 1.0\nimport "{uri}" as a\nworkflow w {{}}\n'


OUTSIDE = ["/etc/passwd", "../../../../../../../../etc/passwd", "file:///etc/passwd", "../inputs.json",
           "../../head.json", "/no/such/file", "../no-such-file", "gopher://h/x", "/dev/stdin"]  # fmt: skip


@pytest.mark.parametrize("uri", OUTSIDE)
def test_what_lies_outside_is_neither_imported_nor_looked_for(tmp_path: Path, uri: str) -> None:
    """A29: nor can it be learned whether it is there."""
    told = refused(tmp_path, "main.wdl", {"main.wdl": importing(uri)})
    assert told == f"main.wdl:2:1: Failed to import {uri}\n{uri} is outside the attachments of the run"


@pytest.mark.parametrize("uri", ["none.wdl", "a/../none.wdl", "x" * 5000, "main.wdl/x", ".", "sub"])
def test_an_import_that_is_not_there_is_named(tmp_path: Path, uri: str) -> None:
    told = refused(tmp_path, "main.wdl", {"main.wdl": importing(uri), "sub/x": ""})
    assert "was not found: there is no such attachment" in told


def test_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "attachments").mkdir()
    (tmp_path / "attachments/lib.wdl").symlink_to("/etc/passwd")
    (tmp_path / "attachments/direct.wdl").symlink_to("/etc/passwd")
    assert "is outside the attachments" in refused(tmp_path, "main.wdl", {"main.wdl": importing("lib.wdl")})
    assert "is outside the attachments" in refused(tmp_path, "direct.wdl")


def test_what_lies_outside_does_not_hide_that_an_import_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text("{}")
    assert "was not found" in refused(tmp_path, "sub/main.wdl", {"sub/main.wdl": importing("../head.json")})


def test_a_repository_cannot_import_what_else_the_run_has(tmp_path: Path, git: GitServer) -> None:
    git.repository().commit({"main.wdl": importing("../../attachments/a.wdl")})
    told = refused(tmp_path, f"{git.url()}#main.wdl", {"a.wdl": HELLO})
    assert "is outside what the workflow came with" in told
    assert told.startswith("main.wdl:2:1: ")


def test_an_import_may_be_named_from_the_top(tmp_path: Path) -> None:
    files = {"wf/main.wdl": importing("lib/a.wdl"), "lib/a.wdl": HELLO}
    assert load(tmp_path, "wf/main.wdl", files).document.imports[0].doc


def test_a_document_from_the_web_imports_from_the_web_alone(tmp_path: Path, pages: Pages) -> None:
    pages.pages |= {"/wf/main.wdl": importing("../lib/a.wdl").encode(), "/lib/a.wdl": HELLO.encode()}
    assert load(tmp_path, f"{pages.url}/wf/main.wdl").document.imports
    for uri in ("file:///etc/passwd", "s3://b/k"):
        pages.pages["/main.wdl"] = importing(uri).encode()
        (tmp_path / uri[:2]).mkdir()
        assert "is not an http or https URL" in refused(tmp_path / uri[:2], f"{pages.url}/main.wdl")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/main.wdl", "http://localhost:{port}/wf.zip", "https://127.0.0.1:{port}/x.git#main.wdl",
     "http://0x7f000001:{port}/a.wdl", "http://127.1:{port}/a.wdl", "http://0177.0.0.1:{port}/a.wdl",
     "http://[::ffff:127.0.0.1]:{port}/a.wdl", "http://127.0.0.1:{port}#@good/", "trs://127.0.0.1:{port}/a/v",
     "http://127.0.0.1:{port}/ga4gh/trs/v2/tools/a/versions/v", "http://169.254.169.254/latest/meta-data",
     "http://169.254.170.2/v2/credentials", "http://[fd00:ec2::254]/", "http://168.63.129.16/", "http://2852039166/",
     "http://0xA9FEA9FE/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a9fe:a9fe::]/"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["workflow", "import"])
def test_no_host_is_connected_to_that_is_not_public(tmp_path: Path, pages: Pages, url: str, how: str) -> None:
    """A21, A22, A25, A29: whatever the API thought of it."""
    named = url.format(port=pages.port)
    if how == "workflow":
        told = refused(tmp_path, named, private=False)
    elif named.startswith("trs:") or ".git" in named:
        return  # no import is one of these
    else:
        told = refused(tmp_path, "main.wdl", {"main.wdl": importing(named)}, private=False)
    assert "not public" in told
    assert not pages.asked


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://168.63.129.16/x"]
)
def test_where_clouds_give_out_credentials_nothing_is_fetched_whatever_a_site_allows(tmp_path: Path, url: str) -> None:
    """A21."""
    assert "not public and never allowed" in refused(tmp_path, url)


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/x", "file:///etc/passwd", "gopher://h/x", "//169.254.169.254/"]
)
def test_a_redirect_leads_to_nothing_that_could_not_be_named(tmp_path: Path, location: str) -> None:
    """A24."""
    with serving() as web:
        web.replies = [moved(location)]
        assert "it redirects to" in refused(tmp_path, f"http://{web.host}/main.wdl")


def test_redirects_end(tmp_path: Path) -> None:
    """A24."""
    with serving() as web:
        web.replies = [moved("/again")] * 20
        assert "it redirects more than" in refused(tmp_path, f"http://{web.host}/main.wdl")
        assert len(web.asked) < 10


def test_a_large_answer_is_cut_off_however_it_is_told(tmp_path: Path) -> None:
    """A26: a length that is too large, and none."""
    for number, head in enumerate((b"Content-Length: 10000000000\r\n\r\n", b"\r\n" + b"#" * (11 << 20))):
        (tmp_path / str(number)).mkdir()
        with serving() as web:
            web.replies = [b"HTTP/1.1 200 OK\r\n" + head]
            assert "larger than the 10485760 bytes" in refused(tmp_path / str(number), f"http://{web.host}/main.wdl")


def test_a_compressed_answer_is_not_decompressed(tmp_path: Path) -> None:
    """A26: nobody asked for gzip, so what comes is not read as such."""
    with serving() as web:
        web.replies = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"]
        refused(tmp_path, f"http://{web.host}/main.wdl")
        assert b"Accept-Encoding: identity" in web.asked[0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "gopher://h/x", "data:,x", "s3://service/x",
                                 "ext::id", "ssh://-oProxyCommand=id/x", "/etc/passwd", "../inputs.json"])  # fmt: skip
def test_what_a_submit_refuses_a_head_refuses_too(tmp_path: Path, url: str) -> None:
    """A27, A30."""
    assert refused(tmp_path, url).startswith("the workflow cannot be read: workflow_url ")


def test_a_document_is_utf_8_and_at_most_10_mib(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.wdl", {"a.wdl": "#" * ((10 << 20) + 1)}) == "a.wdl is larger than 10 MiB"
    (tmp_path / "attachments/b.wdl").write_bytes(b"version 1.0\xff")
    assert refused(tmp_path, "b.wdl") == "b.wdl is not UTF-8 text"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"[]", "is not a JSON object"), (b"{", "is not valid JSON"), (b'{"w.x": NaN}', "NaN"), (b"\xff", "is not UTF-8"),
     (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than 64 deep"), (b"[" * 1_000_000, "is not valid JSON"),
     (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "is not valid JSON"), (b" " * (17 << 20), "is larger than 16 MiB")],
    ids=["list", "cut off", "NaN", "not UTF-8", "deep", "very deep", "YAML", "large"],
)  # fmt: skip
def test_inputs_that_are_no_json_object_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """A46: YAML is not read at all, neither here nor anywhere."""
    workflow = load(tmp_path, "main.wdl", {"main.wdl": HELLO})
    (tmp_path / "attachments/in.json").write_bytes(content)
    with pytest.raises(Exception, match=told):
        load_inputs(workflow.arrived, "in.json", {}, sources(tmp_path))


@pytest.mark.parametrize(
    "url", ["wf.zip", "https://h.org/x.git", "https://h.org/x.git#in/", "file:///etc/passwd", "../x"]
)
def test_inputs_are_one_file(tmp_path: Path, url: str) -> None:
    workflow = load(tmp_path, "main.wdl", {"main.wdl": HELLO})
    with pytest.raises(Exception, match="inputs_url"):
        load_inputs(workflow.arrived, url, {}, sources(tmp_path))


@pytest.mark.parametrize("name", ["main.wdl", "wf.zip"])
def test_an_object_that_no_worker_has_brought_is_told(tmp_path: Path, name: str) -> None:
    """As in a dry run, which has no worker."""
    with pytest.raises(Exception, match="objects of stores are brought when a run starts"):
        load_workflow(f"s3://b/{name}", replace(sources(tmp_path), stores=(Store("s3://"),)))


def slowly(web: Web, text: str) -> None:
    """The next answer is this, after a while."""

    def reply(connection: socket.socket) -> None:
        web.ended.wait(0.4)
        connection.sendall(OK % (len(text), text.encode()))

    web.replies.append(reply)


@pytest.mark.parametrize("how", ["tool", "imports"])
def test_all_documents_of_a_workflow_share_one_time(tmp_path: Path, how: str) -> None:
    with serving() as web:
        listed = [{"path": f"{number}.wdl", "file_type": "SECONDARY_DESCRIPTOR"} for number in range(9)]
        listed[0]["file_type"] = "PRIMARY_DESCRIPTOR"
        imports = "".join(f'import "{each["path"]}" as a{number}\n' for number, each in enumerate(listed))
        slowly(web, json.dumps(listed) if how == "tool" else f"version 1.0\n{imports}workflow w {{}}\n")
        for _ in listed:
            slowly(web, HELLO)
        url = f"http://{web.host}/" + ("ga4gh/trs/v2/tools/a/versions/v" if how == "tool" else "main.wdl")
        with pytest.raises(Exception, match=r".") as failed:
            load_workflow(url, replace(sources(tmp_path), fetching=Fetching(allow_private=True, tree_timeout_s=1)))
        assert "it took longer than the 1 s allowed" in " ".join(explain(failed.value, tmp_path).messages)
        assert len(web.asked) < len(listed)


def test_one_document_may_not_take_all_of_that_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "DOCUMENT_TIMEOUT_S", 0.2)
    with serving() as web:
        slowly(web, HELLO)
        assert "it took longer than the 0.2 s allowed" in refused(tmp_path, f"http://{web.host}/main.wdl")


def test_all_inputs_of_a_bundle_are_bounded_together(tmp_path: Path) -> None:
    names = ("a.json", "b.json")
    for name in names:
        (tmp_path / name).write_text("{}" + " " * (9 << 20))
    with pytest.raises(
        Exception, match="the inputs cannot be read: those of the bundle are larger than 16 MiB together"
    ):
        load_inputs(Arrived("x.zip", "x.zip", "main.wdl", inputs=names), "", {}, sources(tmp_path))
    assert load_inputs(Arrived("x.zip", "x.zip", "main.wdl", inputs=names[1:]), "", {}, sources(tmp_path)) == {}
