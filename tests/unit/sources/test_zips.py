"""Zip bundles: which file is the workflow, and A34: what is no bundle but a trap."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from wesgate.core.errors import InvalidRequest, TooLarge
from wesgate.sources import bundle, zips
from wesgate.sources.bundle import Contents

HELLO = "version 1.0\nworkflow w {}\n"


def zipped(files: Mapping[str, str | bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change:
                change(info)
            archive.writestr(info, content)
    return made.getvalue()


def unpacked(content: bytes, folder: Path, max_bytes: int = 10_000_000) -> Path:
    (folder / "b.zip").write_bytes(content)
    tree = folder / "tree"
    tree.mkdir()
    zips.unpack(folder / "b.zip", tree, max_bytes, lambda: False)
    return tree


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "b.zip"]


def test_a_bundle_is_unpacked_with_its_folders(tmp_path: Path) -> None:
    tree = unpacked(zipped({"main.wdl": HELLO, "a b/": "", "a b/c.wdl": HELLO}), tmp_path)
    assert sorted(path.relative_to(tree).as_posix() for path in written(tree)) == ["a b/c.wdl", "main.wdl"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "a/../../evil", "/etc/evil",
        "..\\evil", "C:evil", "a\0b", "a/./b", "a//b", "x" * 300, "nul\x01", "x.",
    ],
    ids=repr,
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    content = zipped({"x" * len(name.encode()): "x"}).replace(b"x" * len(name.encode()), name.encode())
    with pytest.raises(InvalidRequest):
        unpacked(content, tmp_path)
    assert not written(tmp_path)


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a/b"), ("\u00e9", "e\u0301")], ids=["case", "folder", "NFC"])
def test_names_that_would_meet_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="in the zip bundle"):
        unpacked(zipped(dict.fromkeys(names, "x")), tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: int) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = (kind | 0o777) << 16

    with pytest.raises(InvalidRequest, match="not regular"):
        unpacked(zipped({"main.wdl": "/etc/passwd"}, change), tmp_path)
    assert not written(tmp_path)


def test_an_encrypted_bundle_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"main.wdl": HELLO}))
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    with pytest.raises(InvalidRequest, match="encrypted"):
        unpacked(bytes(content), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_than_deflate_are_refused(tmp_path: Path, method: int) -> None:
    with pytest.raises(InvalidRequest, match="deflate"):
        unpacked(zipped({"main.wdl": HELLO}, lambda info: setattr(info, "compress_type", method)), tmp_path)


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    """As each layer of 42.zip does."""
    with pytest.raises(TooLarge, match="more than 200 times its size"):
        unpacked(zipped({"zeros": b"\0" * 5_000_000}), tmp_path)


def test_files_that_are_too_much_together_are_refused_before_one_is_written(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="more than the 1000 bytes allowed"):
        unpacked(zipped({str(number): bytes(range(256)) for number in range(5)}), tmp_path, max_bytes=1000)
    assert not written(tmp_path)


def test_a_size_that_is_not_true_does_not_help(tmp_path: Path) -> None:
    content = bytearray(zipped({"main.wdl": b"x" * 5000}))
    for start, offset in ((0, 22), (content.rindex(b"PK\1\2"), 24)):
        content[start + offset : start + offset + 4] = struct.pack("<L", 10)
    with pytest.raises((InvalidRequest, TooLarge)):
        unpacked(bytes(content), tmp_path)
    assert sum(path.stat().st_size for path in written(tmp_path)) <= 10


@pytest.mark.timeout(20)
def test_a_million_entries_are_refused_without_being_read(tmp_path: Path) -> None:
    entry = zipped({"a": ""})
    directory = entry[entry.index(b"PK\1\2") : entry.index(b"PK\5\6")] * 1_000_000
    ends = [struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0, 0) for count in (1, 0xFFFF)]
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    for end in (ends[0], ends[1], locator + ends[0], ends[0] + b"\0"):
        with pytest.raises((InvalidRequest, TooLarge), match=r"10000 files|zip64|damaged"):
            zips.entries(io.BytesIO(directory + end))


def test_files_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """The overlap of https://www.bamsoftware.com/hacks/zipbomb/, plain and quoted alike."""
    content = zipped({"a": b"x" * 100})
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[start:end]
    directory = b"".join(entry[:46] + name + entry[47:] for name in (b"a", b"b", b"c"))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), start, 0)
    with pytest.raises(InvalidRequest, match="overlap"):
        unpacked(content[:start] + directory + tail, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + b"\0" * 18, b"<html>" * 100, zipped({"a": "x"})[:60]])
def test_what_is_no_zip_file_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be read|no workflow"):
        bundle.find(unpacked(content, tmp_path), zipped=True)


def test_every_damage_ends_in_a_sentence(tmp_path: Path) -> None:
    whole = zipped({"main.wdl": HELLO, "a/b.wdl": HELLO})
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0xFF
        (tmp_path / str(place)).mkdir()
        with suppress(InvalidRequest, TooLarge):
            unpacked(bytes(content), tmp_path / str(place))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"any.txt": HELLO}, Contents("any.txt")),
        ({"main.wdl": HELLO, "sub/b.wdl": HELLO}, Contents("main.wdl")),
        ({"main.wdl": HELLO, "inputs.json": "{}", "inputs2.json": "{}", "x/inputs.json": "{}", "options.json": "{}"},
         Contents("main.wdl", ("inputs.json", "inputs2.json"))),
        ({"a/wf.wdl": HELLO, "a/inputs.json": "{}", "README": ""}, Contents("a/wf.wdl", ("a/inputs.json",))),
        ({"r-main/main.wdl": HELLO, "r-main/x/b.wdl": HELLO}, Contents("r-main/main.wdl")),
        ({"main.wdl": HELLO, "__MACOSX/._main.wdl": "x", ".DS_Store": "x"}, Contents("main.wdl")),
        ({"MANIFEST.json": json.dumps({"mainWorkflowURL": "w/x.wdl", "inputFileURLs": ["b.json", "a.json"],
                                       "optionsFileURL": "o.json"}),
          "w/x.wdl": HELLO, "main.wdl": HELLO, "a.json": "{}", "b.json": "{}"},
         Contents("w/x.wdl", ("b.json", "a.json"))),
        ({"top/MANIFEST.json": '{"mainWorkflowURL": "./x.wdl"}', "top/x.wdl": HELLO}, Contents("top/x.wdl")),
    ],
    ids=["one file", "main.wdl", "inputs", "one WDL", "a folder of all", "macOS", "manifest", "manifest in a folder"],
)  # fmt: skip
def test_the_workflow_of_a_bundle_is_found(tmp_path: Path, files: Mapping[str, str], found: Contents) -> None:
    assert bundle.find(unpacked(zipped(files), tmp_path), zipped=True) == found


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.wdl": HELLO, "b.wdl": HELLO}, "2 workflows"),
        ({"a.txt": "", "b.txt": ""}, "no workflow"),
        ({"MANIFEST.json": "[]", "main.wdl": HELLO}, "no JSON object"),
        ({"MANIFEST.json": "{", "main.wdl": HELLO}, "no JSON object"),
        ({"MANIFEST.json": "[" * 100_000, "main.wdl": HELLO}, "no JSON object"),
        ({"MANIFEST.json": "{}", "main.wdl": HELLO}, "mainWorkflowURL of MANIFEST.json names no file"),
        ({"MANIFEST.json": '{"mainWorkflowURL": "none.wdl"}', "main.wdl": HELLO}, "that is not there: none.wdl"),
        ({"MANIFEST.json": '{"mainWorkflowURL": "../../x"}', "main.wdl": HELLO}, "without '..'"),
        ({"MANIFEST.json": '{"mainWorkflowURL": "/etc/passwd"}', "main.wdl": HELLO}, "must be relative"),
        ({"MANIFEST.json": '{"mainWorkflowURL": "main.wdl", "inputFileURLs": "x"}', "main.wdl": HELLO}, "is no list"),
        (
            {"MANIFEST.json": '{"mainWorkflowURL": "main.wdl", "inputFileURLs": [1]}', "main.wdl": HELLO},
            "names no file",
        ),
    ],
)
def test_a_bundle_whose_workflow_cannot_be_told_is_refused(tmp_path: Path, files: Mapping[str, str], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        bundle.find(unpacked(zipped(files), tmp_path), zipped=True)


def test_the_inputs_of_a_repository_are_examples(tmp_path: Path) -> None:
    tree = unpacked(zipped({"main.wdl": HELLO, "inputs.json": "{}"}), tmp_path)
    assert bundle.find(tree, zipped=False) == Contents("main.wdl")
