"""What the commands for runs share: how a run is named, and the client that they work with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wesgate.cli.people.client import WesClient

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or `last` for the youngest.")
]


@contextmanager
def connected(url: str, token: str) -> Iterator[WesClient]:
    """A client of the server, closed at the end."""
    from wesgate.cli.people.client import WES, WesClient
    from wesgate.cli.remote.connection import Connection

    with closing(Connection(url, WES, token)) as server:
        yield WesClient(server)
