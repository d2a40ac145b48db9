"""Between the frozen dataclasses of the core and JSON: the worker has the standard library only."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

# What Postgres holds in no text: https://www.postgresql.org/docs/current/datatype-json.html
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def dump(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON object."""
    return {name: _plain(item) for name, item in asdict(value).items()}


def load(kind: type[T], data: Mapping[str, Any]) -> T:
    """A JSON object as a dataclass of this kind; unknown keys are left out, so that a newer writer can be read."""
    hints = _hints(typing.cast(Hashable, kind))
    return kind(**{name: _typed(hints[name], value) for name, value in data.items() if name in hints})


def storable(value: Any) -> Any:
    """A string, or JSON, as a database and any reader of JSON can hold it. NUL and lone surrogates (a file name that
    is not UTF-8) become U+FFFD; a number that is not finite becomes its name, which `float` and JavaScript's `Number`
    read back: https://protobuf.dev/programming-guides/json/"""
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {storable(key): storable(item) for key, item in value.items()}
        case list():
            return [storable(item) for item in value]
        case _:
            return value


def learn(*kinds: type) -> None:
    """Read the types of these dataclasses now rather than at their first load."""
    for kind in kinds:
        _hints(typing.cast(Hashable, kind))


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(typing.cast(Any, kind))}


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case Enum():
            return value.value
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _typed(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if value is None:
        return None
    if origin is tuple:
        return tuple(_typed(typing.get_args(hint)[0], item) for item in value)
    if origin in (types.UnionType, typing.Union):
        return _typed(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value)
    if is_dataclass(hint) and isinstance(hint, type):
        return load(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum | UUID):
        return hint(value)
    return value
