"""The label API of FredHutch's AWE, at `/awe`: runs of workflows in git, by labels of their owner's choice, shown as
Cromwell would.

Design: https://github.com/FredHutch/AWE. A label is the run's idempotency key, so it names one run of an owner.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wesgate.api.auth import person
from wesgate.api.bodies.form import plain_form, read_form
from wesgate.api.bodies.whole import check_charset, read_whole, worked_out
from wesgate.api.dependencies import LABEL_KEYS, Context, base_url, context, send, single
from wesgate.api.paging import page_size
from wesgate.api.wes import submit
from wesgate.core.errors import Conflict, InvalidRequest, NotFound
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller
from wesgate.db import runs, tasks
from wesgate.ga4gh import cromwell, strict, wes
from wesgate.sources import kinds

router = APIRouter(tags=["AWE"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
MOST_CALLS = 1000
TAG = "awe"
"""The tag of a run that has its label."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_JSON = frozenset({"workflow_inputs", "tags", "workflow_engine_parameters"})

Text = Annotated[str, Field(min_length=1, max_length=4096)]


class Start(BaseModel):
    """What starts a workflow."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    workflow_repo: Text
    label: Text | None = None
    workflow_path: Text | None = None
    inputs_url: Text | None = None
    workflow_inputs: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    workflow_type: Text = "WDL"
    workflow_type_version: Text = "1.0"
    workflow_engine_parameters: dict[str, Any] | None = None


@router.get("/{owner}")
async def list_labels(request: Request, owner: str) -> Response:
    """The owner's labels, newest first."""
    found, who = await _of_owner(request, owner)
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"labels {who.owner.id}"
    place = found.pager.place(scope, single(request, "page_token"))
    page = await runs.keyed(found.database, who.owner, LABEL_KEYS, TAG, place, size + 1)
    shown = [{"label": run.tags[TAG], **cromwell.status(run.id, run.state)} for run in page[:size]]
    return send({"labels": shown, "next_page_token": found.pager.token(scope, page, size)})


@router.post("/{owner}/{label}")
async def start_workflow(request: Request, owner: str, label: str) -> Response:
    """Start a workflow under this label. The same request again gives the same run, another one 409."""
    found, who = await _of_owner(request, owner)
    if not _LABEL.fullmatch(label):
        raise InvalidRequest("a label has up to 200 letters, digits, dots, dashes and underscores, a dot not first")
    document = run_document(label, await _start(request, found))
    try:
        run_id = await submit.accept(found, who, document, LABEL_KEYS + label)
    except Conflict as error:
        sentence = f"another workflow has the label {label}: take another, or DELETE it once that has ended"
        raise Conflict(sentence) from error
    return send({"run_id": str(run_id), "label": label, "id": str(run_id)})


@router.delete("/{owner}/{label}")
async def abort_workflow(request: Request, owner: str, label: str) -> Response:
    """Abort the workflow of this label; the label of one that has ended is free again."""
    found, who = await _of_owner(request, owner)
    run_id, state = await runs.cancel_or_free(found.database, who.owner, _key(label))
    failpoint("api-cancel-committed")
    return send(cromwell.status(run_id, state))


@router.get("/{owner}/{label}/{what}")
async def show_workflow(request: Request, owner: str, label: str, what: str) -> Response:
    """`status`, `outputs`, `logs`, `metadata` or `labels` of the workflow of this label."""
    found, who = await _of_owner(request, owner)
    run = await runs.with_key(found.database, who.owner, _key(label))
    return send(await _shown(request, run, what))


@router.get("/{owner}/{label}/api/workflows/{version}/{named}/{what}")
async def call_cromwell(request: Request, owner: str, label: str, version: str, named: str, what: str) -> Response:
    """The same as a call of Cromwell's API, of any version: `named` is the label once more, or the workflow's id."""
    found, who = await _of_owner(request, owner)
    run = await runs.with_key(found.database, who.owner, _key(label))
    if named not in (label, str(run.id)) or not version:
        raise NotFound
    return send(await _shown(request, run, what))


def run_document(label: str, start: Start) -> dict[str, Any]:
    """The run request that a start stands for."""
    repository = _repository(start.workflow_repo)
    path = start.workflow_path or ""
    url = _file_url(repository, path, "workflow_path") if path else _url(repository, repository.path)
    parameters = dict(start.workflow_engine_parameters or {})
    if start.inputs_url:
        inside = wes.is_relative(start.inputs_url)
        parameters["inputs_url"] = _file_url(repository, start.inputs_url, "inputs_url") if inside else start.inputs_url
    tags = {"name": label, **(start.tags or {}), **({"label": start.label} if start.label else {}), TAG: label}
    fields = {
        "workflow_url": url,
        "workflow_type": start.workflow_type,
        "workflow_type_version": start.workflow_type_version,
        "workflow_params": start.workflow_inputs or {},
        "workflow_engine_parameters": parameters,
        "tags": tags,
    }
    return wes.read_run(fields)


def _repository(url: str) -> kinds.Git:
    """The repository that a URL means: that of any host, with or without `.git`."""
    if url.lower().startswith(("https://", "http://", "git+")):
        found = kinds.read(url, what="workflow_repo")
        if isinstance(found, kinds.Web):
            found = kinds.read(f"git+{url}", what="workflow_repo")
        if isinstance(found, kinds.Git):
            return found
    raise InvalidRequest("workflow_repo must be the URL of a git repository")


def _file_url(repository: kinds.Git, path: str, what: str) -> str:
    """The URL of a file of the repository, in the folder that its URL names."""
    folder = repository.path if repository.path.endswith("/") else ""
    found = kinds.read(_url(repository, folder + path), what=what)
    assert isinstance(found, kinds.Git)
    return _url(repository, found.path)


def _url(repository: kinds.Git, path: str) -> str:
    return repository.pinned(repository.ref, quote(path)).removesuffix("#")


async def _of_owner(request: Request, owner: str) -> tuple[Context, Caller]:
    """The caller, if that is the owner of these labels."""
    who = await person(request)
    if owner != who.owner.subject:
        raise NotFound
    return context(request), who


def _key(label: str) -> str:
    """The key of the run with this label; NotFound for what no run can have."""
    if not _LABEL.fullmatch(label):
        raise NotFound
    return LABEL_KEYS + label


async def _start(request: Request, found: Context) -> Start:
    """The body: JSON or a form. What begins with a brace is JSON, though `curl -d` calls it a form."""
    sent = request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() == "multipart/form-data":
        async with read_form(request, found.json_bytes) as form:
            if form.attachments:
                raise InvalidRequest(
                    "a workflow comes from its repository: attachments are for POST /ga4gh/wes/v1/runs"
                )
            return await worked_out(form.size, lambda: _read(_fields(form.fields)))
    body = await read_whole(request, found.json_bytes, f"a body may have {found.json_bytes} bytes")
    check_charset(sent, body)
    if body.lstrip().startswith(b"{"):
        return await worked_out(len(body), lambda: _read(strict.parse(body)))
    return await worked_out(len(body), lambda: _read(_fields(plain_form(body, found.json_bytes).fields)))


def _fields(sent: dict[str, str]) -> dict[str, Any]:
    """Form fields as the values they stand for; an empty one is not given."""
    return {
        name: strict.parse(text.encode(), name) if name in _JSON else strict.clean(text, name)
        for name, text in sent.items()
        if text.strip()
    }


def _read(sent: Any) -> Start:
    fields = strict.without_nulls(sent, "workflow_inputs")
    if not isinstance(fields, dict) or not set(fields) <= set(Start.model_fields):
        raise InvalidRequest(f"the body takes {', '.join(Start.model_fields)}")
    try:
        return Start.model_validate(fields)
    except ValidationError as error:
        raise strict.refused(error) from None


async def _shown(request: Request, run: runs.Run, what: str) -> dict[str, Any]:
    match what:
        case "status":
            return cromwell.status(run.id, run.state)
        case "outputs":
            return cromwell.outputs(run.id, run.report)
        case "labels":
            return cromwell.labels(run.id, run.tags)
        case "logs" | "metadata":
            calls = await tasks.of_run(context(request).database, run.id, None, MOST_CALLS)
        case _:
            raise NotFound
    if what == "logs":
        return cromwell.logs(run.id, calls, base_url(request))
    times = (run.created_at, run.started_at, run.ended_at)
    return cromwell.metadata(run.id, run.state, run.document, run.report, run.detail, times, calls, base_url(request))
