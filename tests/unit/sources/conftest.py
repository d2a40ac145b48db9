"""A site whose heads fetch from servers of this machine, and those servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.git import GitServer, serving
from tests.doubles.pages import Pages
from tests.doubles.pages import serving as pages_serving
from tests.doubles.site import Site
from tests.doubles.tes import TesDouble


@pytest.fixture
def tes(tmp_path: Path) -> Iterator[TesDouble]:
    with TesDouble(tmp_path / "scratch").serving() as double:
        yield double


@pytest.fixture
def site(tmp_path: Path, tes: TesDouble) -> Site:
    return Site(tmp_path / "files", tes)


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitServer]:
    with serving(tmp_path / "repositories") as server:
        yield server


@pytest.fixture
def pages() -> Iterator[Pages]:
    with pages_serving() as double:
        yield double
