"""Workflows through WES, beside bare `miniwdl run`: what the way through the service costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from bench.measure import Row, by_turns, machine_cpu
from bench.running import Running, started

ROUNDS = 3
SHARDS = 100
LONGEST_S = 600.0

HELLO = """version 1.0
workflow hello {
    call greet
    output { String greeting = greet.said }
}
task greet {
    command <<< echo hello >>>
    output { String said = read_string(stdout()) }
    runtime { docker: "debian:bookworm-slim" cpu: 1 memory: "64 MB" }
}
"""

SCATTER = f"""version 1.0
workflow scattered {{
    scatter (number in range({SHARDS})) {{ call square {{ input: number = number }} }}
    output {{ Array[Int] squares = square.squared }}
}}
task square {{
    input {{ Int number }}
    command <<< echo $(( ~{{number}} * ~{{number}} )) >>>
    output {{ Int squared = read_int(stdout()) }}
    runtime {{ docker: "debian:bookworm-slim" cpu: 1 memory: "64 MB" }}
}}
"""


def rows(scratch: Path) -> list[Row]:
    """Hello and a scatter with the process runtime, without a call cache."""
    for name, text in (("hello", HELLO), ("scatter", SCATTER)):
        (scratch / f"{name}.wdl").write_text(text)
    settings = {"WESGATE_EXECUTORS__LOCAL__RUNTIME": "process", "WESGATE_ENGINES__MINIWDL__CALL_CACHE": "false"}
    with started("serve", scratch / "workflows", **settings) as wesgate:
        through, bare = _pair(wesgate, scratch / "hello.wdl")
        hello = Row("hello through WES, above bare miniwdl", through - bare, 1.0, "s", "≤", _both(through, bare))
        through, bare = _pair(wesgate, scratch / "scatter.wdl")
        ratio = Row(f"{SHARDS}-shard scatter", through / bare, 2.0, "x bare", "≤", _both(through, bare))
        return [hello, ratio, _cost(wesgate, scratch / "scatter.wdl")]


def _pair(wesgate: Running, workflow: Path) -> tuple[float, float]:
    through, bare = by_turns(ROUNDS, partial(_through_wes, wesgate, workflow), partial(_bare, workflow))
    return through, bare


def _both(through: float, bare: float) -> str:
    return f"{through:.2f} s, bare {bare:.2f} s"


def _cost(wesgate: Running, workflow: Path) -> Row:
    """Processor time of everything, Postgres and the kernel's share too, less what bare miniwdl takes."""
    through, bare = by_turns(
        ROUNDS,
        partial(_cpu, lambda: _through_wes(wesgate, workflow)),
        partial(_cpu, lambda: _bare(workflow)),
    )
    own = (through - bare) / SHARDS * 1000
    each = f"{through / SHARDS * 1000:.0f} ms in all, bare miniwdl {bare / SHARDS * 1000:.0f} ms"
    return Row("processor time of each task", own, 100.0, "ms", "≤", each)


def _cpu(measured: Callable[[], object]) -> float:
    before = machine_cpu()
    measured()
    return machine_cpu() - before


def _bare(workflow: Path) -> float:
    environment = os.environ | {
        "MINIWDL__SCHEDULER__CONTAINER_BACKEND": "process",
        "MINIWDL__FILE_IO__ROOT": "/",
    }
    began = time.perf_counter()
    command = [sys.executable, "-m", "bench.bare_miniwdl", "run", "--dir", str(workflow.parent / "bare"), str(workflow)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"bench: bare miniwdl failed:\n{ended.stderr[-2000:]}")
    return time.perf_counter() - began


def _through_wes(wesgate: Running, workflow: Path) -> float:
    runs = f"{wesgate.url}/ga4gh/wes/v1/runs"
    fields = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": workflow.name}
    began = time.perf_counter()
    with httpx.Client(timeout=30) as client:
        made = client.post(runs, data=fields, files={"workflow_attachment": (workflow.name, workflow.read_bytes())})
        made.raise_for_status()
        run = f"{runs}/{made.json()['run_id']}"
        state = ""
        while state in ("", "QUEUED", "INITIALIZING", "RUNNING"):
            if time.perf_counter() - began > LONGEST_S:
                raise SystemExit(f"bench: {workflow.name} still is {state} after {LONGEST_S:.0f} s")
            time.sleep(0.05)
            state = client.get(f"{run}/status").json()["state"]
        if state != "COMPLETE":
            raise SystemExit(f"bench: {workflow.name} ended {state}:\n{client.get(run).text[:3000]}")
    return time.perf_counter() - began
