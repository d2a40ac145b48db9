"""What replies are checked against is what the official documents say."""

from __future__ import annotations

import pytest

from tests.api.specs import SPECS, faults, official, recorded


@pytest.mark.skipif(not SPECS.is_dir(), reason="the official documents do not lie beside this checkout")
def test_the_recorded_schemas_are_the_official_ones() -> None:
    assert recorded() == official()


@pytest.mark.parametrize(
    ("spec", "schema", "reply"),
    [("wes", "RunId", {"run_id": 1}), ("wes", "State", "DONE"), ("tes", "tesTask", {"executors": "none"})],
)
def test_a_reply_that_is_not_as_the_schema_has_it_is_found(spec: str, schema: str, reply: object) -> None:
    assert faults(spec, schema, reply)
