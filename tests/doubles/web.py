"""A web server that says what it is told to, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import trustme

Reply: TypeAlias = bytes | Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
AUTHORITY = trustme.CA()
NAME = "files.test"
"""The one name that it vouches for."""


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass
class Web:
    """Answers each connection with the next of `replies`; `asked` holds the requests as they came."""

    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    tls: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def handle(self, connection: socket.socket) -> None:
        if self.tls:
            with secured(connection) as inner:
                self._answer(inner)
        else:
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = read_head(connection)
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, bytes):
            connection.sendall(reply)
        else:
            reply(connection)

    def header(self, name: str) -> list[str | None]:
        """This header of every request; None where there was none."""
        return [_header(request, name) for request in self.asked]


def _header(request: bytes, name: str) -> str | None:
    for line in request.decode("latin-1").split("\r\n")[1:]:
        given, _, value = line.partition(": ")
        if given == name:
            return value
    return None


def read_head(connection: socket.socket) -> bytes:
    """What comes, until an empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
        head += byte
    return head


@contextmanager
def serving() -> Iterator[Web]:
    web = Web()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                web.handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        server.block_on_close = False
        web.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield web
        web.ended.set()
        server.shutdown()


def trusted(folder: Path) -> str:
    """A file for SSL_CERT_FILE that makes clients believe the authority."""
    path = folder / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return str(path)


@contextmanager
def secured(connection: socket.socket) -> Iterator[socket.socket]:
    """Speak TLS from here on, as files.test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(NAME).configure_cert(context)
    with context.wrap_socket(connection, server_side=True) as inner:
        yield inner
        inner.unwrap()
