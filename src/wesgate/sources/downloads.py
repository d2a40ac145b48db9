"""What runs name by http(s): documents as text, and input files, each kept in a place of its own."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed, fetch
from wesgate.storage.patience import Bounds
from wesgate.storage.target import redacted

DOCUMENT_BYTES = 10 * 1024 * 1024
DOCUMENT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Downloads:
    """Where a run's URLs are fetched to. What fails raises `FetchFailed`. `deadline` on the monotonic clock is for all
    of them together; without one each has the time of the bounds."""

    folder: Path
    bounds: Bounds
    network: Network
    deadline: float = 0.0

    def document(self, url: str, max_bytes: int = DOCUMENT_BYTES) -> bytes:
        """A document of at most 10 MiB."""
        now, most_s = time.monotonic(), self.bounds.timeout_s
        together, alone = (self.deadline or now + most_s, most_s), (now + DOCUMENT_TIMEOUT_S, DOCUMENT_TIMEOUT_S)
        deadline, timeout_s = min(together, alone)
        bounds = replace(self.bounds, max_bytes=max_bytes, timeout_s=timeout_s)
        return replace(self, bounds=bounds, deadline=deadline).file(url).read_bytes()

    def file(self, url: str) -> Path:
        """The file behind the URL, below the folder in a place that depends on the URL alone; fetched once."""
        place = self.folder / hashlib.sha256(url.encode()).hexdigest()[:32]
        target = place / file_name(url)
        if target.exists():
            return target
        part = place / f".part-{os.getpid()}-{time.monotonic_ns()}"
        try:
            place.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                fetch(url, file, self.bounds, self.network, self.deadline)
            part.rename(target)
        except OSError as error:
            raise FetchFailed(f"{redacted(url)} cannot be kept: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return target


def file_name(url: str) -> str:
    """The name that a file of this URL gets here."""
    try:
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    except ValueError:
        return "file"
    usable = name not in ("", ".", "..") and "\0" not in name and len(name.encode()) < 200
    return name if usable and not name.startswith(".part-") else "file"
