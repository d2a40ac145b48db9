"""Two hundred workflows at once on one machine: how fast they start, and what each holds while it waits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.measure import Row, machine_cpu, pss
from bench.running import Running, started
from bench.workflows import HELLO

RUNS = 200
MODULE = "wesgate.engines.miniwdl.head.main"
LONGEST_S = 900.0
SETTLE_S = 2.0
GLANCE_S = 0.2
FIELDS = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "hello.wdl"}
LIVE = ("QUEUED", "INITIALIZING", "RUNNING")


def rows(scratch: Path) -> list[Row]:
    """A task takes all cores, so that the task of each run waits, and its head with it; then it goes, and all end. A
    run has started when its head has asked for the task. Memory is proportional (PSS): of all heads, their workers and
    the process that these are forked from."""
    settings = {"WESGATE_EXECUTORS__LOCAL__RUNTIME": "process", "WESGATE_ENGINES__MINIWDL__CALL_CACHE": "false"}
    with started("serve", scratch / "heads", **settings) as wesgate, httpx.Client(timeout=60) as client:
        _end(client, wesgate, [_submit(client, wesgate)])  # the first loads what all share
        blocker = _block(client, wesgate)
        spent, began = machine_cpu(), time.perf_counter()
        runs = [_submit(client, wesgate) for _ in range(RUNS)]
        _await_tasks(client, wesgate)
        took, each = time.perf_counter() - began, (machine_cpu() - spent) / RUNS
        time.sleep(SETTLE_S)
        memory = _memory(wesgate)
        client.post(f"{_tes(wesgate)}/{blocker}:cancel", json={}).raise_for_status()
        began = time.perf_counter()
        _end(client, wesgate, runs)
        ended = f"all {RUNS} COMPLETE {time.perf_counter() - began:.0f} s after their tasks could run"
    detail = f"{each * 1000:.0f} ms of a core each; {ended}"
    return [Row(f"{RUNS} runs at once, starts", RUNS / took, 8.0, "/s", "≥", detail), memory]


def _tes(wesgate: Running) -> str:
    return f"{wesgate.url}/ga4gh/tes/v1/tasks"


def _submit(client: httpx.Client, wesgate: Running) -> str:
    made = client.post(
        f"{wesgate.url}/ga4gh/wes/v1/runs", data=FIELDS, files={"workflow_attachment": ("hello.wdl", HELLO)}
    )
    return str(made.raise_for_status().json()["run_id"])


def _block(client: httpx.Client, wesgate: Running) -> str:
    cores = len(psutil.Process().cpu_affinity() or ())
    task: dict[str, Any] = {
        "executors": [{"image": "any", "command": ["sleep", str(LONGEST_S)]}],
        "resources": {"cpu_cores": cores},
    }
    made: str = client.post(_tes(wesgate), json=task).raise_for_status().json()["id"]
    while client.get(f"{_tes(wesgate)}/{made}").json()["state"] != "RUNNING":
        time.sleep(GLANCE_S)
    return made


def _await_tasks(client: httpx.Client, wesgate: Running) -> None:
    """Until every run has a task that waits."""
    began = time.perf_counter()
    while True:
        waiting = client.get(_tes(wesgate), params={"state": "QUEUED", "page_size": 2048}).json()["tasks"]
        if len(waiting) == RUNS:
            return
        if time.perf_counter() - began > LONGEST_S:
            raise SystemExit(f"bench: only {len(waiting)} of {RUNS} runs have started")
        time.sleep(GLANCE_S)


def _end(client: httpx.Client, wesgate: Running, runs: Sequence[str]) -> None:
    """Until all of these have ended well."""
    began = time.perf_counter()
    for run in runs:
        url = f"{wesgate.url}/ga4gh/wes/v1/runs/{run}"
        while (state := client.get(f"{url}/status").json()["state"]) in LIVE:
            if time.perf_counter() - began > LONGEST_S:
                raise SystemExit(f"bench: a run still is {state} after {LONGEST_S:.0f} s")
            time.sleep(GLANCE_S)
        if state != "COMPLETE":
            raise SystemExit(f"bench: a run ended {state}:\n{client.get(url).text[:3000]}")


def _memory(wesgate: Running) -> Row:
    found = {process.pid: process for process in wesgate.processes() if _is_of_heads(process)}
    parents = {pid: process.ppid() for pid, process in found.items()}
    forks = {pid for pid, parent in parents.items() if parent not in found}
    workers = [found[pid] for pid, parent in parents.items() if parent in forks]
    heads = [found[pid] for pid, parent in parents.items() if parent in parents and parent not in forks]
    if (len(workers), len(heads)) != (RUNS, RUNS):
        raise SystemExit(f"bench: {len(workers)} workers and {len(heads)} heads of {RUNS} runs were found")
    parts = f"head {pss(heads) / RUNS / 1e6:.1f}, its worker {pss(workers) / RUNS / 1e6:.1f}, what forks them the rest"
    return Row("memory of each waiting head", pss(found.values()) / RUNS / 1e6, 25.0, "MB", "≤", parts)


def _is_of_heads(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return MODULE in process.cmdline()
    return False
