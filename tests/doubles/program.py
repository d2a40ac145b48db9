"""A program that can be run as an engine's head is, executed or forked, and tells what it finds: `python -m` this."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

WARMED = "by whoever loaded it"


def warm() -> None:
    """Nothing to load."""


def found() -> dict[str, object]:
    """What must not differ between an executed program and a forked one."""
    return {
        "name": __name__,
        "arguments": sys.argv[1:],
        "file": sys.argv[0] == __file__,
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "temporary": tempfile.gettempdir(),
        "input": sys.stdin.read(),
        "session": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "files": sorted(int(file.name) for file in Path("/proc/self/fd").iterdir())[:-1],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)],
        "encodings": [sys.getfilesystemencoding(), sys.stdout.encoding],
        "threads": threading.active_count(),
        "main": threading.current_thread() is threading.main_thread(),
        "mask": os.umask(0o22),
    }


def is_forked() -> bool:
    return "forkserver" in Path("/proc/self/cmdline").read_text()


def knows(drow: bytes) -> bool:
    """Whether this word, told backwards, is anywhere in the memory of this process: it is never put together here."""
    half = drow[: len(drow) // 2 - 1 : -1]
    for part in memory():
        at = part.find(half)
        while at >= 0:
            if part[at : at + len(drow)][::-1] == drow:
                return True
            at = part.find(half, at + 1)
    return False


def memory() -> Iterator[bytes]:
    """What this process may write."""
    with Path("/proc/self/mem").open("rb", buffering=0) as file:
        for line in Path("/proc/self/maps").read_text().splitlines():
            bounds, rights, *_ = line.split()
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if rights.startswith("rw"):
                file.seek(start)
                yield file.read(end - start) or b""


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(what: str, *arguments: str) -> None:
    match what:
        case "find":
            _say(json.dumps(found(), sort_keys=True))
        case "forked":
            _say(is_forked())
        case "chance":
            _say(random.random())
        case "knows":
            _say(knows(arguments[0].encode()))
        case "exit":
            sys.exit(int(arguments[0]))
        case "complain":
            sys.exit("this is why")
        case "raise":
            raise LookupError("raised")
        case "sleep":
            _say(f"up {os.getpid()}")
            time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
