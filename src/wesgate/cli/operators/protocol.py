"""HTTP as uvicorn speaks it, but the head of a request has bounds: uvicorn waits for ever, however much it gets."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wesgate.api import problems

HEAD_BYTES = 128 << 10
HEAD_S = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A head that is not whole after HEAD_BYTES or HEAD_S seconds is refused, and the connection ends.

    What has arrived of a head is told by how many bytes came while there was none: the parser keeps a header to itself
    until all of it is there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._left = HEAD_BYTES
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            self._forget()
            return
        self._left -= len(data)
        if self._left < 0:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"its head may have {HEAD_BYTES} bytes")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._left = True, HEAD_BYTES

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's own words
        """What cannot be read as HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")

    def _too_slow(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"its head may take {HEAD_S:g} seconds")

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._forget()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else this would stand in the midst of an answer
            self.transport.write(_written(problems.problem(status, message)))
        self.transport.close()


def _written(answer: Response) -> bytes:
    """An answer as it goes over the wire, the last of its connection."""
    answer.headers["Connection"] = "close"
    status = HTTPStatus(answer.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b": ".join(pair) for pair in answer.raw_headers)]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
