"""The output files of a run that succeeded: told one by one, sent each or all of them: routes of our own beside WES."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote
from uuid import UUID
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from wesgate.api.auth import person
from wesgate.api.dependencies import base_url, context, row_id, single
from wesgate.api.logs import INERT, send_part
from wesgate.api.paging import page_size
from wesgate.api.wes import outputs_listing
from wesgate.api.wes.outputs_listing import REMOVED
from wesgate.core.codec import storable
from wesgate.core.errors import InvalidRequest, NotFound
from wesgate.core.paths import OUTPUTS, OUTPUTS_LISTING
from wesgate.core.states import State
from wesgate.db import runs
from wesgate.db.rows import Place
from wesgate.ga4gh.views import encode

router = APIRouter(tags=["WES"])
log = logging.getLogger(__name__)

PAGE = 10_000
"""Entries of a page, by default and at most: what ordinary runs have is told at once."""
CHUNK_BYTES = 1 << 20
ZIP_TIMES = 315532800, 4354819198
"""The first and the last second that a zip has a time for: 1980 to 2107. Steps give files any time they like."""

_ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

ZIP_LISTING_BYTES = 64 << 20
"""How long a listing may be for a zip, which keeps an entry of each file until its end: some 400,000 files."""


@router.get("/runs/{run_id}/outputs")
async def list_outputs(request: Request, run_id: str) -> Response:
    """The output files of a run that succeeded: of what output each is, its size, its digest, where to get it. In
    pages, if there are more than ten thousand."""
    directory = await _directory(request, run_id)
    size = page_size(single(request, "page_size"), PAGE, PAGE)
    pager, scope = context(request).pager, f"outputs {run_id}"
    place = pager.place(scope, single(request, "page_token"))
    base = f"{base_url(request)}/ga4gh/wes/v1/runs/{run_id}/outputs"
    page, end = await asyncio.to_thread(_page, directory, base, place.id.int if place else 0, size)
    here = Place(_ALWAYS, UUID(int=end))  # a place in the listing's file, in the form that the pager signs
    token = pager.token(scope, [here, here] if end else [], 1)
    rest = b',"next_page_token":%b' % encode(token) if token else b""
    return Response(b'{"outputs":[%b]%b}' % (page, rest), media_type="application/json")


@router.get("/runs/{run_id}/outputs.zip")
async def get_outputs_zip(request: Request, run_id: str) -> Response:
    """All output files of a run that succeeded, as a zip that is made while it is sent."""
    directory = await _directory(request, run_id)
    if await asyncio.to_thread(_listing_size, directory) > ZIP_LISTING_BYTES:
        raise InvalidRequest("this run has too many output files for one zip: get those that /outputs lists one by one")
    headers = INERT | {"Content-Disposition": f'attachment; filename="{run_id}.zip"'}
    return _Zip(zipped(directory / OUTPUTS, _paths(directory)), run_id, headers)


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
    asked = request.headers.get("range", "") if is_same else ""
    return send_part(request, file, asked, headers, "application/octet-stream")


async def _directory(request: Request, run_id: str) -> Path:
    """The directory of a run that has outputs."""
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    if run.state != State.COMPLETE:
        raise NotFound(f"this run is {run.state}: only one that is COMPLETE has outputs")
    return found.files / run.directory


def _page(directory: Path, base: str, begin: int, size: int) -> tuple[bytes, int]:
    """So many entries from this place in the listing on, as JSON, and the place after them; 0 if they are the last."""
    with outputs_listing.opened(directory) as file:
        found = list(islice(outputs_listing.entries(file, begin), size + 1))
    # One by one: whoever encodes ten thousand at once lets no other thread do anything meanwhile.
    page = b",".join([encode(_shown(entry.told, base)) for entry in found[:size]])
    return page, found[size - 1].end if len(found) > size else 0


def _listing_size(directory: Path) -> int:
    with outputs_listing.opened(directory) as file:
        return os.fstat(file.fileno()).st_size


def _paths(directory: Path) -> Iterator[str]:
    with outputs_listing.opened(directory) as file:
        for entry in outputs_listing.entries(file):
            if "path" in entry.told:
                yield entry.told["path"]


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


def zipped(folder: Path, paths: Iterable[str]) -> Iterator[bytes]:
    """A zip of these files, in pieces of CHUNK_BYTES or a little more. They are stored as they are: what is large is
    compressed already. NotFound, in the middle, if a file is gone."""
    sent = _Sent()
    with ZipFile(sent, "w", ZIP_STORED) as archive:  # it writes to what cannot seek, too
        for path in paths:
            file = open_output(folder, path)
            if file is None:
                raise NotFound(REMOVED)
            with file, archive.open(_entry(path, os.fstat(file.fileno())), "w", force_zip64=True) as into:
                while chunk := file.read(CHUNK_BYTES):
                    into.write(chunk)
                    if sent.size >= CHUNK_BYTES:
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
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self.size += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return whole


class _Zip(StreamingResponse):
    """A zip on its way. Of one that cannot be finished the answer is not finished either, so that clients notice."""

    def __init__(self, pieces: Iterator[bytes], run_id: str, headers: dict[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type="application/zip")
        self._run_id = run_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except NotFound as error:
            log.warning("outputs.cut", extra={"run": self._run_id, "reason": str(error)})
