"""As whom a container runs: the user that its image names, who must be able to write where the task may."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from wesgate.core.paths import within
from wesgate.worker.files.inside import directory
from wesgate.worker.files.mounts import Mount, covering, relative

ROOTS = ("", "root", "0")

KEEP_ID = (4, 3)
"""The first podman that can map any user of the container to the one who starts it."""


def is_root(user: str) -> bool:
    """Whether an image's USER is root, or nobody in particular."""
    return user.partition(":")[0] in ROOTS


def keep_id(user: str) -> tuple[str, ...] | None:
    """The flags of a podman without root by which this user of the container is the one who starts it, so that what it
    writes belongs to the service. None if the image gives a name: only the image knows its number."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", user)
    if found is None:
        return None
    uid, gid = found[1], found[2] or found[1]
    return (f"--userns=keep-id:uid={uid},gid={gid}", "--user", f"{uid}:{gid}")


def has_others(uid: int) -> bool:
    """Whether this user of the host has more user ids to give to containers, as far as files tell; see subuid(5)."""
    names = [str(uid)]
    with suppress(KeyError):
        names.append(pwd.getpwuid(uid).pw_name)
    return all(_is_listed(path, names) for path in (Path("/etc/subuid"), Path("/etc/subgid")))


def _is_listed(path: Path, names: Iterable[str]) -> bool:
    with suppress(OSError):
        return any(line.partition(":")[0] in names for line in path.read_text().splitlines())
    return False


def open_to_all(mounts: Sequence[Mount], paths: Iterable[str], owned: str) -> None:
    """Let every user write in the mounts for writing and at these container paths, where the host directory lies in
    `owned`: only the service can enter that, so nobody else of the host can."""
    places = [(mount, list[str]()) for mount in mounts]
    places += [(mount, relative(mount, path)) for path in paths if (mount := covering(mounts, path)) is not None]
    for mount, parts in places:
        if mount.writable and mount.directory and within(mount.source, owned):
            # A part that is a link fails: it is not followed to another's directory.
            with suppress(OSError), directory(mount.source, parts) as here:
                os.chmod(f"/proc/self/fd/{here}", 0o777)  # noqa: PTH101, S103  # an O_PATH descriptor has no fchmod


def show_to_all(folder: Path) -> None:
    """Let every user read what is in this directory of the service's own."""
    for inside, folders, files in os.walk(folder):
        for name in folders:
            Path(inside, name).chmod(0o755)
        for name in files:
            path = Path(inside, name)
            path.chmod(path.stat().st_mode & 0o777 | 0o444)
