"""Sapporo, the WES that is compared with: installed from PyPI into an environment of its own, without access control.

Its engine is a script that ends at once, so that what is measured is Sapporo alone.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

VERSION = "2.4.0"
READY_S = 60.0


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[str]:
    """Its URL; empty, with the reason on standard error, if it cannot be had here."""
    home = scratch / "sapporo"
    try:
        _install(home)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: without Sapporo: {error}: {getattr(error, 'stderr', '')}", file=sys.stderr)
        yield ""
        return
    (home / "runs").mkdir(exist_ok=True)
    script = home / "run.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    port = _free_port()
    command = [
        str(home / "bin" / "sapporo"), "--host", "127.0.0.1", "--port", str(port),
        "--run-dir", str(home / "runs"), "--run-sh", str(script),
    ]  # fmt: skip
    with (home / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=home) as process:
        try:
            _wait(f"http://127.0.0.1:{port}", process, home / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _install(home: Path) -> None:
    if not (home / "bin" / "sapporo").exists():
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", f"sapporo=={VERSION}"]
        for command in ([sys.executable, "-m", "venv", str(home)], pip):
            subprocess.run(command, check=True, capture_output=True, text=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.perf_counter()
    while True:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{url}/service-info").raise_for_status()
            return
        if process.poll() is not None or time.perf_counter() - began > READY_S:
            raise SystemExit(f"bench: Sapporo is not ready:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)
