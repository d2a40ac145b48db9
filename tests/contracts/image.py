"""A container image for tests, made from one static program without a registry."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.contracts.ground import IMAGE
from wesgate.worker.runtimes.probe import probe, trying


def build_image(environment: Mapping[str, str], scratch: Path) -> None:
    """Import the image, unless it is there."""
    need_podman(environment)
    if subprocess.run(["podman", "image", "exists", IMAGE], check=False, env=environment).returncode == 0:
        return
    fill(scratch)
    files = subprocess.run(["tar", "-C", str(scratch), "-cf", "-", "."], check=True, capture_output=True)
    subprocess.run(
        ["podman", "import", "-q", "-", IMAGE], input=files.stdout, check=True, capture_output=True, env=environment
    )


def need_podman(environment: Mapping[str, str]) -> None:
    """OSError with the reason, where podman can be called and runs no container."""
    verdict = probe("podman", trying(environment))
    if not verdict.works:
        raise OSError(verdict.reason)


def fill(tree: Path) -> None:
    """Lay out a root file system of busybox alone."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed; the package is busybox-static")
    for name in ("bin", "tmp", "etc", "proc", "sys", "dev"):
        (tree / name).mkdir()
    shutil.copy(busybox, tree / "bin" / "busybox")
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    for name in set(listed.stdout.split()) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
