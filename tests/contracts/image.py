"""A container image for tests, made from one static program without a registry."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.contracts.ground import IMAGE


def build_image(environment: Mapping[str, str], scratch: Path) -> None:
    """Import the image, unless it is there."""
    if subprocess.run(["podman", "image", "exists", IMAGE], check=False, env=environment).returncode == 0:
        return
    fill(scratch)
    files = subprocess.run(["tar", "-C", str(scratch), "-cf", "-", "."], check=True, capture_output=True)
    subprocess.run(
        ["podman", "import", "-q", "-", IMAGE], input=files.stdout, check=True, capture_output=True, env=environment
    )


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
