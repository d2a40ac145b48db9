"""What a server says of a file's content, beside the file, as checks of what came."""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Names of algorithms in all of these headers: https://www.iana.org/assignments/http-digest-hash-alg
ALGORITHMS = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}
LENGTHS = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16}

_STRUCTURED = re.compile(r"([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")
_PLAIN = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")


@dataclass(slots=True)
class Check:
    """One digest, and what was computed of it so far. `header` is where the server gave it."""

    header: str
    algorithm: str
    wanted: bytes
    _hash: Any = field(init=False)

    def __post_init__(self) -> None:
        self._hash = hashlib.new(self.algorithm, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    @property
    def holds(self) -> bool:
        return bool(self._hash.digest() == self.wanted)


def checks(headers: http.client.HTTPMessage) -> list[Check]:
    """A check for each digest that an answer with a whole file gives and that can be computed here.

    Content-MD5 is RFC 1864, Digest RFC 3230, the other two RFC 9530; `x-goog-hash` is Google's.
    """
    found = [*_content_md5(headers)]
    for header, pattern in (
        ("Repr-Digest", _STRUCTURED),
        ("Content-Digest", _STRUCTURED),
        ("Digest", _PLAIN),
        ("x-goog-hash", _PLAIN),
    ):
        # What Google keeps compressed it sends uncompressed, with the hash of what it keeps.
        if header == "x-goog-hash" and headers.get("x-goog-stored-content-encoding", "identity") != "identity":
            continue
        for value in headers.get_all(header, []):
            found += _checks(header, pattern.findall(value))
    return found


def _content_md5(headers: http.client.HTTPMessage) -> Iterator[Check]:
    yield from _checks("Content-MD5", [("md5", headers.get("Content-MD5", "").strip())])


def _checks(header: str, given: list[tuple[str, str]]) -> Iterator[Check]:
    for name, text in given:
        algorithm = ALGORITHMS.get(name.lower())
        wanted = _decoded(text)
        if algorithm and algorithm in hashlib.algorithms_available and len(wanted) == LENGTHS[algorithm]:
            yield Check(header, algorithm, wanted)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
