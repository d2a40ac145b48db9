"""Bring a task's inputs to this host, as mounts: what is shared stays where it is, the rest is written or fetched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from wesgate.core.paths import within
from wesgate.core.spec import FileType, Input, Output, TaskSpec
from wesgate.storage.http import FetchFailed
from wesgate.storage.mux import Remote
from wesgate.storage.objects import Entry
from wesgate.storage.patience import Transfer
from wesgate.storage.target import redacted
from wesgate.worker.faults import Fault
from wesgate.worker.files.inside import real_directory
from wesgate.worker.files.mounts import Mount, has_wildcards
from wesgate.worker.files.places import Places, container_path, host_path, scheme
from wesgate.worker.files.transfers import Transfers
from wesgate.worker.layout import Attempt

T = TypeVar("T")


def localize(spec: TaskSpec, attempt: Attempt, allowed: Places, transfers: Transfers) -> list[Mount]:
    """Every input in place, each as a mount at its container path: read-only, but for a live directory."""
    attempt.inputs.mkdir(exist_ok=True)
    mounts: list[Mount] = []
    remote: list[tuple[Input, Path]] = []
    for number, given in enumerate(spec.inputs):
        target = container_path(given.path, f"input {given.path}")
        own = attempt.inputs / str(number)
        if given.content or not given.url:
            data = (given.content or "").encode("utf-8", errors="surrogatepass")
            transfers.bytes_in += own.write_bytes(data)
            mounts.append(Mount(str(own), target, directory=False))
        elif scheme(given.url) == "file":
            mounts.append(shared_input(given, target, allowed, spec.live))
        else:
            _refuse_unsupported(given, transfers.remote)
            remote.append((given, own))
            mounts.append(Mount(str(own), target, directory=given.type is FileType.DIRECTORY))
    _fetch_all(remote, transfers)
    return mounts


def shared_input(given: Input, target: str, allowed: Places, live: Sequence[str] = ()) -> Mount:
    """A file or directory of the shared file system, where it is. A directory in one that is `live` is for writing."""
    what = f"input {given.path}"
    real = allowed.readable(host_path(given.url), what)
    mode = Path(real).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Fault(f"{what} is neither a file nor a directory: {given.url}")
    is_directory = stat.S_ISDIR(mode)
    if is_directory != (given.type is FileType.DIRECTORY):
        found = FileType.DIRECTORY if is_directory else FileType.FILE
        raise Fault(f"{what} is a {found.lower()}, not a {given.type.lower()}: give it the type {found}")
    if is_directory and any(within(real, os.path.realpath(place)) for place in live):
        return Mount(allowed.writable(real, what), target, writable=True, live=True)
    return Mount(real, target, directory=is_directory)


def output_directories(outputs: Sequence[Output], allowed: Places) -> list[Mount]:
    """Each output directory on the shared file system, made and mounted where the steps fill it."""
    mounts = []
    for output in outputs:
        if output.type is not FileType.DIRECTORY or has_wildcards(output.path) or scheme(output.url) != "file":
            continue
        what = f"output {output.path}"
        real = allowed.writable(host_path(output.url), what)
        try:
            with real_directory(real, make=True):
                mounts.append(Mount(real, container_path(output.path, what), writable=True))
        except NotADirectoryError as error:
            raise Fault(f"{what} cannot be made: a part of {output.url} is not a directory") from error
        except PermissionError as error:
            raise Fault(f"{what} cannot be made: this service may not write at {output.url}") from error
    return mounts


def refuse_unsupported_outputs(outputs: Sequence[Output], remote: Remote) -> None:
    """Say before any step runs that an output could not be delivered after them."""
    for output in outputs:
        if scheme(output.url) == "file":
            continue
        directory = output.type is FileType.DIRECTORY or has_wildcards(output.path)
        if why := remote.refusal(output.url, directory=directory, writing=True):
            raise Fault(f"output {output.path} goes to {redacted(output.url)}, which {why}")


def _refuse_unsupported(given: Input, remote: Remote) -> None:
    if why := remote.refusal(given.url, directory=given.type is FileType.DIRECTORY):
        raise Fault(f"input {given.path} comes from {redacted(given.url)}, which {why}")


def _fetch_all(wanted: Sequence[tuple[Input, Path]], transfers: Transfers) -> None:
    remote, transfer = transfers.remote, transfers.begin()
    files = [(given, own) for given, own in wanted if given.type is FileType.FILE]
    directories = [(given, own) for given, own in wanted if given.type is FileType.DIRECTORY]
    listed = transfers.together([partial(_listed, remote, given.url, transfer) for given, _ in directories])
    jobs = [partial(_fetch, remote, given.url, own, transfer) for given, own in files]
    for (given, own), entries in zip(directories, listed, strict=True):
        own.mkdir()
        jobs += [partial(_fetch_entry, remote, given.url, entry, own, transfer) for entry in entries]
    transfers.bytes_in += sum(transfers.together(jobs))


def _fetch(remote: Remote, url: str, path: Path, transfer: Transfer) -> int:
    return _named(lambda: remote.fetch(url, path, transfer))


def _listed(remote: Remote, url: str, transfer: Transfer) -> list[Entry]:
    return _named(lambda: remote.entries(url, transfer))


def _fetch_entry(remote: Remote, url: str, entry: Entry, into: Path, transfer: Transfer) -> int:
    path = into / entry.inner
    path.parent.mkdir(parents=True, exist_ok=True)
    return _named(lambda: remote.fetch_entry(url, entry, path, transfer))


def _named(act: Callable[[], T]) -> T:
    try:
        return act()
    except FetchFailed as error:
        raise Fault(f"input {error}") from error
