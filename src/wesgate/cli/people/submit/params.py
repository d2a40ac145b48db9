"""What the user wrote as key=value and in an inputs file, as the run's parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.submit.wdl import holds_files, may_hold_files
from wesgate.cli.text import one_line


@dataclass(frozen=True, slots=True)
class Signature:
    """What is known of the workflow's inputs: its name, by which keys are prefixed, and their declared types.
    `attached` maps local files to the names that they get on the server."""

    name: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    attached: Mapping[Path, str] = field(default_factory=dict)

    def full_key(self, key: str) -> str:
        """Engines other than miniwdl want every key under the workflow's name."""
        return key if not self.name or key.startswith(f"{self.name}.") else f"{self.name}.{key}"

    def kind(self, key: str) -> str:
        """The declared type; empty if it is not known."""
        return self.types.get(key.removeprefix(f"{self.name}."), "")


def parameters(pairs: Sequence[str], inputs: Sequence[Path], signature: Signature) -> dict[str, Any]:
    """All parameters; a later inputs file wins over an earlier one, and key=value over them all. Names of local files
    become absolute paths."""
    values: dict[str, Any] = {}
    for path in inputs:
        values |= _from_file(path, signature)
    return values | _from_pairs(pairs, signature)


def unreadable(values: Mapping[str, Any], signature: Signature, roots: Sequence[str]) -> list[Path]:
    """The local files among the parameters that lie under none of the server's roots, so that they must be sent."""
    named = (leaf for key, value in values.items() if holds_files(signature.kind(key)) for leaf in _leaves(value))
    files = (absolute(Path(name)) for name in named if name.startswith("/"))
    return [path for path in dict.fromkeys(files) if not any(path.is_relative_to(root) for root in roots)]


def pair(text: str, what: str = "parameter") -> tuple[str, str]:
    """KEY=VALUE taken apart."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageProblem(f"{what} {one_line(text)!r} is not of the form key=value")
    return key.strip(), value


def absolute(path: Path) -> Path:
    """The path from the root, links kept: a workflow means its imports beside the place it was named at."""
    return Path(os.path.normpath(path.absolute()))


def _from_pairs(pairs: Sequence[str], signature: Signature) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    for key, text in map(pair, pairs):
        kind = signature.kind(key)
        values.setdefault(signature.full_key(key), []).append(_localized(_typed(text, kind), kind, signature, Path()))
    return {key: _one_or_many(found, signature.kind(key)) for key, found in values.items()}


def _from_file(path: Path, signature: Signature) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageProblem(f"the inputs file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"the inputs file {path} is not JSON: {one_line(str(error))}") from error
    if not isinstance(data, dict):
        raise UsageProblem(f"the inputs file {path} holds no JSON object of input names and values")
    return {
        signature.full_key(key): _localized(value, signature.kind(key), signature, path.parent)
        for key, value in data.items()
        if not key.startswith("#")
    }


def _typed(text: str, kind: str) -> Any:
    if kind.rstrip("?") in ("String", "File", "Directory"):
        return text
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return text


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text; NaN and what is beyond all numbers are none (RFC 8259)."""
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _no_number(text)


def _one_or_many(values: list[Any], kind: str) -> Any:
    if len(values) > 1:
        return values
    wants_list = kind.startswith("Array[") and not isinstance(values[0], list)
    return values if wants_list else values[0]


def _localized(value: Any, kind: str, signature: Signature, folder: Path) -> Any:
    match value:
        case str():
            return _local_path(value, kind, signature, folder) if not kind or may_hold_files(kind) else value
        case list():
            return [_localized(item, kind, signature, folder) for item in value]
        case dict():
            return {key: _localized(item, kind, signature, folder) for key, item in value.items()}
        case _:
            return value


def _leaves(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _leaves(item)
        case dict():
            for item in value.values():
                yield from _leaves(item)


def _local_path(text: str, kind: str, signature: Signature, folder: Path) -> str:
    if not text or "\0" in text or len(text) > 4096:
        return text
    for path in (folder / text, Path(text)):
        if name := signature.attached.get(absolute(path)):
            return name
        if _is_there(path, "Directory" in kind):
            return str(absolute(path))
    return text


def _is_there(path: Path, or_folder: bool) -> bool:
    try:
        return path.is_file() or (or_folder and path.is_dir())
    except OSError:
        return False
