"""Page tokens: opaque, signed, and good only for the owner and the filter they were made for."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from wesgate.core.errors import InvalidRequest
from wesgate.db.rows import Place

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_SIZE = re.compile(r"[0-9]{1,30}", re.ASCII)
_SIGNATURE_BYTES = 16


class Listed(Protocol):
    """A row of a list."""

    @property
    def id(self) -> UUID: ...

    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Pager:
    """Makes and reads tokens with the key that all processes of the service share."""

    key: bytes

    def token(self, scope: str, read: Sequence[Listed], size: int) -> str:
        """The token for the page after the first `size` of the rows that were read, in a list described by `scope`
        (owner and filter); empty if there are no more."""
        if len(read) <= size:
            return ""
        last = read[size - 1]
        told = struct.pack(">q", (last.created_at - _EPOCH) // timedelta(microseconds=1)) + last.id.bytes
        return base64.urlsafe_b64encode(told + self._sign(scope, told)).decode().rstrip("=")

    def place(self, scope: str, token: str | None) -> Place | None:
        """Where the page of this token begins; None for the first page."""
        if not token:
            return None
        try:
            told = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidRequest("page_token is not one of this list") from None
        place, signature = told[:24], told[24:]
        if not hmac.compare_digest(signature, self._sign(scope, place)):
            raise InvalidRequest("page_token is not one of this list")
        (micros,) = struct.unpack(">q", place[:8])
        return Place(_EPOCH + timedelta(microseconds=micros), UUID(bytes=place[8:]))

    def _sign(self, scope: str, told: bytes) -> bytes:
        return hmac.digest(self.key, scope.encode() + b"\0" + told, "sha256")[:_SIGNATURE_BYTES]


def page_size(asked: str | None, default: int, largest: int) -> int:
    """How many rows a page holds. More than `largest` is more than anyone gets, and no error where the spec allows
    a shorter page; zero and less are."""
    if asked is None:
        return default
    if not _SIZE.fullmatch(asked) or int(asked) < 1:
        raise InvalidRequest("page_size must be a whole number above zero")
    return min(int(asked), largest)
