"""One store by URL: whatever a URL names is fetched, listed and put by the same three functions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wesgate.core.spec import Store
from wesgate.core.stores import is_blob, store_for
from wesgate.storage import objects
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed, fetch
from wesgate.storage.locations import is_signed, locate
from wesgate.storage.objects import Entry
from wesgate.storage.patience import Transfer
from wesgate.storage.target import PORTS, Refused, redacted


class PutFailed(Exception):
    """The URL could not be written to."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What can be reached over the network. Its stores hold credentials: they are not shown."""

    network: Network
    stores: tuple[Store, ...] = field(default=(), repr=False)

    def refusal(self, url: str, *, directory: bool, writing: bool = False) -> str:
        """Why this URL cannot be used so, to follow what names it; empty if it can."""
        if not self._is_object(url):
            return _refusal_of_web(url, directory=directory, writing=writing)
        try:
            where = locate(url, self.stores)
        except Refused as reason:
            return f"cannot be used: {reason}"
        if not directory and (not where.key or url.partition("?")[0].endswith("/")):
            return "names no object, but a directory of them"
        return ""

    def fetch(self, url: str, path: Path, transfer: Transfer) -> int:
        """Make what a URL names the file at this path; its size. `FetchFailed` with a sentence otherwise."""
        with path.open("wb") as file:
            # A blob that brings its own signature needs no store: it is fetched as any file of the web.
            if store_for(url, self.stores) is None:
                fetch(url, file, transfer.bounds, self.network, transfer.deadline)
                return os.fstat(file.fileno()).st_size
            with _fetching(url):
                return objects.download(locate(url, self.stores), file.fileno(), transfer)

    def entries(self, url: str, transfer: Transfer) -> list[Entry]:
        """The files below a URL. `FetchFailed` with a sentence otherwise."""
        with _fetching(url):
            return objects.entries(locate(url, self.stores), transfer)

    def fetch_entry(self, url: str, entry: Entry, path: Path, transfer: Transfer) -> int:
        """Make one of the files below this URL the one at this path; its size. `FetchFailed` otherwise."""
        with _fetching(f"{redacted(url).rstrip('/')}/{entry.inner}"):
            try:
                with path.open("wb") as file:
                    return objects.download(entry.location, file.fileno(), transfer)
            except objects.NoSuchObject:
                if entry.size:
                    raise
                # Its key ends in a slash: it only shows a directory.
                path.unlink()
                path.mkdir(exist_ok=True)
                return 0

    def put(self, url: str, file: int, transfer: Transfer) -> int:
        """Put this open file where a URL says; its size. `PutFailed` with a sentence otherwise."""
        size = os.fstat(file).st_size
        try:
            objects.upload(locate(url, self.stores), file, size, transfer)
        except Refused as reason:
            raise PutFailed(f"{redacted(url)} could not be written: {reason}") from reason
        return size

    def _is_object(self, url: str) -> bool:
        return store_for(url, self.stores) is not None or (is_blob(url) and is_signed(url))


def _refusal_of_web(url: str, *, directory: bool, writing: bool) -> str:
    web = url.partition("://")[0].lower() in PORTS
    if web and not directory and not writing:
        return ""
    if is_blob(url):
        return "needs a shared access signature in the URL, or a store of its account in the setting storage.stores"
    if web and writing:
        return "cannot be written to: it is in no store that is set in storage.stores"
    if web:
        return "cannot be listed, as object stores can: name its files"
    return "is in no store that is set here: an operator names its store in the setting storage.stores"


@contextmanager
def _fetching(url: str) -> Iterator[None]:
    try:
        yield
    except Refused as reason:
        raise FetchFailed(f"{redacted(url)} could not be fetched: {reason}") from reason
