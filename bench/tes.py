"""TES create and status get, beside a bare ASGI app with the same statements on the same database; and lists."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import psutil

from bench import bare
from bench.load import encode, rate_of
from bench.measure import Row, by_turns
from bench.running import Running, dsn_of, migrate, started

ROUNDS = 5
POLL_S = 10.0
TASK = {
    "name": "bench",
    "tags": {"from": "bench"},
    "inputs": [{"path": "/in", "content": "hello"}],
    "executors": [{"image": "debian:bookworm-slim", "command": ["cat", "/in"], "stdout": "/out"}],
    "resources": {"cpu_cores": 1, "ram_gb": 1},
}
FEW, MANY = 1_000, 1_000_000
PAGES = 200
WARM_POLLS, POLLS = 100_000, 1_000_000
# The oldest tasks are the ones that filters look for, all past the first page of the rest.
LISTS = {
    "all": "",
    "state": "state=EXECUTOR_ERROR",
    "tag": "tag_key=sought&tag_value=yes",
    "name": "name_prefix=sought",
}
FILL = """
    INSERT INTO tasks (id, owner_id, backend, lane, name, tags, document, cpu_cores, ram_gb, state, created_at,
                       ended_at, due_at, admitted_at)
    SELECT gen_random_uuid(), (SELECT id FROM owners), 'local', 'task',
           CASE WHEN n <= 300 THEN 'sought' ELSE 'bench-' || n % 1000 END,
           jsonb_build_object('from', 'bench', 'sought', CASE WHEN n <= 300 THEN 'yes' ELSE 'no' END),
           $2, 1, 1, CASE WHEN n <= 300 THEN 'EXECUTOR_ERROR' ELSE 'COMPLETE' END,
           now() - ($1 - n) * interval '1 s', now(), NULL, now()
    FROM generate_series(1, $1) AS n
"""


def rows(scratch: Path) -> list[Row]:
    """One API process without loops against one process of the bare app."""
    data = scratch / "tes"
    migrate(data)
    with started("api", data) as wesgate:
        dsn = dsn_of(data)
        tasks = [_create(wesgate.url) for _ in range(64)]
        with bare.serving(dsn) as least:
            create = _compare("create", wesgate.url, least, [("POST", "", TASK)], 0.6)
            asyncio.run(_keep(dsn, tasks))  # what was made just now would weigh on every later statement
            gets = [("GET", f"/{task}", None) for task in tasks]
            status = _compare("status get", wesgate.url, least, gets, 0.7)
        return [create, status, _memory(wesgate, tasks), *_lists(scratch)]


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


def _compare(name: str, wesgate: str, bare: str, asked: Sequence[tuple[str, str, object]], target: float) -> Row:
    ours = [encode(method, f"/ga4gh/tes/v1/tasks{path}", body) for method, path, body in asked]
    theirs = [encode(method, f"/tasks{path}", body) for method, path, body in asked]
    by_turns(1, partial(rate_of, wesgate, ours), partial(rate_of, bare, theirs))  # fills caches and pools
    own, least = by_turns(ROUNDS, partial(rate_of, wesgate, ours), partial(rate_of, bare, theirs))
    return Row(f"TES {name}, rate", own / least, target, "x bare", "≥", f"{own:.0f}/s, bare app {least:.0f}/s")


def _memory(wesgate: Running, tasks: Sequence[str]) -> Row:
    """What the API process holds more after many status polls than after some."""
    process = psutil.Process(wesgate.process.pid)
    polls = [encode("GET", f"/ga4gh/tes/v1/tasks/{task}") for task in tasks]
    _poll(wesgate.url, polls, WARM_POLLS)
    before = process.memory_info().rss
    asked = _poll(wesgate.url, polls, POLLS - WARM_POLLS)
    grown = (process.memory_info().rss - before) / 1e6
    detail = f"{before / 1e6:.0f} MB, then {asked / 1e6:.1f} M more polls"
    return Row("memory of the API over polls, growth", grown, 5.0, "MB", "≤", detail)


def _poll(url: str, polls: Sequence[str], count: int) -> float:
    asked = 0.0
    while asked < count:
        asked += rate_of(url, polls, POLL_S) * POLL_S
    return asked


def _lists(scratch: Path) -> list[Row]:
    """Pages of few and of many stored tasks, by two services at once."""
    with _filled(scratch / "few", FEW) as few, _filled(scratch / "many", MANY) as many:
        requests = [encode("GET", "/ga4gh/tes/v1/tasks?page_size=256")]
        (rate,) = by_turns(ROUNDS, partial(rate_of, many.url, requests))
        worst, detail = 0.0, []
        for name, query in LISTS.items():
            least, most = by_turns(ROUNDS, partial(_p95, few.url, query), partial(_p95, many.url, query))
            worst = max(worst, most / least)
            detail.append(f"{name} {most * 1000:.1f} to {least * 1000:.1f} ms")
    return [
        Row("TES list of 256 MINIMAL, rate", rate, 300.0, "/s", "≥", f"of {MANY:,} tasks"),
        Row(f"p95 of a page of {MANY:,} tasks", worst, 1.2, f"x of {FEW:,}", "≤", ", ".join(detail)),
    ]


@contextlib.contextmanager
def _filled(data: Path, count: int) -> Iterator[Running]:
    migrate(data)
    with started("api", data) as wesgate:
        asyncio.run(_fill(dsn_of(data), count))
        yield wesgate


async def _fill(dsn: str, count: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("ALTER TABLE tasks DISABLE TRIGGER USER")
        await connection.execute(FILL, count, json.dumps(TASK), timeout=600)
        await connection.execute("ALTER TABLE tasks ENABLE TRIGGER USER")
        await connection.execute("VACUUM ANALYZE tasks", timeout=600)
    finally:
        await connection.close()


def _p95(url: str, query: str) -> float:
    """Of one client that asks for the first page again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port or 0)
    took = []
    for _ in range(PAGES):
        began = time.perf_counter()
        connection.request("GET", f"/ga4gh/tes/v1/tasks?page_size=256&{query}")
        answer = connection.getresponse().read()
        took.append(time.perf_counter() - began)
        assert answer.count(b'"id"') == 256, answer[:500]
    connection.close()
    return statistics.quantiles(took, n=20)[-1]
