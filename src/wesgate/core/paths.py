"""Paths as text, of the host and of containers: links are for whoever opens the file to resolve."""

import posixpath
import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def is_url(text: str) -> bool:
    """Whether this begins with a scheme, as no path does that clients give."""
    return _SCHEME.match(text) is not None


def within(path: str, root: str) -> bool:
    """Whether an absolute path, `..` and doubled slashes resolved, is `root` or lies under it."""
    if not path.startswith("/") or "\0" in path:
        return False
    inner, outer = posixpath.normpath("/" + path.lstrip("/")), posixpath.normpath(root)
    return outer in ("/", inner) or inner.startswith(outer + "/")


# A mount over one of these would show a step another system than the one it runs on.
KERNEL_PLACES = ("/proc", "/sys", "/dev")


def unmountable(path: str) -> str:
    """Why nothing of a task's can be at this path in a container, to follow what names it; empty if it can."""
    if not path.startswith("/") or "\0" in path:
        return f"needs an absolute path in the container, not {path[:200]!r}"
    if posixpath.normpath("/" + path.lstrip("/")) == "/":
        return "would replace the container's whole file system: choose a directory below /"
    place = next((place for place in KERNEL_PLACES if within(path, place)), "")
    return f"lies under {place}, which belongs to the kernel: choose another path" if place else ""


KEPT = re.compile(r"run-.*|wg-.*|cache", re.DOTALL)
"""What in an owner's directory is the service's own: only it may write there, since heads and workers act on it."""

INCOMING = ".incoming"
"""A file in the directory of a run that has no row yet."""

OUTPUTS, OUTPUTS_LISTING = "outputs", "outputs.json"
"""The outputs of a run that succeeded, in its directory, and what tells of each."""

CACHE, CACHE_ENTRIES = "cache/calls", "cache-entries"
"""The cache of calls, in an owner's directory, and, in a run's, the names of the entries that it made there."""
