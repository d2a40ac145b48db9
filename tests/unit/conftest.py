"""A site for each test: one owner, one engine, and a TES that runs tasks as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.site import Site
from tests.doubles.tes import TesDouble


@pytest.fixture
def tes(tmp_path: Path) -> Iterator[TesDouble]:
    with TesDouble(tmp_path / "scratch").serving() as double:
        yield double


@pytest.fixture
def site(tmp_path: Path, tes: TesDouble) -> Site:
    return Site(tmp_path / "files", tes)
