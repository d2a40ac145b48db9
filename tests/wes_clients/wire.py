"""Requests as clients put them on the wire, and the answers to them: nothing between the test and the socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENTS = Path(__file__).parent / "documents"
CLIENTS = sorted(path.stem for path in DOCUMENTS.glob("*.http"))
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def requests(client: str, host: str, run: str = "") -> dict[str, bytes]:
    """What a client sends, by the name that its document gives it."""
    text = (DOCUMENTS / f"{client}.http").read_text().replace("{host}", host).replace("{run}", run)
    return {section.partition("\n")[0]: _request(section.partition("\n")[2]) for section in text.split("### ")[1:]}


def _request(section: str) -> bytes:
    head, _, text = section.partition("\n\n")
    if "multipart/form-data" not in head:
        text = text.strip()  # the end of the line is the document's, not the request's
    body = text.replace("\n", "\r\n").encode()
    return head.replace("{length}", str(len(body))).replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


async def send(url: str, *pieces: bytes) -> Answer:
    """The answer to one request, sent piece by piece; to the last of several requests in one connection."""
    return (await send_all(url, b"".join(pieces)))[-1]


async def send_all(url: str, *requests: bytes) -> list[Answer]:
    """The answers to requests that share one connection, each sent when the one before is answered."""
    return await asyncio.to_thread(_exchange, url, requests)


def _exchange(url: str, requests: tuple[bytes, ...]) -> list[Answer]:
    answers = []
    with connected(url) as connection:
        for request in requests:
            connection.sendall(request)
            answers.append(read(connection))
    return answers


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def read(connection: socket.socket) -> Answer:
    """The next answer that is not `100 Continue`."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    return Answer(answer.status, answer.headers.get_content_type(), body)


def multipart(*parts: bytes, headers: str = "", kind: str = "multipart/form-data; boundary=b") -> bytes:
    """`POST /runs` with these parts, each from behind `form-data; ` on."""
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return post(body, kind, headers)


def post(body: bytes, kind: str, headers: str = "", path: str = "/runs") -> bytes:
    """A POST of this body."""
    told = f"POST /ga4gh/wes/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{headers}"
    length = "" if re.search("transfer-encoding", headers, re.IGNORECASE) else f"Content-Length: {len(body)}\r\n"
    return f"{told}{length}\r\n".encode() + body
