"""Plan a file system for host programs without a container: the host's programs, the task's files, nothing else.

The plan is pure; `process.py` renders the same one for bubblewrap and for a shell script in a namespace.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wesgate.core.paths import within
from wesgate.worker.files.mounts import Mount

# Where programs and their configuration are. Everything else on the host stays hidden: a site's data as well as
# homes, so that a file must be allowed as an input before a step can read it.
PROGRAM_PLACES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix", "/gnu")

# A service that runs as root can read these, and no step needs them. What else is secret, `secret_files` finds.
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


def skeleton(
    mounts: Sequence[Mount],
    visible: Iterable[str],
    hidden: Iterable[str],
    empty: str,
    look: Look,
    real: Callable[[str], str] = os.path.realpath,
) -> list[Entry]:
    """Everything to put into an empty root, outer before inner. `hidden` are real paths that are covered wherever they
    would be seen, but for the task's own mounts; `empty` is an empty host directory to cover directories with."""
    plan = _Plan([mount.target for mount in mounts], _outermost([*SECRETS, *hidden]), look, real)
    for place in (*PROGRAM_PLACES, *sorted(visible)):
        plan.show(place)
    return [*plan.entries, *plan.masks(empty), Directory("/run"), *mounts]


def secret_files(root: str = "/etc", bound: int = 20_000) -> tuple[str, ...]:
    """What below this directory other users of the host may not read or enter, outer before inner. After `bound` files
    the directories that were not looked into are told as well: what is not known to be harmless is secret."""
    secret: list[str] = []
    waiting, seen = deque([root]), 0
    while waiting:
        folder = waiting.popleft()
        if seen >= bound:
            secret.append(folder)
            continue
        with suppress(OSError), os.scandir(folder) as inside:  # what this user cannot list, its steps cannot either
            for entry in inside:
                seen += 1
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
                    waiting.append(entry.path)
                elif not stat.S_ISLNK(mode) and (stat.S_ISDIR(mode) or not mode & stat.S_IROTH):
                    secret.append(entry.path)
    return tuple(secret)


@dataclass(slots=True)
class _Plan:
    """A root under construction: what the task's mounts need, what is to be covered, and what there is so far."""

    wanted: Sequence[str]
    hidden: Sequence[str]
    look: Look
    real: Callable[[str], str]
    entries: list[Entry] = field(default_factory=list)

    def show(self, path: str) -> None:
        """Show a place of the host, and around the task's mounts the things beside them."""
        listing = self.look(path)
        if listing is None or any(within(path, target) for target in self.wanted):
            return
        if listing.link is not None:
            self.entries.append(Link(path, listing.link))
        elif listing.directory and self._has_wanted(path):
            # No mount point can be made in a read-only directory: show one of our own with the same things in it.
            self.entries.append(Directory(path))
            for name in listing.names:
                self._show_below(posixpath.join(path, name))
        else:
            self.entries.append(Mount(path, path, directory=listing.directory))

    def masks(self, empty: str) -> Iterator[Mount]:
        """A cover for everything secret in what is shown so far."""
        for shown in [entry for entry in self.entries if isinstance(entry, Mount)]:
            source = self.real(shown.source)
            for path in self.hidden:
                # Both are real paths; `within` would take longer than all else here.
                listing = self.look(path) if path == source or path.startswith(source + "/") else None
                if listing is not None:
                    target = shown.target + path[len(source) :]
                    yield Mount(empty, target) if listing.directory else Mount("/dev/null", target, directory=False)

    def _show_below(self, path: str) -> None:
        real = self.real(path)
        if self._has_wanted(path) or not any(within(real, secret) for secret in self.hidden):
            self.show(path)

    def _has_wanted(self, path: str) -> bool:
        return any(within(target, path) for target in self.wanted)


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(within(path, outer) for outer in kept):
            kept.append(path)
    return kept
