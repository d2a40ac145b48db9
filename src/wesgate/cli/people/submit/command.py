"""`wesgate run`: submit a workflow, and see it through if asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wesgate.cli.errors import ServerProblem, UsageProblem
from wesgate.cli.options import Json, print_json
from wesgate.cli.people.options import connected
from wesgate.cli.people.submit import options
from wesgate.cli.remote.options import DEFAULT_URL, Token, Url, hints

if TYPE_CHECKING:
    from wesgate.cli.people.client import Form, WesClient
    from wesgate.cli.people.submit.workflow import Workflow

EXAMPLES = """
\b
Examples:
  wesgate run md5sum.wdl file=a.txt --follow
  wesgate run qc.wdl reads=a.fq reads=b.fq min_quality=20 --wait
  wesgate run main.wdl --input inputs.json --tag study=lambda
  wesgate run workflow-folder/ --output-to s3://results/lambda
  wesgate run https://github.com/o/r/blob/v1.2/main.wdl --input s3://b/in.json
  wesgate run main.wdl --dry-run        what is wrong, and which inputs it needs
  wesgate run --resume last             the same again, without what it finished
  wesgate run --resume 3f2a min_quality=30 --follow
  wesgate run main.cwl --input job.json --attach tool.cwl
  wesgate run hello.wdl name=Ada --wait --json | jq .outputs

\b
Workflows:
  a file          uploaded with the local files that it imports (WDL), and those
                  given with --attach; they keep their places to each other
  a directory     uploaded whole, hidden files left out. Its main file is what
                  MANIFEST.json says (mainWorkflowURL, inputFileURLs), or main.*,
                  or the only workflow in it; inputs*.json beside it are inputs
  a .zip          of such a directory
  a URL           the server fetches it: https://host/x.wdl, .../x.zip,
                  https://github.com/o/r/blob/REF/x.wdl, https://github.com/o/r,
                  https://host/p.git@REF#x.wdl, trs://host/ID/VERSION, s3://...

\b
Parameters:
  A value is read as JSON where it is JSON (numbers, true, [..], {..}) and as
  text otherwise. What the workflow declares as String stays text. A key given
  twice is a list. Keys may leave out the workflow's name. These win over --input.

\b
Files:
  Files that the workflow declares as inputs are read in place where the server
  says that runs may read there, and are sent along otherwise.

\b
Beyond WES:
  --dry-run, --resume, --output-to, --delete-after and --input URL are done by
  wesgate. Of another server they are refused here, and nothing is sent to it.

\b
Environment:
  WESGATE_OUTPUT_TO      for --output-to
  WESGATE_DELETE_AFTER   for --delete-after
  WESGATE_RUN_TAGS       tags of every run: study=lambda,center=north

\b
Exit codes:
  0 the run was accepted; with --wait or --follow: it ended COMPLETE; with
    --dry-run: the workflow is valid
  1 the run ended otherwise        2 the command is wrong
  3 no server, or it refused      130 Ctrl-C: the run goes on
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as the command line tells it."""

    workflow: str
    params: Sequence[str]
    inputs: str
    attach: Sequence[Path]
    type: str
    type_version: str
    tags: Mapping[str, str]
    engine: Mapping[str, str]


def run(
    workflow: options.Source = "",
    params: options.Params = None,
    inputs: options.Inputs = "",
    wait: options.Wait = False,
    follow: options.Follow = False,
    dry_run: options.DryRun = False,
    resume: options.Resume = "",
    output_to: options.OutputTo = "",
    delete_after: options.Deletion = None,
    name: options.Name = "",
    tag: options.Tags = None,
    attach: options.Attach = None,
    engine_param: options.EngineParams = None,
    kind: options.Type = "",
    kind_version: options.TypeVersion = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Submit a workflow.

    Prints the id of the run and returns at once; with --wait or --follow, waits for its end and prints its outputs,
    or what went wrong and where to look. Ctrl-C stops the watching, never the run.
    """
    from wesgate.cli.people.find import find_run
    from wesgate.cli.people.submit.params import pair
    from wesgate.cli.people.submit.terms import check_offered, tags, terms

    if dry_run and (wait or follow):
        raise UsageProblem("--dry-run starts no run, so that there is none to --wait for or --follow")
    engine = dict(pair(text, "engine parameter") for text in engine_param or [])
    asked = Asked(workflow, params or [], inputs, attach or [], kind, kind_version, tags(tag or [], name), engine)
    with connected(url, token) as client:
        resumed = find_run(client, resume) if resume else ""
        wishes = terms(inputs=inputs, output_to=output_to, delete_after=delete_after or "", resumed=resumed)
        asked = replace(asked, engine=engine | wishes)
        form = _form(client, asked, resumed)
        check_offered(client, wishes)
        if dry_run:
            _tell_forecast(client, form, as_json=as_json)
            return
        run_id = client.submit(form)
        if wait or follow:
            from wesgate.cli.people.outcome import see_through

            see_through(client, run_id, hints(url), live=follow, as_json=as_json)
        elif as_json:
            print_json({"run_id": run_id, "url": client.base})
        else:
            typer.echo(run_id)
            typer.echo(f"watch it: {hints(url).command('status', run_id, '--follow')}", err=True)


def _form(client: WesClient, asked: Asked, resumed: str) -> Form:
    from wesgate.cli.people.submit.again import form_again, is_pair
    from wesgate.cli.people.submit.params import parameters, unreadable
    from wesgate.cli.people.submit.places import is_remote
    from wesgate.cli.people.submit.workflow import find_workflow, form, with_inputs

    files = [Path(asked.inputs)] if asked.inputs and not is_remote(asked.inputs) else []
    if resumed and (not asked.workflow or is_pair(asked.workflow)):
        if asked.attach or asked.type or asked.type_version:
            raise UsageProblem("--attach, --type and --type-version go with a WORKFLOW: name it, or leave them out")
        pairs = [word for word in (asked.workflow, *asked.params) if word]
        return form_again(client.run(resumed), pairs, files, asked.tags, asked.engine)
    if not asked.workflow:
        raise UsageProblem("say which WORKFLOW: a file, a directory, a .zip or a URL; see `wesgate run --help`")
    found = find_workflow(asked.workflow, asked.attach, asked.type, asked.type_version)
    values = parameters(asked.params, [*found.inputs, *files], found.signature)
    if missing := unreadable(values, found.signature, client.file_roots()):
        found = with_inputs(found, missing)
        values = parameters(asked.params, [*found.inputs, *files], found.signature)
    return form(_with_version(client, found), values, asked.tags, asked.engine)


def _with_version(client: WesClient, workflow: Workflow) -> Workflow:
    """A language version must be said (WES); where the text is not here to tell it, the server's own list is."""
    from wesgate.cli.people.submit.workflow import version_from

    if workflow.type_version:
        return workflow
    return replace(workflow, type_version=version_from(client.service_info(), workflow.type))


def _tell_forecast(client: WesClient, form: Form, *, as_json: bool) -> None:
    """What the server says of the form; exits with 1 if it is not valid."""
    from wesgate.cli.people.submit.dry_run import told_lines

    told = client.dry_run(form)
    if told is None:
        raise ServerProblem(f"{client.base} has no dry run (wesgate has): it was asked nothing and started nothing")
    if as_json:
        print_json(told)
    else:
        for line in told_lines(told, form):
            typer.echo(line)
    raise typer.Exit(0 if told["valid"] else 1)
