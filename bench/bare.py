"""The least that could answer: an ASGI app without a framework that runs wesgate's own three statements.

It checks nothing and knows one owner; what wesgate costs beyond it is validation, ownership, routing and errors.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import uvicorn

from wesgate.db import runs
from wesgate.db.tasks import INSERT_TASKS, SELECT_STATUS

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

CONNECTIONS = 4  # as many as wesgate's own pool for these statements has


class Bare:
    """`POST /tasks`, `GET /tasks/{id}` and `GET /runs/{id}`, in the name of the one owner that there is."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool
        self._owner: UUID

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["method"] == "POST":
            await _answer(send, await self._create(await _body(receive)))
        else:
            kind, _, row = scope["path"].lstrip("/").partition("/")
            await _answer(send, await (self._run(row) if kind == "runs" else self._task(row)))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._pool = await asyncpg.create_pool(self._dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
        self._owner = await self._pool.fetchval("SELECT id FROM owners LIMIT 1")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _create(self, body: bytes) -> dict[str, str]:
        document = json.loads(body)
        task_id = uuid4()
        told = {
            "id": str(task_id), "backend": "local", "lane": "task", "name": document.get("name", ""),
            "tags": document.get("tags", {}), "document": document, "cpu_cores": 1.0, "ram_gb": 0.0, "gpus": 0,
            "max_attempts": 1, "max_preemptions": 0, "policy": {}, "submitter": "", "warnings": [],
        }  # fmt: skip
        await self._pool.fetchrow(INSERT_TASKS, self._owner, None, json.dumps([told]), [])
        return {"id": str(task_id)}

    async def _task(self, task_id: str) -> dict[str, str]:
        row = await self._pool.fetchrow(SELECT_STATUS, self._owner, None, UUID(task_id))
        return {"id": task_id, "state": row["state"]}

    async def _run(self, run_id: str) -> dict[str, str]:
        row = await self._pool.fetchrow(runs._SELECT_STATUS, self._owner, UUID(run_id))
        return {"run_id": run_id, "state": row["state"]}


@contextlib.contextmanager
def serving(dsn: str) -> Iterator[str]:
    """The bare app on this database, in a process of its own: its URL."""
    command = [sys.executable, "-m", "bench.bare"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"BENCH_DSN": dsn}) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _body(receive: Receive) -> bytes:
    parts, more = b"", True
    while more:
        message = await receive()
        parts += message.get("body", b"")
        more = message.get("more_body", False)
    return parts


async def _answer(send: Send, document: dict[str, str]) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """`python -m bench.bare`: serve on a free port, and print where. BENCH_DSN names the database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(Bare(os.environ["BENCH_DSN"]), log_config=None, access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
