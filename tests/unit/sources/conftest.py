"""The servers of this machine that heads fetch from: of git, and of the web."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.git import GitServer, serving
from tests.doubles.pages import Pages
from tests.doubles.pages import serving as pages_serving


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitServer]:
    with serving(tmp_path / "repositories") as server:
        yield server


@pytest.fixture
def pages() -> Iterator[Pages]:
    with pages_serving() as double:
        yield double
