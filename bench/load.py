"""Ask an HTTP server the same few things as fast as it answers, in a process of its own that costs little.

`python -m bench.load PORT SECONDS <REQUESTS.json` prints the answers per second of 16 connections, each with one
request under way. Anything but a 200 ends it with an error.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

import uvloop

CONNECTIONS = 16
ROUND_S = 2.0
BOUNDARY = "bench-0123456789"


class Asking(asyncio.Protocol):
    """One connection: sends the next request when the last is answered, until told to stop."""

    def __init__(self, requests: Iterator[bytes], ended: asyncio.Future[None]) -> None:
        self.answers = 0
        self._requests = requests
        self._ended = ended
        self._waiting = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is not a subclass
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        if not _is_whole(self._waiting):
            return
        if not self._waiting.startswith(b"HTTP/1.1 200 "):
            self._ended.set_exception(SystemExit(f"load: unexpected answer: {self._waiting[:500]!r}"))
            return
        self._waiting = b""
        self.answers += 1
        self._transport.write(next(self._requests))

    def connection_lost(self, _: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(SystemExit("load: the server closed the connection"))


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    at = head.lower().find(b"content-length:")
    return at >= 0 and len(body) >= int(head[at + 15 :].split(b"\r", 1)[0])


def encode(method: str, path: str, body: object = None) -> str:
    """One request, as it goes over the wire."""
    content = "" if body is None else json.dumps(body)
    about = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{about}\r\n{content}"


def encode_form(path: str, fields: Mapping[str, str], attachments: Mapping[str, str]) -> str:
    """A multipart form with files, as clients of WES send it."""
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts += [
        f'name="workflow_attachment"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n{text}'
        for name, text in attachments.items()
    ]
    body = "".join(f"--{BOUNDARY}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    content = f"{body}--{BOUNDARY}--\r\n"
    about = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(content)}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{about}\r\n{content}"


def rate_of(url: str, requests: Sequence[str], seconds: float = ROUND_S) -> float:
    """Answers per second, asked by another process."""
    command = [sys.executable, "-m", "bench.load", str(urlsplit(url).port), str(seconds)]
    ended = subprocess.run(
        command, input=json.dumps({"requests": requests}), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(ended.stdout)


async def rate(port: int, seconds: float, requests: Sequence[str]) -> float:
    """Answers per second."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    turns = itertools.cycle([request.encode() for request in requests])
    began = time.perf_counter()
    made = [await loop.create_connection(lambda: Asking(turns, ended), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.wait([ended], timeout=seconds)
    took = time.perf_counter() - began
    if ended.done():
        ended.result()
    ended.cancel()
    for transport, _ in made:
        transport.abort()
    return sum(asking.answers for _, asking in made) / took


def main(arguments: Sequence[str], given: Mapping[str, Sequence[str]]) -> None:
    """Print the rate."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(rate(int(arguments[0]), float(arguments[1]), given["requests"])))


if __name__ == "__main__":
    main(sys.argv[1:], json.load(sys.stdin))
