"""The package as others get it: built, installed elsewhere, and able to make its database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "src", "migrations")


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what a build leaves behind must not get into the checkout, nor the other way round."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", made, source)
    (found,) = made.glob("wesgate-*.whl")
    return found


def test_all_that_an_install_needs_is_in_the_wheel(wheel: Path) -> None:
    inside = ZipFile(wheel).namelist()
    migrations = {f"wesgate/migrations/{path.relative_to(ROOT / 'migrations')}" for path in needed(ROOT / "migrations")}
    package = {f"wesgate/{path.relative_to(ROOT / 'src/wesgate')}" for path in needed(ROOT / "src" / "wesgate")}
    assert "wesgate/py.typed" in inside
    assert {name for name in inside if ".dist-info/" not in name} == package | migrations
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def needed(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_an_install_makes_its_database_without_the_checkout(wheel: Path, data: Path) -> None:
    place = data.parent / "installed"
    pip("install", "--no-deps", "--no-index", "--target", place, wheel)
    environment = os.environ | {"PYTHONPATH": str(place)}
    where = run(environment, "-c", "from wesgate.db import migrate; print(migrate.folder())")
    assert where.stdout.strip() == str(place / "wesgate" / "migrations")
    for _ in range(2):
        migrated = run(environment, "-m", "wesgate", "migrate", "--data", str(data))
        assert (migrated.returncode, "at revision" in migrated.stdout) == (0, True), migrated.stderr


def run(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
