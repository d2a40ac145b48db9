"""Hosts that somebody names: looked up beside all else."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from wesgate.core.errors import InvalidRequest, Unavailable
from wesgate.sources import urls


async def test_names_that_take_for_ever_to_resolve_keep_nothing_else_from_its_thread(
    monkeypatch: pytest.MonkeyPatch, no_proxy: None
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


def unknown(*_: object, **__: object) -> list[object]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_name_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch, no_proxy: None) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InvalidRequest, match="the host of workflow_url cannot be found"):
        await urls.check("https://none.example/", allow_private=False)


async def test_a_resolver_that_cannot_tell_now_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    def busy(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", busy)
    with pytest.raises(Unavailable, match="the host of url cannot be looked up now"):
        await urls.check("https://a.example/", allow_private=False, what="url")


async def test_a_name_whose_turn_does_not_come_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(urls, "RESOLVE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10))
    try:
        with pytest.raises(Unavailable):
            await urls.check("https://a.example/", allow_private=False)
    finally:
        answered.set()


async def test_where_a_proxy_looks_names_up_only_written_addresses_are_checked(
    monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    await urls.check("https://a.example/", allow_private=False)
    for host in ("127.0.0.1", "0x7f000001", "localhost", "169.254.169.254"):
        with pytest.raises(InvalidRequest, match="not public"):
            await urls.check(f"https://{host}/", allow_private=False)
    monkeypatch.setenv("no_proxy", ".example")
    with pytest.raises(InvalidRequest, match="cannot be found"):
        await urls.check("https://a.example/", allow_private=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "0xA9FEA9FE", "[fd00:ec2::254]"])
async def test_where_private_hosts_are_allowed_some_never_are(host: str, no_proxy: None) -> None:
    await urls.check("https://10.0.0.1/", allow_private=True)
    with pytest.raises(InvalidRequest, match="never allowed"):
        await urls.check(f"https://{host}/", allow_private=True)
