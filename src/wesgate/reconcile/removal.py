"""Remove what tasks left, whatever it is: read-only directories, links, trees that others remove at the same time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


class Interrupted(Exception):
    """There was no time to remove all of it; the rest is there for the next."""


def remove(paths: Iterable[Path], stopping: Callable[[], bool]) -> None:
    """Remove all of these. `OSError` says what cannot be removed; `Interrupted` that it was to stop."""
    for path in paths:
        for inner in _inner(path):
            if stopping():
                raise Interrupted
            _remove(inner)
        _remove(path)


def _inner(path: Path) -> list[Path]:
    """What is in a directory: a run's is too large to be removed at one go."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return list(path.iterdir())
    return []


def _remove(path: Path) -> None:
    while os.path.lexists(path):
        with suppress(FileNotFoundError):  # another process removes it as well
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            else:
                _remove_tree(path)


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except PermissionError:
        _open_up(path)
        shutil.rmtree(path)


def _open_up(path: Path) -> None:
    """Let us write in these directories: steps may have made them read-only."""
    path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for inner in (Path(folder, name) for name in names):
            if not inner.is_symlink():
                inner.chmod(0o700)
