"""How large a request may be, and how long it may pause, seen as it arrives."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wesgate.core.errors import TooLarge, TooSlow

PAUSE_S = 60.0


class BodyLimit:
    """Lets no request go over `limit` bytes, whatever it says of its length, nor keep what it holds for longer than
    `pause_s` seconds without sending more; the error is answered like any other."""

    def __init__(self, app: ASGIApp, limit: int, pause_s: float = PAUSE_S) -> None:
        self._app = app
        self._limit = limit
        self._pause_s = pause_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._counted(receive)
        await self._app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        left, more = self._limit, True

        async def counted() -> Message:
            nonlocal left, more
            if not more:  # the next message will be that the client is gone, whenever that is
                return await receive()
            message = await self._soon(receive)
            more = message.get("more_body", False)
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLarge(f"a request may have {self._limit} bytes")
            return message

        return counted

    async def _soon(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self._pause_s):
                return await receive()
        except TimeoutError:
            raise TooSlow(f"nothing more of the request came for {self._pause_s:g} seconds") from None
