"""What is handed over arrives whole, or it is told that it does not."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wesgate.core.spec import Store
from wesgate.worker.handover import receive, receive_stores, send, send_stores


def test_open_files_come_with_their_message(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("w+") as file:
        send(ours, ["a", 1], [file.fileno()])
        value, (given,) = receive(theirs, 1)
        os.write(given, b"through it")
        os.close(given)
        assert value == ["a", 1]
        assert (tmp_path / "file").read_text() == "through it"


def test_stores_of_any_size_arrive() -> None:
    stores = tuple(Store(f"s3://bucket-{number}/", {"key": "x" * 100_000}) for number in range(20))
    ours, theirs = socket.socketpair()
    with ours, ThreadPoolExecutor(1) as other:
        found = other.submit(receive_stores, theirs)
        send_stores(ours, stores)
        assert found.result() == stores


def test_a_worker_started_by_hand_has_no_stores() -> None:
    assert receive_stores(None) == ()


@pytest.mark.parametrize("part", [b"", b"\0\0", b"\0\0\0\5[1"])
def test_half_a_message_is_told(part: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(part)
        ours.close()
        with pytest.raises(EOFError, match="has ended"):
            receive(theirs)
