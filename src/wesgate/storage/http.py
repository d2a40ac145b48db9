"""Fetch what an http(s) URL names: streamed, bounded, and from no address that the site does not allow.

Written with the standard library alone, since workers run where nothing else is. An object store's client would refuse
answers without a length, follow redirects unchecked, and quote URLs with their credentials in its errors.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import IO

from wesgate.storage.connections import Network, explained, get, refuse_status
from wesgate.storage.digests import Check, checks
from wesgate.storage.patience import Bounds, Transfer
from wesgate.storage.target import Broken, Refused, Target, parse, redacted, redirected

REDIRECTS = 3
REDIRECTED_STATUS = frozenset({301, 302, 303, 307, 308})
CHUNK_BYTES = 1 << 20

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)", re.IGNORECASE)


class FetchFailed(Exception):
    """The URL could not be fetched."""


def fetch(url: str, file: IO[bytes], bounds: Bounds, network: Network, deadline: float = 0.0) -> None:
    """Make what the URL names the whole content of `file`, or raise `FetchFailed` with a sentence without credentials.

    `deadline` on the monotonic clock is for several fetches that share their time; else there is `timeout_s` from now.
    """
    transfer = Transfer(bounds, deadline)
    try:
        target, partial = parse(url), _Partial(file)
        transfer.retried(lambda: _fetch_once(target, partial, transfer, network), partial.kept)
    except Refused as reason:
        raise FetchFailed(f"{redacted(url)} could not be fetched: {reason}") from reason


@dataclass(slots=True)
class _Partial:
    """What came so far. `validator` tells whether the rest is of the same file; without one there is no going on."""

    file: IO[bytes]
    size: int = 0
    validator: str = ""
    checks: list[Check] = field(default_factory=list)

    def kept(self) -> int:
        """The bytes that need not come again."""
        return self.size if self.validator else 0

    def wanted(self) -> dict[str, str]:
        """The headers that ask for the rest."""
        if not self.kept():
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def restart(self, headers: http.client.HTTPMessage) -> None:
        """All of it comes anew, with these headers."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self.validator, self.checks = 0, validator(headers), checks(headers)

    def forget(self) -> None:
        self.size, self.validator = 0, ""

    def add(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)
        for check in self.checks:
            check.update(data)


def validator(headers: http.client.HTTPMessage) -> str:
    """What an answer can be told from another by, byte for byte (RFC 9110, 8.8): its strong ETag, or a Last-Modified
    that lies before its Date. Empty without them."""
    tag = headers.get("ETag", "")
    if _STRONG.fullmatch(tag):
        return tag
    changed, sent = headers.get("Last-Modified", ""), headers.get("Date", "")
    try:
        older = parsedate_to_datetime(sent) - parsedate_to_datetime(changed) >= timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):
        return ""
    return changed if older and changed.isascii() and changed.isprintable() else ""


def _fetch_once(first: Target, partial: _Partial, transfer: Transfer, network: Network) -> None:
    target = first
    try:
        for _ in range(REDIRECTS + 1):
            with get(target, network, transfer, partial.wanted()) as answer:
                location = answer.getheader("Location")
                if location is None or answer.status not in REDIRECTED_STATUS:
                    return _keep(answer, partial, transfer)
            target = redirected(target, location)
    except Refused as reason:
        if target == first:
            raise
        raise type(reason)(f"it redirects to {redacted(target.bare)}: {reason}") from reason
    raise Refused(f"it redirects more than {REDIRECTS} times")


def _keep(answer: http.client.HTTPResponse, partial: _Partial, transfer: Transfer) -> None:
    _begin(answer, partial)
    promised = None if answer.length is None else partial.size + answer.length
    transfer.refuse_size(promised or 0)
    while chunk := _read(answer):
        if partial.size + len(chunk) > transfer.bounds.max_bytes:
            raise Refused(f"it is larger than the {transfer.bounds.max_bytes} bytes allowed")
        partial.add(chunk)
    if promised not in (None, partial.size):
        raise Broken(f"the connection ended after {partial.size} of {promised} bytes")
    for check in partial.checks:
        if not check.holds:
            partial.forget()
            raise Broken(f"what came does not match the server's own {check.header} ({check.algorithm})")


def _begin(answer: http.client.HTTPResponse, partial: _Partial) -> None:
    """Whether the answer is the file or the rest that was asked for; `Refused` if it is neither."""
    if answer.getheader("Transfer-Encoding", "chunked").lower() != "chunked":
        raise Refused("the server sends it in an encoding that was not asked for")
    asked = bool(partial.wanted())
    match answer.status:
        case 200:
            partial.restart(answer.headers)
        case 206 if asked and _start(answer) == partial.size and _is_of(answer.headers, partial.validator):
            pass
        case 206 | 416 if asked:
            partial.forget()
            raise Broken("the server did not send the rest of it")
        case status:
            raise refuse_status("the server", status)


def _is_of(headers: http.client.HTTPMessage, validator: str) -> bool:
    """Whether a part is of the file that this tells: a server may know ranges and not know If-Range, and send the rest
    of another. Whoever does not repeat what tells the file is asked for all of it."""
    return bool(headers.get("ETag" if validator.startswith('"') else "Last-Modified") == validator)


def _start(answer: http.client.HTTPResponse) -> int:
    """The first byte of a part; -1 if it is not told."""
    found = _RANGE.fullmatch(answer.getheader("Content-Range", "").strip())
    return int(found[1]) if found else -1


def _read(answer: http.client.HTTPResponse) -> bytes:
    with explained():
        return answer.read(CHUNK_BYTES)
