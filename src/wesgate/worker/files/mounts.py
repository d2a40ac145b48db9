"""Plan what of the host a task sees at which container path; pure, and the same for every runtime."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wesgate.core.paths import within
from wesgate.core.spec import FileType, TaskSpec
from wesgate.worker.faults import Fault
from wesgate.worker.files.places import container_path, scheme

WILDCARDS = "*?["


@dataclass(frozen=True, slots=True)
class Mount:
    """A host file or directory at a container path. One that is `live` others write in as well, now and later."""

    source: str
    target: str
    writable: bool = False
    directory: bool = True
    live: bool = False


def has_wildcards(path: str) -> bool:
    return any(character in path for character in WILDCARDS)


def fixed_part(path: str) -> str:
    """The directory above a path's last part, or above its first part with wildcards."""
    while has_wildcards(posixpath.dirname(path)):
        path = posixpath.dirname(path)
    return posixpath.dirname(path)


def writable_directories(spec: TaskSpec) -> list[tuple[str, str]]:
    """Each directory that steps must be able to write in, with what needs it."""
    return [*_of_steps(spec), *_of_outputs(spec)]


def made_beforehand(spec: TaskSpec) -> list[str]:
    """Those that are there when the first step begins. What an output needs below a working directory is the step's own
    to make: it would find the directory there, and a plain `mkdir` of it failed."""
    work = [step.workdir for step in spec.steps if step.workdir]
    below = [path for path, _ in _of_outputs(spec) if not any(within(path, folder) for folder in work)]
    return [*(path for path, _ in _of_steps(spec)), *below]


def _of_outputs(spec: TaskSpec) -> list[tuple[str, str]]:
    wanted = []
    for output in spec.outputs:
        what = f"output {output.path}"
        if output.type is FileType.FILE or has_wildcards(output.path):
            wanted.append((fixed_part(output.path), what))
        elif scheme(output.url) != "file":
            wanted.append((output.path, what))
    return wanted


def _of_steps(spec: TaskSpec) -> list[tuple[str, str]]:
    wanted = [(volume, f"volume {volume}") for volume in spec.volumes]
    for number, step in enumerate(spec.steps):
        streams = {"stdout": step.stdout, "stderr": step.stderr}
        wanted += [
            (posixpath.dirname(path), f"{name} {path} of step {number}") for name, path in streams.items() if path
        ]
    return wanted


def plan(spec: TaskSpec, given: Iterable[Mount], backing: Callable[[str], str]) -> tuple[Mount, ...]:
    """All mounts of a task, outer ones first. `given` are inputs and output directories; a directory that steps write
    in is backed by the host directory that `backing` names, unless it lies in one that is writable anyway."""
    mounts = _distinct(given)
    for path, what in sorted((container_path(path, what), what) for path, what in writable_directories(spec)):
        if any(mount.writable and mount.directory and within(path, mount.target) for mount in mounts.values()):
            continue
        if path in mounts:
            raise Fault(f"{what} lies in an input, which is read-only: choose another directory than {path}")
        mounts[path] = Mount(backing(path), path, writable=True)
    return tuple(sorted(mounts.values(), key=lambda mount: (mount.target.count("/"), mount.target)))


def covering(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The innermost mount that a container path lies in."""
    over = [mount for mount in mounts if path == mount.target or (mount.directory and within(path, mount.target))]
    return max(over, key=lambda mount: len(mount.target), default=None)


def relative(mount: Mount, path: str) -> list[str]:
    """The parts of a container path below a mount that covers it."""
    return [part for part in path[len(mount.target) :].split("/") if part]


def _distinct(given: Iterable[Mount]) -> dict[str, Mount]:
    mounts: dict[str, Mount] = {}
    for mount in given:
        if mounts.setdefault(mount.target, mount) != mount:
            raise Fault(f"two inputs or output directories have the same path {mount.target}")
    return mounts
