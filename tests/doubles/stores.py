"""Servers of objects for tests: moto's S3 and Azurite, each as the real client sees it, and what URLs name in them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import missing
from wesgate.core.spec import Store

AZURITE = "3.37.0"
ACCOUNT = "devstoreaccount1"
# Azurite's own, in its README: https://github.com/Azure/Azurite#default-storage-account
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SECRET = "a-very-secret-key-of-the-site"
START_S = 60.0


@dataclass(frozen=True)
class Ware:
    """A store with one bucket. `wrong` is the same one reached with credentials that it does not take, if it checks."""

    name: str
    base: str
    store: Store
    client: Any
    wrong: Store | None = None

    def url(self, key: str) -> str:
        return f"{self.base}/{key}"

    def put(self, key: str, data: bytes) -> str:
        self.client.put(key, data)
        return self.url(key)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get(key).bytes())

    def keys(self, prefix: str) -> list[str]:
        return sorted(one["path"] for chunk in self.client.list(prefix) for one in chunk)


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """The endpoint of moto's S3, with the bucket `bucket`."""
    port = free_port()
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder / "moto.log"):
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        yield endpoint


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """The endpoint of Azurite's only account, with the container `bucket`."""
    program = azurite_program()
    port = free_port()
    command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder]
    with _running([*command, "--silent", "--skipApiVersionCheck"], port, folder / "azurite.log"):
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _make_container(endpoint, "bucket")
        yield endpoint


def s3(endpoint: str) -> Ware:
    from obstore.store import S3Store

    options = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "site", "secret_access_key": SECRET}
    client = S3Store("bucket", config=options, client_options={"allow_http": True})  # type: ignore[arg-type]
    return Ware("s3", "s3://bucket", Store("s3://", options), client)


def gs(endpoint: str) -> Ware:
    """The part of Google's XML API that it shares with S3, as moto serves it: no emulator of Google's has that API."""
    from obstore.store import GCSStore

    options = {"base_url": endpoint, "bearer_token": SECRET}
    client = GCSStore("bucket", config=options, client_options={"allow_http": True})  # type: ignore[arg-type]
    return Ware("gs", "gs://bucket", Store("gs://", options), client)


def az(endpoint: str) -> Ware:
    from obstore.store import AzureStore

    options = {"endpoint": endpoint, "account_name": ACCOUNT, "account_key": ACCOUNT_KEY}
    client = AzureStore("bucket", config=options, client_options={"allow_http": True})  # type: ignore[arg-type]
    wrong = {**options, "account_key": base64.b64encode(SECRET.encode()).decode()}
    return Ware("az", "az://bucket", Store("az://", options), client, Store("az://", wrong))


def blob(endpoint: str) -> Ware:
    """The same container by its web address."""
    ware = az(endpoint)
    options = ware.store.options
    assert ware.wrong
    wrong = replace(ware.wrong, url=f"{endpoint}/bucket/")
    return Ware("blob", f"{endpoint}/bucket", Store(f"{endpoint}/bucket/", options), ware.client, wrong)


def signature(endpoint: str, permissions: str) -> str:
    """The query of a container's shared access signature, as
    https://learn.microsoft.com/rest/api/storageservices/create-service-sas has it."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [permissions, "", ends, f"/blob/{ACCOUNT}/bucket", "", "", "", "2021-08-06", "c", *[""] * 7]
    query = {"sv": "2021-08-06", "sr": "c", "sp": permissions, "se": ends, "sig": _signed("\n".join(fields))}
    return urlencode(query)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def azurite_program() -> Path:
    """Azurite's program, installed beside this Python when it is first asked for."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("node with npm, for Azurite")
    folder = Path(sys.prefix) / "azurite"
    program = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    package = program.parents[3] / "package.json"
    if not package.exists() or json.loads(package.read_text())["version"] != AZURITE:
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"azurite@{AZURITE}"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=170)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            missing(f"azurite@{AZURITE} from npm")
    return program


@contextmanager
def _running(command: list[Any], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as server:
        try:
            _await(port, server, log)
            yield
        finally:
            server.kill()


def _await(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    pytest.fail(f"the server did not start: {log.read_text()[-500:]}")


def _make_container(endpoint: str, name: str) -> None:
    date = formatdate(usegmt=True)
    headers: Mapping[str, str] = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0"}
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    asked = urllib.request.Request(
        f"{endpoint}/{name}?restype=container",
        method="PUT",
        headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{_signed(text)}"},
    )
    urllib.request.urlopen(asked).close()


def _signed(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()).decode()
