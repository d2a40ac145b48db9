"""Real services for whole tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from wesgate.db.session import Database


@pytest.fixture
def data(short_tmp: Path, request: pytest.FixtureRequest) -> Path:
    """A data directory with a short name: sockets lie in it."""
    path = short_tmp / f"e{abs(hash(request.node.nodeid)) % 10**8}" / "data"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def service(data: Path) -> Iterator[Service]:
    """A service, not started; whatever the test does to it, nothing of it is left at the end."""
    made = Service(data)
    yield made
    with contextlib.suppress(AssertionError):
        made.stop()
    if made.process is not None and made.process.returncode != 0:
        Service(data).start().stop()  # it was killed: only a clean stop ends the database


@pytest.fixture
def quick(service: Service, database: Database) -> Service:
    """A service that starts sooner: with a database of this test's own, on a Postgres that does not die with it."""
    service.settings["database_url"] = database.engine.url.render_as_string(hide_password=False)
    return service
