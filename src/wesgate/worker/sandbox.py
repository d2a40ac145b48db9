"""Plan a file system for host programs without a container: the host's programs, the task's files, nothing else.

The plan is pure; `process.py` renders the same one for bubblewrap and for a shell script in a namespace.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wesgate.core.paths import within
from wesgate.worker.mounts import Mount

# Where programs and their configuration are. Everything else on the host stays hidden: a site's data as well as
# homes, so that a file must be allowed as an input before a step can read it.
PROGRAM_PLACES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix", "/gnu")

# A service that runs as root can read these, and no step needs them.
SECRETS = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/wesgate",
)


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link as the host has it."""

    path: str
    target: str


Entry = Directory | Link | Mount


@dataclass(frozen=True, slots=True)
class Listing:
    """What the planner may know of one host path."""

    link: str | None = None
    directory: bool = False
    names: tuple[str, ...] = ()


Look = Callable[[str], Listing | None]


def look(path: str) -> Listing | None:
    """This host's answer; None if nothing is there."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return Listing(link=str(Path(path).readlink()))
        if stat.S_ISDIR(mode):
            return Listing(directory=True, names=tuple(sorted(inner.name for inner in Path(path).iterdir())))
        return Listing()
    except OSError:
        return None


def skeleton(mounts: Sequence[Mount], visible: Iterable[str], empty: str, look: Look) -> list[Entry]:
    """Everything to put into an empty root, outer before inner. `empty` is an empty host directory, which hides the
    host's secret ones."""
    wanted = [mount.target for mount in mounts]
    entries: list[Entry] = []
    for place in (*PROGRAM_PLACES, *sorted(visible)):
        _expose(place, wanted, look, entries)
    entries += [_mask(path, empty, look) for path in SECRETS if look(path) and not _covered(path, wanted)]
    return [*entries, Directory("/run"), *mounts]


def _expose(path: str, wanted: Sequence[str], look: Look, entries: list[Entry]) -> None:
    listing = look(path)
    if listing is None or _covered(path, wanted):
        return
    if listing.link is not None:
        entries.append(Link(path, listing.link))
    elif listing.directory and any(within(inner, path) for inner in wanted):
        # No mount point can be made in a read-only directory: show one of our own with the same things in it.
        entries.append(Directory(path))
        for name in listing.names:
            _expose(posixpath.join(path, name), wanted, look, entries)
    else:
        entries.append(Mount(path, path, directory=listing.directory))


def _covered(path: str, wanted: Sequence[str]) -> bool:
    return any(within(path, target) for target in wanted)


def _mask(path: str, empty: str, look: Look) -> Mount:
    listing = look(path)
    if listing is not None and listing.directory:
        return Mount(empty, path)
    return Mount("/dev/null", path, directory=False)
