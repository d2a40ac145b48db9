"""Where settings come from, which source beats which, and that nothing in them is silently passed over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from wesgate.settings import Settings, load

File = Callable[..., Path]


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    for name in [name for name in os.environ if name.startswith("WESGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(text: str, name: str = "wesgate.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_without_any_settings_the_defaults_hold() -> None:
    assert (load().host, load().port) == ("127.0.0.1", 8080)


def test_the_command_line_beats_the_environment_which_beats_the_file(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("port = 1")
    assert load(path).port == 1
    monkeypatch.setenv("WESGATE_PORT", "2")
    assert load(path).port == 2
    assert load(path, port=3).port == 3


def test_what_the_command_line_leaves_out_comes_from_elsewhere(file: File) -> None:
    assert load(file("port = 1"), port=None, host=None).port == 1


def test_the_file_is_looked_for_where_the_service_starts(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file("port = 1")
    assert load().port == 1
    monkeypatch.setenv("WESGATE_CONFIG", str(file("port = 2", "other.toml")))
    assert load().port == 2
    assert load(file("port = 3", "third.toml")).port == 3


def test_one_setting_of_a_section_leaves_the_others_as_they_were(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file("[executors.local]\nnetwork = false\n[executors.local.slots]\nheads = 7\ncpu_cores = 2")
    monkeypatch.setenv("WESGATE_EXECUTORS__LOCAL__SLOTS__HEADS", "9")
    local = load(path).executors.local
    assert (local.network, local.slots.heads, local.slots.cpu_cores) == (False, 9, 2)
    assert local.grace_s == Settings().executors.local.grace_s


def test_lists_are_json_in_the_environment_and_toml_in_the_file(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(file('[files]\nallowed = ["/a"]')).files.allowed == (Path("/a"),)
    monkeypatch.setenv("WESGATE_FILES__ALLOWED", '["/b", "/c"]')
    assert load().files.allowed == (Path("/b"), Path("/c"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("prot = 1", "prot"),
        ("[executors.local]\nruntim = 'podman'", "executors.local.runtim"),
        ("[executor.local]\nruntime = 'podman'", "executor"),
        ("[limits]\nbody_bytes = 0", "limits.body_bytes"),
        ("[executors.local.slots]\ncpu_cores = -1", "executors.local.slots.cpu_cores"),
        ("[executors.local]\nruntime = 'lxc'", "executors.local.runtime"),
        ("[executors.local]\nvisible = ['/tmp/refs']", "executors.local.visible"),
        ("[executors.local]\nvisible = ['refs']", "executors.local.visible"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_name(file: File, text: str, name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        load(file(text))
    assert [".".join(map(str, error["loc"])) for error in refused.value.errors()] == [name]


def test_an_unknown_setting_of_a_section_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESGATE_ENGINES__MINIWDL__CALL_CASH", "false")
    with pytest.raises(ValidationError, match=r"engines\.miniwdl\.call_cash"):
        load()


def test_a_database_url_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESGATE_DATABASE_URL", "postgresql://me:hunter2@db/x")
    assert load().database_url is not None
    assert "hunter2" not in repr(load()) + load().model_dump_json()


def test_an_ordinary_users_data_is_in_their_xdg_data_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load().data == Path("/home/me/.local/share/wesgate")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert load().data == Path("/elsewhere/wesgate")


def test_roots_data_is_where_system_services_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert load().data == Path("/var/lib/wesgate")


def test_files_are_below_the_data_unless_told_otherwise(file: File, tmp_path: Path) -> None:
    assert load(data=Path("state")).files_root == tmp_path / "state" / "files"
    assert load(file('[files]\nroot = "/shared"'), data=Path("state")).files_root == Path("/shared")
