"""What processes of this machine hand to each other over a socket: a JSON value, and open files with it.

The stores of a site come to a worker so, that their credentials are in memory alone: in no file, no argument and no
environment, where steps could find them.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from wesgate.core.codec import dump, load
from wesgate.core.spec import Store

LENGTH_BYTES = 4


def send(channel: socket.socket, value: object, files: Sequence[int] = ()) -> None:
    """Hand this over; the other side gets open files of its own."""
    data = json.dumps(value).encode()
    message = len(data).to_bytes(LENGTH_BYTES, "big") + data
    sent = socket.send_fds(channel, [message], files)
    if rest := message[sent:]:  # whoever has it all may be gone by now
        channel.sendall(rest)


def receive(channel: socket.socket, files: int = 0) -> tuple[Any, list[int]]:
    """What `send` handed over, with as many files. `EOFError` if the other side is gone, `OSError` if this process may
    not open so many."""
    length, given, _, _ = socket.recv_fds(channel, LENGTH_BYTES, files)
    length += _exactly(channel, LENGTH_BYTES - len(length))
    data = _exactly(channel, int.from_bytes(length, "big"))
    if len(given) < files:
        for file in given:
            os.close(file)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return json.loads(data), given


def send_stores(channel: socket.socket, stores: Sequence[Store]) -> None:
    """The only message to a worker."""
    send(channel, [dump(store) for store in stores])


def receive_stores(channel: socket.socket | None) -> tuple[Store, ...]:
    """What `send_stores` sent; nothing for a worker that was started by hand. Closes the socket."""
    if channel is None:
        return ()
    with channel:
        return tuple(load(Store, store) for store in receive(channel)[0])


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError("whoever was to say something has ended")
        data += more
    return data
