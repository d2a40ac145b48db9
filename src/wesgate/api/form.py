"""Multipart run requests, read strictly: complete to the last boundary, in UTF-8, within limits.

Starlette's parser takes a body that was cut off as complete, with fields missing, and reads what is not UTF-8 as
latin-1; both would start the wrong run.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wesgate.core.errors import InvalidRequest, TooLarge
from wesgate.ga4gh import wes

LARGEST_FILES = 1000
LARGEST_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Form:
    """The text fields, and the attachments in the order they came, each with the name it was given."""

    fields: dict[str, str]
    attachments: tuple[UploadFile, ...]

    @property
    def size(self) -> int:
        """How many characters the fields have."""
        return sum(map(len, self.fields.values()))


@asynccontextmanager
async def read_form(request: Request, limit: int) -> AsyncIterator[Form]:
    """The form of a run request, its files open as long as the block lasts. All its fields may have `limit` bytes."""
    try:
        form = await _Parser(request.headers, request.stream(), limit).parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body cannot be read: {error.message}") from None
    try:
        yield await _sorted(form, limit)
    finally:
        await form.close()


async def _sorted(form: FormData, limit: int) -> Form:
    """JSON fields may come as text or as file parts; clients do both."""
    fields: dict[str, str] = {}
    attachments: list[UploadFile] = []
    for name, value in form.multi_items():
        if name == wes.ATTACHMENT:
            if not isinstance(value, UploadFile):
                raise InvalidRequest(f"{wes.ATTACHMENT} must be a file part: it has no filename")
            attachments.append(value)
        elif name in fields:
            raise InvalidRequest(f"the field {name} is given twice" if name.isidentifier() else "a field is twice")
        else:
            fields[name] = value if isinstance(value, str) else await _text_of(value, limit)
            if sum(map(len, fields.values())) > limit:
                raise _too_large(limit)
    return Form(fields, tuple(attachments))


async def _text_of(file: UploadFile, limit: int) -> str:
    content = await file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("a field is not UTF-8") from None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the fields of a run request may have {limit} bytes together")


class _Parser(MultiPartParser):
    """Starlette's parser, which notes whether it saw the end, decodes nothing but UTF-8, and bounds all fields
    together."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limit: int) -> None:
        super().__init__(headers, stream, max_files=LARGEST_FILES, max_fields=LARGEST_FIELDS, max_part_size=limit)
        self._limit = self._left = limit
        _, parameters = parse_options_header(headers.get("content-type", ""))
        charset = parameters.get(b"charset", b"utf-8").decode("latin-1")
        if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise InvalidRequest("the charset of a request must be UTF-8")
        self._ended = False

    def on_end(self) -> None:
        self._ended = True

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._left -= end - start
            if self._left < 0:
                raise _too_large(self._limit)
        super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            try:
                codecs.decode(bytes(self._current_part.data), "utf-8")
            except UnicodeDecodeError:
                raise MultiPartException("a field is not UTF-8") from None
        super().on_part_end()

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._ended:
            await form.close()
            raise MultiPartException("it ends before its last boundary")
        return form
