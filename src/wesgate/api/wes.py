"""The routes of WES 1.1, at `/ga4gh/wes/v1`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from wesgate.api.auth import person
from wesgate.api.body import read_json, worked_out
from wesgate.api.dependencies import (
    Context,
    base_url,
    context,
    idempotency_key,
    row_id,
    send,
    single,
)
from wesgate.api.form import read_form
from wesgate.api.logs import send_log
from wesgate.api.paging import page_size
from wesgate.core.errors import Conflict, InvalidRequest, TooLarge
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller, Owner
from wesgate.core.paths import INCOMING
from wesgate.db import runs, tasks
from wesgate.ga4gh import service_info, strict, wes
from wesgate.ga4gh.service_info import EngineInfo
from wesgate.ga4gh.views import Task
from wesgate.sources import attachments, urls

router = APIRouter(tags=["WES"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
INLINE_TASKS = 1000
"""How many task logs a RunLog holds for clients that know no /tasks; the rest are there."""


@router.get("/service-info")
async def get_service_info(request: Request) -> Response:
    """What this WES is, what it runs, and how many runs the caller has."""
    found, who = context(request), await person(request)
    counts = await runs.counts(found.database, who.owner)
    return send(service_info.wes(found.about, found.engines, counts, ["file", "http", "https"]))


@router.post("/runs")
async def run_workflow(request: Request) -> Response:
    """Accept a run: a multipart form as the spec has it, or the same fields as a JSON object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with read_form(request, context(request).json_bytes) as form:
            document = await worked_out(form.size, lambda: wes.read_run(wes.read_fields(form.fields)))
            return await _accept(request, document, form.attachments)
    if kind == "application/json":
        body = await read_json(request)
        return await _accept(request, await worked_out(len(body), lambda: wes.read_run(strict.parse(body))), ())
    raise InvalidRequest("a run request is multipart/form-data, or application/json")


@router.get("/runs")
async def list_runs(request: Request) -> Response:
    """The caller's runs, newest first."""
    found, who = context(request), await person(request)
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"runs {who.owner.id}"
    place = found.pager.place(scope, single(request, "page_token"))
    page = await runs.page(found.database, who.owner, place, size + 1)
    shown = [wes.summary(run.id, run.state, run.tags, run.started_at, run.ended_at) for run in page[:size]]
    return send({"runs": shown, "next_page_token": found.pager.token(scope, page, size)})


@router.get("/runs/{run_id}/status")
async def get_run_status(request: Request, run_id: str) -> Response:
    """The state of one run."""
    who, wanted = await person(request), row_id(run_id)
    state = await runs.status(context(request).database, who.owner, wanted)
    body = b'{"run_id":"%b","state":"%b"}' % (run_id.encode(), state.encode())
    return Response(body, media_type="application/json")


@router.get("/runs/{run_id}")
async def get_run_log(request: Request, run_id: str) -> Response:
    """One whole run, with its first task logs inline for WES 1.0 clients."""
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    base = base_url(request)
    url = f"{base}/ga4gh/wes/v1/runs/{run.id}"
    log = wes.engine_log(run.document["workflow_url"], run.report, run.detail, url, run.started_at, run.ended_at)
    shown = wes.run_log(run.id, run.state, run.document, log, url, run.report.outputs)
    inline = await tasks.of_run(found.database, run.id, None, INLINE_TASKS)
    return send({**shown, "task_logs": [_task_log(base, run.id, task) for task in inline]})


@router.get("/runs/{run_id}/tasks")
async def list_tasks(request: Request, run_id: str) -> Response:
    """The tasks of a run in the order they were made, as in its RunLog."""
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"tasks of {run.id}"
    place = found.pager.place(scope, single(request, "page_token"))
    page = await tasks.of_run(found.database, run.id, place, size + 1)
    shown = [_task_log(base_url(request), run.id, task) for task in page[:size]]
    return send({"task_logs": shown, "next_page_token": found.pager.token(scope, page, size)})


@router.get("/runs/{run_id}/tasks/{task_id}")
async def get_task(request: Request, run_id: str, task_id: str) -> Response:
    """One task of a run."""
    run, task = await _run_and_task(request, run_id, task_id)
    return send(_task_log(base_url(request), run.id, task))


@router.post("/runs/{run_id}/cancel")
async def cancel_run(request: Request, run_id: str) -> Response:
    """Cancel a run; one that ended stays as it is."""
    who = await person(request)
    await runs.cancel(context(request).database, who.owner, row_id(run_id))
    failpoint("api-cancel-committed")
    return send({"run_id": run_id})


@router.get("/runs/{run_id}/logs/{stream}")
async def get_run_stream(request: Request, run_id: str, stream: str) -> Response:
    """The engine's own stdout or stderr, as far as it has come. `Range` is served."""
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    streams = {"stdout": run.report.stdout, "stderr": run.report.stderr}
    return await send_log(request, found.files, streams.get(stream, ""))


@router.get("/runs/{run_id}/tasks/{task_id}/logs/{stream}")
async def get_task_stream(request: Request, run_id: str, task_id: str, stream: str) -> Response:
    """The stdout or stderr of a task's last step, as far as it has come. `Range` is served."""
    _, task = await _run_and_task(request, run_id, task_id)
    report = task.report or {}
    directory, steps = report.get("directory", ""), report.get("steps", [])
    known = directory and stream in ("stdout", "stderr")
    path = f"{directory}/logs/{max(0, len(steps) - 1)}.{stream}" if known else ""
    return await send_log(request, context(request).files, path)


def _engine(found: Context, document: dict[str, Any]) -> EngineInfo:
    """The engine for a request, by type, version and, if given, its own name and version. Types are compared without
    case."""
    wanted, version = document["workflow_type"].upper(), document["workflow_type_version"].removeprefix("v")
    named = document.get("workflow_engine")
    for engine in found.engines:
        types = {name.upper(): versions for name, versions in engine.types.items()}
        if wanted in types and (named is None or named.lower() == engine.name):
            if version not in types[wanted]:
                raise InvalidRequest(f"workflow_type_version: {engine.name} runs {', '.join(types[wanted])}")
            if document.get("workflow_engine_version", engine.version) != engine.version:
                raise InvalidRequest(f"workflow_engine_version: there is {engine.name} {engine.version}")
            return engine
    offered = sorted({name for engine in found.engines for name in engine.types})
    raise InvalidRequest(f"workflow_type: this service runs {', '.join(offered)}; see service-info for engines")


def _check_parameters(engine: EngineInfo, given: Mapping[str, str]) -> None:
    known = {parameter.name: parameter for parameter in engine.parameters}
    if not set(given) <= set(known):
        raise InvalidRequest(f"workflow_engine_parameters: {engine.name} takes {', '.join(known)}")
    for name, value in given.items():
        if complaint := known[name].complaint(value):
            raise InvalidRequest(f"workflow_engine_parameters.{name} {complaint}")


async def _check_workflow(found: Context, workflow_url: str, names: list[tuple[str, ...]]) -> None:
    if not wes.is_relative(workflow_url):
        await urls.check(workflow_url, allow_private=found.allow_private_sources)
    elif attachments.check_name(workflow_url) not in names:
        raise InvalidRequest("workflow_url is the name of no attachment, and no http(s) URL")


async def _accept(request: Request, document: dict[str, Any], uploads: Sequence[UploadFile]) -> Response:
    found, who = context(request), await person(request)
    key = idempotency_key(request)
    engine = _engine(found, document)
    _check_parameters(engine, document.get("workflow_engine_parameters", {}))
    names = attachments.check_names([file.filename or "" for file in uploads])
    await _check_workflow(found, document["workflow_url"], names)
    files = [(name, file.file) for name, file in zip(names, uploads, strict=True)]
    run_id = await _make(found, who.owner, document, engine, files, key)
    return send({"run_id": str(run_id)})


async def _make(
    found: Context,
    owner: Owner,
    document: dict[str, Any],
    engine: EngineInfo,
    files: Sequence[tuple[tuple[str, ...], BinaryIO]],
    key: str | None,
) -> UUID:
    """Write the attachments, then the row. What is refused leaves nothing behind; where that is not known, the files
    stay, with their mark, for the reconciler to look at later: the row may still be on its way."""
    run_id = uuid4()
    directory = PurePosixPath(owner.directory) / f"run-{run_id.hex}"
    folder = found.files / directory
    try:
        await asyncio.to_thread((folder / "attachments").mkdir, parents=True)
        (folder / INCOMING).touch()
        await attachments.write(folder / "attachments", files, found.attachment_bytes)
        digest = await asyncio.to_thread(_digest, document, folder) if key else None
        failpoint("api-before-commit")
    except Exception:
        await _discard(folder)
        raise
    new = runs.NewRun(run_id, engine.name, document, str(directory), key, digest)
    try:
        made = await runs.create(found.database, owner, new)
    except (Conflict, InvalidRequest, TooLarge):
        await _discard(folder)
        raise
    failpoint("api-after-commit")
    if made == run_id:
        (folder / INCOMING).unlink(missing_ok=True)
    else:
        await _discard(folder)
    return made


async def _discard(folder: Path) -> None:
    """Remove the files of a run that was not made."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _digest(document: dict[str, Any], folder: Path) -> str:
    """What a request asked for, whatever its boundary was."""
    told = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        told.update(str(path.relative_to(folder)).encode() + b"\0")
        with path.open("rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
    return told.hexdigest()


async def _run_and_task(request: Request, run_id: str, task_id: str) -> tuple[runs.Run, Task]:
    found, who = context(request), await person(request)
    run = await runs.get(found.database, who.owner, row_id(run_id))
    task = await tasks.get(found.database, Caller(who.owner, run.id), row_id(task_id))
    return run, task


def _task_log(base: str, run_id: UUID, task: Task) -> dict[str, Any]:
    return wes.task_log(task.id, task.document, task.report, task.detail, wes.task_urls(base, run_id, task.id))
