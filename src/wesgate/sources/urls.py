"""Which URLs a workflow may be fetched from: public http(s) hosts, unless the site says otherwise."""

from __future__ import annotations

import asyncio
import re
import socket
from urllib.parse import urlsplit

from wesgate.core.addresses import is_allowed, refusal
from wesgate.core.errors import InvalidRequest

_PLAIN = re.compile(r"[\x21-\x7e]+")
RESOLVE_TIMEOUT_S = 5.0


async def check(url: str, *, allow_private: bool) -> None:
    """Refuse what is not a plain http(s) URL or, unless private hosts are allowed, names one.

    This tells the caller early. Names may change: whoever fetches checks the address that it connects to.
    """
    host, port = _host(url)
    if allow_private:
        return
    for address in await _addresses(host, port):
        if not is_allowed(address, allow_private):
            raise InvalidRequest(f"workflow_url {refusal(address)}")


def _host(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidRequest("workflow_url is not a URL") from None
    if not _PLAIN.fullmatch(url) or "\\" in url:
        raise InvalidRequest("workflow_url has characters that a URL may not have")
    if parts.scheme not in ("http", "https"):
        raise InvalidRequest("workflow_url must be http(s), or the relative name of an attachment")
    if not parts.hostname or "@" in parts.netloc:
        raise InvalidRequest("workflow_url must name a host, and no user")
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


async def _addresses(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise InvalidRequest("the host of workflow_url cannot be found") from None
    return [str(entry[4][0]) for entry in found]
