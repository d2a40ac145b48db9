"""Hosts that somebody names: looked up beside all else."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.sources import urls


async def test_names_that_take_for_ever_to_resolve_keep_nothing_else_from_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered, threads = threading.Event(), (os.cpu_count() or 1) + 4

    def slow(*_: object, **__: object) -> list[object]:
        answered.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    named = [asyncio.create_task(urls.check(f"https://h{n}.example/", allow_private=False)) for n in range(threads)]
    try:
        await asyncio.sleep(0)  # each has asked
        async with asyncio.timeout(4):
            assert await asyncio.to_thread(int, "1") == 1
    finally:
        answered.set()
    assert all(isinstance(end, InvalidRequest) for end in await asyncio.gather(*named, return_exceptions=True))
