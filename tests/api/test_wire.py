"""What comes over the wire besides bodies: heads and trailers that are slow, endless, or no HTTP at all."""

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
SEND = f"POST {WES}/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 100_000


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
        await self.ended()

    async def ended(self) -> None:
        """The connection ends, and nothing else comes."""
        async with asyncio.timeout(20):
            assert await self.reader.read() == b""

    async def flooded(self, piece: bytes) -> int:
        """How many bytes of this, again and again, are taken before the connection ends."""
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 << 20:
                self.writer.write(piece)
                await self.writer.drain()
                sent += len(piece)
        return sent


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
        wire.writer.write(SEND + b"Content-Length: 2\r\n\r\n")
        await asyncio.sleep(2 * protocol.HEAD_S)
        wire.writer.write(b"{}")
        code, document = await wire.answer()
        assert (code, "workflow" in document["msg"]) == (400, True)


@pytest.mark.parametrize("piece", [b"a" * 65536, b"X-More: " + b"a" * 65526 + b"\r\n"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(wire: Wire, piece: bytes) -> None:
    wire.writer.write(ASK + b"X-Long: ")
    assert await wire.flooded(piece) < 16 << 20


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


@pytest.mark.parametrize("piece", [b"a" * 65536, b"a\r\nX: " + b"a" * 1000 + b"\r\nX: "], ids=["one", "many"])
@pytest.mark.parametrize("head", [ASK, SEND], ids=["answered at once", "waited for"])
async def test_trailers_without_end_are_refused_before_they_fill_the_memory(
    wire: Wire, head: bytes, piece: bytes
) -> None:
    wire.writer.write(head + CHUNKED + b"2\r\n{}\r\n0\r\nX: ")
    assert await wire.flooded(piece) < 16 << 20


async def test_who_waits_for_the_answer_is_told_that_trailers_are_too_long(wire: Wire) -> None:
    wire.writer.write(SEND + CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"a" * protocol.HEAD_BYTES)
    await wire.refused(431)


async def test_a_trailer_is_no_header(wire: Wire) -> None:
    run = b'{"workflow_type":"WDL","workflow_type_version":"1.0","workflow_url":"a"}'
    wire.writer.write(SEND + CHUNKED + b"%x\r\n%s\r\n0\r\nIdempotency-Key: a b\r\n\r\n" % (len(run), run))
    code, document = await wire.answer()
    assert (code, document["msg"]) == (400, "workflow_url is the name of no attachment, and no URL")


@pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"00000001\r\n \r\n"], ids=["short", "padded"])
async def test_a_body_in_tiny_chunks_is_taken(wire: Wire, chunk: bytes) -> None:
    wire.writer.write(SEND + CHUNKED + chunk * MANY + b"2\r\n{}\r\n0\r\n\r\n")
    assert (await wire.answer())[0] == 400
    wire.writer.write(ASK + b"\r\n")
    assert (await wire.answer())[0] == 200


async def test_requests_that_come_at_once_are_not_one_long_head(wire: Wire) -> None:
    one = ASK + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\n"
    wire.writer.write(one * 20)
    assert [(await wire.answer())[0] for _ in range(20)] == [200] * 20


async def test_an_empty_line_after_an_answer_does_not_keep_the_connection(soon: None, context: Context) -> None:
    async with wired(context) as wire:
        wire.writer.write(ASK + b"\r\n")
        assert (await wire.answer())[0] == 200
        wire.writer.write(b"\r\n")
        await wire.refused(408)


@pytest.mark.parametrize(
    ("head", "rest"), [(b"Content-Length: 100\r\n\r\n", b"x"), (CHUNKED, b"1\r\nx"), (CHUNKED, b"0\r\nX: ")],
    ids=["a body", "a chunk", "a trailer"],
)  # fmt: skip
async def test_the_rest_of_an_answered_request_does_not_keep_the_connection(
    soon: None, context: Context, head: bytes, rest: bytes
) -> None:
    async with wired(context) as wire:
        wire.writer.write(ASK + head)
        assert (await wire.answer())[0] == 200
        wire.writer.write(rest)
        await wire.ended()  # without a word: it would be taken for the answer to the next request


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\n{}zz"], ids=["at once", "later"])
async def test_a_body_that_is_no_http_is_answered_once(wire: Wire, body: bytes) -> None:
    wire.writer.write(SEND + CHUNKED + body)
    await wire.refused(400)


async def test_no_answer_is_given_for_a_whole_request_to_what_follows_it(wire: Wire) -> None:
    wire.writer.write(ASK + b"\r\n" + b"\0")
    await wire.ended()


async def test_an_offer_of_another_protocol_is_answered_in_this(wire: Wire) -> None:
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    wire.writer.write(ASK + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key)
    assert (await wire.answer())[0] == 200
