"""How long a service takes to be ready, and what it costs while it has nothing to do."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from bench.measure import Row, by_turns, cpu, pss
from bench.running import Running, started

ROUNDS = 3
SETTLE_S = 5.0
IDLE_S = 20.0


def rows(scratch: Path) -> list[Row]:
    """Ready on a new and on an existing data directory; idle processor time and memory, Postgres included."""
    fresh = iter(range(ROUNDS))
    new, existing = by_turns(
        ROUNDS,
        lambda: _ready(scratch / f"new-{next(fresh)}"),
        lambda: _ready(scratch / "new-0"),
    )
    with started("serve", scratch / "new-0", WESGATE_EXECUTORS__LOCAL__RUNTIME="process") as wesgate:
        _work(wesgate)
        time.sleep(SETTLE_S)
        share, memory, parts = _idle(wesgate)
    return [
        Row("ready, new data directory", new, 5.0, "s", "≤", f"median of {ROUNDS}"),
        Row("ready, existing data directory", existing, 2.0, "s", "≤", f"median of {ROUNDS}"),
        Row("idle, processor", share * 100, 1.0, "% of a core", "≤", f"over {IDLE_S:.0f} s, all processes"),
        Row("idle, memory", memory / 1e6, 200.0, "MB", "≤", parts),
    ]


def _ready(data: Path) -> float:
    with started("serve", data) as wesgate:
        return wesgate.ready_s


def _work(wesgate: Running) -> None:
    """One task from submit to end: what is only started for the first one counts, too."""
    tasks = f"{wesgate.url}/ga4gh/tes/v1/tasks"
    task = httpx.post(tasks, json={"executors": [{"image": "any", "command": ["true"]}]}).json()["id"]
    while httpx.get(f"{tasks}/{task}").json()["state"] != "COMPLETE":
        time.sleep(0.05)


def _idle(wesgate: Running) -> tuple[float, int, str]:
    processes = wesgate.processes()
    before = sum(cpu(process) for process in processes)
    time.sleep(IDLE_S)
    spent = sum(cpu(process) for process in processes) - before
    postgres = [process for process in processes if process.name() == "postgres"]
    others = [process for process in processes if process.name() != "postgres"]
    parts = f"wesgate {pss(others) / 1e6:.0f} in {len(others)}, Postgres {pss(postgres) / 1e6:.0f} in {len(postgres)}"
    return spent / IDLE_S, pss(processes), parts
