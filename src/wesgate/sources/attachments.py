"""Workflow attachments: names checked segment by segment, files written where nothing was before."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from wesgate.core.errors import InvalidRequest, TooLarge

LONGEST_SEGMENT = 255
LONGEST_NAME = 1024
DEEPEST = 32
_FORBIDDEN = frozenset('\\:*?"<>|\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL"} | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789"}
)


def check_name(name: str, what: str = "an attachment's name") -> tuple[str, ...]:
    """The folders and file of a name, or InvalidRequest. Absolute names, `..`, what other systems read as a separator
    or device, control characters and text-direction overrides are refused, not repaired. `what` says whose it is."""
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:  # a path may have 4096, with what goes before
        raise InvalidRequest(f"{what} may have {LONGEST_NAME} bytes, with its folders")
    segments = tuple(name.removeprefix("./").split("/"))
    if len(segments) > DEEPEST:
        raise InvalidRequest(f"{what} has more than {DEEPEST} folders")
    for segment in segments:
        if not _is_plain(segment):
            raise InvalidRequest(f"{what} must be relative, of plain file and folder names, without '..'")
    return segments


def check_names(names: Sequence[str], what: str = "an attachment's name") -> list[tuple[str, ...]]:
    """All names of one request: no two the same on any file system, none a folder of another."""
    checked = [check_name(name, what) for name in names]
    folded = [tuple(unicodedata.normalize("NFC", segment).casefold() for segment in one) for one in checked]
    files = set(folded)
    if len(files) != len(folded):
        raise InvalidRequest(f"{what} is there twice")
    if any(one[:depth] in files for one in folded for depth in range(1, len(one))):
        raise InvalidRequest(f"{what} is a folder of another's")
    return checked


def write(folder: Path, files: Sequence[tuple[tuple[str, ...], BinaryIO]], limit: int) -> None:
    """Write the files under `folder`; TooLarge once they come to more than `limit` bytes. Not for the event loop."""
    left = limit
    for segments, source in files:
        source.seek(0, os.SEEK_END)
        left -= source.tell()
        if left < 0:
            raise TooLarge(f"the attachments come to more than {limit} bytes")
        source.seek(0)
        path = folder.joinpath(*segments)
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o644), "wb") as target:
            shutil.copyfileobj(source, target)


def _is_plain(segment: str) -> bool:
    decoded = unquote(segment)  # whoever unpacks a name twice must not find another
    return (
        0 < len(segment.encode("utf-8", "surrogatepass")) <= LONGEST_SEGMENT
        and decoded not in (".", "..")
        and not {"/", "\\", "\0"} & set(decoded)
        and segment.partition(".")[0].upper() not in _DEVICES
        and segment == segment.strip()
        and not segment.endswith(".")
        and not any(
            letter in _FORBIDDEN or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in segment
        )
    )
