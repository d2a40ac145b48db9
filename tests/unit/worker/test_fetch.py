"""Inputs from the network: the request, and servers that misbehave."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wesgate.worker.faults import Fault
from wesgate.worker.fetch import build_request, fetch
from wesgate.worker.layout import Limits


def test_user_and_password_become_a_header_that_redirects_do_not_get() -> None:
    request = build_request("http://m%40e:p@host:81/a?q=1#f")
    assert request.full_url == "http://host:81/a?q=1"
    assert request.unredirected_hdrs == {"Authorization": "Basic bUBlOnA="}


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h", "http://h/"),
        ("http://h/a b/ü", "http://h/a%20b/%C3%BC"),
        ("http://h/a%20b?x=%2F", "http://h/a%20b?x=%2F"),
    ],
)
def test_a_url_is_quoted_once(url: str, sent: str) -> None:
    assert build_request(url).full_url == sent


@pytest.mark.parametrize("url", ["http://", "http:///x", "http://[::1", "http://h:99999999/"])
def test_a_url_that_names_no_host_is_refused(url: str) -> None:
    with pytest.raises(Fault):
        build_request(url)


class Replies(socketserver.BaseRequestHandler):
    """Answers each connection with the next of the server's replies."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(self.server.replies.pop(0))  # type: ignore[attr-defined]  # set by `site`


@pytest.fixture
def site() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Replies) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def fetched(site: socketserver.ThreadingTCPServer, path: Path, *replies: bytes, **limits: float) -> bytes:
    site.replies = list(replies)  # type: ignore[attr-defined]  # read by Replies
    known = Limits(fetch_attempts=2, fetch_max_bytes=int(limits.get("most", 1000)))
    fetch(f"http://127.0.0.1:{site.server_address[1]}/f", path / "f", known, time.monotonic() + 20)
    return (path / "f").read_bytes()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def test_a_connection_that_breaks_is_tried_again(site: socketserver.ThreadingTCPServer, tmp_path: Path) -> None:
    assert fetched(site, tmp_path, OK % (10, b"half"), OK % (4, b"full")) == b"full"


def test_a_reply_without_a_length_is_read_to_its_end(site: socketserver.ThreadingTCPServer, tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert fetched(site, tmp_path, chunked) == b"abc"


def test_a_connection_that_breaks_every_time_is_told(site: socketserver.ThreadingTCPServer, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="the connection ended after 4 of 10 bytes"):
        fetched(site, tmp_path, OK % (10, b"half"), OK % (10, b"half"))


@pytest.mark.parametrize("reply", [OK % (11, b"x" * 11), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11])
def test_what_is_too_large_is_not_kept_on_reading(
    site: socketserver.ThreadingTCPServer, tmp_path: Path, reply: bytes
) -> None:
    with pytest.raises(Fault, match="larger than the 10 bytes allowed"):
        fetched(site, tmp_path, reply, most=10)


def test_nonsense_is_told_in_a_sentence(site: socketserver.ThreadingTCPServer, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="could not be fetched"):
        fetched(site, tmp_path, b"SSH-2.0-nonsense\r\n\r\n", b"")
