"""The output files of a run that succeeded: told one by one, sent each or all of them: routes of our own beside WES."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from wesgate.api.auth import person
from wesgate.api.dependencies import base_url, context, row_id, send
from wesgate.api.logs import INERT, send_part
from wesgate.core.codec import storable
from wesgate.core.errors import NotFound
from wesgate.core.paths import OUTPUTS, OUTPUTS_LISTING
from wesgate.core.states import State
from wesgate.db import runs

router = APIRouter(tags=["WES"])

CHUNK_BYTES = 1 << 20
REMOVED = "the files of this run were removed: this service keeps them for as long as its setting runs.keep_days says"
ZIP_TIMES = 315532800, 4354819198
"""The first and the last second that a zip has a time for: 1980 to 2107. Steps give files any time they like."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LISTING_BYTES = 64 << 20


@router.get("/runs/{run_id}/outputs")
async def list_outputs(request: Request, run_id: str) -> Response:
    """The output files of a run that succeeded: of what output each is, its size, its digest, where to get it."""
    directory = await _directory(request, run_id)
    listing = await asyncio.to_thread(_read_listing, directory)
    base = f"{base_url(request)}/ga4gh/wes/v1/runs/{run_id}/outputs"
    return send({"outputs": [_shown(one, base) for one in listing]})


@router.get("/runs/{run_id}/outputs.zip")
async def get_outputs_zip(request: Request, run_id: str) -> Response:
    """All output files of a run that succeeded, as a zip that is made while it is sent."""
    directory = await _directory(request, run_id)
    listing = await asyncio.to_thread(_read_listing, directory)
    paths = [one["path"] for one in listing if "path" in one]
    headers = INERT | {"Content-Disposition": f'attachment; filename="{run_id}.zip"'}
    return StreamingResponse(zipped(directory / OUTPUTS, paths), headers=headers, media_type="application/zip")


@router.get("/runs/{run_id}/outputs/{path:path}")
async def get_output(request: Request, run_id: str, path: str) -> Response:
    """One output file of a run that succeeded. `Range` is served."""
    directory = await _directory(request, run_id)
    file = await asyncio.to_thread(open_output, directory / OUTPUTS, _exact(request, path))
    if file is None:
        raise NotFound(_missing(directory))
    seen = os.fstat(file.fileno())
    tag = f'"{seen.st_mtime_ns:x}-{seen.st_size:x}"'
    name = quote(os.fsencode(path.rpartition("/")[2]))
    headers = INERT | {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
    }
    is_same = request.headers.get("if-range", tag) == tag
    return send_part(file, request.headers.get("range", "") if is_same else "", headers, "application/octet-stream")


async def _directory(request: Request, run_id: str) -> Path:
    """The directory of a run that has outputs."""
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    if run.state != State.COMPLETE:
        raise NotFound(f"this run is {run.state}: only one that is COMPLETE has outputs")
    return found.files / run.directory


def _read_listing(directory: Path) -> list[dict[str, Any]]:
    # Tasks without mounts can write beside this file: a link to elsewhere is not followed, and too much is not read.
    try:
        with os.fdopen(os.open(directory / OUTPUTS_LISTING, _FILE), "rb") as file:
            found: list[dict[str, Any]] = json.loads(file.read(LISTING_BYTES))
    except (OSError, ValueError) as error:
        raise NotFound(REMOVED) from error
    return found


def _missing(directory: Path) -> str:
    return "this run has no such output file" if (directory / OUTPUTS_LISTING).exists() else REMOVED


def _shown(one: dict[str, Any], base: str) -> dict[str, Any]:
    url = {"url": f"{base}/{quote(os.fsencode(one['path']))}"} if "path" in one else {}
    shown: dict[str, Any] = storable({**one, **url})
    return shown


def _exact(request: Request, path: str) -> str:
    """The path as it was asked for: its names need not be UTF-8, which servers replace."""
    raw = request.scope.get("raw_path")
    return unquote(raw.decode("ascii").partition("/outputs/")[2], errors="surrogateescape") if raw else path


def open_output(folder: Path, path: str) -> BinaryIO | None:
    """A regular file below this directory, open for reading; None if there is none. No link is followed."""
    *above, name = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in (*above, name)):
        return None
    here = -1
    try:
        here = os.open(folder, _DIRECTORY)
        for part in above:
            below = os.open(part, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        return _regular(os.open(name, _FILE, dir_fd=here))
    except OSError:
        return None
    finally:
        with suppress(OSError):
            os.close(here)


def _regular(file: int) -> BinaryIO | None:
    if stat.S_ISREG(os.fstat(file).st_mode):
        return os.fdopen(file, "rb")
    os.close(file)
    return None


def zipped(folder: Path, paths: Sequence[str]) -> Iterator[bytes]:
    """A zip of these files, piece by piece. They are stored as they are: what is large is compressed already. A file
    that is gone ends it in the middle, where whoever reads notices."""
    sent = _Sent()
    with ZipFile(sent, "w", ZIP_STORED) as archive:  # it writes to what cannot seek, too
        for path in paths:
            file = open_output(folder, path)
            if file is None:
                raise FileNotFoundError(f"an output of the run is gone: {folder}")
            with file, archive.open(_entry(path, os.fstat(file.fileno())), "w", force_zip64=True) as into:
                while chunk := file.read(CHUNK_BYTES):
                    into.write(chunk)
                    yield sent.taken()
    yield sent.taken()


def _entry(path: str, seen: os.stat_result) -> ZipInfo:
    first, last = ZIP_TIMES
    entry = ZipInfo(storable(path), time.gmtime(min(max(seen.st_mtime, first), last))[:6])
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


class _Sent(io.RawIOBase):
    """What a zip is written to: it holds what was not sent yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole
