"""Between the frozen dataclasses of the core and JSON: the worker has the standard library only."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

Reader = Callable[[Any], Any]

# What Postgres holds in no text: https://www.postgresql.org/docs/current/datatype-json.html
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def dump(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON object."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def load(kind: type[T], data: Mapping[str, Any]) -> T:
    """A JSON object as a dataclass of this kind; unknown keys are left out, so that a newer writer can be read."""
    readers = _readers(typing.cast(Hashable, kind))
    return kind(**{name: _read(readers[name], value) for name, value in data.items() if name in readers})


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
        _readers(typing.cast(Hashable, kind))


@cache
def _readers(kind: Hashable) -> dict[str, Reader | None]:
    """How the JSON of each field of a dataclass is read, worked out once: a list may hold thousands of them."""
    hints = typing.get_type_hints(kind)
    return {field.name: _reader(hints[field.name]) for field in fields(typing.cast(Any, kind))}


def _plain(value: Any) -> Any:
    # Not by `asdict`, which copies all that is in it first: outputs may be a million values.
    match value:
        case Enum():
            return value.value
        case str() | int() | float() | None:
            return value
        case UUID():
            return str(value)
        case dict() | Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return dump(value)
        case _:
            return value


def _read(reader: Reader | None, value: Any) -> Any:
    return value if reader is None or value is None else reader(value)


def _reader(hint: Any) -> Reader | None:
    """What makes JSON into this type; None for what JSON has itself."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = _reader(typing.get_args(hint)[0])
        return lambda value: tuple(_read(inner, item) for item in value)
    if origin in (types.UnionType, typing.Union):
        return _reader(next(arg for arg in typing.get_args(hint) if arg is not type(None)))
    if is_dataclass(hint) and isinstance(hint, type):
        return partial(load, hint)
    if isinstance(hint, type) and issubclass(hint, Enum | UUID):
        return hint
    return None
