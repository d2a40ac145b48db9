"""TES create and status get, beside a bare ASGI app with the same statements on the same database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx

from bench.load import encode
from bench.measure import Row, by_turns
from bench.running import migrate, started
from wesgate.db import embedded

ROUNDS = 5
ROUND_S = 2.0
TASK = {
    "name": "bench",
    "tags": {"from": "bench"},
    "inputs": [{"path": "/in", "content": "hello"}],
    "executors": [{"image": "debian:bookworm-slim", "command": ["cat", "/in"], "stdout": "/out"}],
    "resources": {"cpu_cores": 1, "ram_gb": 1},
}


def rows(scratch: Path) -> list[Row]:
    """One API process without loops against one process of the bare app."""
    data = scratch / "tes"
    migrate(data)
    with started("api", data) as wesgate:
        dsn = asyncio.run(_dsn(data))
        tasks = [_create(wesgate.url) for _ in range(64)]
        with _bare(dsn) as bare:
            create = _compare("create", wesgate.url, bare, [("POST", "", TASK)], 0.5)
            asyncio.run(_keep(dsn, tasks))  # what was made just now would weigh on every later statement
            gets = [("GET", f"/{task}", None) for task in tasks]
            return [create, _compare("status get", wesgate.url, bare, gets, 0.6)]


async def _dsn(data: Path) -> str:
    async with await embedded.start(data) as postgres:
        return postgres.url.replace("+asyncpg", "")


def _create(url: str) -> str:
    answer = httpx.post(f"{url}/ga4gh/tes/v1/tasks", json=TASK)
    answer.raise_for_status()
    return str(answer.json()["id"])


async def _keep(dsn: str, tasks: Sequence[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DELETE FROM tasks WHERE NOT id = ANY($1)", tasks)
        await connection.execute("VACUUM ANALYZE tasks")
    finally:
        await connection.close()


@contextlib.contextmanager
def _bare(dsn: str) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.bare"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"BENCH_DSN": dsn}) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _compare(name: str, wesgate: str, bare: str, asked: Sequence[tuple[str, str, object]], target: float) -> Row:
    ours = [encode(method, f"/ga4gh/tes/v1/tasks{path}", body) for method, path, body in asked]
    theirs = [encode(method, f"/tasks{path}", body) for method, path, body in asked]
    by_turns(1, partial(_rate, wesgate, ours), partial(_rate, bare, theirs))  # fills caches and pools
    own, least = by_turns(ROUNDS, partial(_rate, wesgate, ours), partial(_rate, bare, theirs))
    return Row(f"TES {name}, rate", own / least, target, "x bare", "≥", f"{own:.0f}/s, bare app {least:.0f}/s")


def _rate(url: str, requests: Sequence[str]) -> float:
    command = [sys.executable, "-m", "bench.load", str(urlsplit(url).port), str(ROUND_S)]
    ended = subprocess.run(
        command, input=json.dumps({"requests": requests}), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(ended.stdout)
