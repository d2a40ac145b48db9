"""Attachments while a form arrives: all in one file, so that many of them take neither memory nor descriptors."""

from __future__ import annotations

import io
import os
from tempfile import SpooledTemporaryFile
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile

SPOOL_BYTES = 64 << 10
"""As much of a form's attachments stays in memory, all together; beyond, they are on disk."""


class Spool:
    """A temporary file for the attachments of one form, which come one after the other."""

    def __init__(self) -> None:
        self.file: IO[bytes] = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  # closed below
        self.size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def append(self, data: bytes) -> None:
        self.file.seek(self.size)
        self.file.write(data)
        self.size += len(data)


class Slice(io.RawIOBase):
    """One attachment. It is written whole before the next is begun."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._start = self._size = self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def append(self, data: bytes) -> None:
        if not self._size:
            self._start = self._spool.size
        self._spool.append(data)
        self._size += len(data)

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._size - self._at)
        self._spool.file.seek(self._start + self._at)
        content = self._spool.file.read(rest if size < 0 else min(size, rest))
        self._at += len(content)
        return content


class Spooled(UploadFile):
    """An attachment, as Starlette's parser fills it: on the event loop as long as it costs no disk."""

    def __init__(self, spool: Spool, filename: str | None, kind: str) -> None:
        self._slice, self._spool = Slice(spool), spool
        headers = Headers({"content-type": kind} if kind else {})
        super().__init__(self._slice, size=0, filename=filename, headers=headers)  # type: ignore[arg-type]

    async def write(self, data: bytes) -> None:
        if self._spool.size + len(data) <= SPOOL_BYTES:
            self._slice.append(data)
        else:
            await run_in_threadpool(self._slice.append, data)

    async def seek(self, offset: int) -> None:
        self._slice.seek(offset)
