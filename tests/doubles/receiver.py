"""A receiver of webhooks: keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from standardwebhooks import Webhook

Answer: TypeAlias = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def state(self) -> str:
        return str(self.event["data"]["state"])

    def verified(self, secret: str) -> dict[str, Any]:
        """What a receiver knows to be ours."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


def status(code: int, more: str = "") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} As told\r\n{more}Content-Length: 0\r\n\r\n".encode())

    return answer


async def never(writer: asyncio.StreamWriter) -> None:
    """No answer for as long as the other side waits."""
    await writer.drain()
    while not writer.transport.is_closing():
        await asyncio.sleep(0.01)


def endless(begin: bytes, more: bytes) -> Answer:
    """An answer that has no end."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(more)
            await writer.drain()

    return answer


@dataclass
class Receiver:
    """Answers each request with the next of `answers`, and with `otherwise` when there are no more."""

    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=lambda: status(204))
    sent: list[Sent] = field(default_factory=list)
    news: asyncio.Queue[Sent] = field(default_factory=asyncio.Queue)
    open: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=hunter2"

    async def next(self, seconds: float = 15) -> Sent:
        """The next request that nobody has asked for yet."""
        return await asyncio.wait_for(self.news.get(), seconds)

    async def several(self, number: int) -> list[Sent]:
        return [await self.next() for _ in range(number)]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(one.split(": ", 1) for one in lines)
        sent = Sent(line, headers, await reader.readexactly(int(headers["Content-Length"])))
        answer = self.answers.pop(0) if self.answers else self.otherwise
        self.sent.append(sent)
        self.news.put_nowait(sent)
        gone = asyncio.create_task(reader.read())  # its end is the end of the connection
        answering = asyncio.create_task(answer(writer))
        await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, answering):
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await task


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
