"""Fetch what an http(s) URL names: streamed, bounded, and from no address that the site does not allow.

Written with the standard library alone, since workers run where nothing else is. An object store's client would refuse
answers without a length, follow redirects unchecked, and quote URLs with their credentials in its errors.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from wesgate.storage.connections import GLANCE_S, Broken, Network, explained, get, refuse_status
from wesgate.storage.target import Refused, Target, parse, redacted, redirected

ATTEMPTS = 4
REDIRECTS = 5
REDIRECTED_STATUS = frozenset({301, 302, 303, 307, 308})
CHUNK_BYTES = 1 << 20


class FetchFailed(Exception):
    """The URL could not be fetched."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may come, how long it may take, and when to give up: `stop` is asked often."""

    max_bytes: int
    timeout_s: float
    stop: Callable[[], bool]
    attempts: int = ATTEMPTS


def fetch(url: str, file: IO[bytes], bounds: Bounds, network: Network, deadline: float | None = None) -> None:
    """Make what the URL names the whole content of `file`, or raise `FetchFailed` with a sentence without credentials.

    `deadline` on the monotonic clock is for several fetches that share their time; else there is `timeout_s` from now.
    """
    under_way = _Fetch(bounds, network, time.monotonic() + bounds.timeout_s if deadline is None else deadline)
    try:
        _fetch_with_retries(parse(url), file, under_way)
    except Refused as reason:
        raise FetchFailed(f"{redacted(url)} could not be fetched: {reason}") from reason


@dataclass(slots=True)
class _Fetch:
    """One fetch under way."""

    bounds: Bounds
    network: Network
    deadline: float
    _look_at: float = field(default=0.0, init=False)

    def wait_s(self, most: float) -> float:
        """See `Patience`."""
        now = time.monotonic()
        if now > self.deadline:
            raise Refused(f"it took longer than the {self.bounds.timeout_s:g} s allowed")
        if now >= self._look_at:
            self._look_at = now + GLANCE_S
            if self.bounds.stop():
                raise Refused("it was told to stop")
        return min(most, max(0.001, self.deadline - now))

    def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(self.wait_s(min(left, GLANCE_S)))


def _fetch_with_retries(target: Target, file: IO[bytes], fetch: _Fetch) -> None:
    attempt = 1
    while True:
        try:
            return _fetch_once(target, file, fetch)
        except Broken:
            pause = random.uniform(0.5, 1.0) * 2**attempt / 4  # noqa: S311  # jitter, not a secret
            if attempt == fetch.bounds.attempts or time.monotonic() + pause > fetch.deadline:
                raise
        fetch.sleep(pause)
        attempt += 1


def _fetch_once(first: Target, file: IO[bytes], fetch: _Fetch) -> None:
    target = first
    try:
        for _ in range(REDIRECTS + 1):
            with get(target, fetch.network, fetch) as answer:
                location = answer.getheader("Location")
                if location is None or answer.status not in REDIRECTED_STATUS:
                    return _keep(answer, file, fetch.bounds.max_bytes)
            target = redirected(target, location)
    except Refused as reason:
        if target == first:
            raise
        raise type(reason)(f"it redirects to {redacted(target.bare)}: {reason}") from reason
    raise Refused(f"it redirects more than {REDIRECTS} times")


def _keep(answer: http.client.HTTPResponse, file: IO[bytes], max_bytes: int) -> None:
    if answer.status != 200:
        raise refuse_status("the server", answer.status)
    if answer.getheader("Transfer-Encoding", "chunked").lower() != "chunked":
        raise Refused("the server sends it in an encoding that was not asked for")
    promised, size = answer.length, 0
    if promised is not None and promised > max_bytes:
        raise Refused(f"it is larger than the {max_bytes} bytes allowed: {promised}")
    file.seek(0)
    file.truncate()
    while chunk := _read(answer):
        size += len(chunk)
        if size > max_bytes:
            raise Refused(f"it is larger than the {max_bytes} bytes allowed")
        file.write(chunk)
    if promised not in (None, size):
        raise Broken(f"the connection ended after {size} of {promised} bytes")


def _read(answer: http.client.HTTPResponse) -> bytes:
    with explained():
        return answer.read(CHUNK_BYTES)
