"""Zip bundles, unpacked by rules of our own: regular files only, bounded in number, size and ratio.

`zipfile` reads; what it would do on disk is not used.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wesgate.core.errors import InvalidRequest, TooLarge
from wesgate.sources.attachments import check_names

MOST_FILES = 10_000
DIRECTORY_BYTES = 2 << 20
"""How large a bundle's directory may be: `zipfile` makes an object for each of its entries before anybody can look."""
RATIO = 200
"""Text shrinks to a fifth, repetitive text to a hundredth; what shrinks more, and is not small, is a trap."""
SMALL_BYTES = 1 << 20

_CHUNK = 1 << 20
_END = b"PK\5\6"
_END_SIZE = 22
_LOCATOR = b"PK\6\7"
_LOCATOR_SIZE = 20
_LOCAL_HEADER_SIZE = 30


def entries(file: BinaryIO) -> list[tuple[tuple[str, ...], zipfile.ZipInfo]]:
    """The files of a bundle with the names that they get, or InvalidRequest. Nothing is unpacked to tell."""
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as bundle:
            found = [info for info in bundle.infolist() if not _is_folder(info)]
            _check_overlap(bundle.infolist(), bundle.start_dir)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise _unreadable() from error
    if len(found) > MOST_FILES:
        raise TooLarge(f"the zip bundle holds more than {MOST_FILES} files")
    for info in found:
        _check_entry(info)
    names = check_names([info.orig_filename for info in found], "a name in the zip bundle")
    return list(zip(names, found, strict=True))


def unpack(path: Path, folder: Path, max_bytes: int, stop: Callable[[], bool]) -> None:
    """Unpack a bundle below a folder that is there and empty."""
    with path.open("rb") as file:
        wanted = entries(file)
        if sum(info.file_size for _, info in wanted) > max_bytes:
            raise TooLarge(f"the zip bundle unpacks to more than the {max_bytes} bytes allowed")
        try:
            with zipfile.ZipFile(file) as bundle:
                for name, info in wanted:
                    _write(bundle, info, folder.joinpath(*name), stop)
        except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, RuntimeError) as error:
            raise _unreadable() from error


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, stop: Callable[[], bool]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with bundle.open(info) as source, os.fdopen(os.open(path, flags, 0o644), "wb") as target:
        while chunk := source.read(_CHUNK):  # never more than the entry says, true or not: `zipfile` stops there
            if stop():
                raise InterruptedError("the unpacking was told to stop")
            target.write(chunk)


def _check_directory(file: BinaryIO) -> None:
    """Read the end of the file as `zipfile` does, before it makes anything of what stands there."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_SIZE - (1 << 16)))
    tail = file.read()
    at = len(tail) - _END_SIZE
    if tail[at : at + 4] != _END or tail[-2:] != b"\0\0":
        at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise _unreadable()
    count, directory_bytes = struct.unpack("<HL", tail[at + 10 : at + 16])
    if tail[max(0, at - _LOCATOR_SIZE) :].startswith(_LOCATOR) or count == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        raise TooLarge("the zip bundle is in the format for huge archives (zip64), which no workflow needs")
    if count > MOST_FILES * 2 or directory_bytes > DIRECTORY_BYTES:
        raise TooLarge(f"the zip bundle holds more than {MOST_FILES} files")


def _check_entry(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InvalidRequest("the zip bundle holds a link or another file that is not regular")
    if info.flag_bits & 0x1:
        raise InvalidRequest("the zip bundle is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidRequest("the zip bundle is compressed by another method than deflate")
    if info.file_size > SMALL_BYTES and info.file_size > RATIO * info.compress_size:
        raise TooLarge(f"the zip bundle holds a file that unpacks to more than {RATIO} times its size")


def _check_overlap(infos: list[zipfile.ZipInfo], end: int) -> None:
    # Many entries over the same bytes make much of little: https://www.bamsoftware.com/hacks/zipbomb/
    placed = sorted(infos, key=lambda info: info.header_offset)
    if placed and placed[0].header_offset < 0:
        raise _unreadable()
    bounds = [*(info.header_offset for info in placed[1:]), end]
    for info, bound in zip(placed, bounds, strict=True):
        if info.header_offset + _LOCAL_HEADER_SIZE + len(info.orig_filename) + info.compress_size > bound:
            raise InvalidRequest("the zip bundle holds files that overlap")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith("/") and info.file_size == 0


def _unreadable() -> InvalidRequest:
    return InvalidRequest("the zip bundle cannot be read: it is damaged, or no zip file")
