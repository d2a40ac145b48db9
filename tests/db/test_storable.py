"""What comes from outside is made fit for Postgres, and for every reader of JSON, before it is written."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest

from tests.builders import scalar
from wesgate.core.codec import storable
from wesgate.db.session import Database

TABLE: list[tuple[Any, Any]] = [
    ("plain", "plain"),
    ("na\u00efve \U0001f600", "na\u00efve \U0001f600"),
    ("a\0b", "a\ufffdb"),
    ("x\udcff", "x\ufffd"),
    (nan, "NaN"),
    (inf, "Infinity"),
    (-inf, "-Infinity"),
    (1.5, 1.5),
    (True, True),
    (None, None),
    ({"k\0": [{"deep": nan}, "\ud800"]}, {"k\ufffd": [{"deep": "NaN"}, "\ufffd"]}),
]


@pytest.mark.parametrize(("value", "stored"), TABLE, ids=[ascii(value) for value, _ in TABLE])
async def test_whatever_is_told_can_be_stored_and_read(database: Database, value: Any, stored: Any) -> None:
    assert storable(value) == stored
    told = json.dumps({"told": storable(value)}, allow_nan=False)
    whole = "SELECT CAST(CAST(:told AS json) ->> 'told' AS text) IS NOT NULL"
    assert await scalar(database, whole, told=told) == (value is not None)
