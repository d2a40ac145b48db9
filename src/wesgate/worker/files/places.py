"""Which host paths a task may name: real paths under the allowed roots, and nothing of the service's own."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

from wesgate.core.paths import KEPT, OUTPUTS, unmountable, within
from wesgate.core.spec import TaskSpec
from wesgate.worker.faults import Fault

OF_ITS_RUN = re.compile(rf"attempt-[0-9]+|{OUTPUTS}")
WRITABLE = {"wg-.*": re.compile("files")}
READABLE = {
    "run-.*": re.compile(r"attempt-[0-9]+|attachments|downloads|source|outputs"),
    "wg-.*": re.compile(r"files|logs"),
}


@dataclass(frozen=True, slots=True)
class Places:
    """The host directories of one task; all are real paths, links resolved. `run` is the run it belongs to, if any;
    `private` are more of the service's own directories.

    In an owner's directory the service keeps what only it may write (records, run tokens, the call cache), since heads
    and workers act on it: `run-<id>/`, `wg-<id>-<n>/` and `cache/`. All else there is the owner's.
    """

    files_root: str
    own: str
    roots: tuple[str, ...]
    run: str = ""
    private: tuple[str, ...] = ()

    def readable(self, path: str, what: str) -> str:
        """The real path behind this one, which exists and may be read. `what` names it in the sentence otherwise."""
        real = self._allowed(path, what)
        if not os.path.lexists(real):
            raise Fault(f"{what} does not exist: there is no {path}")
        if is_kept(real, self.own, READABLE):
            raise Fault(f"{what} is, or holds, a record of the service: name the files of the run that are wanted")
        return real

    def writable(self, path: str, what: str) -> str:
        """The real path behind this one, which need not exist yet and may be written."""
        real = self._allowed(path, what)
        if is_kept(real, self.own, WRITABLE | ({re.escape(f"run-{self.run}"): OF_ITS_RUN} if self.run else {})):
            raise Fault(f"{what} would overwrite the service's own records: choose another directory than {path}")
        return real

    def _allowed(self, path: str, what: str) -> str:
        if "\0" in path:
            raise Fault(f"{what} has a zero byte in its path")
        real = os.path.realpath(path)
        if within(real, self.own):
            return real
        # A root that happens to hold the shared root must not open every owner's files.
        if any(within(real, place) or within(place, real) for place in (self.files_root, *self.private)):
            raise Fault(f"{what} is not available to this owner: {path}")
        if not any(within(real, root) for root in self.roots):
            raise Fault(f"{what} is outside the directories that this service may use ({self._named()}): {path}")
        return real

    def _named(self) -> str:
        return ", ".join((self.own, *self.roots))


def is_kept(real: str, own: str, opened: Mapping[str, re.Pattern[str]]) -> bool:
    """Whether this real path is, or holds, the service's own in the owner's directory `own`. `opened` says which
    folders inside which of its directories are not."""
    if not within(real, own):
        return False
    first, *rest = [*PurePosixPath(real).relative_to(own).parts, ""]
    if first and not KEPT.fullmatch(first):
        return False
    inner = next((found for name, found in opened.items() if re.fullmatch(name, first)), None)
    return inner is None or not inner.fullmatch(rest[0])


def places(files_root: str, spec: TaskSpec, private: tuple[str, ...] = ()) -> Places:
    """The places of this task."""
    root = os.path.realpath(files_root)
    roots = tuple(map(os.path.realpath, (*spec.roots, *spec.live)))
    return Places(root, posixpath.join(root, spec.owner), roots, spec.run, tuple(map(os.path.realpath, private)))


def scheme(url: str) -> str:
    """`file` for `file://` URLs and bare absolute paths, else the URL's own scheme in lower case."""
    if url.startswith("/"):
        return "file"
    return url.partition("://")[0].lower() if "://" in url else ""


def host_path(url: str) -> str:
    """The path of a `file://` URL, percent-decoded, or the bare path itself. Only this host's files have one; their
    names need not be UTF-8."""
    if url.startswith("/"):
        return url
    host, slash, rest = url[len("file://") :].partition("/")
    if not slash or host not in ("", "localhost"):
        raise Fault(f"{url} names another host's file; write file:///path")
    return unquote(slash + rest, errors="surrogateescape")


def container_path(path: str, what: str) -> str:
    """A container path in one spelling. It is absolute, not `/`, and not where the kernel shows its own files."""
    if reason := unmountable(path):
        raise Fault(f"{what} {reason}")
    return "/" + posixpath.normpath(path).lstrip("/")
