"""Tasks on this machine: how much of the time a slot is empty, and what a container costs beside bare `podman run`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bench.measure import Row, by_turns
from bench.running import Running, started
from wesgate.worker.runtimes.probe import probe, trying

TASKS, SLOTS, SECONDS = 1_000, 8, 1
POLL_S = 0.2
LONGEST_S = 600.0

IMAGE = "localhost/wesgate-bench/true:1"
ROUNDS, EACH = 5, 4
GLANCE_S = 0.01


def rows(scratch: Path) -> list[Row]:
    """Many short tasks in few slots, and containers one after the other."""
    return [_slots(scratch / "slots"), *_podman(scratch / "podman")]


def _slots(data: Path) -> Row:
    ideal = TASKS * SECONDS / SLOTS
    settings = {
        "WESGATE_EXECUTORS__LOCAL__RUNTIME": "process",
        "WESGATE_EXECUTORS__LOCAL__SLOTS__CPU_CORES": str(SLOTS),
        "WESGATE_EXECUTORS__LOCAL__SLOTS__RAM_GB": str(SLOTS),
    }
    with started("serve", data, **settings) as wesgate, _tes(wesgate) as tes:
        began = time.perf_counter()
        made = tes.post("/tasks:batch", json={"tasks": [_task("sleep", str(SECONDS))] * TASKS})
        made.raise_for_status()
        for state in ("QUEUED", "INITIALIZING", "RUNNING"):
            while _some(tes, state):
                _refuse_late(began)
                time.sleep(POLL_S)
        took = time.perf_counter() - began
        for state in ("EXECUTOR_ERROR", "SYSTEM_ERROR"):
            for task in _some(tes, state):
                _refuse_failed(tes, task["id"])
    detail = f"{took:.1f} s, ideal {ideal:.0f} s; a slot is empty for {(took / ideal - 1) * SECONDS * 1000:.0f} ms"
    return Row(f"{TASKS:,} tasks of {SECONDS} s, {SLOTS} slots", took / ideal, 1.15, "x ideal", "≤", detail)


def _podman(data: Path) -> list[Row]:
    verdict = probe("podman", trying(os.environ))
    busybox = shutil.which("busybox")
    if not verdict.works or busybox is None:
        reason = verdict.reason or "busybox is not installed; the package is busybox-static"
        print(f"bench: left out, containers: {reason}", file=sys.stderr)
        return []
    settings = {"WESGATE_EXECUTORS__LOCAL__RUNTIME": "podman"}
    with _image(Path(busybox)), started("serve", data, **settings) as wesgate, _tes(wesgate) as tes:
        ours, bare = by_turns(ROUNDS, partial(_each, partial(_through_tes, tes)), partial(_each, _bare))
    detail = f"{ours:.2f} s, bare {bare:.2f} s; median of {ROUNDS} times {EACH} tasks"
    return [Row("task in podman, above bare podman run", ours - bare, 0.25, "s", "≤", detail)]


@contextlib.contextmanager
def _image(busybox: Path) -> Iterator[None]:
    """An image of one static program, without a registry."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox.resolve(), "bin/true")
    subprocess.run(["podman", "import", "-q", "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["podman", "rmi", IMAGE], check=False, capture_output=True)


def _each(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(EACH):
        run()
    return (time.perf_counter() - began) / EACH


def _bare() -> None:
    subprocess.run(["podman", "run", "--rm", "--pull=never", IMAGE, "true"], check=True, stdin=subprocess.DEVNULL)


def _through_tes(tes: httpx.Client) -> None:
    began = time.perf_counter()
    made = tes.post("/tasks", json=_task("true"))
    made.raise_for_status()
    task = made.json()["id"]
    while tes.get(f"/tasks/{task}").json()["state"] in ("QUEUED", "INITIALIZING", "RUNNING"):
        _refuse_late(began)
        time.sleep(GLANCE_S)
    _refuse_failed(tes, task)


def _task(*command: str) -> dict[str, Any]:
    return {"executors": [{"image": IMAGE, "command": command}], "resources": {"cpu_cores": 1, "ram_gb": 0.1}}


def _tes(wesgate: Running) -> httpx.Client:
    return httpx.Client(base_url=f"{wesgate.url}/ga4gh/tes/v1", timeout=30)


def _some(tes: httpx.Client, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tes.get("/tasks", params={"state": state, "page_size": 1}).json()["tasks"]
    return found


def _refuse_late(began: float) -> None:
    if time.perf_counter() - began > LONGEST_S:
        raise SystemExit(f"bench: tasks still run after {LONGEST_S:.0f} s")


def _refuse_failed(tes: httpx.Client, task: str) -> None:
    found = tes.get(f"/tasks/{task}", params={"view": "FULL"}).json()
    if found["state"] != "COMPLETE":
        raise SystemExit(f"bench: a task ended {found['state']}:\n{json.dumps(found)[:2000]}")
