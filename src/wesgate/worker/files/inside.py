"""Open and make files below a directory without following a link that a step may have planted there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from wesgate.worker.faults import StepFault
from wesgate.worker.files.mounts import Mount, covering, relative

MAX_LINKS = 40  # as many as Linux itself follows

# O_PATH reaches through directories that may be entered but not listed; macOS has no such thing.
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


class Escape(StepFault):
    """A link leads out of the task's own files."""


@contextmanager
def directory(base: str, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The directory at `parts` below `base`, open, for use with `dir_fd`; missing ones are made on demand.

    Fails with `ELOOP` or `ENOTDIR` where a part of either is a link: `base` is a real path, or was one before a step
    could change what is above it.
    """
    above = PurePosixPath(base).parts[1:]
    here = os.open("/", _DIRECTORY)
    try:
        for number, part in enumerate((*above, *parts)):
            if make and number >= len(above):
                with suppress(FileExistsError):
                    os.mkdir(part, 0o777, dir_fd=here)
            below = os.open(part, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


@contextmanager
def real_directory(path: str, *, make: bool = False) -> Iterator[int]:
    """As `directory`, for a path whose links were resolved before it was allowed."""
    with directory("/", PurePosixPath(path).parts[1:], make=make) as here:
        yield here


def open_regular(mounts: Sequence[Mount], path: str) -> int:
    """The regular file that a step sees at this container path, open for reading.

    Links are followed as the step would see them, never out of the mounts. `FileNotFoundError` if nothing is there.
    """
    found = resolve(mounts, path)
    mount = covering(mounts, found)
    if mount is None:
        raise Escape(f"{path} leads out of the task's files, to {found}")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    source = PurePosixPath(mount.source, *relative(mount, found))
    try:
        with real_directory(str(source.parent)) as parent:
            return _regular(os.open(source.name, flags, dir_fd=parent), path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # ENXIO: a socket
            raise StepFault(f"{path} is not a regular file") from error
        raise


def refuse_moved(mounts: Sequence[Mount]) -> None:
    """`Escape` if what is above the source of a mount is a link by now: a runtime would follow it."""
    for mount in mounts:
        if os.path.realpath(mount.source) != mount.source:
            raise Escape(f"{mount.target} cannot be shown: what it is on this machine was replaced while the task ran")


def resolve(mounts: Sequence[Mount], path: str) -> str:
    """The container path behind this one, with the links that lie in the mounts resolved as a step sees them."""
    at, todo, links = "/", _parts(path), 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            at = str(PurePosixPath(at).parent)
            continue
        here = str(PurePosixPath(at) / part)
        target = _link(mounts, here)
        if target is None:
            at = here
            continue
        links += 1
        if links > MAX_LINKS:
            raise Escape(f"{path} goes through too many links")
        at = "/" if target.startswith("/") else at
        todo = _parts(target) + todo
    return at


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link(mounts: Sequence[Mount], path: str) -> str | None:
    mount = covering(mounts, path)
    parts = relative(mount, path) if mount else []
    if mount is None or not parts:
        return None
    try:
        with directory(mount.source, parts[:-1]) as parent:
            return os.readlink(parts[-1], dir_fd=parent)
    except OSError:  # no link, or nothing there: opening it will tell
        return None


def _regular(file: int, path: str) -> int:
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise StepFault(f"{path} is not a regular file")
