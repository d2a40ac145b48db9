"""The listing of a run's output files, read a piece at a time: it may be larger than memory has room for."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wesgate.core.errors import NotFound
from wesgate.core.paths import OUTPUTS_LISTING

PIECE_BYTES = 1 << 18
ENTRY_BYTES = 1 << 20
"""What one entry may have. Paths have 4 KiB, and the names of outputs are short."""
REMOVED = "the files of this run were removed: this service keeps them for as long as its setting runs.keep_days says"
DAMAGED = "the listing of this run's outputs is damaged: something else wrote to it; run the workflow again"

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BEFORE = re.compile(r"[\s,\[]*", re.ASCII)
_REST = re.compile(r"[\s\[]*\]\s*", re.ASCII)
_DECODER = json.JSONDecoder()


class Entry(NamedTuple):
    """One output, and where in the listing it ends."""

    end: int
    told: dict[str, Any]


def opened(directory: Path) -> BinaryIO:
    """The listing of the run that has this directory; NotFound if its files were removed."""
    # Tasks without mounts can write beside this file: a link to elsewhere is not followed, and a pipe not read.
    try:
        found = os.open(directory / OUTPUTS_LISTING, _FILE)
    except OSError as error:
        raise NotFound(REMOVED) from error
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise NotFound(DAMAGED)
    return os.fdopen(found, "rb")


def entries(file: BinaryIO, begin: int = 0) -> Iterator[Entry]:
    """The entries of a listing, from the end of one of them on; NotFound where it is damaged. No more of it is held
    than a piece and an entry."""
    file.seek(begin)
    text, at = "", 0
    while len(text) - at <= ENTRY_BYTES and (piece := file.read(PIECE_BYTES)):
        # JSON as Python writes it is ASCII, so places in the text are places in the file.
        begin, text, at = begin + at, text[at:] + piece.decode("ascii", errors="replace"), 0
        while (found := _entry(text, at)) is not None:
            told, at = found
            yield Entry(begin + at, told)
    if not _REST.fullmatch(text, at):
        raise NotFound(DAMAGED)


def _entry(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The next entry and where it ends; None if it is not all there."""
    before = _BEFORE.match(text, at)
    assert before is not None
    try:
        told, end = _DECODER.raw_decode(text, before.end())
    except ValueError:
        return None
    except RecursionError as error:
        raise NotFound(DAMAGED) from error
    if not isinstance(told, dict) or not isinstance(told.get("path", ""), str):
        raise NotFound(DAMAGED)
    return told, end
