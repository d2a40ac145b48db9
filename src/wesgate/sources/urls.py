"""Whether the host of a URL may be asked: public hosts, unless the site says otherwise."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

from wesgate.core.addresses import is_allowed, refusal
from wesgate.core.errors import InvalidRequest
from wesgate.storage.target import PORTS

RESOLVE_TIMEOUT_S = 5.0


async def check(url: str, *, allow_private: bool, what: str = "workflow_url") -> None:
    """Refuse a URL that names a host that is not public, unless private hosts are allowed.

    This tells the caller early. Names may change: whoever fetches checks the address that it connects to.
    """
    if allow_private:
        return
    parts = urlsplit(url)
    for address in await _addresses(parts.hostname or "", parts.port or PORTS[parts.scheme], what):
        if not is_allowed(address, allow_private):
            raise InvalidRequest(f"{what} {refusal(address)}")


async def _addresses(host: str, port: int, what: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise InvalidRequest(f"the host of {what} cannot be found") from None
    return [str(entry[4][0]) for entry in found]
