"""An ordinary user of this machine, for tests that root runs: what they can run, and as whom it is started."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import missing
from wesgate.db.embedded import place

NAME = "nobody"


def account() -> place.Account:
    entry = pwd.getpwnam(NAME)
    return place.Account(entry.pw_uid, entry.pw_gid)


def started() -> dict[str, Any]:
    """How `subprocess` starts a program as this user."""
    return {"user": account().uid, "group": account().gid, "extra_groups": [], "cwd": "/"}


def python() -> str:
    """A Python of this version that the user may run: root's own is often below /root."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            if place.run(account(), [found, "-c", ""]).returncode == 0:
                return found
    missing(f"a {name} that {NAME} may run")
    raise AssertionError


def packages() -> list[str]:
    """Where this process finds its packages, the standard library left out."""
    return [entry for entry in sys.path if entry and not entry.startswith(f"{sys.base_prefix}/lib")]


def installed(home: Path) -> str:
    """The Python of a virtual environment below the user's home, with the packages that this process has."""
    subprocess.run([python(), "-m", "venv", "--without-pip", home / "venv"], check=True, **started())
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text("\n".join(packages()))
    made = str(home / "venv" / "bin" / "python")
    if place.run(account(), [made, "-c", "import wesgate.cli"]).returncode:
        missing(f"a checkout that {NAME} may read")
    return made


def home(path: Path) -> Path:
    """A home of the user's own, private."""
    path.mkdir(mode=0o700)
    os.chown(path, account().uid, account().gid)
    return path
