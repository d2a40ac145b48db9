"""An input of 1 GiB from an S3 server on this machine, beside what obstore alone takes for it."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import obstore
from obstore.store import S3Store

from bench.measure import Row, by_turns
from wesgate.core.spec import Store
from wesgate.storage.connections import Network
from wesgate.storage.mux import Remote
from wesgate.storage.patience import Bounds, Transfer

ROUNDS = 9
GIB = 1 << 30
PART = 16 << 20
START_S = 60.0
KEY = "large"


def rows(scratch: Path) -> list[Row]:
    """The ratio of the rates."""
    with _server(scratch / "moto.log") as endpoint:
        options = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "bench", "secret_access_key": "bench"}
        client = S3Store("bucket", config=options, client_options={"allow_http": True})  # type: ignore[arg-type]
        _fill(client)
        remote = Remote(Network(allow_private=True), (Store("s3://", options),))
        target = scratch / "large"
        turns = (
            partial(_timed, target, partial(_staged, remote, target)),
            partial(_timed, target, partial(_alone, client, target)),
        )
        by_turns(1, *turns)  # the server and the disk are slower at first
        ours, alone = by_turns(ROUNDS, *turns)
    detail = f"{GIB / ours / 1e6:.0f} MB/s, obstore alone {GIB / alone / 1e6:.0f} MB/s; median of {ROUNDS}"
    return [Row("staging 1 GiB from S3, rate", alone / ours, 0.8, "x obstore", "≥", detail)]


def _staged(remote: Remote, target: Path) -> None:
    remote.fetch(f"s3://bucket/{KEY}", target, Transfer(Bounds(GIB, 600.0, lambda: False)))


def _alone(client: S3Store, target: Path) -> None:
    with target.open("wb") as file:
        for chunk in obstore.get(client, KEY).stream():
            file.write(memoryview(chunk))


def _timed(target: Path, get: Callable[[], None]) -> float:
    began = time.perf_counter()
    get()
    took = time.perf_counter() - began
    if target.stat().st_size != GIB:
        raise SystemExit(f"bench: {target.stat().st_size} of {GIB} bytes were staged")
    target.unlink()  # so that every turn makes a new file
    return took


def _fill(client: S3Store) -> None:
    part = random.Random(0).randbytes(PART)  # not all zero
    obstore.put(client, KEY, iter([part] * (GIB // PART)), chunk_size=PART)


@contextlib.contextmanager
def _server(log: Path) -> Iterator[str]:
    """The endpoint of a moto in a process of its own, with one bucket."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as server:
        try:
            _make_bucket(endpoint, server, log)
            yield endpoint
        finally:
            server.kill()


def _make_bucket(endpoint: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=10).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: the S3 server did not start:\n{log.read_text()[-2000:]}")
