"""Whether one path lies inside another, as text: links are for whoever opens the file to resolve."""

import posixpath


def within(path: str, root: str) -> bool:
    """Whether an absolute path, `..` and doubled slashes resolved, is `root` or lies under it."""
    if not path.startswith("/") or "\0" in path:
        return False
    inner, outer = posixpath.normpath("/" + path.lstrip("/")), posixpath.normpath(root)
    return outer in ("/", inner) or inner.startswith(outer + "/")


INCOMING = ".incoming"
"""A file in the directory of a run that has no row yet."""
