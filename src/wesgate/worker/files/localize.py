"""Bring a task's inputs to this host, as mounts: what is shared stays where it is, the rest is written or fetched."""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from wesgate.core.spec import Fetching, FileType, Input, Output, TaskSpec
from wesgate.storage.connections import Network
from wesgate.storage.http import Bounds, FetchFailed, fetch
from wesgate.storage.target import redacted
from wesgate.worker.faults import Fault
from wesgate.worker.files.inside import real_directory
from wesgate.worker.files.mounts import Mount, has_wildcards
from wesgate.worker.files.places import Places, container_path, host_path, scheme
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt, Limits

FETCHES_AT_ONCE = 4


def localize(spec: TaskSpec, attempt: Attempt, allowed: Places, limits: Limits, interrupts: Interrupts) -> list[Mount]:
    """Every input in place, each as a read-only mount at its container path."""
    attempt.inputs.mkdir(exist_ok=True)
    mounts: list[Mount] = []
    remote: list[tuple[str, Path]] = []
    for number, given in enumerate(spec.inputs):
        target = container_path(given.path, f"input {given.path}")
        own = attempt.inputs / str(number)
        if given.content or not given.url:
            own.write_text(given.content or "", encoding="utf-8", errors="surrogatepass", newline="")
            mounts.append(Mount(str(own), target, directory=False))
        elif scheme(given.url) == "file":
            mounts.append(shared_input(given, target, allowed))
        else:
            _refuse_unsupported(given)
            remote.append((given.url, own))
            mounts.append(Mount(str(own), target, directory=False))
    _fetch_all(remote, limits.fetching, interrupts)
    return mounts


def shared_input(given: Input, target: str, allowed: Places) -> Mount:
    """A file or directory of the shared file system, where it is."""
    what = f"input {given.path}"
    real = allowed.readable(host_path(given.url), what)
    mode = Path(real).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Fault(f"{what} is neither a file nor a directory: {given.url}")
    is_directory = stat.S_ISDIR(mode)
    if is_directory != (given.type is FileType.DIRECTORY):
        found = FileType.DIRECTORY if is_directory else FileType.FILE
        raise Fault(f"{what} is a {found.lower()}, not a {given.type.lower()}: give it the type {found}")
    return Mount(real, target, directory=is_directory)


def output_directories(outputs: Sequence[Output], allowed: Places) -> list[Mount]:
    """Each output directory on the shared file system, made and mounted where the steps fill it."""
    mounts = []
    for output in outputs:
        if output.type is not FileType.DIRECTORY or has_wildcards(output.path):
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


def refuse_unsupported_outputs(outputs: Sequence[Output]) -> None:
    """Say before any step runs that an output could not be delivered after them."""
    for output in outputs:
        if scheme(output.url) != "file":
            raise Fault(
                f"output {output.path} goes to {redacted(output.url)}, which is not supported yet here: "
                "use a file:// URL"
            )


def _refuse_unsupported(given: Input) -> None:
    if scheme(given.url) not in ("http", "https"):
        raise Fault(
            f"input {given.path} comes from {redacted(given.url)}, which is not supported yet here: "
            "use file://, http:// or https://"
        )
    if given.type is FileType.DIRECTORY:
        raise Fault(f"input {given.path} is a directory, which {scheme(given.url)} cannot give: name its files")


def _fetch_all(remote: Sequence[tuple[str, Path]], fetching: Fetching, interrupts: Interrupts) -> None:
    if not remote:
        return
    bounds = Bounds(fetching.max_bytes, fetching.timeout_s, interrupts.requested)
    network = Network(fetching.allow_private)
    deadline = time.monotonic() + fetching.timeout_s
    pool = ThreadPoolExecutor(FETCHES_AT_ONCE)
    try:
        fetches = [pool.submit(_fetch, url, path, bounds, network, deadline) for url, path in remote]
        interrupts.wait_until(lambda: all(one.done() for one in fetches) or any(_failed(one) for one in fetches))
        # A fetch that was told to stop has failed as well.
        interrupts.check()
        for one in fetches:
            if one.done():
                one.result()
    finally:
        # A fetch that was canceled ends with the process; nobody waits for a silent server.
        pool.shutdown(wait=False, cancel_futures=True)


def _fetch(url: str, path: Path, bounds: Bounds, network: Network, deadline: float) -> None:
    try:
        with path.open("wb") as file:
            fetch(url, file, bounds, network, deadline)
    except FetchFailed as error:
        raise Fault(f"input {error}") from error


def _failed(one: Future[None]) -> bool:
    return one.done() and one.exception() is not None
