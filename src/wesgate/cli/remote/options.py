"""The options that commands for people share, and the commands to type next that they lead to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from wesgate.cli.errors import UsageProblem
from wesgate.cli.text import clean
from wesgate.core.states import State

DEFAULT_URL = "http://127.0.0.1:8080"
STATE_WORDS = ", ".join(State)
INTERRUPTED = 130
"""The exit code after Ctrl-C."""

Url = Annotated[
    str,
    typer.Option("--url", envvar="WESGATE_URL", help="The server: a host, or the whole path to its API."),
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="WESGATE_TOKEN",
        show_default=False,
        help="Bearer token. The environment is the safer place: other people see command lines.",
    ),
]
Tail = Annotated[
    int | None,
    typer.Option("--tail", metavar="N", min=0, show_default=False, help="Only the last N lines, and what follows."),
]
Raw = Annotated[bool, typer.Option("--raw", help="Control characters as they are, not written out.")]


def states(words: Iterable[str]) -> tuple[str, ...]:
    """The states that were typed, in any case."""
    wanted = tuple(dict.fromkeys(word.upper() for word in words))
    unknown = set(wanted) - set(State.__members__)
    if unknown:
        raise UsageProblem(f"--state {', '.join(sorted(unknown))}: the states are {STATE_WORDS}")
    return wanted


@dataclass(frozen=True, slots=True)
class Hints:
    """Commands to type next, with the server that this command was given."""

    url: str = ""

    def command(self, *words: str) -> str:
        where = ["--url", self.url] if self.url else []
        return shlex.join(["wesgate", *(clean(word) for word in words), *where])


def hints(url: str) -> Hints:
    """Commands to type next name the server only where they would not find it by themselves."""
    return Hints("" if url == os.environ.get("WESGATE_URL", DEFAULT_URL) else url)
