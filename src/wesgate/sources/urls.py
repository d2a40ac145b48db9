"""Whether the host of a URL may be asked: public hosts, unless the site says otherwise."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from wesgate.core.addresses import is_allowed, refusal
from wesgate.core.errors import InvalidRequest, Unavailable
from wesgate.storage.connections import Network, check_written, proxy_of
from wesgate.storage.target import Refused, Target, parse

RESOLVE_TIMEOUT_S = 5.0

# A resolver cannot be broken off, and whoever owns a name says how long it takes: the threads that all else uses (logs,
# attachments, outputs) must not wait for it.
_resolving = ThreadPoolExecutor(8, thread_name_prefix="resolve")


async def check(url: str, *, allow_private: bool, what: str = "workflow_url") -> None:
    """Refuse a URL that names a host that is not public; where private hosts are allowed, or a proxy looks its name up,
    one that is an address that may not be asked. `Unavailable` if its name cannot be looked up now.

    This tells the caller early. Names may change: whoever fetches checks the address that it connects to.
    """
    try:
        target = parse(url)
        check_written(target, Network(allow_private))
        # A site with private hosts may have a proxy that alone knows their names.
        if allow_private or proxy_of(target):
            return
    except Refused as reason:
        raise InvalidRequest(f"{what} cannot be reached: {reason}") from reason
    for address in await _addresses(target, what):
        if not is_allowed(address, allow_private):
            raise InvalidRequest(f"{what} {refusal(address)}")


async def _addresses(target: Target, what: str) -> list[str]:
    look_up = partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().run_in_executor(_resolving, look_up)
    except OSError as error:
        # A timeout may be due to names that others asked for.
        if isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN:
            raise Unavailable(f"the host of {what} cannot be looked up now; try again shortly") from None
        raise InvalidRequest(f"the host of {what} cannot be found") from None
    return [str(entry[4][0]) for entry in found]
