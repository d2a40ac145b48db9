"""Put a task's outputs where they are wanted, by rename, from files that no step can still change."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from urllib.parse import quote

from wesgate.core.codec import storable
from wesgate.core.report import OutputFile
from wesgate.core.spec import FileType, Output
from wesgate.storage.mux import PutFailed
from wesgate.storage.target import PORTS, redacted
from wesgate.worker.faults import Fault, Missing, StepFault
from wesgate.worker.files.inside import directory, open_regular, real_directory, resolve
from wesgate.worker.files.mounts import Mount, covering, has_wildcards, relative
from wesgate.worker.files.places import Places, container_path, host_path, scheme
from wesgate.worker.files.transfers import Transfers

CHUNK_BYTES = 16 << 20
QUOTED = frozenset({"file", *PORTS})
SET_ID = stat.S_ISUID | stat.S_ISGID
MOST_DEPTH = 500
"""Each directory is opened part by part from the root: deeper ones would take for ever."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of an output: where the steps left it, and where it goes."""

    output: Output
    path: str
    url: str


def deliver(
    outputs: Sequence[Output], mounts: Sequence[Mount], allowed: Places, transfers: Transfers
) -> Iterator[OutputFile | Fault]:
    """Every file that these outputs are, as it is put where it is wanted. For an output that is not there, or is no
    regular file, a `Fault` that names it."""
    remote: list[Wanted] = []
    for output in outputs:
        transfers.interrupts.check()
        try:
            if _is_in_place(output):
                yield from _listed(output, allowed)
                continue
            for one in _wanted(output, mounts):
                if scheme(one.url) == "file":
                    yield _put_file(one, mounts, allowed, transfers)
                else:
                    remote.append(one)
        except Fault as fault:
            yield fault
    yield from _upload_all(remote, mounts, transfers)


def below(url: str, inner: str) -> str:
    """The URL of a file inside a directory's URL. A path stays a path, unless the name is not UTF-8: only a URL can
    hold that, quoted. What is no web address holds names as they are, and a query stays behind the path."""
    if url.startswith("/"):
        whole = url.rstrip("/") + "/"
        return whole + inner if storable(inner) == inner else "file://" + quote(os.fsencode(whole + inner))
    if scheme(url) not in QUOTED:
        return f"{url.rstrip('/')}/{inner}"
    bare, mark, query = url.partition("?")
    return f"{bare.rstrip('/')}/{quote(os.fsencode(inner))}{mark}{query}"


def matches(pattern: str, mounts: Sequence[Mount]) -> list[str]:
    """The container paths that match, part by part as a shell does it: a leading dot must be written."""
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        if has_wildcards(part):
            found = [
                posixpath.join(at, name)
                for at in found
                for name in sorted(_names(mounts, at))
                if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
        else:
            found = [posixpath.join(at, part) for at in found]
    return found


def _is_in_place(output: Output) -> bool:
    """Whether the steps wrote it where it is wanted."""
    return output.type is FileType.DIRECTORY and not has_wildcards(output.path) and scheme(output.url) == "file"


def _wanted(output: Output, mounts: Sequence[Mount]) -> list[Wanted]:
    path = container_path(output.path, f"output {output.path}")
    if has_wildcards(path):
        found = matches(path, mounts)
        files = found if output.type is FileType.FILE else [file for at in found for file in _under(mounts, at)]
        if not files:
            raise Missing(f"output {output.path} matches nothing")
        return [Wanted(output, file, below(output.url, _without_prefix(file, output.path_prefix))) for file in files]
    if output.type is FileType.DIRECTORY:
        files = list(_under(mounts, path))
        return [Wanted(output, file, below(output.url, _without_prefix(file, path))) for file in files]
    return [Wanted(output, path, output.url)]


def _without_prefix(path: str, prefix: str) -> str:
    return path.removeprefix(prefix).lstrip("/")


def _under(mounts: Sequence[Mount], path: str) -> Iterator[str]:
    """The regular files below a directory, by name. No link is followed on the way."""
    todo = _inner(mounts, path)
    while todo:
        inner = todo.pop()
        seen = _seen(mounts, inner)
        if seen and stat.S_ISREG(seen.st_mode):
            yield inner
        elif seen and stat.S_ISDIR(seen.st_mode):
            if inner.count("/") > MOST_DEPTH:
                raise StepFault(f"output {path} has directories that are more than {MOST_DEPTH} deep")
            todo += _inner(mounts, inner)


def _inner(mounts: Sequence[Mount], path: str) -> list[str]:
    return [posixpath.join(path, name) for name in sorted(_listing(mounts, path), reverse=True)]


def _seen(mounts: Sequence[Mount], path: str) -> os.stat_result | None:
    mount = covering(mounts, path)
    parts = relative(mount, path) if mount else []
    if mount is None or not parts:
        return None
    with suppress(OSError), directory(mount.source, parts[:-1]) as parent:
        return os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
    return None


def _names(mounts: Sequence[Mount], path: str) -> list[str]:
    return _listing(mounts, resolve(mounts, path))


def _listing(mounts: Sequence[Mount], path: str) -> list[str]:
    mount = covering(mounts, path)
    if mount is None or not mount.directory:
        return []
    with suppress(OSError), directory(mount.source, relative(mount, path)) as here:
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        try:
            return os.listdir(listing)  # noqa: PTH208  # an open directory has no path
        finally:
            os.close(listing)
    return []


def _put_file(one: Wanted, mounts: Sequence[Mount], allowed: Places, transfers: Transfers) -> OutputFile:
    what = f"output {one.path}"
    target = allowed.writable(host_path(one.url), what)
    with _opened(one, mounts) as file:
        source = covering(mounts, resolve(mounts, one.path))
        try:
            own = source is not None and source.writable and not source.live
            transfers.bytes_out += put(file, target, may_link=own)
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            raise Fault(f"{what} cannot be put at {one.url}: {error.strerror}") from error
        return OutputFile(one.url, storable(one.path), os.fstat(file).st_size)


def _upload_all(files: Sequence[Wanted], mounts: Sequence[Mount], transfers: Transfers) -> Iterator[OutputFile | Fault]:
    """Each file, or one fault for its output: once one could not be put there, the others are not tried."""
    transfer, failed = transfers.begin(), set[Output]()

    def upload(one: Wanted) -> OutputFile | Fault | None:
        if one.output in failed:
            return None
        try:
            with _opened(one, mounts) as file:
                size = transfers.remote.put(one.url, file, transfer)
        except (Fault, PutFailed) as error:
            if one.output in failed:
                return None
            failed.add(one.output)
            return error if isinstance(error, Fault) else Fault(f"output {one.path}: {error}")
        # A signature in a URL's query is the submitter's secret.
        return OutputFile(storable(redacted(one.url)), storable(one.path), size)

    for result in transfers.together([partial(upload, one) for one in files]):
        if isinstance(result, OutputFile):
            transfers.bytes_out += result.size_bytes
        if result is not None:
            yield result


@contextmanager
def _opened(one: Wanted, mounts: Sequence[Mount]) -> Iterator[int]:
    what = f"output {one.path}"
    try:
        file = open_regular(mounts, one.path)
    except FileNotFoundError as error:
        raise Missing(f"{what} does not exist") from error
    except PermissionError as error:
        raise Fault(f"{what} may not be read by this service: let the step make it readable") from error
    try:
        yield file
    finally:
        os.close(file)


def put(file: int, target: str, *, may_link: bool = True) -> int:
    """Make this open file the one at `target`, a real path: as a hard link where that can be, else as a copy. The bytes
    that were copied.

    An input that turns up as an output must be copied: writing to a link of it later would change the input.
    """
    parent, name = posixpath.split(target)
    with real_directory(parent, make=True) as folder:
        if _is_at(file, name, folder):
            return 0
        new = f".{name[:200]}.{os.getpid()}.new"
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
        try:
            copied = 0 if may_link and _linked(file, new, folder) else _copied(file, new, folder)
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(new, dir_fd=folder)
            raise
        return copied


def _is_at(file: int, name: str, folder: int) -> bool:
    with suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(there, os.fstat(file))
    return False


def _linked(file: int, new: str, folder: int) -> bool:
    # Through /proc the open file itself is linked, whatever its old name means by now. It fails across file systems,
    # for another owner's file where protected_hardlinks is on, and where there is no /proc.
    with suppress(OSError):
        os.link(f"/proc/self/fd/{file}", new, dst_dir_fd=folder, follow_symlinks=True)
        return True
    return False


def _copied(file: int, new: str, folder: int) -> int:
    mode = os.fstat(file).st_mode & 0o777
    copy = os.open(
        new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode | 0o200, dir_fd=folder
    )
    with os.fdopen(copy, "wb") as out:
        offset = 0
        while chunk := os.pread(file, CHUNK_BYTES, offset):
            out.write(chunk)
            offset += len(chunk)
    return offset


def _listed(output: Output, allowed: Places) -> Iterator[OutputFile]:
    """The files of a directory that the steps filled where it is wanted."""
    what = f"output {output.path}"
    path = container_path(output.path, what)
    # Once more: the steps, or another task, may have put a link in its place.
    mounts = [Mount(allowed.writable(host_path(output.url), what), path)]
    for inner in _under(mounts, path):
        one = Wanted(output, inner, below(output.url, _without_prefix(inner, path)))
        seen = _seen(mounts, inner)
        if seen is None:  # it went meanwhile: other tasks may write here as well
            continue
        if seen.st_mode & SET_ID:
            _without_set_id(one, mounts)
        yield OutputFile(one.url, storable(inner), seen.st_size)


def _without_set_id(one: Wanted, mounts: Sequence[Mount]) -> None:
    """No output is a program that runs as the service's user for whoever finds it."""
    with _opened(one, mounts) as file:
        os.fchmod(file, os.fstat(file).st_mode & 0o777)
