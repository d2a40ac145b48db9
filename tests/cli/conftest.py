"""The command line as a person has it: arguments in; exit code, stdout and stderr out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.double import Double, Stage, serving
from wesgate.cli import main
from wesgate.cli.remote import waiting

WDL = "version 1.0\nworkflow hello {\n  input {\n    File reads\n    String who\n  }\n}\n"


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture(scope="session")
def stages() -> Iterator[tuple[Stage, Stage]]:
    with serving() as one, serving() as other:
        yield one, other


@pytest.fixture
def server(stages: tuple[Stage, Stage]) -> Double:
    stages[0].double = Double(stages[0].url)
    return stages[0].double


@pytest.fixture
def wesgate(server: Double) -> Double:
    """A server with what wesgate has beside WES."""
    server.ours = True
    return server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workflow of several files, with inputs of its own."""
    made = tmp_path / "wf"
    (made / "lib").mkdir(parents=True)
    (made / ".git").mkdir()
    (made / ".git" / "config").write_text("")
    (made / "main.wdl").write_text(WDL)
    (made / "other.wdl").write_text("version 1.0")
    (made / "lib" / "a.fq").write_text("reads")
    (made / "inputs.json").write_text('{"hello.reads": "lib/a.fq", "who": "Ada"}')
    return made


@pytest.fixture(params=["1.1", "1.0"])
def any_server(request: pytest.FixtureRequest, stages: tuple[Stage, Stage]) -> Double:
    stages[1].double = Double(stages[1].url, old=request.param == "1.0")
    return stages[1].double


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command; the double to ask comes first, if the command asks one."""
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(waiting, "RETRY_S", 0.01)
    monkeypatch.delenv("WESGATE_TOKEN", raising=False)

    def call(double: Double | None, *words: str) -> Said:
        monkeypatch.setenv("WESGATE_URL", double.url if double else "http://127.0.0.1:9")
        with pytest.raises(SystemExit) as end:
            main(words)
        told = capsys.readouterr()
        return Said(int(end.value.code or 0), told.out, told.err)

    return call
