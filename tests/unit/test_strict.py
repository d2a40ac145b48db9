"""JSON as clients send it: what is refused, however little it looks."""

from __future__ import annotations

import json

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.ga4gh import strict
from wesgate.ga4gh.strict import MOST_VALUES


@pytest.mark.parametrize("sent", ["[{}[]]", '{{"a":[{}0],"b":0}}'])
def test_more_values_than_memory_can_bear_are_refused(sent: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^workflow_params has more than 1000000 values$"):
        strict.parse(sent.format("[]," * MOST_VALUES).encode(), "workflow_params")


def test_a_large_document_of_few_values_is_taken() -> None:
    large: dict[str, object] = {"a": "x" * (MOST_VALUES * 2), "b": [[], {}, None]}
    assert strict.parse(json.dumps(large).encode()) == {"a": large["a"], "b": [[], {}, None]}


def test_nulls_are_read_as_they_were_sent() -> None:
    assert strict.parse(b'{"a": null, "b": [null, {"c": null}]}') == {"a": None, "b": [None, {"c": None}]}


def test_a_document_loses_its_null_members_but_for_those_of_its_literal_member() -> None:
    sent = {"a": None, "b": {"params": {"x": None}, "c": [{"d": None}]}, "params": {"x": None, "": [None]}}
    assert strict.without_nulls(sent, "params") == {"b": {"params": {}, "c": [{}]}, "params": {"x": None, "": [None]}}
    assert strict.without_nulls({"params": None, "": {"x": None}}, "params") == {"": {}}
