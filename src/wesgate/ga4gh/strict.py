"""Strict JSON: what a client sends is read one way only, bounded, and refused with a sentence otherwise.

Plain `json.loads` takes NaN, duplicate keys (the last wins), lone surrogates and any depth; Postgres refuses some of
them later with an error that is no client's to see.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from wesgate.core.errors import InvalidRequest

DEPTH = 64
MOST_VALUES = 1_000_000
"""An empty list has three bytes when it is sent, and a hundred in memory for as long as its request lasts."""
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def parse(body: bytes, what: str = "the body") -> Any:
    """JSON in UTF-8 as it was sent, with its nulls: see `without_nulls`."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _RefusedError) else "it does not parse"
        raise InvalidRequest(f"{what} is not valid JSON: {reason}") from None
    if len(body) > MOST_VALUES:
        check_number(value, what)
    return clean(value, what)


def check_number(value: Any, what: str) -> None:
    """InvalidRequest for JSON of more values than MOST_VALUES."""
    left, waiting = MOST_VALUES, [value]
    while waiting:
        found = waiting.pop()
        items = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        left -= len(items)
        if left < 0:
            raise InvalidRequest(f"{what} has more than {MOST_VALUES} values")
        waiting.extend(items)


def clean(value: Any, what: str = "the body", depth: int = 0) -> Any:
    """The value, or InvalidRequest for what no document may hold."""
    if depth > DEPTH:
        raise InvalidRequest(f"{what} is nested more than {DEPTH} deep")
    match value:
        case str():
            if _FORBIDDEN.search(value):
                raise InvalidRequest(f"{what} has a control character or a lone surrogate in a string")
            return value
        case dict():
            return {clean(key, what): clean(item, what, depth + 1) for key, item in value.items()}
        case list():
            return [clean(item, what, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            raise InvalidRequest(f"{what} has a number that is out of range")
        case _:
            return value


def without_nulls(value: Any, literal: str | None = None) -> Any:
    """A document without null members: unset and null mean the same in both specs, and clients send both. The member
    `literal` stays as it is, if it is not null itself: it holds a workflow's inputs, among which null is a value."""
    match value:
        case dict():
            return {
                name: item if name == literal else without_nulls(item)
                for name, item in value.items()
                if item is not None
            }
        case list():
            return [without_nulls(item) for item in value]
        case _:
            return value


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The members to send of an object of ours: what is None is not known. Zero, false and the empty are."""
    return {name: value for name, value in fields.items() if value is not None}


def refused(error: ValidationError, what: str = "") -> InvalidRequest:
    """What pydantic found, as one sentence that names the place and never echoes the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InvalidRequest(f"{what}{where}: {first['msg'].removeprefix('Value error, ')}{more}")


class _RefusedError(ValueError):
    """JSON that parses but that we do not take."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _RefusedError("an object has the same key twice")
    return made


def _constant(_: str) -> NoReturn:
    raise _RefusedError("NaN and Infinity are not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 30:  # wider than any number of either spec
        raise _RefusedError("a number has more than 30 digits")
    return int(digits)
