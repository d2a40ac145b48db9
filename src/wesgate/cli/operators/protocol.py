"""HTTP as uvicorn speaks it, but what comes besides bodies has bounds: uvicorn waits for ever, however much it gets."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wesgate.api import problems

HEAD_BYTES = 128 << 10
HEAD_S = 30.0
"""Also for what is left of a request when its answer is out, as nginx has it (`lingering_time`)."""

# A chunk of one byte comes in 14 if its length is padded to eight digits.
_FRAME = 16


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A request may have HEAD_BYTES besides its body: head, chunk lengths, trailers. While nothing is
    being answered, the next head has HEAD_S seconds to be whole, and so has the rest of a request that is answered
    already. What goes beyond is refused, and the connection ends.

    What has arrived of a head is told by how many bytes came: the parser keeps a header to itself until all of it is
    there, and each piece of it makes the parser copy those before.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_body = False
        self._left = HEAD_BYTES
        self._gained = 0
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def data_received(self, data: bytes) -> None:
        self._gained, self._ended = 0, False
        super().data_received(data)
        # Where in it a request ended is not told; what came after that is less than the transport reads at once.
        self._left = HEAD_BYTES if self._ended else min(HEAD_BYTES, self._left + self._gained - len(data))
        if self._left < 0:
            message = f"a request may have {HEAD_BYTES} bytes besides its body"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        elif self.cycle is not None and not self.cycle.response_complete:
            self._forget()  # how long a body may take is the application's to say
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._too_slow)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_body = True
        self.scope["headers"] = self.headers.copy()  # trailers, which are added to the other, are no headers

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._gained += _FRAME * len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body, self._ended = False, True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's own words
        """What cannot be read as HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")

    def _should_upgrade_to_ws(self) -> bool:
        return False  # nothing here speaks it, and its protocol would have the connection without these bounds

    def _unsupported_upgrade_warning(self) -> None:
        pass  # who offers another protocol may be answered in this one

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
        if self._may_answer():
            self.transport.write(_written(problems.problem(status, message)))
        if self.cycle is not None:
            self.cycle.disconnected = True  # its own answer must not follow
            self.cycle.message_event.set()
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether what is written now is taken for the answer to the request that is being read."""
        if self._in_body:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle is None or self.cycle.response_complete


def _written(answer: Response) -> bytes:
    """An answer as it goes over the wire, the last of its connection."""
    answer.headers["Connection"] = "close"
    status = HTTPStatus(answer.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b": ".join(pair) for pair in answer.raw_headers)]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
