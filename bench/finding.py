"""Lists of a million runs at any depth and by any filter, and a run with ten thousand tasks."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

import asyncpg

from bench.measure import Row, by_turns
from bench.running import dsn_of, migrate, started
from wesgate.api.paging import Pager
from wesgate.db.lists.filters import Filter

ROUNDS = 3
PAGES = 40
RUNS, TASKS = 1_000_000, 10_000
PAGE = 100
# Of the runs, the 300 oldest are the ones that filters look for, the last in every order.
QUERIES: Mapping[str, Mapping[str, str]] = {
    "all": {},
    "state": {"state": "EXECUTOR_ERROR"},
    "tag": {"tag": "sought:yes"},
    "name": {"name": "sought"},
    "search": {"search": "sought"},
    "search of all": {"search": "bench"},
    "search and state": {"search": "bench", "state": "EXECUTOR_ERROR"},
}
FILL_RUNS = """
    INSERT INTO runs (id, owner_id, backend, document, tags, directory, name, words, state, created_at, ended_at,
                      due_at)
    SELECT gen_random_uuid(), (SELECT id FROM owners), 'miniwdl', $2,
           jsonb_build_object('from', 'bench', 'sought', CASE WHEN n <= 300 THEN 'yes' ELSE 'no' END),
           'none', CASE WHEN n <= 300 THEN 'sought' ELSE 'bench-' || n % 1000 END,
           array_to_tsvector(ARRAY['bench', (n % 1000)::text, CASE WHEN n <= 300 THEN 'sought' ELSE 'hello' END]),
           CASE WHEN n <= 300 THEN 'EXECUTOR_ERROR' ELSE 'COMPLETE' END,
           now() - ($1 - n) * interval '1 s', now(), NULL
    FROM generate_series(1, $1) AS n
"""
FILL_TASKS = """
    INSERT INTO tasks (id, owner_id, run_id, backend, lane, name, tags, document, cpu_cores, ram_gb, state, created_at,
                       ended_at, due_at, admitted_at)
    SELECT gen_random_uuid(), (SELECT id FROM owners), $3, 'local', 'task', 'call-' || n, '{}', $2, 1, 1, 'COMPLETE',
           now() - ($1 - n) * interval '1 s', now(), NULL, now()
    FROM generate_series(1, $1) AS n
"""
FILL_ATTEMPTS = """
    INSERT INTO attempts (row_id, number, kind, report) SELECT id, 1, 'task', $1 FROM tasks
"""
DOCUMENT = {
    "workflow_type": "WDL",
    "workflow_type_version": "1.0",
    "workflow_url": "hello.wdl",
    "workflow_params": {},
    "tags": {"from": "bench"},
}
TASK = {
    "name": "call",
    "inputs": [{"path": "/in", "content": "hello"}],
    "executors": [{"image": "debian:bookworm-slim", "command": ["/bin/bash", "/mnt/command"], "stdout": "/out"}],
    "resources": {"cpu_cores": 1, "ram_gb": 1},
}
REPORT = {
    "start_time": "2026-01-01T00:00:00.000+00:00",
    "end_time": "2026-01-01T00:01:00.000+00:00",
    "steps": [{"start_time": "2026-01-01T00:00:01.000+00:00", "exit_code": 0, "stdout": "hello\n" * 20, "stderr": ""}],
    "metadata": {"peak_memory_bytes": "1000000", "cpu_seconds": "1.5"},
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A service with a million runs, one of them with ten thousand tasks; `deep` are tokens of pages far from the
    first."""

    url: str
    run: UUID
    deep: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a list, as far as tokens hold it."""

    id: UUID
    created_at: datetime


def rows(scratch: Path) -> list[Row]:
    """One API process without loops, asked by one client."""
    with _filled(scratch / "finding") as filled:
        pages = {name: f"/runs?{urlencode({'page_size': PAGE, **query})}" for name, query in QUERIES.items()}
        pages |= {name: f"/runs?{urlencode({'page_size': PAGE, 'page_token': t})}" for name, t in filled.deep.items()}
        of_run = f"/runs/{filled.run}"
        first = f"{of_run}/tasks?page_size={PAGE}"
        tasks = {"first": first, "last": _last(filled, first)}
        return [
            _worst(f"p95 of a page of {RUNS:,} runs", filled.url, pages, 50.0),
            _worst(f"p95 of a page of {TASKS:,} tasks", filled.url, tasks, 50.0),
            _worst(f"p95 of a RunLog of {TASKS:,} tasks", filled.url, {"with 1,000 inline": of_run}, 200.0),
        ]


def _worst(name: str, url: str, paths: Mapping[str, str], target_ms: float) -> Row:
    took = by_turns(ROUNDS, *(partial(_p95, url, path) for path in paths.values()))
    detail = ", ".join(f"{query} {seconds * 1000:.1f}" for query, seconds in zip(paths, took, strict=True))
    return Row(name, max(took) * 1000, target_ms, "ms", "≤", f"{detail} ms")


def _p95(url: str, path: str) -> float:
    """Of one client that asks for the same page again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port or 0)
    took = []
    for _ in range(PAGES):
        began = time.perf_counter()
        connection.request("GET", f"/ga4gh/wes/v1{path}")
        answer = connection.getresponse()
        content = answer.read()
        took.append(time.perf_counter() - began)
        assert answer.status == 200, content[:500]
    connection.close()
    return statistics.quantiles(took, n=20)[-1]


def _last(filled: Filled, first: str) -> str:
    """The page of tasks that comes last, found as clients find it."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(filled.url).port or 0)
    path, token = f"/runs/{filled.run}/tasks?page_size=1000", ""
    while True:
        connection.request("GET", f"/ga4gh/wes/v1{path}{token and f'&page_token={token}'}")
        following = json.loads(connection.getresponse().read())["next_page_token"]
        if not following:
            connection.close()
            return f"{first}&page_token={token}"
        token = following


@contextlib.contextmanager
def _filled(data: Path) -> Iterator[Filled]:
    migrate(data)
    with started("api", data) as wesgate:
        run = uuid4()
        yield Filled(wesgate.url, run, asyncio.run(_fill(dsn_of(data), run)))


async def _fill(dsn: str, run: UUID) -> dict[str, str]:
    connection = await asyncpg.connect(dsn)
    try:
        for table in ("runs", "tasks"):
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await connection.execute(FILL_RUNS, RUNS, json.dumps(DOCUMENT), timeout=900)
        newest = "(SELECT id FROM runs ORDER BY created_at DESC LIMIT 1)"
        await connection.execute(f"UPDATE runs SET id = $1 WHERE id = {newest}", run)
        await connection.execute(FILL_TASKS, TASKS, json.dumps(TASK), run, timeout=900)
        await connection.execute(FILL_ATTEMPTS, json.dumps(REPORT), timeout=900)
        for table in ("runs", "tasks"):
            await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        for table in ("runs", "tasks", "attempts"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=900)
        return await _deep(connection)
    finally:
        await connection.close()


async def _deep(connection: asyncpg.Connection) -> dict[str, str]:
    """Tokens as the service gives them after so many runs: to turn ten thousand pages would take longer."""
    key, owner = await connection.fetchrow("SELECT signing_key, (SELECT id FROM owners) FROM service")
    tokens = {}
    for depth in (RUNS // 2, RUNS - PAGE):
        place = await connection.fetchrow(
            "SELECT id, created_at FROM runs ORDER BY created_at DESC, id DESC OFFSET $1 LIMIT 1", depth - 1
        )
        read = [Place(place["id"], place["created_at"])] * 2
        tokens[f"after {depth:,}"] = Pager(key).token(f"runs {owner} {Filter()}", read, 1)
    return tokens
