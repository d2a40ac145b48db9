"""What comes over the wire before there is a request: heads that are slow, endless, or no HTTP at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import WES
from tests.api.served import serving
from wesgate.api.dependencies import Context
from wesgate.cli.operators import protocol

ASK = f"GET {WES}/service-info HTTP/1.1\r\nHost: localhost\r\n".encode()


class Wire:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer: its status and its document."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split()[1]), json.loads(await self.reader.readexactly(size))

    async def refused(self, status: int) -> None:
        """The next answer is this, in the shape of every error, and the last one."""
        code, document = await self.answer()
        assert (code, document["status_code"]) == (status, status)
        async with asyncio.timeout(20):
            assert await self.reader.read() == b""


@asynccontextmanager
async def wired(context: Context) -> AsyncIterator[Wire]:
    async with serving(context) as url:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        yield Wire(reader, writer)
        writer.close()


@pytest.fixture
async def wire(context: Context) -> AsyncIterator[Wire]:
    async with wired(context) as made:
        yield made


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)


@pytest.mark.parametrize("sent", [b"", b"G", ASK, ASK + b"X-Slow: "])
async def test_a_head_that_does_not_end_is_waited_for_only_so_long(soon: None, context: Context, sent: bytes) -> None:
    async with wired(context) as wire:
        wire.writer.write(sent)
        await wire.refused(408)


async def test_so_is_the_head_of_a_later_request(soon: None, context: Context) -> None:
    async with wired(context) as wire:
        wire.writer.write(ASK + b"\r\n")
        assert (await wire.answer())[0] == 200
        wire.writer.write(ASK)
        await wire.refused(408)


async def test_a_head_that_comes_slowly_but_in_time_is_answered(wire: Wire) -> None:
    for byte in ASK + b"\r\n":
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
    assert (await wire.answer())[0] == 200


async def test_only_the_head_has_to_come_so_soon(soon: None, context: Context) -> None:
    async with wired(context) as wire:
        head = f"POST {WES}/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        wire.writer.write(f"{head}Content-Length: 2\r\n\r\n".encode())
        await asyncio.sleep(2 * protocol.HEAD_S)
        wire.writer.write(b"{}")
        code, document = await wire.answer()
        assert (code, "workflow" in document["msg"]) == (400, True)


@pytest.mark.parametrize("piece", [b"a" * 65536, b"X-More: " + b"a" * 65526 + b"\r\n"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(wire: Wire, piece: bytes) -> None:
    wire.writer.write(ASK + b"X-Long: ")
    sent = 0
    with suppress(ConnectionError):
        while sent < 64 << 20:
            wire.writer.write(piece)
            await wire.writer.drain()
            sent += len(piece)
    assert sent < 16 << 20


async def test_who_waits_for_the_answer_is_told_that_a_head_is_too_long(wire: Wire) -> None:
    wire.writer.write(ASK + b"X-Long: " + b"a" * (protocol.HEAD_BYTES + 1))
    await wire.refused(431)


async def test_a_long_head_is_taken(wire: Wire) -> None:
    wire.writer.write(ASK + b"X-Long: " + b"a" * 65536 + b"\r\n\r\n")
    assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/9\r\n\r\n", b"A: b\r\n\r\n"])
async def test_what_is_no_http_is_told_so_in_our_shape(wire: Wire, sent: bytes) -> None:
    wire.writer.write(sent)
    await wire.refused(400)
