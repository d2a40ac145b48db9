"""Programs that the tests drive and the virtual environment has not: fetched once, into folders beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.conftest import missing


@cache
def fetched(wanted: Path) -> str:
    """Where the packages of this list lie. What else they need is in the virtual environment."""
    folder = Path(sys.prefix) / "clients" / wanted.stem
    if not folder.exists():
        half = folder.with_name(f"{folder.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(half)]
        listed = ["--no-deps", "--require-hashes", "-r", str(wanted)]
        done = subprocess.run([*command, *listed], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            missing(f"{wanted.stem} (pip: {done.stderr.strip()[-200:]})")
        try:
            half.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(half)
    return str(folder)


def run(*words: str, paths: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A Python program with these folders in its path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=110, cwd=folder
    )
