"""`wesgate run` of more than one file: places that the server reads, directories, zips."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double
from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.submit.places import find_main, type_at
from wesgate.sources.bundle import Contents


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/w/main.wdl?raw=1", "WDL"),
        ("https://github.com/o/r/blob/v1/x/main.cwl", "CWL"),
        ("https://github.com/o/r", "WDL"),
        ("https://github.com/o/r/tree/main/dir", "WDL"),
        ("https://example.org/p.git@v1#flow/main.nf", "NFL"),
        ("https://example.org/p.git@v1.2", "WDL"),
        ("git+https://example.org/p@main", "WDL"),
        ("trs://dockstore.org/quay.io%2Fo%2Fr/1.0", "WDL"),
        ("https://d.org/ga4gh/trs/v2/tools/a/versions/1/PLAIN_CWL/descriptor/%2Fmain", "CWL"),
        ("https://d.org/ga4gh/trs/v2/tools/a/versions/1", "WDL"),
        ("s3://b/bundle.zip", "WDL"),
        ("s3://b/Snakefile", "SMK"),
    ],
)
def test_the_type_is_told_by_the_url(url: str, kind: str) -> None:
    assert type_at(url) == kind


def test_a_url_that_tells_no_type_needs_it_said() -> None:
    with pytest.raises(UsageProblem, match="--type WDL"):
        type_at("https://example.org/w/main")


@pytest.mark.parametrize("url", ["trs://d.org/tool/1.0", "s3://b/w.wdl", "https://example.org/p.git@main#w.wdl"])
def test_what_the_server_reads_is_passed_on(cli: Cli, server: Double, url: str) -> None:
    assert cli(server, "run", url, "who=Ada").code == 0
    assert (server.forms[0]["workflow_url"], server.forms[0]["workflow_type"]) == (url, "WDL")
    assert server.attachments == {}


def test_a_directory_is_uploaded_whole_with_its_inputs(cli: Cli, any_server: Double, folder: Path) -> None:
    assert cli(any_server, "run", str(folder), "who=Bob").code == 0
    assert set(any_server.attachments) == {"main.wdl", "other.wdl", "lib/a.fq", "inputs.json"}
    form = any_server.forms[0]
    assert (form["workflow_url"], form["workflow_type_version"]) == ("main.wdl", "1.0")
    assert json.loads(form["workflow_params"]) == {"hello.reads": "lib/a.fq", "hello.who": "Bob"}


def test_a_manifest_says_which_file_is_the_main_one(cli: Cli, server: Double, folder: Path) -> None:
    told = {"mainWorkflowURL": "./other.wdl", "inputFileURLs": []}
    (folder / "MANIFEST.json").write_text(json.dumps(told))
    assert cli(server, "run", str(folder)).code == 0
    assert (server.forms[0]["workflow_url"], server.forms[0]["workflow_params"]) == ("other.wdl", "{}")


def test_a_zip_goes_up_as_it_is(cli: Cli, server: Double, folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.write(folder / "main.wdl", "main.wdl")
    assert cli(server, "run", str(tmp_path / "w.zip"), "who=7").code == 0
    assert set(server.attachments) == {"w.zip"}
    assert (server.forms[0]["workflow_url"], server.forms[0]["workflow_type_version"]) == ("w.zip", "1.0")
    assert json.loads(server.forms[0]["workflow_params"]) == {"hello.who": "7"}


def a_bundle(manifest: bytes, names: list[str]) -> Contents:
    return find_main(names, lambda name: manifest, "w.zip")


@pytest.mark.parametrize(
    ("names", "manifest", "found"),
    [
        (["main.wdl", "b.wdl", "inputs.json"], b"", Contents("main.wdl", ("inputs.json",))),
        (["x/only.cwl", "x/inputs-2.json", "x/inputs-1.json", "inputs.json"], b"",
         Contents("x/only.cwl", ("x/inputs-1.json", "x/inputs-2.json"))),
        (["r-1/main.wdl", "r-1/b/main.wdl"], b"", Contents("r-1/main.wdl")),
        (["r-1/main.wdl", "r-1/b.wdl", ".DS_Store", "__MACOSX/._b.wdl"], b"", Contents("r-1/main.wdl")),
        (["x/hello"], b"", Contents("x/hello")),
        (["r/MANIFEST.json", "r/a.wdl", "r/i.json"], b'{"mainWorkflowURL": "./a.wdl", "inputFileURLs": ["i.json"]}',
         Contents("r/a.wdl", ("r/i.json",))),
    ],
)  # fmt: skip
def test_the_main_file_of_a_bundle_is_found(names: list[str], manifest: bytes, found: Contents) -> None:
    assert a_bundle(manifest, names) == found


@pytest.mark.parametrize(
    ("names", "manifest", "cause"),
    [
        (["a.wdl", "b.wdl"], b"", "holds 2 workflows"),
        (["x/a.txt", "x/b.txt"], b"", "holds no workflow"),
        (["main.wdl", "main.cwl"], b"", "holds 2 workflows"),
        (["main.wdl", "MANIFEST.json"], b'{"mainWorkflowURL": "../x.wdl"}', "must be relative"),
        (["main.wdl", "MANIFEST.json"], b'{"mainWorkflowURL": "main.wdl", "inputFileURLs": [7]}', "names no file"),
        (["main.wdl", "MANIFEST.json"], b"[" * 100_000, "no JSON object"),
        (["main.wdl", "MANIFEST.json"], b"[]", "no JSON object"),
    ],
)
def test_a_bundle_without_one_main_file_is_refused(names: list[str], manifest: bytes, cause: str) -> None:
    with pytest.raises(UsageProblem, match=f"^w.zip: .*{cause}"):
        a_bundle(manifest, names)


@pytest.mark.parametrize("body", [b"", b"PK\3\4 no zip", b"\0" * 100])
def test_what_is_no_zip_is_one_line(cli: Cli, server: Double, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "w.zip").write_bytes(body)
    said = cli(server, "run", str(tmp_path / "w.zip"))
    assert (said.code, "cannot be read as a zip" in said.err, said.err.count("\n")) == (2, True, 1)
