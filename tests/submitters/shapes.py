"""What strict clients refuse in an answer that its schema allows: members that they do not know, and nulls."""

from __future__ import annotations

from typing import Any

from tests.api.specs import recorded


def nulls(value: Any, place: str = "") -> list[str]:
    """The places of nulls."""
    if value is None:
        return [place]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in nulls(item, f"{place}.{key}")]


def unknown(schema: str, value: Any) -> list[str]:
    """The members of an answer that TES does not have."""
    return _unknown(recorded()["tes"][schema], value, schema)


def _unknown(schema: dict[str, Any], value: Any, place: str) -> list[str]:
    while "$ref" in schema:
        schema = recorded()["tes"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, list):
        return [found for item in value for found in _unknown(schema["items"], item, place)]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    return [
        found
        for key, item in value.items()
        for found in (
            _unknown(schema["properties"][key], item, f"{place}.{key}")
            if key in schema["properties"]
            else [f"{place}.{key}"]
        )
    ]
