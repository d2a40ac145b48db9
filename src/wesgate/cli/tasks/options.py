"""What the commands for tasks share: how a task is named, and the client that they work with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wesgate.cli.tasks.client import TesClient


TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A task's id, the beginning of one, or `last` for the youngest.")
]


@contextmanager
def connected(url: str, token: str) -> Iterator[TesClient]:
    """A client of the server, closed at the end."""
    from wesgate.cli.remote.connection import Connection
    from wesgate.cli.tasks.client import TES, TesClient

    with closing(Connection(url, TES, token)) as server:
        yield TesClient(server)
