"""Fetching from servers that misbehave, and from hosts that are not to be reached."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.doubles.web import OK, Web, moved, read_head, secured, serving, trusted
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed, fetch
from wesgate.storage.patience import Bounds

PUBLIC = "93.184.216.34"


pytestmark = pytest.mark.usefixtures("no_proxy")


@dataclass
class Internet:
    """Names and what they lead to, each answer but the last given once; every public address is the same server."""

    names: Mapping[str, list[Sequence[str]]]
    server: Web
    reached: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        answers = self.names.get(host) or [[host]]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.reached.append(address)
        if address == PUBLIC:
            return socket.create_connection(("127.0.0.1", self.server.port), timeout_s)
        return socket.create_connection((address, port), timeout_s)

    def network(self, *, allow_private: bool = False) -> Network:
        return Network(allow_private, self.resolve, self.connect)


LOCAL = Network(allow_private=True)


def fetched(url: str, network: Network = LOCAL, *, most: int = 1000, timeout_s: float = 20, attempts: int = 2) -> bytes:
    file = io.BytesIO()
    fetch(url, file, Bounds(most, timeout_s, lambda: False, attempts), network)
    return file.getvalue()


def failure(url: str, network: Network = LOCAL, **bounds: float) -> str:
    with pytest.raises(FetchFailed) as failed:
        fetched(url, network, **bounds)  # type: ignore[arg-type]  # whole numbers where they are wanted
    return str(failed.value)


# What is asked, and what comes


def test_a_file_is_fetched_as_its_server_keeps_it(web: Web) -> None:
    web.replies = [OK % (4, b"\x00\xff\r\n")]
    assert fetched(f"http://{web.host}/a b?c=%2F#d") == b"\x00\xff\r\n"
    assert web.asked[0].startswith(b"GET /a%20b?c=%2F HTTP/1.1\r\n")
    assert web.header("Host") == [web.host]
    assert web.header("Accept-Encoding") == ["identity"]


def test_a_reply_without_a_length_is_read_to_its_end(web: Web) -> None:
    web.replies = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    assert fetched(f"http://{web.host}/f") == b"abc"
    web.replies = [b"HTTP/1.0 200 OK\r\n\r\nabc"]
    assert fetched(f"http://{web.host}/f") == b"abc"


@pytest.mark.parametrize(
    "broken",
    [
        OK % (10, b"longer"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nlonger",
        b"HTTP/1.1 503 Busy\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-nonsense\r\n\r\n",
        b"",
    ],
)
def test_what_breaks_is_tried_again_from_the_start(web: Web, broken: bytes) -> None:
    web.replies = [broken, OK % (4, b"full")]
    assert fetched(f"http://{web.host}/f") == b"full"


def test_a_connection_that_breaks_every_time_is_told(web: Web) -> None:
    web.replies = [OK % (10, b"half")] * 2
    assert failure(f"http://{web.host}/f").endswith("the connection ended after 4 of 10 bytes")


def test_an_answer_is_not_asked_for_again(web: Web) -> None:
    web.replies = [b"HTTP/1.1 404 Secrets\x1b of the server\r\n\r\n"] * 2
    assert failure(f"http://{web.host}/f") == (
        f"http://{web.host}/f could not be fetched: the server answered 404 Not Found"
    )
    assert len(web.asked) == 1


def test_nonsense_is_told_in_a_sentence_of_ours(web: Web) -> None:
    web.replies = [b"SSH-2.0-nonsense\r\n\r\n"] * 2
    assert failure(f"http://{web.host}/f") == f"http://{web.host}/f could not be fetched: its answer is not HTTP"


def test_a_server_that_is_not_there_is_told(web: Web) -> None:
    assert "refused" in failure("http://127.0.0.1:9/f", attempts=1)
    assert "its host is not known" in failure("http://no.such.host.invalid/f", attempts=1)


# Bounds


@pytest.mark.parametrize(
    "reply",
    [
        OK % (11, b"x" * 11),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nxxxxxxxxxxx\r\n0\r\n\r\n",
    ],
)
def test_what_is_too_large_is_not_kept(web: Web, reply: bytes) -> None:
    web.replies = [reply]
    assert "it is larger than the 10 bytes allowed" in failure(f"http://{web.host}/f", most=10)


def test_what_says_that_it_is_too_large_is_not_read(web: Web) -> None:
    web.replies = [OK % (11, b"")]
    assert "it is larger than the 10 bytes allowed: 11" in failure(f"http://{web.host}/f", most=10)


def test_an_encoding_that_was_not_asked_for_is_refused(web: Web) -> None:
    web.replies = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    assert "an encoding that was not asked for" in failure(f"http://{web.host}/f")


def drip(web: Web, head: bytes) -> None:
    """Say this first, then a letter now and then, for as long as anybody listens."""

    def slowly(connection: socket.socket) -> None:
        connection.sendall(head)
        while not web.ended.wait(0.02):
            connection.sendall(b"x")

    web.replies = [slowly]


@pytest.mark.parametrize("head", [OK % (1000, b""), b"HTTP/1.1 200 OK\r\nX: "])
def test_a_slow_server_ends_at_the_deadline(web: Web, head: bytes) -> None:
    drip(web, head)
    began = time.monotonic()
    assert "it took longer than the 0.4 s allowed" in failure(f"http://{web.host}/f", timeout_s=0.4)
    assert 0.3 < time.monotonic() - began < 2


def test_a_deadline_may_be_shared(web: Web) -> None:
    with pytest.raises(FetchFailed, match="took longer"):
        fetch(f"http://{web.host}/f", io.BytesIO(), Bounds(9, 99, lambda: False), LOCAL, time.monotonic() - 1)
    assert not web.asked


@pytest.mark.parametrize("head", [OK % (1000, b""), b""])
def test_a_fetch_that_is_told_to_stop_ends(web: Web, head: bytes) -> None:
    def silent(connection: socket.socket) -> None:
        connection.sendall(head)
        web.ended.wait(20)

    web.replies = [silent]
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(FetchFailed, match="it was told to stop"):
        fetch(f"http://{web.host}/f", io.BytesIO(), Bounds(1000, 20, stop.is_set), LOCAL)
    assert time.monotonic() - began < 2


def test_a_fetch_that_waits_for_its_next_try_can_be_stopped(web: Web) -> None:
    web.replies = [b""] * 9
    with pytest.raises(FetchFailed, match="it was told to stop"):
        fetch(f"http://{web.host}/f", io.BytesIO(), Bounds(9, 20, lambda: len(web.asked) > 1, 9), LOCAL)
    assert len(web.asked) == 2


# Redirects and credentials


def test_credentials_follow_a_redirect_on_the_same_host_only(web: Web) -> None:
    with serving() as other:
        web.replies = [moved("/b"), moved(f"http://{other.host}/c")]
        other.replies = [OK % (2, b"ok")]
        assert fetched(f"http://me:pw@{web.host}/a") == b"ok"
        assert web.header("Authorization") == ["Basic bWU6cHc="] * 2
        assert other.header("Authorization") == [None]


def test_nothing_secret_is_in_an_error(web: Web) -> None:
    web.replies = [moved(f"http://you:pw2@{web.host}/c?sig=s3"), b"HTTP/1.1 403 No\r\n\r\n"]
    assert failure(f"http://me:pw@{web.host}/a?key=s1#s2") == (
        f"http://{web.host}/a could not be fetched: it redirects to http://{web.host}/c: "
        "the server answered 403 Forbidden"
    )


def test_redirects_have_an_end(web: Web) -> None:
    web.replies = [moved("/next")] * 9
    assert "it redirects more than 3 times" in failure(f"http://{web.host}/f")
    assert len(web.asked) == 4


def test_a_redirect_to_a_file_is_not_followed(web: Web) -> None:
    web.replies = [moved("file:///etc/passwd")]
    assert "it is not an http or https URL" in failure(f"http://{web.host}/f")


# Addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "0.0.0.0"])
def test_this_machine_is_reached_only_where_the_site_says_so(web: Web, host: str) -> None:
    web.replies = [OK % (2, b"ok")]
    assert "it names a host that is not public" in failure(f"http://{host}:{web.port}/f", Network(allow_private=False))
    assert not web.asked
    assert fetched(f"http://{host}:{web.port}/f") == b"ok"


@pytest.mark.parametrize("host", ["169.254.169.254", "0xA9FEA9FE", "[fe80::1]", "[::ffff:169.254.169.254]",
                                  "168.63.129.16", "[fd00:ec2::254]"])  # fmt: skip
def test_where_clouds_give_out_credentials_is_never_reached(web: Web, host: str) -> None:
    internet = Internet({"0xa9fea9fe": [["169.254.169.254"]]}, web)
    assert "is not public and never allowed" in failure(f"http://{host}/f", internet.network(allow_private=True))
    assert not internet.reached


def test_a_redirect_to_this_machine_is_refused(web: Web) -> None:
    web.replies = [moved(f"http://inside.test:{web.port}/secret"), OK % (6, b"secret")]
    internet = Internet({"public.test": [[PUBLIC]], "inside.test": [["127.0.0.1"]]}, web)
    told = failure("http://public.test/f", internet.network())
    assert f"it redirects to http://inside.test:{web.port}/secret: it names a host that is not public" in told
    assert internet.reached == [PUBLIC]


def test_a_name_that_comes_to_mean_this_machine_is_refused(web: Web) -> None:
    web.replies = [b"", OK % (6, b"secret")]
    internet = Internet({"rebound.test": [[PUBLIC], ["127.0.0.1"]]}, web)
    told = failure(f"http://rebound.test:{web.port}/f", internet.network(), attempts=3)
    assert "it names a host that is not public" in told
    assert internet.reached == [PUBLIC]


def test_what_was_checked_is_what_is_connected_to(web: Web) -> None:
    web.replies = [OK % (2, b"ok")]
    internet = Internet({"localhost": [[PUBLIC], ["127.0.0.1"]]}, web)
    assert fetched(f"http://localhost:{web.port}/f", internet.network()) == b"ok"
    assert internet.reached == [PUBLIC]


def test_a_name_with_an_address_of_this_machine_among_others_is_refused(web: Web) -> None:
    internet = Internet({"both.test": [[PUBLIC, "127.0.0.1"]]}, web)
    assert "it names a host that is not public" in failure("http://both.test/f", internet.network())
    assert not internet.reached


def test_the_next_address_is_tried_where_one_does_not_answer(web: Web) -> None:
    web.replies = [OK % (2, b"ok")]
    internet = Internet({"two.test": [["127.0.0.2", "127.0.0.1"]]}, web)
    assert fetched(f"http://two.test:{web.port}/f", internet.network(allow_private=True)) == b"ok"
    assert internet.reached == ["127.0.0.2", "127.0.0.1"]


# TLS


def test_a_certificate_must_be_for_the_name_in_the_url(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.tls = True
    network = Internet({"files.test": [[PUBLIC]], "other.test": [[PUBLIC]]}, web).network()
    assert "its certificate is not valid" in failure("https://files.test/f", network)
    monkeypatch.setenv("SSL_CERT_FILE", trusted(tmp_path))
    web.replies = [OK % (2, b"ok")]
    assert fetched("https://files.test/f", network) == b"ok"
    assert "certificate is not valid for 'other.test'" in failure("https://other.test/f", network)


def test_a_server_that_is_silent_in_the_handshake_ends_at_the_deadline(web: Web) -> None:
    began = time.monotonic()
    told = failure(f"https://{web.host}/f", timeout_s=0.4)
    assert "it took longer than" in told
    assert time.monotonic() - began < 2


def test_a_server_without_tls_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=_say_once, args=(plain,), daemon=True).start()
        assert "TLS failed" in failure(f"https://127.0.0.1:{plain.getsockname()[1]}/f", attempts=1)


def _say_once(plain: socket.socket) -> None:
    connection, _ = plain.accept()
    with connection:
        connection.sendall(b"220 mail.test ESMTP ready\r\n")
        connection.recv(4096)


# Proxies


def test_a_proxy_of_the_environment_forwards_plain_http(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://u:p@{web.host}")
    web.replies = [moved("http://other.test/b"), OK % (2, b"ok")]
    assert fetched("http://me:pw@files.test/a?q", Network(allow_private=False)) == b"ok"
    assert web.asked[0].startswith(b"GET http://files.test/a?q HTTP/1.1\r\nHost: files.test\r\n")
    assert web.asked[1].startswith(b"GET http://other.test/b HTTP/1.1\r\n")
    assert web.header("Proxy-Authorization") == ["Basic dTpw"] * 2
    assert web.header("Authorization") == ["Basic bWU6cHc=", None]


def test_a_proxy_of_the_environment_is_gone_through_by_https(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted(tmp_path))
    monkeypatch.setenv("https_proxy", f"u:p@{web.host}")
    inside: list[bytes] = []

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with secured(connection) as inner:
            inside.append(read_head(inner))
            inner.sendall(OK % (2, b"ok"))

    web.replies = [tunnel]
    assert fetched("https://files.test/a", Network(allow_private=False)) == b"ok"
    assert web.asked[0].startswith(b"CONNECT files.test:443 HTTP/1.1\r\nHost: files.test:443\r\n")
    assert web.header("Proxy-Authorization") == ["Basic dTpw"]
    assert inside[0].startswith(b"GET /a HTTP/1.1\r\nHost: files.test\r\n")
    assert b"Proxy-" not in inside[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost", "a.localhost.", "[::1]", "169.254.169.254"])
def test_a_proxy_is_not_asked_for_an_address_that_is_not_allowed(
    web: Web, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{web.host}")
    web.replies = [moved(f"http://{host}/b")]
    assert "not public" in failure("http://files.test/a", Network(allow_private=False))
    assert len(web.asked) == 1


def test_where_no_proxy_is_wanted_there_is_none_and_addresses_are_checked(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", ".test")
    web.replies = [OK % (2, b"ok")]
    internet = Internet({"files.test": [[PUBLIC]], "inside.test": [["127.0.0.1"]]}, web)
    assert fetched("http://files.test/a", internet.network()) == b"ok"
    assert "it names a host that is not public" in failure("http://inside.test/a", internet.network())


@pytest.mark.parametrize(
    ("reply", "told", "asked"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", "answered 407 Proxy Authentication Required", 1),
        (b"HTTP/1.1 502 No\r\n\r\n", "answered 502 Bad Gateway", 2),
    ],
)
def test_a_proxy_that_refuses_is_told(
    web: Web, monkeypatch: pytest.MonkeyPatch, reply: bytes, told: str, asked: int
) -> None:
    monkeypatch.setenv("https_proxy", f"http://u:secret@{web.host}")
    web.replies = [reply] * 2
    assert failure("https://files.test/a").endswith(f"the proxy {web.host} {told}")
    assert len(web.asked) == asked


def test_a_proxy_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://u:secret@127.0.0.1:1080")
    assert failure("http://files.test/a").endswith("the proxy of the environment is not an http proxy")
