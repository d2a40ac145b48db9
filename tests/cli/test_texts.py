"""What is read from texts without a server: WDL, parameters, names of uploads, log places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answers import T0
from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.client import WES, log_place
from wesgate.cli.people.replies import Stand, read_log
from wesgate.cli.people.submit import wdl
from wesgate.cli.people.submit.params import Signature, parameters, unreadable
from wesgate.cli.people.submit.places import type_of
from wesgate.cli.people.submit.workflow import find_workflow, named, version_from
from wesgate.cli.remote.connection import base_url
from wesgate.cli.remote.reading import has_ended
from wesgate.cli.tasks.client import TES
from wesgate.cli.text import clean, size, took

TEXT = """# import "comment.wdl"
version 1.1
import "a/b.wdl" as b
  import 'https://example.org/x.wdl'
workflow w {
  input {
    File reads
    String sample # a name
    Array[File]+ more
    Map[String, Int] sizes = {}
  }
}
task t {
  command <<<
    import "not.wdl"
    workflow fake {
  >>>
  meta { }
}
task u {
  command {
    import "nor.wdl"
  }
}
"""


def test_imports_are_found_outside_of_comments_and_commands() -> None:
    assert wdl.imports(TEXT) == ["a/b.wdl", "https://example.org/x.wdl"]


def test_version_name_and_types_are_read_from_the_text() -> None:
    assert (wdl.version(TEXT), wdl.version("task x {}"), wdl.workflow_name(TEXT)) == ("1.1", "draft-2", "w")
    types = wdl.declared(TEXT)
    assert types == {"reads": "File", "sample": "String", "more": "Array[File]+", "sizes": "Map[String,Int]"}


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("version 1.0\nworkflow w { input { Array[File] fs String s } }", {"fs": "Array[File]", "s": "String"}),
        ("version 1.0\ntask t { input { File f } command {} }", {"f": "File"}),
        ("workflow w {\n  File f\n  call t\n}\ntask t { File g command { } }", {"f": "File"}),
        ("version 1.0\nworkflow w {\n  input {\n    File f\n  }\n  call }", {"f": "File"}),
        ("version 1.0\nstruct S { File f }", {}),
    ],
)
def test_inputs_are_read_in_every_form_they_come(text: str, types: dict[str, str]) -> None:
    assert wdl.declared(text) == types


def test_the_closure_of_imports_is_uploaded_once_also_in_circles(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.wdl").write_text('version 1.0\nimport "sub/a.wdl"\nimport "sub/b.wdl"\nworkflow m {}')
    (tmp_path / "sub" / "a.wdl").write_text('version 1.0\nimport "b.wdl"')
    (tmp_path / "sub" / "b.wdl").write_text('version 1.0\nimport "./a.wdl"\nimport "../main.wdl"')
    found = find_workflow(str(tmp_path / "main.wdl"), [])
    assert sorted(found.files.values()) == ["main.wdl", "sub/a.wdl", "sub/b.wdl"]
    assert (found.url, found.type, found.type_version) == ("main.wdl", "WDL", "1.0")


@pytest.mark.parametrize(
    ("imports", "cause"),
    [("none.wdl", "cannot be read"), ("/etc/x.wdl", "by a relative path"), ("file:///x.wdl", "by a relative path")],
)
def test_an_import_that_cannot_be_uploaded_is_named(tmp_path: Path, imports: str, cause: str) -> None:
    main = tmp_path / "main.wdl"
    main.write_text(f'version 1.0\nimport "{imports}"')
    with pytest.raises(UsageProblem, match=cause) as told:
        find_workflow(str(main), [])
    assert imports in str(told.value)


def test_two_attached_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text("")
    with pytest.raises(UsageProblem, match=r"'x\.txt'"):
        named(None, [], [tmp_path / "a" / "x.txt", tmp_path / "b" / "x.txt"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"7"', "7"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
        ("a=b", "a=b"),
        ("", ""),
    ],
    ids=lambda value: str(value)[:12],
)
def test_values_are_json_where_they_are_json(text: str, value: Any) -> None:
    assert parameters([f"key={text}"], [], Signature()) == {"key": value}


def test_declared_types_win_over_guesses() -> None:
    signature = Signature("w", wdl.declared(TEXT))
    assert parameters(["sample=7", "w.more=x", "task.n=1"], [], signature) == {
        "w.sample": "7",
        "w.more": ["x"],
        "w.task.n": 1,
    }
    assert parameters(["more=x", "more=y"], [], signature) == {"w.more": ["x", "y"]}


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("File", True), ("File?", True), ("Array[File]+", True), ("Array[Array[File]]", True),
        ("Map[String, File]", True), ("String", False), ("Pair[File,String]", False), ("Sample", False), ("", False),
    ],
)  # fmt: skip
def test_only_what_is_declared_as_a_file_is_sent(kind: str, sent: bool) -> None:
    signature = Signature("w", {"x": kind})
    assert unreadable({"w.x": "/data/x"}, signature, ["/dat", "/other"]) == ([Path("/data/x")] if sent else [])
    assert unreadable({"w.x": "/data/x"}, signature, ["/data"]) == []


def test_names_of_local_files_become_paths_but_strings_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.fq").write_text("")
    monkeypatch.chdir(tmp_path)
    signature = Signature("w", wdl.declared(TEXT))
    given = parameters(["reads=x.fq", "sample=x.fq", "more=x.fq", "more=none.fq", "other=x.fq"], [], signature)
    there = str(tmp_path / "x.fq")
    assert given == {"w.reads": there, "w.sample": "x.fq", "w.more": [there, "none.fq"], "w.other": there}


def test_an_inputs_file_names_files_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "x.fq").write_text("")
    (tmp_path / "in.json").write_text(json.dumps({"w.reads": "x.fq", "#": "comment", "sizes": {"x.fq": 1}}))
    given = parameters(["sizes={}"], [tmp_path / "in.json"], Signature("w", wdl.declared(TEXT)))
    assert given == {"w.reads": str(tmp_path / "x.fq"), "w.sizes": {}}


def test_an_attached_file_is_named_as_the_server_will_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.fq").write_text("")
    monkeypatch.chdir(tmp_path)
    signature = Signature(attached={tmp_path / "x.fq": "data/x.fq"})
    assert parameters(["reads=./x.fq"], [], signature) == {"reads": "data/x.fq"}


@pytest.mark.parametrize("text", ["[]", "{", "\xff", ""])
def test_an_inputs_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "in.json").write_text(text, "latin-1")
    with pytest.raises(UsageProblem, match="the inputs file"):
        parameters([], [tmp_path / "in.json"], Signature())


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:1", "http://h:1/ga4gh/wes/v1"),
        ("https://h/", "https://h/ga4gh/wes/v1"),
        ("https://h/prefix/", "https://h/prefix/ga4gh/wes/v1"),
        ("https://h/x/ga4gh/wes/v1/", "https://h/x/ga4gh/wes/v1"),
        ("https://h/api/v2", "https://h/api/v2"),
        ("https://h/ga4gh/tes/v1", "https://h/ga4gh/wes/v1"),
    ],
)
def test_a_server_is_named_by_host_or_by_the_whole_path(given: str, base: str) -> None:
    assert base_url(given, WES) == base
    assert base_url(given, TES) == base.replace("/wes/", "/tes/")


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("https://x/y", "https://x/y"),
        ("/logs/1", "http://h/logs/1"),
        ("../../logs/1", "http://h/ga4gh/wes/logs/1"),
        ("//evil/x", None),
        ("s3://bucket/x", None),
        ("/bin/sh: not found", None),
        ("a line\nhttp://x/y", None),
        ("", None),
    ],
)
def test_a_log_is_a_place_or_the_text_itself(where: str, url: str | None) -> None:
    assert log_place("http://h/ga4gh/wes/v1", "r", where) == url


def test_workflow_types_are_told_by_the_end_of_the_name() -> None:
    assert [type_of(name) for name in ("a.WDL", "b/c.cwl", "x/Snakefile", "m.nf")] == ["WDL", "CWL", "SMK", "NFL"]
    assert version_from({"workflow_type_versions": []}, "WDL") == "1.0"


def test_control_characters_are_written_out() -> None:
    assert clean("a\x1b[0m\tb\r\nc\x9b\u202e\ud800") == "a\\x1b[0m\tb\nc\\x9b\\u202e?"


@pytest.mark.parametrize(
    ("step", "ended"),
    [
        ({}, False),
        ({"exit_code": -1}, False),
        ({"exit_code": 0}, True),
        ({"exit_code": 0, "start_time": T0}, False),
        ({"exit_code": -1, "end_time": T0}, True),
    ],
)
def test_a_step_has_ended_by_its_time_or_its_exit_code(step: dict[str, Any], ended: bool) -> None:
    assert has_ended(step) is ended


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (2.5e6, "2.5 MB"), (3e15, "3000 TB")]
)
def test_sizes_read_as_people_say_them(count: float, told: str) -> None:
    assert size(count) == told


def test_durations_read_as_people_say_them() -> None:
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 1, 1, tzinfo=UTC)
    told = [took(start, start + timedelta(seconds=seconds)) for seconds in (-5, 59, 125, 3700)]
    assert told == ["< 1 s", "59 s", "2 min 05 s", "1 h 01 min"]


@pytest.mark.parametrize("exit_code", ["1", True, 1.5, None, [1]])
def test_only_a_whole_number_is_an_exit_code(exit_code: object) -> None:
    assert read_log({"start_time": "2026-11-21T10:00:00Z", "exit_code": exit_code}).stand is Stand.RUNNING
