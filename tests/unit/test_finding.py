"""What runs are found by: names, words, and what people type to find them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from wesgate.core.errors import InvalidRequest
from wesgate.ga4gh.finding import (
    LONGEST_NAME,
    LONGEST_WORD,
    MOST_SEARCHED,
    MOST_WORDS,
    name_of,
    searched,
    words_in,
    words_of,
)

NAMES = [
    ("main.wdl", "main"), ("a/b c.wdl", "b c"), ("https://h/x/y%20z.wdl?raw=1", "y z"), ("a.tar.gz", "a.tar"),
    ("https://h/o/r.git@v1#wf/main.wdl", "main"), ("git+https://h/o/r.git@abc", "r"), ("https://github.com/o/r", "r"),
    ("trs://h/%23workflow%2Fgithub.com%2Fo%2Fr%2Fname/v1", "name"), ("trs://h/id/v1/Dockstore.wdl", "Dockstore"),
    ("s3://b/k/main.wdl", "main"), (".wdl", ".wdl"), ("v1.2", "v1.2"), ("x%00%0ay.wdl", "xy"), ("http://[x", ""),
    ("/", ""), ("https://h/%E4%80.wdl", "\ufffd"), ("x" * 300 + ".wdl", "x" * LONGEST_NAME),
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
quick = tried(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(("url", "name"), NAMES)
def test_a_run_is_named_for_its_workflow_file(url: str, name: str) -> None:
    assert name_of({"workflow_url": url}) == name


def test_a_name_among_the_tags_is_the_name() -> None:
    assert name_of({"workflow_url": "main.wdl", "tags": {"name": "Tuesday's"}}) == "Tuesday's"


def test_that_a_run_has_a_name_is_no_word_of_it() -> None:
    assert words_of({"workflow_url": "main.wdl", "tags": {"name": "Tuesday"}}) == ["tuesday", "main", "wdl"]


def test_the_words_of_a_request_are_those_of_its_values_and_of_the_names_of_its_tags() -> None:
    document = {
        "workflow_url": "https://example.org/Align%20All.wdl", "tags": {"project": "X-1"},
        "workflow_engine_parameters": {"retries": "2"},
        "workflow_params": {"w.reads": ["/data/sample_12.bam", {"left": 1.5}], "w.flag": True},
    }  # fmt: skip
    assert sorted(words_of(document)) == sorted(
        ["align", "all", "project", "retries", "x", "1", "https", "example", "org", "wdl", "2", "data", "sample", "12",
         "bam", "5"]
    )  # fmt: skip


def test_words_are_bounded_and_those_of_the_top_come_first() -> None:
    many = words_in([{"deep": [f"n{n}" for n in range(10_000)]}, "top", "x" * 1000])
    assert many[:2] == ["top", "x" * LONGEST_WORD]
    assert len(many) == MOST_WORDS
    assert words_in(["-" * (1 << 20), "late"]) == []
    nested: Any = "found"
    for _ in range(5_000):
        nested = [nested]
    assert words_in(nested) == ["found"]


@quick
@given(JSON)
def test_words_hold_letters_and_digits_only_so_that_a_query_of_them_is_never_an_error(value: Any) -> None:
    for word in words_in(value):
        assert word.isalnum()
        assert len(word) <= LONGEST_WORD


@quick
@given(st.text())
def test_a_text_is_found_by_itself_whatever_its_case(text: str) -> None:
    there = words_in([text])
    for asked in (text, text.upper(), text[: len(text) // 2]):
        try:
            words = searched(asked)
        except InvalidRequest:
            continue
        if asked != text.upper() or text.upper().casefold() == text.casefold():
            assert all(any(known.startswith(word) for known in there) for word in words)


def test_what_cannot_be_searched_for_is_refused_with_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="no letter and no digit"):
        searched("-' & | ! <-> :* \\")
    with pytest.raises(InvalidRequest, match=f"more than {MOST_SEARCHED} words"):
        searched(" ".join(f"w{n}" for n in range(MOST_SEARCHED + 1)))
    assert searched("sample_12.bam SAMPLE") == ("sample", "12", "bam")
