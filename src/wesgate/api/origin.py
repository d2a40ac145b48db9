"""Requests that a web page had a visitor's browser send: refused, since local mode takes whoever reaches the service.

A page may send requests anywhere, to loopback too; the browser then says from where (`Origin`, `Sec-Fetch-Site`). With
a name of its own that it points at loopback (DNS rebinding) a page could even read the answers; then the `Host` is that
name. https://fetch.spec.whatwg.org/#origin-header
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from wesgate.api.problems import problem

FOREIGN_PAGE = "a web page of another site may not use this service"
FOREIGN_HOST = "this service does not answer to the Host of this request; set service.public_url to have it do so"

_PORTS = {"http": 80, "https": 443}


class OwnOrigin:
    """Lets no request pass that names another host than loopback or one of `urls`, or comes from a page of another."""

    def __init__(self, app: ASGIApp, urls: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(_origin(urlsplit(url)) for url in urls)
        self._hosts = frozenset(urlsplit(url).hostname for url in urls)
        # Clients name the same few again and again; a hostile one costs no more than a parse.
        self._knows = lru_cache(256)(self._is_own_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (wrong := self._wrong(scope["headers"])):
            await problem(HTTPStatus.FORBIDDEN, wrong)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _wrong(self, headers: Sequence[tuple[bytes, bytes]]) -> str:
        for name, value in headers:
            if name == b"host":
                if not self._knows(value):
                    return FOREIGN_HOST
            elif name == b"origin":
                if not self._is_own_origin(value):
                    return FOREIGN_PAGE
            elif name == b"sec-fetch-site" and value.strip().lower() == b"cross-site":
                return FOREIGN_PAGE
        return ""

    def _is_own_host(self, value: bytes) -> bool:
        text = value.decode("latin-1")
        host = _split(f"//{text}")
        if host is None or host.netloc != text:
            return False
        return _is_loopback(host.hostname) or host.hostname in self._hosts

    def _is_own_origin(self, value: bytes) -> bool:
        origin = _split(value.decode("latin-1"))  # `null`, as a sandboxed frame has it, is nobody's
        return origin is not None and (_is_loopback(origin.hostname) or _origin(origin) in self._origins)


def _split(url: str) -> SplitResult | None:
    """A URL with a host and, if any, a port that can be; None for what is no such thing."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # asking for them checks them
    except ValueError:
        return None
    return parts if host and "@" not in parts.netloc else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
