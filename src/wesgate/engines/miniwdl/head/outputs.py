"""Lay a run's outputs where they stay: `outputs/<output>/<file>` of its directory, told in `outputs.json` beside it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import WDL
from WDL.runtime.error import Terminated

from wesgate.core.codec import storable
from wesgate.core.errors import InvalidRequest
from wesgate.core.paths import KEPT, OUTPUTS, OUTPUTS_LISTING, within
from wesgate.engines.miniwdl.head.inputs import Bindings, Places
from wesgate.engines.miniwdl.publish import shown
from wesgate.ga4gh import strict
from wesgate.storage.target import redacted
from wesgate.worker.faults import Fault
from wesgate.worker.files.deliver import below, put
from wesgate.worker.files.inside import open_regular
from wesgate.worker.files.mounts import Mount

PART = ".outputs.part"
CHUNK_BYTES = 1 << 20
MOST_BYTES = 16 << 20
"""Of all values that a run has for outputs, as JSON: the service holds them in memory, with everybody's."""

MADE = re.compile(r"run-[0-9a-f]{32}/(attempt-[0-9]+|outputs)/.+", re.DOTALL)
GIVEN = re.compile(r"run-[0-9a-f]{32}/(attachments|downloads|source)/.+|cache/attachments/.+", re.DOTALL)

PathValue = WDL.Value.File | WDL.Value.Directory

log = logging.getLogger("wesgate")


class Unusable(WDL.Error.RuntimeError):
    """An output is not what it should be; the sentence names it."""


@dataclass(frozen=True, slots=True)
class Laying:
    """One laying of a run's outputs. `directory` is the run's own; `owner` its owner's, as a real path. `listed` grows
    by one entry of `outputs.json` for each file."""

    directory: Path
    owner: str
    places: Places
    terminating: Callable[[], bool]
    listed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def part(self) -> Path:
        return self.directory.resolve() / PART

    def is_made(self, real: str) -> bool:
        """Whether tasks of runs made this."""
        return self._matches(MADE, real)

    def is_own(self, real: str) -> bool:
        """Whether it goes when a run's files go, so that it has to be kept by this one."""
        return self.is_made(real) or self._matches(GIVEN, real)

    def is_elsewhere(self, real: str) -> bool:
        """Whether it stays where it is, in a place that the run may read."""
        first = os.path.relpath(real, self.owner).partition("/")[0]
        is_kept = within(real, self.owner) and KEPT.fullmatch(first)
        return not is_kept and self.places.covering(Path(real)) is not None

    def _matches(self, pattern: re.Pattern[str], real: str) -> bool:
        return within(real, self.owner) and pattern.fullmatch(os.path.relpath(real, self.owner)) is not None


def clear(directory: Path) -> None:
    """Remove what an earlier head laid: a run that fails has no outputs."""
    for name in (PART, OUTPUTS):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / OUTPUTS_LISTING).unlink(missing_ok=True)


def keep(outputs: Bindings, name: str, laying: Laying, publish: str = "") -> Bindings:
    """These outputs of the workflow or task `name`, their files kept by hard links, or copies where that cannot be.
    The values name the kept files: by path, or by where they will be published.

    Inputs that were passed through, and lie where runs do not, stay there: they are only told. Links inside a directory
    are kept as the files that they lead to; those that lead elsewhere, and what is no regular file, are left out.
    """
    home = shown(publish) or str(laying.directory / OUTPUTS)
    _check_size(WDL.values_to_json(outputs, name))
    clear(laying.directory)
    laying.part.mkdir()
    kept = outputs.map(
        lambda bound: WDL.Env.Binding(bound.name, _keep_value(bound, f"{name}.{bound.name}", laying, home))
    )
    _write_listing(laying)
    laying.part.rename(laying.directory / OUTPUTS)
    return kept


def _check_size(told: dict[str, Any]) -> None:
    try:
        strict.check_number(told, "what the workflow puts out")
    except InvalidRequest as error:
        raise Unusable(f"{error}: write it to a file") from None
    if len(json.dumps(told)) > MOST_BYTES:
        raise Unusable(f"what the workflow puts out is more than {MOST_BYTES >> 20} MiB: write it to a file")


def _keep_value(bound: Any, name: str, laying: Laying, home: str) -> WDL.Value.Base:
    found: dict[str, PathValue] = {}
    WDL.Value.rewrite_paths(bound.value, lambda value: found.setdefault(value.value, value).value)
    own = {given: real for given, value in found.items() if (real := _own(given, name, laying))}
    places = {given: f"{bound.name}/{place}" for given, place in places_of(own).items()}
    for real, place in {(own[given], places[given]): None for given in own}:
        _keep(real, place, name, laying)
    for given in found.keys() - own.keys():
        _tell(found[given], name, laying)

    def moved(value: PathValue) -> str:
        if value.value in places:
            return str(storable(below(home, places[value.value])))
        return str(value.value) if _is_url(value.value) else os.path.realpath(value.value)

    return WDL.Value.rewrite_paths(bound.value, moved)


def places_of(own: dict[str, str]) -> dict[str, str]:
    """Where each file or directory of one output goes, by its path: under its own name; in numbered folders if two have
    the same. `own` are the paths, and what is really there."""
    named = {given: _basename(given) for given in own}
    distinct = list(dict.fromkeys((named[given], real) for given, real in own.items()))
    if len({name for name, _ in distinct}) == len(distinct):
        return named
    width = len(str(len(distinct) - 1))
    numbers = {one: f"{number:0{width}}/{one[0]}" for number, one in enumerate(distinct)}
    return {given: numbers[named[given], real] for given, real in own.items()}


def _basename(given: str) -> str:
    return Path(os.path.normpath(given)).name or OUTPUTS


def _is_url(given: str) -> bool:
    return not given.startswith("/") and "://" in given


def _own(given: str, name: str, laying: Laying) -> str:
    """What is really at this path, if it is to be kept; empty if it stays where it is."""
    if _is_url(given):
        return ""
    real = os.path.realpath(given)
    if laying.is_own(real):
        return real
    if laying.is_elsewhere(real):
        return ""
    raise Unusable(f"output {name} is neither a file that the run made nor below a directory that runs may read")


def _keep(real: str, place: str, name: str, laying: Laying) -> None:
    if not Path(real).is_dir():
        _keep_file(real, place, name, laying)
        return
    (laying.part / place).mkdir(parents=True, exist_ok=True)
    for path in _files_below(real):
        inner = f"{place}/{os.path.relpath(path, real)}"
        behind = os.path.realpath(path)
        if not Path(behind).is_file():
            log.warning("output %s: %s is left out: it is no regular file", name, _shown(inner))
        elif laying.is_own(behind):
            _keep_file(behind, inner, name, laying)
        elif laying.is_elsewhere(behind):
            laying.listed.append(_told(behind, "FILE", name))
        else:
            log.warning("output %s: %s is left out: it is a link to elsewhere", name, _shown(inner))


def _files_below(folder: str) -> Iterator[str]:
    """What is in a directory and is no directory, links included; no link is followed on the way."""
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    yield entry.path


def _keep_file(real: str, place: str, name: str, laying: Laying) -> None:
    if laying.terminating():
        raise Terminated()
    try:
        file = open_regular([Mount(laying.owner, laying.owner)], real)
    except (Fault, OSError) as error:
        raise Unusable(f"output {name}: {_shown(place)} cannot be kept, it is no regular file any more") from error
    try:
        # What came as an input is copied: whoever wrote to a link of it would change the input.
        put(file, str(laying.part / place), may_link=laying.is_made(real))
        size = os.fstat(file).st_size
        digest = _digest(file, laying.terminating)
    finally:
        os.close(file)
    laying.listed.append({"name": name, "path": place, "type": "FILE", "size_bytes": size, "digest": digest})


def _digest(file: int, terminating: Callable[[], bool]) -> str:
    told, offset = hashlib.sha256(), 0
    while chunk := os.pread(file, CHUNK_BYTES, offset):
        if terminating():
            raise Terminated()
        told.update(chunk)
        offset += len(chunk)
    return f"sha256:{told.hexdigest()}"


def _tell(value: PathValue, name: str, laying: Laying) -> None:
    kind = "DIRECTORY" if isinstance(value, WDL.Value.Directory) else "FILE"
    if _is_url(value.value):
        laying.listed.append({"name": name, "type": kind, "url": redacted(value.value)})
    else:
        laying.listed.append(_told(os.path.realpath(value.value), kind, name))


def _told(real: str, kind: str, name: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "url": "file://" + quote(os.fsencode(real))}


def _write_listing(laying: Laying) -> None:
    laying.listed.sort(key=lambda entry: (entry["name"], entry.get("path", ""), entry.get("url", "")))
    part = laying.directory / f".{OUTPUTS_LISTING}.{os.getpid()}"
    part.write_text(json.dumps(laying.listed), encoding="utf-8")
    part.rename(laying.directory / OUTPUTS_LISTING)


def _shown(place: str) -> str:
    return str(storable(place))[:300]
