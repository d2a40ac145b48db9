"""`wesgate run`: submit a workflow, and see it through if asked to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wesgate.cli.errors import UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.people.options import connected
from wesgate.cli.remote.options import DEFAULT_URL, Token, Url, hints

if TYPE_CHECKING:
    from wesgate.cli.people.client import Form, WesClient
    from wesgate.cli.people.submission import Workflow

EXAMPLES = """
\b
Examples:
  wesgate run md5sum.wdl file=a.txt --follow
  wesgate run qc.wdl reads=a.fq reads=b.fq min_quality=20 --wait
  wesgate run main.wdl --input inputs.json --tag study=lambda
  wesgate run https://example.org/wf/main.wdl --type-version 1.0
  wesgate run main.cwl --input job.json --attach tool.cwl
  wesgate run hello.wdl name=Ada --wait --json | jq .outputs

\b
Parameters:
  A value is read as JSON where it is JSON (numbers, true, [..], {..}) and as
  text otherwise. What the workflow declares as String stays text. A key given
  twice is a list. Keys may leave out the workflow's name.

\b
Files:
  A local workflow is uploaded with the local files that it imports (WDL) and
  those given with --attach. They keep their places relative to each other.
  Files that the workflow declares as inputs are read in place where the server
  says that runs may read there, and are sent along otherwise.

\b
Exit codes:
  0 the run was accepted; with --wait or --follow: it ended COMPLETE
  1 the run ended otherwise        2 the command is wrong
  3 no server, or it refused      130 Ctrl-C: the run goes on
"""

Params = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", show_default=False, help="Parameters of the workflow.")
]


def run(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="A local file, or an http(s) URL.")],
    params: Params = None,
    inputs: Annotated[Path | None, typer.Option("--input", "-i", metavar="FILE", help="JSON file of inputs.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait quietly until the run ends.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch the run until it ends.")] = False,
    name: Annotated[str, typer.Option("--name", help="A name to know the run by (kept as the tag `name`).")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; repeatable.")] = None,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", "-a", metavar="FILE", help="A file to upload; repeatable.")
    ] = None,
    engine_param: Annotated[
        list[str] | None, typer.Option("--engine-param", metavar="KEY=VALUE", help="For the engine; repeatable.")
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="WDL, CWL, … where the file's name does not tell.")] = "",
    kind_version: Annotated[str, typer.Option("--type-version", help="The language's version, where not told.")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Submit a workflow.

    Prints the id of the run and returns at once; with --wait or --follow, waits for its end and prints its outputs,
    or what went wrong and where to look. Ctrl-C stops the watching, never the run.
    """
    from wesgate.cli.people.params import pair, parameters, unreadable
    from wesgate.cli.people.submission import find_workflow, form, with_inputs

    found = find_workflow(workflow, attach or [], kind, kind_version)
    values = parameters(params or [], inputs, found.signature)
    tags = dict(pair(text, "tag") for text in tag or []) | ({"name": name} if name else {})
    engine = dict(pair(text, "engine parameter") for text in engine_param or [])
    with connected(url, token) as client:
        if missing := unreadable(values, found.signature, client.file_roots()):
            found = with_inputs(found, missing)
            values = parameters(params or [], inputs, found.signature)
        run_id = _submitted(client, form(_with_version(client, found), values, tags, engine))
        if wait or follow:
            from wesgate.cli.people.outcome import see_through

            see_through(client, run_id, hints(url), live=follow, as_json=as_json)
        elif as_json:
            print_json({"run_id": run_id, "url": client.base})
        else:
            typer.echo(run_id)
            typer.echo(f"watch it: {hints(url).command('status', run_id, '--follow')}", err=True)


def _with_version(client: WesClient, workflow: Workflow) -> Workflow:
    """A language version must be said (WES); where the text is not here to tell it, the server's own list is."""
    from dataclasses import replace

    from wesgate.cli.people.submission import version_from

    if workflow.type_version:
        return workflow
    return replace(workflow, type_version=version_from(client.service_info(), workflow.type))


def _submitted(client: WesClient, form: Form) -> str:
    try:
        return client.submit(form)
    except OSError as error:
        raise UsageProblem(f"{error.filename} cannot be read: {error.strerror}") from error
