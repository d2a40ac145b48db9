"""An http(s) URL taken apart and checked: what is connected to, what is sent, and what may be shown of it."""

from __future__ import annotations

import base64
import ipaddress
import re
import string
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[A-Za-z0-9._-]+")


class Refused(Exception):
    """The reason why a transfer failed, as every other try would."""


class Broken(Refused):
    """This try failed; the next may not."""


@dataclass(frozen=True, slots=True)
class Target:
    """`path` includes the query, as both are sent. `login` is the value of an Authorization header, or empty."""

    scheme: str
    host: str
    port: int
    path: str
    login: str = ""

    @property
    def netloc(self) -> str:
        # A signed URL may cover the Host header, which has no port where it is the scheme's own.
        return bracketed(self.host) if self.port == PORTS[self.scheme] else self.authority

    @property
    def authority(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def bare(self) -> str:
        """The URL without its login."""
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse(url: str) -> Target:
    """The target of a URL; `Refused` if it is none that can be requested."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in PORTS:
            raise Refused("it is not an http or https URL")
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        host = _host(parts.hostname or "")
    except ValueError as error:
        raise Refused("its URL cannot be read") from error
    path = (_quoted(parts.path) or "/") + (f"?{_quoted(parts.query)}" if parts.query else "")
    login = "" if parts.username is None else _basic(parts.username, parts.password or "")
    return Target(parts.scheme, host, port, path, login)


def redirected(target: Target, location: str) -> Target:
    """Where a Location header leads. The login stays with its own scheme, host and port."""
    # Headers are read as Latin-1, whatever they are; in a URL their bytes are percent-encoded.
    url = urljoin(target.bare, quote(location, encoding="iso-8859-1", safe=string.punctuation))
    try:
        found = parse(url)
    except Refused as reason:
        raise Refused(f"it redirects to {redacted(url)}: {reason}") from reason
    if target.scheme == "https" != found.scheme:
        raise Refused(f"it redirects to {redacted(url)}, which is not encrypted")
    same = (found.scheme, found.host, found.port) == (target.scheme, target.host, target.port)
    return replace(found, login=found.login or target.login) if same else found


def redacted(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL that cannot be read)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host(name: str) -> str:
    if ":" in name:
        return str(ipaddress.IPv6Address(name.partition("%")[0]))
    written = name.encode("idna").decode()
    if not _HOST.fullmatch(written):
        raise Refused("its host has characters that a name may not have" if name else "it names no host")
    return written


def _quoted(text: str) -> str:
    # A request line has no spaces, control and non-ASCII characters; what is percent-encoded already stays as it is.
    return quote(text, safe="/%:=&?~#+!$,;'@()*[]")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
