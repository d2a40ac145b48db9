"""Podman for tests: settings with which it works on any machine, and images made from one static program without a
registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import missing
from wesgate.worker.runtimes.probe import probe, trying

# Machines without CAP_SYS_RESOURCE cannot raise limits, and crun is not everywhere.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
[network]
network_backend = "netavark"
"""

BUSYBOX = "localhost/wesgate-test/busybox:1"
BASH = "localhost/wesgate-test/bash:2"
ADDED = {BUSYBOX: {}, BASH: {"bin/bash": '#!/bin/sh\nexec /bin/sh "$@"\n', "etc/wesgate-test": "from the image\n"}}
"""The images, and what each has besides busybox: a shell as WDL wants it, and a file that is nowhere else. An image
that is on the machine is not made again, so one that changes needs another tag."""


def podman_environment(folder: Path, *images: str) -> dict[str, str]:
    """The environment of a service whose tasks run in podman and may use these images."""
    path = folder / "containers.conf"
    path.write_text(CONTAINERS_CONF)
    environment = os.environ | {"CONTAINERS_CONF": str(path)}
    need_podman(environment, *images)
    return environment


def need_podman(environment: Mapping[str, str], *images: str) -> None:
    """Make these images, where podman runs containers; elsewhere the test has nothing to show."""
    verdict = probe("podman", trying(environment))
    if not verdict.works:
        missing(f"a podman that works ({verdict.reason})")
    try:
        for image in images:
            _build(environment, image)
    except (OSError, subprocess.CalledProcessError) as reason:
        missing(f"podman with an image of busybox ({reason})")


def _build(environment: Mapping[str, str], image: str) -> None:
    if subprocess.run(["podman", "image", "exists", image], check=False, env=environment).returncode == 0:
        return
    with TemporaryDirectory() as scratch:
        tree = Path(scratch)
        tree.chmod(0o755)  # it becomes the root of the image, which any user enters
        fill(tree)
        for name, text in ADDED[image].items():
            (tree / name).write_text(text)
            (tree / name).chmod(0o755)
        files = subprocess.run(["tar", "-C", scratch, "-cf", "-", "."], check=True, capture_output=True)
    command = ["podman", "import", "-q", "-", image]
    subprocess.run(command, input=files.stdout, check=True, capture_output=True, env=environment)


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
