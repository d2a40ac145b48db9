"""Start a wesgate for a measurement, and stop it again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from bench.measure import bury
from wesgate.db import embedded

WESGATE = (sys.executable, "-m", "wesgate")
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(slots=True)
class Running:
    """One wesgate process with its embedded Postgres: `with started("serve", data) as wesgate`."""

    process: subprocess.Popen[str]
    data: Path
    url: str
    ready_s: float

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        bury()

    def processes(self) -> list[psutil.Process]:
        """Everything that runs because of it, Postgres included: the bench is the only parent of other processes."""
        everything: list[psutil.Process] = psutil.Process().children(recursive=True)
        return everything


def started(word: str, data: Path, **settings: str) -> Running:
    """A wesgate that has said that it is ready. `word` is `serve` or `api`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WESGATE_")}
    command = [*WESGATE, word, "--data", str(data), "--port", "0"]
    began = time.perf_counter()
    with (data.parent / f"{data.name}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment | settings, cwd="/"
        )
    url = _url_of(process, Path(log.name))
    ready_s = time.perf_counter() - began
    httpx.get(f"{url}/ga4gh/tes/v1/service-info").raise_for_status()
    return Running(process, data, url, ready_s)


def migrate(data: Path) -> None:
    """Make the database of this data directory."""
    subprocess.run([*WESGATE, "migrate", "--data", str(data)], check=True, stdout=subprocess.DEVNULL, cwd="/")
    bury()


def dsn_of(data: Path) -> str:
    """The database of this data directory, which a wesgate keeps running."""

    async def found() -> str:
        async with await embedded.start(data) as postgres:
            return postgres.url.replace("+asyncpg", "")

    return asyncio.run(found())


def _url_of(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout
    for line in process.stdout:
        if found := _URL.search(line):
            return found.group()
    process.wait()
    raise SystemExit(f"bench: wesgate ended before it was ready:\n{log.read_text()[-2000:]}")
