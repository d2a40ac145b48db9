"""Get workflow documents and input files by http(s), with every bound that a hostile server makes necessary."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

REDIRECTS = 5
TRIES = 4
CHUNK = 1 << 20
DOCUMENT_LIMIT = 10 * 1024 * 1024
DOCUMENT_TIMEOUT_S = 60.0


class FetchFailed(Exception):
    """The URL could not be fetched."""


class _Unsteady(Exception):
    """This try failed in a way that another may not."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may come and how long it may take; `stop` is asked often and ends the fetch when it says so."""

    limit_bytes: int
    timeout_s: float
    allow_private: bool
    stop: Callable[[], bool]


def fetch_text(url: str, bounds: Bounds) -> str:
    """A document of at most 10 MiB; raises `FetchFailed` with a sentence that holds no credentials."""
    bounds = replace(bounds, limit_bytes=DOCUMENT_LIMIT, timeout_s=DOCUMENT_TIMEOUT_S)
    content = b"".join(_chunks_with_retries(url, bounds))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise FetchFailed(f"{shown(url)} is not UTF-8 text") from error


def fetch_file(url: str, folder: Path, bounds: Bounds) -> Path:
    """The file behind the URL, below `folder` in a place that depends on the URL alone; fetched once."""
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:32]
    target = place / _file_name(url)
    if target.exists():
        return target
    place.mkdir(parents=True, exist_ok=True)
    part = place / f".part-{os.getpid()}-{time.monotonic_ns()}"
    try:
        _write_with_retries(url, part, bounds)
        part.rename(target)
    except OSError as error:
        raise FetchFailed(f"{shown(url)} cannot be kept: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def shown(url: str) -> str:
    """The URL without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _file_name(url: str) -> str:
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    usable = name not in ("", ".", "..") and "\0" not in name and len(name.encode()) < 200
    return name if usable and not name.startswith(".part-") else "file"


def _write_with_retries(url: str, part: Path, bounds: Bounds) -> None:
    deadline = time.monotonic() + bounds.timeout_s
    for attempt in range(TRIES):
        try:
            with part.open("wb") as file:
                for chunk in _chunks(url, bounds, deadline):
                    file.write(chunk)
            return
        except _Unsteady as error:
            _pause_or_fail(url, error, attempt, bounds)


def _chunks_with_retries(url: str, bounds: Bounds) -> list[bytes]:
    deadline = time.monotonic() + bounds.timeout_s
    for attempt in range(TRIES):
        try:
            return list(_chunks(url, bounds, deadline))
        except _Unsteady as error:
            _pause_or_fail(url, error, attempt, bounds)
    return []


def _pause_or_fail(url: str, error: _Unsteady, attempt: int, bounds: Bounds) -> None:
    if attempt + 1 == TRIES or bounds.stop():
        raise FetchFailed(f"{shown(url)} cannot be fetched: {error}") from error
    time.sleep(0.2 * 4**attempt)


def _chunks(url: str, bounds: Bounds, deadline: float) -> Iterator[bytes]:
    size = 0
    with _answer(url, bounds) as answer:
        try:
            for chunk in answer.stream(CHUNK, decode_content=False):
                size += len(chunk)
                if size > bounds.limit_bytes:
                    raise FetchFailed(f"{shown(url)} is larger than the {bounds.limit_bytes} bytes that are allowed")
                if time.monotonic() > deadline:
                    raise FetchFailed(f"{shown(url)} took longer than the {bounds.timeout_s:g} s that are allowed")
                if bounds.stop():
                    raise FetchFailed(f"{shown(url)}: the run was told to stop")
                yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise _Unsteady(_reason(error)) from error


@contextmanager
def _answer(url: str, bounds: Bounds) -> Iterator[urllib3.BaseHTTPResponse]:
    pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=10, read=60))
    for _ in range(REDIRECTS + 1):
        _refuse_forbidden(url, bounds)
        try:
            # Compressed transfer would make a file differ from what its server keeps.
            headers = {"accept-encoding": "identity"}
            answer = pool.request("GET", url, preload_content=False, redirect=False, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise _Unsteady(_reason(error)) from error
        try:
            if location := answer.get_redirect_location():
                url = urljoin(url, location)
                continue
            _check_status(url, answer.status)
            yield answer
            return
        finally:
            answer.close()
    raise FetchFailed(f"{shown(url)} redirects more than {REDIRECTS} times")


def _check_status(url: str, status: int) -> None:
    if status in (408, 429) or status >= 500:
        raise _Unsteady(f"its server answered {status}")
    if status != 200:
        raise FetchFailed(f"{shown(url)} cannot be fetched: its server answered {status}")


def _refuse_forbidden(url: str, bounds: Bounds) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchFailed(f"{shown(url)} is not an http or https URL")
    try:
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Unsteady(f"its host is not known: {error}") from error
    if not all(_is_allowed(str(entry[4][0]), bounds.allow_private) for entry in found):
        raise FetchFailed(f"{shown(url)} names a host that is not public, which this site does not allow")


def _is_allowed(text: str, allow_private: bool) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    # 169.254.169.254 hands out the credentials of a cloud machine to whoever asks from inside it.
    return not address.is_link_local and (allow_private or (address.is_global and not address.is_multicast))


def _reason(error: Exception) -> str:
    # urllib3's own texts hold object addresses and the whole URL.
    cause = getattr(error, "reason", None) or error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return type(cause).__name__
