"""Whether the host of a URL may be asked: public hosts, unless the site says otherwise."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from wesgate.core.addresses import is_allowed, refusal
from wesgate.core.errors import InvalidRequest
from wesgate.storage.target import PORTS

RESOLVE_TIMEOUT_S = 5.0

# A resolver cannot be broken off, and whoever owns a name says how long it takes: the threads that all else uses (logs,
# attachments, outputs) must not wait for it.
_resolving = ThreadPoolExecutor(8, thread_name_prefix="resolve")


async def check(url: str, *, allow_private: bool, what: str = "workflow_url") -> None:
    """Refuse a URL that names a host that is not public; where private hosts are allowed, one that is an address that
    never may be asked.

    This tells the caller early. Names may change: whoever fetches checks the address that it connects to.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    # A site with private hosts may have a proxy that alone knows their names.
    found = _numeric(host) if allow_private else await _addresses(host, parts.port or PORTS[parts.scheme], what)
    for address in found:
        if not is_allowed(address, allow_private):
            raise InvalidRequest(f"{what} {refusal(address)}")


def _numeric(host: str) -> list[str]:
    """The address that a host already is, in any notation; none for a name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


async def _addresses(host: str, port: int, what: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await loop.run_in_executor(
                _resolving, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
    except (OSError, UnicodeError, TimeoutError):
        raise InvalidRequest(f"the host of {what} cannot be found") from None
    return [str(entry[4][0]) for entry in found]
