"""Accept a run: read the request, check what can be checked at once, write its attachments, make the row."""

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
from wesgate.api.dependencies import Context, context, idempotency_key, send
from wesgate.api.form import read_form
from wesgate.core.errors import Conflict, InvalidRequest, TooLarge
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Owner
from wesgate.core.paths import INCOMING
from wesgate.db import runs
from wesgate.ga4gh import run_parameters, strict, wes
from wesgate.ga4gh.service_info import EngineInfo
from wesgate.sources import attachments, urls

router = APIRouter(tags=["WES"])


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
    known = {parameter.name: parameter for parameter in (*run_parameters.KNOWN, *engine.parameters)}
    if not set(given) <= set(known):
        raise InvalidRequest(f"workflow_engine_parameters: a run of {engine.name} takes {', '.join(known)}")
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
