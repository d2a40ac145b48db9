"""The options that commands for people share, and the connection that they lead to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from wesgate.cli.people.report import Hints

if TYPE_CHECKING:
    from wesgate.cli.people.client import WesClient

DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option("--url", envvar="WESGATE_URL", help="The WES server: a host, or the whole path to its API.")
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
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or `last` for the youngest.")
]


@contextmanager
def connected(url: str, token: str) -> Iterator[WesClient]:
    """A client of the server, closed at the end."""
    from wesgate.cli.people.client import WesClient

    client = WesClient(url, token)
    try:
        yield client
    finally:
        client.close()


def hints(url: str) -> Hints:
    """Commands to type next name the server only where they would not find it by themselves."""
    return Hints("" if url == os.environ.get("WESGATE_URL", DEFAULT_URL) else url)
