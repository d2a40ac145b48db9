"""Make the mount points that lie inside other mounts, and take them away afterwards."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wesgate.worker.faults import Fault
from wesgate.worker.files.inside import directory
from wesgate.worker.files.mounts import Mount, covering, relative

_ATTEMPT = re.compile(r"(/wg-[0-9a-f]{32}-)[0-9]+/")


@dataclass(slots=True)
class Points:
    """The mount points that were made. A runtime left to make them would leave them in the owner's directories, and
    could be led astray by links there."""

    made: list[tuple[str, tuple[str, ...], bool]] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)

    def make(self, mounts: Sequence[Mount]) -> None:
        """Make every mount point that lies in another mount; `mounts` has outer ones first."""
        for number, mount in enumerate(mounts):
            outer = covering(mounts[:number], mount.target)
            if outer is not None:
                self._make(outer, mount)

    def link(self, mounts: Sequence[Mount], own: str) -> None:
        """Show the mounts without mounting: at the host's own paths, and as links below the owner's directory `own`."""
        for mount in mounts:
            path = Path(os.path.realpath(Path(mount.target).parent), Path(mount.target).name)
            if mount.source == os.path.realpath(mount.target):
                continue
            if not path.is_relative_to(own):
                raise Fault(
                    f"{mount.target} cannot be shown to a step here: without containers and namespaces only paths "
                    f"under {own} and files at their own paths can be used"
                )
            self._parents(path)
            if path.is_symlink() and _of_task(str(path.readlink())) == _of_task(mount.source):
                path.unlink()  # left by an earlier attempt whose worker was killed
            with suppress(FileExistsError):
                path.symlink_to(mount.source)
                self.links.append(path)
            if os.path.realpath(path) != mount.source:
                raise Fault(f"{mount.target} cannot be shown to a step here: another file is there")

    def folders(self, mounts: Sequence[Mount], paths: Iterable[str]) -> None:
        """Make directories that steps write in and that lie in a wider writable one; these stay."""
        for path in paths:
            mount = covering(mounts, path)
            if mount is not None and mount.writable:
                with directory(mount.source, relative(mount, path), make=True):
                    pass

    def remove(self) -> None:
        """Take away what was made and is still empty."""
        for path in self.links:
            if path.is_symlink():
                path.unlink()
        for base, parts, is_directory in reversed(self.made):
            with suppress(OSError), directory(base, parts[:-1]) as parent:
                if is_directory:
                    os.rmdir(parts[-1], dir_fd=parent)
                elif _is_empty_file(parts[-1], parent):
                    os.unlink(parts[-1], dir_fd=parent)

    def _parents(self, path: Path) -> None:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self.made.append((str(folder.parent), (folder.name,), True))

    def _make(self, outer: Mount, mount: Mount) -> None:
        parts = tuple(relative(outer, mount.target))
        try:
            for depth in range(1, len(parts)):
                self._directory(outer, parts[:depth])
            if mount.directory:
                self._directory(outer, parts)
            else:
                self._file(outer, parts)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
                raise Fault(f"nothing can be shown at {mount.target}: a link or another file is there") from error
            raise

    def _directory(self, outer: Mount, parts: tuple[str, ...]) -> None:
        with directory(outer.source, parts[:-1]) as parent:
            try:
                mode = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode
            except FileNotFoundError:
                _refuse_read_only(outer, parts)
                os.mkdir(parts[-1], 0o777, dir_fd=parent)
                self.made.append((outer.source, parts, True))
                return
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/".join(parts))

    def _file(self, outer: Mount, parts: tuple[str, ...]) -> None:
        with directory(outer.source, parts[:-1]) as parent:
            try:
                mode = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode
            except FileNotFoundError:
                _refuse_read_only(outer, parts)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(parts[-1], flags, 0o666, dir_fd=parent))
                self.made.append((outer.source, parts, False))
                return
            if not stat.S_ISREG(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/".join(parts))


def _of_task(path: str) -> str:
    """A path in an attempt's directory, whichever attempt of its task that is."""
    return _ATTEMPT.sub(r"\1/", path)


def _refuse_read_only(outer: Mount, parts: Sequence[str]) -> None:
    if not outer.writable:
        path = "/".join([outer.target, *parts])
        raise Fault(f"nothing can be shown at {path}: it lies in the input {outer.target} and is not there")


def _is_empty_file(name: str, parent: int) -> bool:
    seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISREG(seen.st_mode) and seen.st_size == 0
