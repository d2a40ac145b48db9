"""The generated pages say what the code says, and `--check` sees it when they do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wesgate.cli import reference
from wesgate.core.states import State
from wesgate.settings import Settings

LOG_CALL = re.compile(r'\blog\.(?:info|warning|error|exception)\(\s*"([a-z_]+(?:\.[a-z_]+)+)"')


def test_the_pages_of_this_checkout_are_not_stale() -> None:
    assert reference.stale(reference.root()) == []


@pytest.mark.parametrize("name", reference.pages())
def test_a_page_that_was_changed_or_removed_is_named(name: str, tmp_path: Path) -> None:
    reference.write(tmp_path)
    assert reference.stale(tmp_path) == []
    page = tmp_path / name
    page.write_text(page.read_text() + "more\n")
    assert reference.stale(tmp_path) == [name]
    page.unlink()
    assert reference.stale(tmp_path) == [name]


def test_check_names_the_page_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(reference, "root", lambda: tmp_path)
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "docs/reference/states.md").write_text("")
    assert reference.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "docs/reference/states.md" in told
    assert "make reference" in told


def test_every_setting_is_there_under_the_name_that_the_environment_has(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = re.findall(r"`(WESGATE_[A-Z_]+)`<?", reference.settings().replace("`WESGATE_CONFIG=FILE`", ""))
    monkeypatch.setenv("WESGATE_EXECUTORS__LOCAL__SLOTS__HEADS", "7")
    assert "WESGATE_EXECUTORS__LOCAL__SLOTS__HEADS" in variables
    assert Settings().executors.local.slots.heads == 7
    assert {name.partition("__")[0] for name in variables} == {
        f"WESGATE_{name.upper()}" for name in Settings.model_fields
    }


def test_every_state_has_a_meaning() -> None:
    assert set(reference.MEANING) == set(State) - {State.UNKNOWN}


def test_every_word_of_the_log_is_explained() -> None:
    checkout = reference.root()
    page = (checkout / "docs/reference/log.md").read_text()
    words = {word for path in (checkout / "src").rglob("*.py") for word in LOG_CALL.findall(path.read_text())}
    assert sorted(word for word in words if f"`{word}`" not in page) == []


def test_tables_that_are_in_a_list_are_explained_too() -> None:
    assert "## `[[storage.stores]]`" in reference.settings()
    assert "| `url` | text | none: it must be given |" in reference.settings()


def test_commands_of_a_group_are_explained_too() -> None:
    assert "## `wesgate task create`" in reference.commands()
