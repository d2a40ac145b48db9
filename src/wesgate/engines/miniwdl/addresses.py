"""Where the API is: one file for each process that serves it, in a directory that heads read before every call."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

API_DIRECTORY = "api"


@contextlib.contextmanager
def announced(files_root: Path, url: str) -> Iterator[Path]:
    """Tell all heads, those of earlier processes too, that the API is at `url` for as long as the block lasts. What was
    left by processes that were killed is removed."""
    directory = files_root / API_DIRECTORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(directory)
    path = directory / f"{os.getpid()}-{secrets.token_hex(8)}"
    # It gets its name when it is locked and whole: nobody may find it free or empty before.
    part = path.with_name(f".{path.name}")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, url.encode())
        part.rename(path)
        yield path
    finally:
        part.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        os.close(descriptor)


def read(directory: Path) -> list[str]:
    """All URLs where a process serves the API now, each once. `OSError` if the directory cannot be read. What a process
    that was killed had announced is left out: another program may listen there by now, and would be sent the token."""
    urls = []
    for path in sorted(directory.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # its process has stopped just now
            if not path.name.startswith("."):
                with path.open(encoding="utf-8") as file:
                    if _is_held(file):
                        urls.append(file.read().strip().rstrip("/"))
    return list(dict.fromkeys(urls))


def _is_held(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _sweep(directory: Path) -> None:
    for path in directory.glob("[!.]*"):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process holds it to the end
            path.unlink()
