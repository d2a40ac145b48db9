"""Objects of S3, Google and Azure, read, listed and written through obstore: bounded in memory, in parallel where one
connection is slow, and with errors in words of ours.

What obstore says of an error is never shown: it quotes URLs with their signatures, and whatever a server sent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

from wesgate.storage.locations import Location
from wesgate.storage.patience import Transfer
from wesgate.storage.target import Broken, Refused

MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 255

STREAM_BYTES = 4 << 20
PARTS = 4
PROBE_S = 1.0
FAST_BYTES_S = 100 << 20
"""What one connection gives where more would not help: a store nearby, which several would only slow down."""
SPLIT_BYTES = 64 << 20
"""Less than this is left to the connection it came by, however slow."""

PUT_BYTES = 8 << 20
PUT_PARTS = 9_000  # S3 takes 10,000
PUT_MEMORY = 32 << 20

# https://developmentseed.org/obstore/latest/api/store/config/
CLIENT_OPTIONS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "default_content_type",
        "http1_only",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "read_timeout",
        "root_certificate",
        "timeout",
        "user_agent",
    }
)
DEFAULTS: Mapping[str, Any] = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "365d"}
"""Only silence ends a request: obstore's own 30 s would end every long one."""
RETRIES = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}

_BOOLEANS: Mapping[str, Any] = {"true": True, "false": False}

_STATUS = re.compile(r"status code: ([1-5][0-9][0-9])")
_CODE = re.compile(r"<Code>\s*([A-Za-z]{1,40})\s*</Code>")
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "InvalidResourceName"})
_OPTION = re.compile(r"Configuration key: '([a-z0-9_]{1,40})'")
_MACHINES_OWN = ("http://169.254.", "http://metadata")
_WORDS = (
    ("kind: Timeout", "the store did not answer in time"),
    ("kind: Connect", "the store could not be reached"),
)
_RETRIED = frozenset({"408", "429", "500", "502", "503", "504"})


class NoSuchObject(Refused):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object below a directory: its path from there, its size, and its own location."""

    inner: str
    size: int
    location: Location


def download(location: Location, file: int, transfer: Transfer) -> int:
    """Make the object the whole content of this open file; its size. Otherwise `Refused`."""
    found = _Object(location, file, transfer)
    found.fetch()
    return found.size


def entries(location: Location, transfer: Transfer) -> list[Entry]:
    """All objects below a directory, by their paths. `Refused` if there are none, if they are too many or too large
    together, or if they cannot be files of one directory."""
    return transfer.retried(lambda: _entries(location, transfer))


def upload(location: Location, file: int, size: int, transfer: Transfer) -> None:
    """Make this open file the object at a location, whatever was there. Otherwise `Refused`."""
    transfer.retried(lambda: _put(location, file, size, transfer))


class _Object:
    """One object on its way into a file."""

    def __init__(self, location: Location, file: int, transfer: Transfer) -> None:
        self._location = location
        self._file = file
        self._transfer = transfer
        self._tag: str | None = None
        self._began = 0.0
        self._from = 0
        self._given_up = False
        self.size = -1
        self.at = 0

    def fetch(self) -> None:
        self._transfer.retried(self._first, lambda: self.at)
        if self.at < self.size:
            self._rest()

    def _first(self) -> None:
        """One connection from the start, up to the end or until it proves slow."""
        if self._tag is None:  # nothing could tell the rest of it from the rest of another
            self.at, self.size = 0, -1
        self._began, self._from = 0.0, self.at
        with explained():
            for chunk in self._stream(self.at, self.size):
                # How long a server takes to begin says nothing of its connection.
                self._began = self._began or time.monotonic()
                _write(self._file, chunk, self.at)
                self.at += len(chunk)
                if self._is_slow():
                    return
        if self.at < self.size:
            raise Broken(f"the connection ended after {self.at} of {self.size} bytes")

    def _is_slow(self) -> bool:
        taken = time.monotonic() - self._began
        return (
            self._tag is not None
            and taken > PROBE_S
            and self.size - self.at > SPLIT_BYTES
            and self.at - self._from < FAST_BYTES_S * taken
        )

    def _rest(self) -> None:
        bounds = [self.at + (self.size - self.at) * number // PARTS for number in range(PARTS + 1)]
        # All have ended when this returns: the file is closed then, and its number may be another's.
        with ThreadPoolExecutor(PARTS) as pool:
            for part in [pool.submit(self._part, *pair) for pair in pairwise(bounds)]:
                if error := part.exception():
                    self._given_up = True
                    raise error

    def _part(self, start: int, end: int) -> None:
        at = start

        def go_on() -> None:
            nonlocal at
            with explained():
                for chunk in self._stream(at, end):
                    _write(self._file, chunk, at)
                    at += len(chunk)
            if at < end:
                raise Broken(f"the connection ended after {at - start} of {end - start} bytes")

        self._transfer.retried(go_on, lambda: at - start)

    def _stream(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from here to there, of the object as it was first seen."""
        import obstore

        options: dict[str, Any] = {}
        if self.size >= 0:
            if start == end:
                return
            options = {"range": (start, end), "if_match": self._tag}
        answer = obstore.get(_store(self._location), self._location.key, options=options)  # type: ignore[arg-type]
        if self.size < 0:
            self._transfer.refuse_size(answer.meta["size"])
            self.size, self._tag = answer.meta["size"], answer.meta["e_tag"]
            os.ftruncate(self._file, 0)
        for chunk in answer.stream(min_chunk_size=STREAM_BYTES):
            self._transfer.wait_s(0)
            if self._given_up:
                raise Refused("another part of it could not be fetched")
            yield memoryview(chunk)


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def _entries(location: Location, transfer: Transfer) -> list[Entry]:
    import obstore

    start = f"{location.key}/" if location.key else ""
    sizes: dict[str, int] = {}
    seen = False
    with explained():
        for chunk in obstore.list(_store(location), location.key or None, chunk_size=1000):
            transfer.wait_s(0)
            seen = True
            # The directory itself may be an object, made by a tool to show it while it is empty.
            sizes |= {one["path"].removeprefix(start): one["size"] for one in chunk if one["path"] != location.key}
            if len(sizes) > MAX_ENTRIES:
                raise Refused(f"it holds more than the {MAX_ENTRIES} objects that one directory may have")
    if not seen:
        raise Refused("there is no object below it")
    transfer.refuse_size(sum(sizes.values()))
    _without_directories(sizes)
    return [
        Entry(inner, size, Location(location.kind, location.bucket, start + inner, location.options))
        for inner, size in sorted(sizes.items())
    ]


def _without_directories(sizes: dict[str, int]) -> None:
    """Take out empty objects that only show a directory; `Refused` if a name cannot be a file's."""
    for inner in list(sizes):
        parts = inner.split("/")
        if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > MAX_NAME_BYTES for part in parts):
            raise Refused("it holds an object whose name no file can have")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if sizes.get(above, 0) > 0:
                raise Refused("it holds an object that is also the directory of others")
            sizes.pop(above, None)


def _put(location: Location, file: int, size: int, transfer: Transfer) -> None:
    import obstore

    store = _store(location)
    with explained():
        if size <= PUT_BYTES:
            obstore.put(store, location.key, os.pread(file, size, 0), use_multipart=False)
            return
        part = max(PUT_BYTES, -(-size // PUT_PARTS))
        obstore.put(
            store,
            location.key,
            _read(file, size, part, transfer),
            use_multipart=True,
            chunk_size=part,
            max_concurrency=max(1, PUT_MEMORY // part),
        )


def _read(file: int, size: int, part: int, transfer: Transfer) -> Iterator[bytes]:
    at = 0
    while chunk := os.pread(file, min(part, size - at), at):
        transfer.wait_s(0)
        at += len(chunk)
        yield chunk


@contextmanager
def explained() -> Iterator[None]:
    """Put what obstore may raise into words of ours."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, ValueError, FileNotFoundError) as error:
        raise reason(error) from None


def reason(error: Exception) -> Refused:
    """What an error of obstore's means, from its class and from words that are known."""
    text = str(error)
    status, code = _found(_STATUS, text), _found(_CODE, text)
    if any(known in text for known in _MACHINES_OWN):
        return Refused("no credentials are set for the store, and this machine has none of its own")
    if code in _NO_BUCKET:
        return Refused("there is no such bucket")
    match type(error).__name__:
        case "FileNotFoundError":
            return NoSuchObject("there is no such object")
        case "PermissionDeniedError" | "UnauthenticatedError":
            said = f"{status} {code}".strip()
            return Refused(f"the store refuses access ({said}): what it is reached with does not allow this")
        case "PreconditionError":
            return Refused("it was changed while it was read")
        case "InvalidPathError" | "ValueError":
            return Refused("it is, or holds, an object whose name no file can have")
        case _:
            return _answered(status, code) if status else Broken(_unanswered(text))


def _answered(status: str, code: str) -> Refused:
    said = f"the store answered {status} {code}".rstrip()
    return Broken(said) if status in _RETRIED else Refused(f"{said}: see to its endpoint and its region")


def _unanswered(text: str) -> str:
    return next((words for known, words in _WORDS if known in text), "the connection to the store failed")


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _store(location: Location) -> Any:
    try:
        return _opened(location.kind, location.bucket, tuple(sorted(location.options.items())))
    except Exception as error:  # whatever it says may quote an option's value
        named = _found(_OPTION, str(error))
        what = f"an option that it does not have: {named}" if named else "options that are not valid"
        raise Refused(f"its store is set with {what}") from None


@lru_cache(maxsize=64)
def _opened(kind: str, bucket: str, options: tuple[tuple[str, str], ...]) -> Any:
    """A client, which keeps its connections for all transfers of this process."""
    from obstore.store import AzureStore, GCSStore, S3Store

    config = {name: value for name, value in options if name not in CLIENT_OPTIONS}
    client = {**DEFAULTS, **{name: _BOOLEANS.get(value, value) for name, value in options if name in CLIENT_OPTIONS}}
    # Whoever writes http:// where an endpoint is set means it.
    if any(config.get(name, "").startswith("http://") for name in ("endpoint", "base_url")):
        client.setdefault("allow_http", True)
    kinds: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    return kinds[kind](bucket, config=config, client_options=client, retry_config=RETRIES)
