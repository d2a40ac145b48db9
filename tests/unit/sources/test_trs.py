"""What a TRS registry lists, and where its documents go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.sources.kinds import Trs
from wesgate.sources.trs import read_listing

TOOL = Trs("https://r.org/ga4gh/trs/v2", "#workflow/x", "v1")


def listing(*files: tuple[str, str]) -> bytes:
    return json.dumps([{"path": path, "file_type": f"{kind}_DESCRIPTOR"} for path, kind in files]).encode()


def places(content: bytes, main: str = "") -> dict[str, str]:
    return {each.path: each.place for each in read_listing(content, Trs(TOOL.api, TOOL.tool, TOOL.version, main))}


def test_the_main_document_is_the_primary_one() -> None:
    found = read_listing(listing(("b.wdl", "SECONDARY"), ("a/m.wdl", "PRIMARY")), TOOL)
    assert [(each.place, each.is_main) for each in found] == [("a/m.wdl", True), ("b.wdl", False)]


def test_a_url_may_name_another_one_and_a_whole_path() -> None:
    files = listing(("m.wdl", "PRIMARY"), ("b.wdl", "SECONDARY"))
    assert next(iter(places(files, "b.wdl"))) == "b.wdl"
    assert next(iter(places(files, "wf/m.wdl"))) == "m.wdl"


def test_documents_above_the_main_one_keep_their_places_to_each_other() -> None:
    files = listing(("m.wdl", "PRIMARY"), ("../lib/a.wdl", "SECONDARY"), ("../../b.wdl", "SECONDARY"))
    assert places(files) == {"m.wdl": "tree/tree/m.wdl", "../lib/a.wdl": "tree/lib/a.wdl", "../../b.wdl": "b.wdl"}


def test_other_files_are_left_out() -> None:
    files = [{"path": "m.wdl", "file_type": "PRIMARY_DESCRIPTOR"}, {"path": "t.json", "file_type": "TEST_FILE"}]
    assert places(json.dumps(files).encode()) == {"m.wdl": "m.wdl"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>", b"{}", b"[1]", b"[[]]", b'[{"path": 1, "file_type": "PRIMARY_DESCRIPTOR"}]', b"[" * 100_000,
        b'[{"path": "/", "file_type": "PRIMARY_DESCRIPTOR"}]', b"[]", listing(("a", "SECONDARY")),
        listing(("a", "PRIMARY"), ("A", "SECONDARY")), listing(("a", "PRIMARY"), ("a/b", "SECONDARY")),
        listing(("a\\b", "PRIMARY")), listing(("x" * 300, "PRIMARY")),
        listing(("m", "PRIMARY"), ("../" * 40 + "x", "SECONDARY")),
        listing(*((f"{number}.wdl", "PRIMARY") for number in range(1001))),
    ],
    ids=lambda content: repr(content[:60]),
)  # fmt: skip
def test_a_list_that_is_none_or_names_other_places_is_refused(content: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_listing(content, TOOL)


def test_a_document_that_is_not_listed_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"lists no document none\.wdl"):
        places(listing(("m.wdl", "PRIMARY")), "none.wdl")
