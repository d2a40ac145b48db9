"""The `wesgate` command: for people who run workflows, and for operators who run the service."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from wesgate.cli.errors import CliError
from wesgate.cli.operators import commands as operators
from wesgate.cli.people import commands as people
from wesgate.cli.people import listing
from wesgate.cli.people.submit import command as submit
from wesgate.cli.tasks import commands as tasks
from wesgate.cli.tasks import create
from wesgate.cli.text import one_line

GUIDE = """
\b
First steps:
  wesgate serve                        start a service here
  wesgate run md5sum.wdl file=a.txt --follow
                                       run a workflow on it, with a file of yours
  wesgate ls                           your newest runs
  wesgate find sample_12 --since 3h    runs by what they are
  wesgate logs last                    the engine's log of the youngest
  wesgate outputs last                 what came out
  wesgate outputs last --download out/ the files of it
  wesgate task create --image ubuntu:22.04 --follow -- echo hello
                                       a single task, without a workflow
  wesgate task ls                      your tasks

\b
Environment:
  WESGATE_URL     the server, for every command here (http://127.0.0.1:8080)
  WESGATE_TOKEN   the bearer token, where the server wants one

\b
Exit codes: 0 done; 1 the run or task did not end COMPLETE; 2 the command is
wrong; 3 no server, or it refused; 130 stopped by Ctrl-C. Every command for runs
and tasks takes --json. `wesgate COMMAND --help` shows more examples.
"""

app = typer.Typer(
    name="wesgate",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from wesgate import __version__

        typer.echo(f"wesgate {__version__}")
        raise typer.Exit


@app.callback(epilog=GUIDE)
def _wesgate(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run workflows on any WES server and tasks on any TES server, or run a service of both of your own."""


app.command(epilog=submit.EXAMPLES)(submit.run)
app.command(
    epilog="\b\nExamples:\n  wesgate ls --limit 5\n  wesgate ls --state running --state queued --tag study=lambda\n"
    "  wesgate ls --json | jq -r '.runs[].run_id'\n"
)(listing.ls)
app.command(epilog=listing.FIND_EXAMPLES)(listing.find)
app.command(
    epilog="\b\nExamples:\n  wesgate status last\n  wesgate status 3f2a --follow\n"
    "  wesgate status last --wait && echo it worked\n"
)(people.status)
app.command(
    epilog="\b\nExamples:\n  wesgate logs last                 the engine's log\n"
    "  wesgate logs last align-3 -f      a task's log, as it grows\n"
    "  wesgate logs 3f2a align-3 --stderr --tail 20\n"
)(people.logs)
app.command(epilog="\b\nExamples:\n  wesgate cancel last\n  wesgate cancel 3f2a\n")(people.cancel)
app.command(
    epilog="\b\nExamples:\n  wesgate outputs last\n  wesgate outputs last --json | jq -r '.\"qc.plot\"'\n"
    "  wesgate outputs last --download results/\n  wesgate outputs 3f2a bam plot.pdf --download results/\n"
)(people.outputs)
task = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Run single tasks on any TES server.")
task.command(epilog=create.EXAMPLES)(create.create)
task.command(
    epilog="\b\nExamples:\n  wesgate task ls --limit 5\n  wesgate task ls --state queued --tag study=lambda\n"
    "  wesgate task ls --name align- --json | jq -r '.tasks[].id'\n"
)(tasks.ls)
task.command(
    epilog="\b\nExamples:\n  wesgate task get last\n  wesgate task get 3f2a --json | jq '.logs[-1].metadata'\n"
)(tasks.get)
task.command(
    epilog="\b\nExamples:\n  wesgate task logs last -f\n  wesgate task logs 3f2a --step 2 --stderr\n"
    "  wesgate task logs 3f2a --attempt 1 --tail 20\n"
)(tasks.logs)
task.command(
    epilog="\b\nExamples:\n  wesgate task cancel last\n  wesgate task cancel 3f2a 77b0\n"
    "  wesgate task cancel --tag study=lambda --state queued\n"
)(tasks.cancel)
task.command(epilog="\b\nExamples:\n  wesgate task wait last && echo it worked\n  wesgate task wait 3f2a 77b0\n")(
    tasks.wait
)
app.add_typer(task, name="task")
operators.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out one command and exit. Whatever goes wrong as foreseen is one line on stderr and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    try:
        command.main(args=list(arguments) if arguments is not None else None, prog_name="wesgate")
    except CliError as error:
        typer.echo(f"wesgate: {one_line(str(error), 2000)}", err=True)
        sys.exit(error.code)
