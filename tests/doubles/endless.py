"""A git server that begins an answer and never ends it, and that sees when nobody listens any more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.doubles.web import serving

BEGUN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 999\r\n\r\n001e"
)


@dataclass
class Endless:
    """`asked` is set once somebody has asked, `alone` once that one is gone."""

    url: str
    asked: threading.Event = field(default_factory=threading.Event)
    alone: threading.Event = field(default_factory=threading.Event)

    def answer(self, connection: socket.socket) -> None:
        connection.sendall(BEGUN)
        self.asked.set()
        with suppress(ConnectionError):
            connection.recv(1)  # nothing more is sent: this is the end
        self.alone.set()


@contextmanager
def serving_without_end() -> Iterator[Endless]:
    with serving() as web:
        endless = Endless(f"http://{web.host}/x.git")
        web.replies = [endless.answer]
        yield endless
