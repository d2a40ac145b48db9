"""Workflows that are not one local file: places that the server reads by itself, and directories and zips of files."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from wesgate.cli.errors import UsageProblem
from wesgate.cli.text import one_line
from wesgate.core.errors import InvalidRequest
from wesgate.sources.bundle import Contents, of_bundle

# https://github.com/dockstore/dockstore/blob/develop/dockstore-common/src/main/java/io/dockstore/common/DescriptorLanguage.java
TYPES = {".wdl": "WDL", ".cwl": "CWL", ".nf": "NFL", ".smk": "SMK"}

MAX_TEXT = 10 * 1024 * 1024
MAX_FILES = 1000
"""What one form may carry."""

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A TRS v2 URL tells the type before the path: .../versions/{v}/PLAIN_WDL/descriptor/{path}
_DESCRIPTOR = re.compile(r"/(?:PLAIN_)?(WDL|CWL|NFL|SMK)/descriptor\b")


def is_remote(source: str) -> bool:
    """Whether it is a URL, for the server to read."""
    return _REMOTE.match(source) is not None


def place_url(text: str) -> str:
    """A URL as it is; a local path as the URL of that place, with a slash at the end if it has one: that means a folder
    for each run below it."""
    if is_remote(text):
        return text
    path = os.path.normpath(Path(text).absolute())
    return f"file://{quote(path.rstrip('/') + '/' if text.endswith('/') else path)}"


def type_of(name: str) -> str:
    """The workflow type, from the end of the name."""
    if found := _known_type(name):
        return found
    known = ", ".join(TYPES)
    raise UsageProblem(f"{one_line(name)} ends in none of {known}: say what it is, for example --type WDL")


def type_at(url: str) -> str:
    """The workflow type of what is at a URL: from the end of its path, or of the path in a repository. A repository or
    zip that names no file holds WDL."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    told = _known_type(unquote(parts.fragment)) or _known_type(path)
    if not told and (found := _DESCRIPTOR.search(path)):
        told = found.group(1)
    if not told and _holds_many(parts.scheme.lower(), parts.hostname or "", path):
        return "WDL"
    return told or type_of(path)


def find_main(names: Sequence[str], read: Callable[[str], bytes], where: str) -> Contents:
    """The main file, and the files of inputs: found as the server finds them in a zip."""
    try:
        return of_bundle(names, read, lambda name: bool(_known_type(name)), "it")
    except InvalidRequest as error:
        raise UsageProblem(f"{where}: {one_line(str(error))}") from error


def files_below(folder: Path) -> dict[str, Path]:
    """The files of a directory by their names in it; hidden ones, and what links lead to directories, are left out."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path
        if len(found) > MAX_FILES:
            raise UsageProblem(f"{folder} has more than {MAX_FILES} files: name the main file, or make a zip of it")
    return found


def main_in_zip(path: Path) -> tuple[str, str]:
    """The name and the text of the main file in a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            main = find_main(names, partial(_member, archive), str(path)).main
            return main, _member(archive, main).decode("utf-8", "replace")
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror or one_line(str(error))}") from error
    # zipfile tells of a password by RuntimeError, of an unknown method by NotImplementedError.
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
        raise UsageProblem(f"{path} cannot be read as a zip: {one_line(str(error))}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(MAX_TEXT)


def _known_type(name: str) -> str:
    path = PurePosixPath(name)
    return "SMK" if path.name == "Snakefile" else TYPES.get(path.suffix.lower(), "")


def _holds_many(scheme: str, host: str, path: str) -> bool:
    """Whether a URL means a repository, a tool or a zip, rather than one file."""
    if scheme == "trs" or scheme.startswith("git+") or host in ("github.com", "www.github.com"):
        return True
    return re.search(r"\.git(?:@|/|$)|\.zip$|/ga4gh/trs/v2/", path) is not None
