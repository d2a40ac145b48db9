"""Connections to http(s) servers, each to an address that was checked, and none that keeps its fetch waiting.

Where the environment names a proxy for a URL, the proxy resolves the name and connects. Then only what stands in the
URL is checked: its scheme, and its host where that is an address. What names lead to is the proxy's to decide. The
proxy's own address is the operator's choice and is not checked.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from wesgate.core.addresses import is_allowed, refusal
from wesgate.storage.patience import GLANCE_S, Patience
from wesgate.storage.target import Broken, Refused, Target, parse

CONNECT_S = 10.0
QUIET_S = 60.0
"""How long a server may send nothing."""

# Trying again may help; every other 4xx is an answer.
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. How long that takes at most is the machine's own setting."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True, slots=True)
class Network:
    """How names become addresses, addresses become connections, and which addresses may."""

    allow_private: bool
    resolve: Callable[[str, int], Sequence[str]] = resolve
    connect: Callable[[str, int, float], socket.socket] = connect


@contextmanager
def get(
    target: Target, network: Network, patience: Patience, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    """Ask for a target; its answer, whose body is read with `explained` around. `headers` are more of the request's."""
    with _asked("GET", target, network, patience, headers, b"") as answer:
        yield answer


def post(target: Target, network: Network, patience: Patience, headers: Mapping[str, str], body: bytes) -> int:
    """Send a body to a target; the status of its answer. The rest of the answer is not read, however much it is."""
    length = {"Content-Length": str(len(body))}
    with _asked("POST", target, network, patience, {**headers, **length}, body) as answer:
        return answer.status


@contextmanager
def _asked(
    method: str, target: Target, network: Network, patience: Patience, headers: Mapping[str, str], body: bytes
) -> Iterator[http.client.HTTPResponse]:
    proxy = proxy_of(target)
    with _wire(target, proxy, network, patience) as wire:
        with explained():
            wire.send(_request(method, target, proxy, headers) + body)
            answer = wire.answer(method)
        with answer:
            yield answer


def proxy_of(target: Target) -> Target | None:
    """The proxy that the environment names for this target."""
    named = urllib.request.getproxies().get(target.scheme, "")
    if not named or urllib.request.proxy_bypass(target.authority):
        return None
    # `https://` before a proxy is a habit; what is meant is nearly always its plain port.
    scheme, _, rest = named.rpartition("://")
    if scheme.lower() not in ("", "http", "https"):
        raise Refused("the proxy of the environment is not an http proxy")
    try:
        return parse(f"http://{rest}")
    except Refused as reason:
        raise Refused(f"the proxy of the environment cannot be used: {reason}") from reason


def refuse_status(who: str, status: int) -> Refused:
    """What to raise for an answer that is none of the wanted ones."""
    reason = f"{who} answered {status} {http.client.responses.get(status, '')}".rstrip()
    return Broken(reason) if status in RETRIED_STATUS else Refused(reason)


@contextmanager
def explained() -> Iterator[None]:
    """Put what a connection may raise into words of ours: its own may hold what a server chose to send."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"its certificate is not valid: {error.verify_message}") from error
    except http.client.IncompleteRead as error:
        raise Broken("the connection ended in the middle of the answer") from error
    except http.client.RemoteDisconnected as error:
        raise Broken("the connection ended before an answer") from error
    except (http.client.HTTPException, ValueError) as error:
        raise Broken("its answer is not HTTP") from error
    except OSError as error:
        raise Broken(_words(error)) from error


def _request(method: str, target: Target, proxy: Target | None, headers: Mapping[str, str]) -> bytes:
    # A proxy forwards plain http and must be told all of the URL; https goes through it as if it were not there.
    forwarding = proxy if target.scheme == "http" else None
    lines = [
        f"{method} {target.bare if forwarding else target.path} HTTP/1.1",
        f"Host: {target.netloc}",
        "User-Agent: wesgate",
        "Accept: */*",
        # Compressed transfer would make a file differ from what its server keeps.
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if target.login:
        lines.append(f"Authorization: {target.login}")
    if forwarding and forwarding.login:
        lines.append(f"Proxy-Authorization: {forwarding.login}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


@contextmanager
def _wire(target: Target, proxy: Target | None, network: Network, patience: Patience) -> Iterator[_Wire]:
    if proxy is None:
        sock = _direct(target, network, patience)
    else:
        sock = _to_proxy(target, proxy, network, patience)
    try:
        if target.scheme == "https":
            with explained():
                if proxy is not None:
                    _tunnel(_Wire(sock, patience), target, proxy)
                sock = _secured(sock, target.host)
                _patiently(sock, patience, sock.do_handshake)
        yield _Wire(sock, patience)
    finally:
        sock.close()


def allowed_addresses(target: Target, network: Network, patience: Patience) -> Sequence[str]:
    """The addresses of a target; `Refused` if one of them may not be connected to."""
    addresses = _addresses(target, network, patience)
    for address in addresses:
        _check(address, network)
    return addresses


def check_written(target: Target, network: Network) -> None:
    """`Refused` for a target whose host is written as an address that may not be connected to: all that can be known
    where a proxy resolves names."""
    if address := _written_address(target.host):
        _check(address, network)


def _check(address: str, network: Network) -> None:
    if not is_allowed(address, network.allow_private):
        raise Refused(f"it {refusal(address)}")


def _direct(target: Target, network: Network, patience: Patience) -> socket.socket:
    return _connected(allowed_addresses(target, network, patience), target.port, network, patience)


def _to_proxy(target: Target, proxy: Target, network: Network, patience: Patience) -> socket.socket:
    check_written(target, network)
    try:
        return _connected(_addresses(proxy, network, patience), proxy.port, network, patience)
    except Broken as reason:
        raise Broken(f"through the proxy {proxy.netloc}: {reason}") from reason


def _written_address(host: str) -> str:
    """The address that a host is, in any of the spellings that resolvers take for one; empty if it is a name."""
    name = host.rstrip(".").lower()
    if ":" in name:
        return name
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return ""


def _addresses(target: Target, network: Network, patience: Patience) -> Sequence[str]:
    patience.wait_s(0)
    try:
        found = network.resolve(target.host, target.port)
    except (OSError, UnicodeError) as error:
        raise Broken(f"its host is not known: {_words(error)}") from error
    if not found:
        raise Broken("its host is not known")
    return found


def _connected(addresses: Sequence[str], port: int, network: Network, patience: Patience) -> socket.socket:
    reason = ""
    for address in addresses:
        try:
            return network.connect(address, port, patience.wait_s(CONNECT_S))
        except (OSError, OverflowError) as error:
            reason = _words(error)
    patience.wait_s(0)
    raise Broken(reason)


def _tunnel(wire: _Wire, target: Target, proxy: Target) -> None:
    login = f"Proxy-Authorization: {proxy.login}\r\n" if proxy.login else ""
    wire.send(f"CONNECT {target.authority} HTTP/1.1\r\nHost: {target.authority}\r\n{login}\r\n".encode("ascii"))
    status = wire.answer("CONNECT").status
    if status != 200:
        raise refuse_status(f"the proxy {proxy.netloc}", status)


def _secured(sock: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    # The name of the URL is what the certificate must be for, whichever address was connected to.
    return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def _patiently(sock: socket.socket, patience: Patience, act: Callable[[], T]) -> T:
    """Do what may wait for the other side, which may be silent for `QUIET_S`."""
    quiet_until = time.monotonic() + QUIET_S
    while True:
        sock.settimeout(patience.wait_s(GLANCE_S))
        try:
            return act()
        except TimeoutError:
            if time.monotonic() > quiet_until:
                raise Broken(f"the server sent nothing for {QUIET_S:g} s") from None


class _Wire(io.RawIOBase):
    """A connection as `HTTPResponse` wants it. Whoever opened the socket closes it."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock = sock
        self._patience = patience
        self._ended = False

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[_patiently(self._sock, self._patience, partial(self._sock.send, left)) :]

    def answer(self, method: str) -> http.client.HTTPResponse:
        """What comes back; its status and headers were read."""
        answer = http.client.HTTPResponse(cast(socket.socket, self), method=method)
        answer.begin()
        if self._ended:  # which http.client takes for the end of the headers
            raise Broken("the connection ended in the middle of the answer")
        return answer

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = _patiently(self._sock, self._patience, partial(self._sock.recv_into, buffer))
        self._ended = size == 0
        return size


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
