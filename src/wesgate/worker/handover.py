"""Hand the stores of a site to the process that forks workers, so that their credentials are in memory alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

from wesgate.core.codec import dump, load
from wesgate.core.spec import Store

LENGTH_BYTES = 4


def send_stores(channel: socket.socket, stores: Sequence[Store]) -> None:
    """The first message to a fork server."""
    data = json.dumps([dump(store) for store in stores]).encode()
    channel.sendall(len(data).to_bytes(LENGTH_BYTES, "big") + data)


def receive_stores(channel: socket.socket) -> tuple[Store, ...]:
    """What `send_stores` sent; none if the other side is gone."""
    data = _exactly(channel, int.from_bytes(_exactly(channel, LENGTH_BYTES), "big"))
    return tuple(load(Store, store) for store in json.loads(data or b"[]"))


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := channel.recv(size - len(data))):
        data += more
    return data
