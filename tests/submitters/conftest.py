"""The API in process with a store of objects, real services, and each submitter."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import context, files  # noqa: F401  # fixtures
from tests.conftest import missing
from tests.e2e.service import Service, serving
from tests.podman import BASH, podman_environment
from tests.submitters.sent import SUBMITTERS, Submitter, document
from wesgate.api.dependencies import Context
from wesgate.app import create_app
from wesgate.core.spec import Store


@pytest.fixture(params=SUBMITTERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each submitter."""
    return str(request.param)


@pytest.fixture
def submitter(name: str) -> Submitter:
    return SUBMITTERS[name]


@pytest.fixture
def sent(name: str, context: Context) -> dict[str, object]:  # noqa: F811
    """What it sends."""
    made: dict[str, object] = document(name, root=context.roots[0])
    return made


@pytest.fixture
async def client(context: Context, submitter: Submitter) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811
    """Its client, at its base."""
    app = create_app(replace(context, stores=[Store("s3://bucket/")]))
    headers = {"User-Agent": submitter.agent}
    if submitter.authorization:
        headers["Authorization"] = submitter.authorization
    base = f"http://127.0.0.1:8080{submitter.base}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, headers=headers) as made:
        yield made


@dataclass(frozen=True)
class Site:
    """A real service, and the directory on this machine that its tasks may use."""

    service: Service
    root: Path

    def task(self, name: str) -> dict[str, Any]:
        """What a submitter sends, with its files below the root."""
        made: dict[str, Any] = document(name, root=str(self.root), image=BASH, store=f"file://{self.root}")
        return made

    def run(self, name: str, sent: Any = None) -> dict[str, Any]:
        """The whole task, once it has ended, as its submitter sees it."""
        found: dict[str, Any] = self.service.ended(self.submitted(name, sent or self.task(name)))
        return found

    def submitted(self, name: str, sent: Any) -> str:
        """Where the task of a submitter is."""
        base, headers = SUBMITTERS[name].base, {"User-Agent": SUBMITTERS[name].agent}
        answer = self.service.post(f"{base}/tasks", json=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        return f"{base}/tasks/{answer.json()['id']}?view=FULL"

    def write(self, path: str, text: str) -> Path:
        """A file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture(scope="package", params=["process", "podman"])
def site(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Site]:
    """A service with each kind of runtime."""
    folder = short_tmp / f"submitters-{request.param}"
    (folder / "root" / "jobstore").mkdir(parents=True)
    environment = podman_environment(folder, BASH) if request.param == "podman" else dict(os.environ)
    root = folder / "root"
    settings = {
        "executors__local__runtime": request.param,
        "files__allowed": json.dumps([str(root)]),
        "files__shared": json.dumps([str(root / "jobstore")]),
    }
    with serving(folder, environment, **settings) as service:
        if request.param == "process" and "runtime=process:plain" in service.log():
            missing("a process runtime that shows files elsewhere than where they are")
        made = Site(service, root)
        made.write("data/name.txt", "world\n")
        yield made
