"""The options of `wesgate run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wesgate.core.spec import DeleteAfter

Source = Annotated[str, typer.Argument(metavar="WORKFLOW", show_default=False, help="A file, directory, .zip or URL.")]
Params = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", show_default=False, help="Parameters of the workflow.")
]
Inputs = Annotated[str, typer.Option("--input", "-i", metavar="FILE|URL", help="JSON of inputs.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait quietly until the run ends.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Watch the run until it ends.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Start nothing: tell what is wrong, and which inputs there are.")
]
Resume = Annotated[
    str,
    typer.Option(
        "--resume",
        metavar="RUN",
        show_default=False,
        help="Reuse what this run finished (an id, its beginning, or `last`). Without WORKFLOW, run the same again: "
        "its workflow, parameters and tags, under those given.",
    ),
]
OutputTo = Annotated[
    str,
    typer.Option(
        "--output-to",
        metavar="URL",
        envvar="WESGATE_OUTPUT_TO",
        show_default=False,
        help="Where the outputs are put when the run succeeds: s3://…, or a directory.",
    ),
]
Deletion = Annotated[
    DeleteAfter | None,
    typer.Option("--delete-after", envvar="WESGATE_DELETE_AFTER", help="Which ends remove intermediate files."),
]
Name = Annotated[str, typer.Option("--name", help="A name to know the run by (kept as the tag `name`).")]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY=VALUE", help="A tag; repeatable.  [env var: WESGATE_RUN_TAGS]"),
]
Attach = Annotated[
    list[Path] | None, typer.Option("--attach", "-a", metavar="FILE", help="A file to upload; repeatable.")
]
EngineParams = Annotated[
    list[str] | None, typer.Option("--engine-param", metavar="KEY=VALUE", help="For the engine; repeatable.")
]
Type = Annotated[str, typer.Option("--type", help="WDL, CWL, … where the file's name does not tell.")]
TypeVersion = Annotated[str, typer.Option("--type-version", help="The language's version, where not told.")]
