"""Forms of run requests, read strictly: complete to the last boundary, in UTF-8, within limits.

Starlette's parser takes a body that was cut off as complete, with fields missing, and reads what is not UTF-8 as
latin-1; both would start the wrong run.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wesgate.api.bodies.room import ROOM
from wesgate.api.bodies.spool import SPOOL_BYTES, Spool, Spooled
from wesgate.api.bodies.whole import check_charset, read_whole
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
    """The form of a run request, its files open as long as the block lasts. All its fields may have `limit` bytes.
    Unavailable while other forms hold too much."""
    with Spool() as spool, ROOM.share() as take:
        take(SPOOL_BYTES)
        try:
            form = await _Parser(request.headers, request.stream(), limit, spool, take).parse()
        except MultiPartException as error:
            raise InvalidRequest(f"the multipart body cannot be read: {error.message}") from None
        yield await _sorted(form, limit)


async def read_plain_form(request: Request, limit: int) -> Form:
    """The form of a run request without attachments as `requests` sends it, which is not multipart then: `wes-client`
    with a workflow that is a URL."""
    body = await read_whole(request, limit, _complaint(limit))
    check_charset(request.headers.get("content-type", ""), body)
    return plain_form(body, limit)


def plain_form(body: bytes, limit: int) -> Form:
    """A form without attachments, from its body."""
    try:
        given = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=LARGEST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise InvalidRequest("the form cannot be read: it is not as application/x-www-form-urlencoded has it") from None
    fields: dict[str, str] = {}
    for name, value in given:
        _put(fields, name, value, limit)
    return Form(fields, ())


async def _sorted(form: FormData, limit: int) -> Form:
    """JSON fields may come as text or as file parts; clients do both."""
    fields: dict[str, str] = {}
    attachments: list[UploadFile] = []
    for name, value in form.multi_items():
        if name == wes.ATTACHMENT:
            if not isinstance(value, UploadFile):
                raise InvalidRequest(f"{wes.ATTACHMENT} must be a file part: it has no filename")
            attachments.append(value)
        else:
            _put(fields, name, value if isinstance(value, str) else await _text_of(value, limit), limit)
    return Form(fields, tuple(attachments))


def _put(fields: dict[str, str], name: str, value: str, limit: int) -> None:
    if name in fields:
        raise InvalidRequest(f"the field {name} is given twice" if name.isidentifier() else "a field is twice")
    fields[name] = value
    if sum(map(len, fields.values())) > limit:
        raise _too_large(limit)


async def _text_of(file: UploadFile, limit: int) -> str:
    content = await file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(limit)
    check_charset(file.content_type or "", content)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("a field is not UTF-8") from None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(_complaint(limit))


def _complaint(limit: int) -> str:
    return f"the fields of a run request may have {limit} bytes together"


class _Parser(MultiPartParser):
    """Starlette's parser, which notes whether it saw the end, decodes nothing but UTF-8, bounds all fields together,
    has all files in one spool, and takes the memory that it needs as it goes."""

    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        limit: int,
        spool: Spool,
        take: Callable[[int], None],
    ) -> None:
        super().__init__(headers, stream, max_files=LARGEST_FILES, max_fields=LARGEST_FIELDS, max_part_size=limit)
        self._limit = self._left = limit
        self._spool, self._take = spool, take
        check_charset(headers.get("content-type", ""), b"\x80")  # of names, which are not known yet
        self._kind = ""
        self._ended = False

    def on_end(self) -> None:
        self._ended = True

    def on_headers_finished(self) -> None:
        headers = self._current_part.item_headers
        self._take(sum(len(name) + len(value) for name, value in headers))
        try:
            b"\n".join(value for _, value in headers).decode("utf-8")
        except UnicodeDecodeError:
            raise MultiPartException("a name in it is not UTF-8") from None
        told = {name: value.decode("latin-1").strip() for name, value in headers}
        self._kind = told.get(b"content-type", "")
        if self._kind.lower().startswith("multipart/"):
            raise MultiPartException("a part of it is multipart itself")
        if told.get(b"content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise MultiPartException("a part of it is encoded; send it as it is (RFC 7578, section 4.7)")
        self._charset = "utf-8"  # where the request says ASCII, Starlette would read the rest as latin-1
        super().on_headers_finished()
        if given := self._current_part.file:
            given.file.close()  # Starlette's own, one for each
            self._files_to_close_on_error.clear()
            self._current_part.file = Spooled(self._spool, given.filename, self._kind)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._left -= end - start
            if self._left < 0:
                raise _too_large(self._limit)
            self._take(end - start)
        super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            check_charset(self._kind, bytes(self._current_part.data))
            try:
                codecs.decode(bytes(self._current_part.data), "utf-8")
            except UnicodeDecodeError:
                raise MultiPartException("a field is not UTF-8") from None
        super().on_part_end()

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._ended:
            raise MultiPartException("it ends before its last boundary")
        return form
