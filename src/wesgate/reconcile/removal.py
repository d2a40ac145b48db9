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
    """Remove all of these. `Interrupted` says that it was to stop; `OSError`, once all else is gone, what cannot be
    removed."""
    left: list[str] = []
    for path in paths:
        for part in (*_inner(path), path):
            if stopping():
                raise Interrupted
            try:
                _remove(part)
            except (OSError, RecursionError) as error:
                left.append(f"{part}: {error}")
    if left:
        raise OSError(f"not all could be removed: {left[0]}")


def _inner(path: Path) -> list[Path]:
    """What is in a directory: a run's is too large to be removed at one go."""
    with suppress(OSError):
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
    with suppress(OSError):
        shutil.rmtree(path)
        return
    _open_up(path)
    shutil.rmtree(path, ignore_errors=True)  # goes on after what cannot be removed
    shutil.rmtree(path)  # tells what that is


def _open_up(path: Path) -> None:
    """Let us write in these directories, as far as they are ours: steps may have made them read-only."""
    with suppress(OSError):
        path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for inner in (Path(folder, name) for name in names):
            with suppress(OSError):
                if not inner.is_symlink():
                    inner.chmod(0o700)
