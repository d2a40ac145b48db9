"""Where images come from, and that nothing of them is left: a registry that counts, and what is on the machine."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.contracts.conftest import CONTAINERS
from tests.contracts.ground import Ground, said
from tests.podman import fill
from wesgate.core.spec import Resources, Step
from wesgate.core.states import State

pytestmark = pytest.mark.parametrize("ground", CONTAINERS, indirect=True)

OCI = "application/vnd.oci.image"
VOLUME = "/of-the-image"


@dataclass
class Registry(ThreadingHTTPServer):
    """Serves one image, and counts what it was asked for."""

    tree: Path
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.image = f"127.0.0.1:{self.server_address[1]}/wesgate-test/pulled:1"
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(self.tree, ".")
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Volumes": {VOLUME: {}}},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer.getvalue())]},
        }  # fmt: skip
        self.blobs = {digest(blob): blob for blob in (layer.getvalue(), json.dumps(config).encode())}
        parts = [
            {"mediaType": f"{OCI}.{kind}", "digest": name, "size": len(blob)}
            for kind, (name, blob) in zip(("layer.v1.tar", "config.v1+json"), self.blobs.items(), strict=True)
        ]
        manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": parts[1], "layers": parts[:1]}
        self.manifest = json.dumps(manifest).encode()


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


class Door(BaseHTTPRequestHandler):
    """What the registry's protocol needs of a server that is only read."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Registry)
        kind, name = self.path.rsplit("/", 2)[1:]
        self.server.asked[kind] += 1
        if kind == "manifests":
            self.reply(self.server.manifest, f"{OCI}.manifest.v1+json")
        elif kind == "blobs":
            self.reply(self.server.blobs[name], "application/octet-stream")
        else:
            self.reply(b"{}", "application/json")

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def reply(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry(tmp_path: Path, environment: dict[str, str]) -> Iterator[Registry]:
    fill(tmp_path)
    with Registry(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
        subprocess.run(["podman", "rmi", "--ignore", server.image], check=True, capture_output=True, env=environment)


async def test_an_image_is_pulled_if_it_is_missing_and_never_again(ground: Ground, registry: Registry) -> None:
    spec = ground.task(Step(registry.image, ("echo", "pulled")), Step(registry.image, ("true",)))
    seen = await ground.run(spec)
    assert (seen.state, said(seen)) == (State.COMPLETE, "pulled\n"), seen
    assert (registry.asked["manifests"], registry.asked["blobs"]) == (1, 2)
    registry.asked.clear()
    assert (await ground.run(spec)).state is State.COMPLETE
    assert not registry.asked


async def test_what_is_written_to_a_volume_of_an_image_counts(ground: Ground, registry: Registry) -> None:
    fill = ("sh", "-c", f"dd if=/dev/zero of={VOLUME}/big bs=1024 count=30000; sleep 600")
    seen = await ground.run(ground.task(Step(registry.image, fill), resources=Resources(disk_gb=0.02)))
    assert seen.detail == "step 0 was stopped: it wrote more than the 0.02 GB of disk that the task may use", seen


async def test_a_volume_that_an_image_asks_for_goes_with_its_container(
    ground: Ground, registry: Registry, environment: dict[str, str]
) -> None:
    seen = await ground.run(ground.task(Step(registry.image, ("grep", VOLUME, "/proc/self/mountinfo"))))
    name = next(part for part in said(seen).split("/") if len(part) == 64)
    left = subprocess.run(["podman", "volume", "ls", "-q"], capture_output=True, text=True, check=True, env=environment)
    assert name not in left.stdout.split()
