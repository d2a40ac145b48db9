"""Tell whoever listens that there is news of an attempt; best effort, nothing depends on it."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path


def wake(directory: str, key: str) -> None:
    """Send the key to every datagram socket in the directory; sockets that nobody reads are passed over."""
    if not directory:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in Path(directory).iterdir():
            with suppress(OSError):
                sender.sendto(key.encode(), str(path))
