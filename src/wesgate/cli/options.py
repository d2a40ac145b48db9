"""The option that every command has: one JSON document instead of lines for people."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def print_json(data: Any) -> None:
    """One JSON document; letters beyond ASCII are escaped, so that nothing in it commands a terminal."""
    typer.echo(json.dumps(data, indent=2))
