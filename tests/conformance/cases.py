"""The conformance set: what each workflow below `wdl/` is given, and what must come of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.podman import BASH

WDL = Path(__file__).parent / "wdl"
WEB = "{web}"
"""Stands for the URL of the files of `web/`."""

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"


@dataclass(frozen=True, slots=True)
class Case:
    """A folder below `wdl/`, all of whose files are sent. Files and directories in `outputs` are told by what is in
    them. `error` is what the run's first sentence holds if it must end as EXECUTOR_ERROR. `says` is the version that
    its request names, if that is not the document's own; `zipped`: the files are sent as one zip file."""

    name: str
    shows: str
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    engine: Mapping[str, str] = field(default_factory=dict)
    url: str = "main.wdl"
    says: str = ""
    zipped: bool = False
    runtime: str = "process"

    @property
    def files(self) -> dict[str, bytes]:
        folder = WDL / self.name
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    @property
    def version(self) -> str:
        """The document's own."""
        (main,) = (WDL / self.name).rglob("main.wdl")
        told = re.search(r"^version ([0-9.]+)$", main.read_text(), re.MULTILINE)
        return told[1] if told else "draft-2"


CASES = (
    Case("hello-draft-2", "a draft-2 document", {"w.name": "old"}, {"w.said": "hello old"}),
    Case("hello-1.0", "a 1.0 document; an input's default", {}, {"w.said": "hello world"}),
    Case("hello-1.1", "a 1.1 document; a call's input of the same name", {"w.name": "1.1"}, {"w.said": "hello 1.1"}),
    Case("hello-1.2", "a 1.2 document; requirements", {"w.name": "1.2"}, {"w.said": "hello 1.2"}),
    Case(
        "draft-2-style",
        "placeholder options, declarations between calls",
        {},
        {"w.said": ["a b ! nobody", "a b . nobody"], "w.last": "a b ! nobody a b . nobody ! me"},
    ),
    Case("object", "read_object and read_objects as structs", {}, {"w.one": {"name": "x", "many": 1}, "w.sum": 3}),
    Case("scatter", "a scatter, gathered", {"w.shards": 3}, {"w.sum": 5, "w.parts": ["0\n", "1\n", "4\n"]}),
    Case(
        "scatter-nested",
        "a scatter in a scatter; cross, flatten",
        {"w.letters": ["a", "b"], "w.numbers": [1, 2]},
        {
            "w.text": [["a1", "a2"], ["b1", "b2"]],
            "w.flat": ["a1", "a2", "b1", "b2"],
            "w.same": ["a1", "a2", "b1", "b2"],
        },
    ),
    Case("scatter-empty", "a scatter over nothing", {}, {"w.said": [], "w.many": 0}),
    Case(
        "scatter-wide",
        "a scatter of 1,000",
        {"w.shards": 1000},
        {"w.all": list(range(1000))},
        engine={"call_cache": "false"},
    ),
    Case(
        "conditional",
        "calls behind a condition",
        {"w.really": True},
        {"w.first": "yes", "w.second": None, "w.chosen": "yes", "w.was_run": False},
    ),
    Case(
        "conditional-in-scatter",
        "a condition in a scatter; select_all",
        {},
        {"w.holes": [0, None, 4, None, 8], "w.packed": [0, 4, 8]},
    ),
    Case(
        "subworkflow",
        "imported workflows in folders, called twice",
        {"w.words": ["a", "b"]},
        {"w.loud": ["A!", "B!"], "w.other": "ONCE?"},
    ),
    Case("deep", "workflows in workflows in scatters", {"w.n": 3}, {"w.result": 4}),
    Case(
        "mixed-versions",
        "an import of another version; a request that names a third",
        {},
        {"w.said": "hello imported"},
        says="draft-2",
    ),
    Case("zip", "a zip file with imports", {}, {"w.said": "zipped"}, zipped=True),
    Case("zip-manifest", "a bundle that names its main file and inputs", {}, {"w.text": "of the bundle"}, zipped=True),
    Case("call-cache", "the same task with the same inputs, once", {}, {"w.same": True}),
    Case("aliases", "a task called twice; after", {}, {"w.made": ["one\n", "two\n"]}),
    Case(
        "struct",
        "structs in structs, from JSON and from object",
        {"w.team": {"lead": {"name": "Ada", "age": 36, "tags": ["a", "b"]}, "others": [{"name": "Bob", "tags": []}]}},
        {
            "w.texts": ["Ada 36 a,b", "Bob unknown "],
            "w.all": [{"name": "Ada", "age": 36, "tags": ["a", "b"]}, {"name": "Bob", "age": None, "tags": []}],
            "w.age": 3,
        },
    ),
    Case("struct-import", "struct literals; an imported struct renamed", {}, {"w.area_of": 6, "w.label": "mine"}),
    Case(
        "directory",
        "Directory as input, output and between tasks",
        {"w.folder": "data"},
        {
            "w.made": {"below/deep.txt": "deep\n", "names": "a.txt\nsub\n"},
            "w.names": ["a.txt", "sub"],
            "w.files": 2,
        },
    ),
    Case(
        "glob",
        "glob, in order; one that finds nothing",
        {},
        {"w.parts": [f"part {n}\n" for n in (1, 2, 3)], "w.none": 0},
    ),
    Case(
        "optional-outputs",
        "File? that is there, and that is not",
        {},
        {"w.found": ["here\n", None], "w.both": [["here\n", None], [None, None]]},
    ),
    Case(
        "optional-inputs",
        "inputs left out and given",
        {"w.name": "Ada", "w.file": "note.txt"},
        {"w.nothing": ["nobody", "nobody"], "w.all": ["Ada", "a note"], "w.given": True},
    ),
    Case("streams", "stdout(), stderr(), and stdin by redirection", {}, {"w.lines": ["out", "err"]}),
    Case("retries", "a task that fails twice; task.attempt", {}, {"w.said": "at last", "w.attempt": 2}),
    Case("return-codes", "exit codes that are no failure", {}, {"w.said": ["seven", "any"]}),
    Case("failing", "a command that fails ends the run", error="call-fail: task command failed with exit status 7"),
    Case(
        "resume",
        "a run that fails, and one that goes on with it",
        {"w.file": "lines.txt", "w.code": 3},
        error="call-last: task command failed with exit status 3",
    ),
    Case("missing-output", "an output that was not made ends the run", error="none.txt"),
    Case("wrong-type", "mistakes are told with file, line and column", error="main.wdl:4:"),
    Case(
        "unicode",
        "spaces, quotes and other alphabets in names and texts",
        {"w.files": ["données/ä b.txt", "données/日本 (1).txt"], "w.word": "it is “Ω”"},
        {"w.made": ["Ωmega\nit is “Ω”\n", "日本\nit is “Ω”\n"], "w.names": ["la sortie é.txt", "ä b"]},
    ),
    Case(
        "strings",
        "functions of strings",
        {},
        {
            "w.replaced": "chr1.bai",
            "w.base": "reads",
            "w.joined": "a b, c",
            "w.before": ["-i a b", "-i c"],
            "w.after": ["a b.txt", "c.txt"],
            "w.quoted": ['"a b"', '"c"'],
            "w.single": ["'1'", "'2'"],
            "w.escaped": "tab\tend inside é",
        },
    ),
    Case(
        "numbers",
        "arithmetic and logic",
        {},
        {
            "w.precedence": 11,
            "w.rest": 1,
            "w.half": 0.5,
            "w.rounded": [1, 2, 2],
            "w.extremes": [1.0, 2.5],
            "w.logic": True,
            "w.chosen": "less",
        },
    ),
    Case(
        "collections",
        "functions of arrays, maps and pairs",
        {},
        {
            "w.names": ["a", "b"],
            "w.pairs": [{"left": "a", "right": 1}, {"left": "b", "right": 2}],
            "w.again": {"x": 1, "y": 2},
            "w.grouped": {"a": [1, 3], "b": [2]},
            "w.b": 2,
            "w.one": "one",
            "w.zipped": [{"left": 1, "right": "a"}, {"left": 2, "right": "b"}],
            "w.unzipped": {"left": [1, 2], "right": ["a", "b"]},
            "w.turned": [[1, 3], [2, 4]],
            "w.many": 3,
        },
    ),
    Case(
        "new-functions",
        "functions that came with 1.2",
        {},
        {
            "w.chunks": [[1, 2], [3, 4], [5]],
            "w.in_it": True,
            "w.has_key": True,
            "w.values_of": [1, 2],
            "w.found": "world",
            "w.fits": True,
            "w.path": "/a/b/c.txt",
        },
    ),
    Case(
        "multi-line",
        "strings of several lines; a here-document",
        {},
        {"w.kept": "first\n  second 2", "w.shown": ["one"]},
    ),
    Case(
        "files-written",
        "lines, maps, tables and JSON, written and read",
        {},
        {
            "w.said": ["2", "v", "w", "b", "d"],
            "w.json": {"k": "v", "l": "w"},
            "w.tsv": [["x", "1"], ["y", "2"]],
            "w.map": {"x": 1, "y": 2},
        },
    ),
    Case(
        "sizes",
        "size() in a task's inputs and runtime",
        {"w.file": "ten.txt"},
        {"w.bytes_seen": 10, "w.all": 20.0, "w.nothing": 0.0},
    ),
    Case("environment", "env declarations are not read by the shell", {}, {"w.said": 'it\'s "quoted" & $HOME you'}),
    Case("resources", "cpu, memory and disks", {}, {"w.said": "asked"}),
    Case(
        "copy-inputs",
        "a task that writes beside its input; copy_input_files",
        {"w.file": "four.txt"},
        {"w.bytes": 4},
        engine={"copy_input_files": "true"},
    ),
    Case(
        "siblings",
        "an index is found beside its file",
        {"w.data": "a/x.dat", "w.index": "a/x.dat.idx"},
        {"w.text": "index"},
    ),
    Case(
        "equal-names",
        "input files of equal names",
        {"w.files": ["a/x.txt", "b/x.txt"]},
        {"w.lines": ["of a", "of b"]},
    ),
    Case(
        "one-task",
        "a document without a workflow; the parameter task",
        {"second.word": "x"},
        {"second.said": "second x"},
        engine={"task": "second"},
    ),
    Case("empty-command", "a task whose command is empty", {}, {"w.more": 2}),
    Case("file-url", "a File literal that is a URL", {"w.web": WEB}, {"w.text": "from the web"}),
    Case(
        "container",
        "a task in a container; image_map",
        {},
        {"w.told": "from the image"},
        engine={"image_map": json.dumps({"wesgate.test/none:1": BASH})},
        runtime="podman",
    ),
)


def table() -> str:
    """docs/reference/conformance.md."""
    rows = [f"| {case.name} | {case.version} | {case.shows} |" for case in CASES]
    return "\n".join([*HEAD, "| workflow | WDL | shows |", "| --- | --- | --- |", *rows, ""])


HEAD = (
    "# WDL that is tested",
    "",
    "Each of these workflows is sent through WES to a running service by `tests/conformance`, and must end as told.",
    "They are in `tests/conformance/wdl`, need a shell only, and are a collection of examples, too.",
    "",
)

if __name__ == "__main__":
    sys.stdout.write(table())
