"""The API on a port of this machine, for clients that are not in this process's event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wesgate.api.dependencies import Context
from wesgate.cli.operators.serving import Answering
from wesgate.settings import Settings


@asynccontextmanager
async def serving(context: Context) -> AsyncIterator[str]:
    """Its URL, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Answering(context, Settings(), listener)
        running = asyncio.create_task(server.run())
        await server.up.wait()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.stop()
        await running
