"""Fetch an http(s) input to a file: streamed, with retries, a deadline and a cap on its size.

The standard library's client does this: an object-store client refuses replies without a Content-Length, which many
servers send, and quotes the URL with its credentials in its errors.
"""

from __future__ import annotations

import base64
import http.client
import random
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from wesgate.worker.faults import Fault
from wesgate.worker.layout import Limits
from wesgate.worker.places import redacted

CHUNK_BYTES = 1 << 20
QUIET_S = 60.0
"""How long a server may send nothing."""

# Trying again may help; every other 4xx is an answer.
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Broken(Exception):
    """This try failed; the next may not."""


def fetch(url: str, target: Path, limits: Limits, deadline: float) -> None:
    """Put what the URL names into `target`, or raise a `Fault`. `deadline` is on the monotonic clock."""
    for attempt in range(1, limits.fetch_attempts + 1):
        try:
            return _fetch_once(build_request(url), target, limits, deadline)
        except _Broken as broken:
            pause = random.uniform(0.5, 1.0) * 2**attempt / 4  # noqa: S311  # jitter, not a secret
            if attempt == limits.fetch_attempts or time.monotonic() + pause > deadline:
                raise Fault(f"input {redacted(url)} could not be fetched: {broken}") from broken
            time.sleep(pause)
    raise Fault(f"input {redacted(url)} was not fetched: no attempts are allowed")


def build_request(url: str) -> urllib.request.Request:
    """The request for a URL; user and password in it become a header that is not sent on to where it redirects."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise Fault(f"the URL of an input cannot be read: {error}") from error
    if not parts.hostname:
        raise Fault(f"input {redacted(url)} names no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = urlunsplit((parts.scheme, host + port, _quoted(parts.path) or "/", _quoted(parts.query), ""))
    request = urllib.request.Request(bare, headers={"User-Agent": "wesgate", "Accept-Encoding": "identity"})  # noqa: S310  # the caller admits http and https only
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login).decode())
    return request


def _quoted(text: str) -> str:
    # http.client refuses spaces, control and non-ASCII characters; what is percent-encoded already stays as it is.
    return quote(text, safe="/%:=&?~#+!$,;'@()*[]")


def _opener() -> urllib.request.OpenerDirector:
    # Built from parts: the default one would also follow a redirect to ftp.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _fetch_once(request: urllib.request.Request, target: Path, limits: Limits, deadline: float) -> None:
    name = redacted(request.full_url)
    try:
        with _opener().open(request, timeout=min(QUIET_S, max(0.1, deadline - time.monotonic()))) as reply:
            promised = int(reply.headers.get("Content-Length") or -1)
            if promised > limits.fetch_max_bytes:
                raise Fault(f"input {name} is larger than the {limits.fetch_max_bytes} bytes allowed: {promised}")
            with target.open("wb") as file:
                size = _copy(reply, file, name, limits, deadline)
    except urllib.error.HTTPError as error:
        if error.code in RETRIED_STATUS:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        raise Fault(f"input {name} could not be fetched: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Broken(str(error.reason)) from error
    except http.client.InvalidURL as error:
        raise Fault(f"input {name} has a URL that cannot be requested") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Broken(str(error) or type(error).__name__) from error
    if promised not in (-1, size):
        raise _Broken(f"the connection ended after {size} of {promised} bytes")


def _copy(reply: IO[bytes], file: IO[bytes], name: str, limits: Limits, deadline: float) -> int:
    size = 0
    while chunk := reply.read(CHUNK_BYTES):
        size += len(chunk)
        if size > limits.fetch_max_bytes:
            raise Fault(f"input {name} is larger than the {limits.fetch_max_bytes} bytes allowed")
        if time.monotonic() > deadline:
            raise Fault(f"input {name} was not fetched within {limits.fetch_timeout_s:.0f} s")
        file.write(chunk)
    return size
