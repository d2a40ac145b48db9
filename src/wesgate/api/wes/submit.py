"""Accept a run: read the request, check what can be checked at once, write its attachments, make the row."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from wesgate.api import places
from wesgate.api.auth import person
from wesgate.api.bodies.form import Form, read_form, read_plain_form
from wesgate.api.bodies.whole import read_json, worked_out
from wesgate.api.dependencies import Context, context, idempotency_key, send, single
from wesgate.core.errors import Conflict, InvalidRequest, KeyReused, NotFound, TooLarge
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller, Owner
from wesgate.core.paths import INCOMING
from wesgate.core.states import TERMINAL
from wesgate.db import runs
from wesgate.ga4gh import run_parameters, strict, wes
from wesgate.ga4gh.service_info import EngineInfo
from wesgate.sources import attachments, resumed, submitted

router = APIRouter(tags=["WES"])

CHUNK_BYTES = 1 << 20

Files: TypeAlias = Sequence[tuple[tuple[str, ...], BinaryIO]]
"""The attachments by the parts of their names."""


@router.post("/runs")
async def run_workflow(request: Request) -> Response:
    """Accept a run: a multipart form as the spec has it, or the same fields as a plain form or a JSON object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with read_form(request, context(request).json_bytes) as form:
            return await _answer(request, await _document(form), form.attachments)
    if kind == "application/x-www-form-urlencoded":
        plain = await read_plain_form(request, context(request).json_bytes)
        return await _answer(request, await _document(plain))
    if kind == "application/json":
        body = await read_json(request)
        return await _answer(request, await worked_out(len(body), lambda: wes.read_run(strict.parse(body))))
    raise InvalidRequest("a run request is multipart/form-data, or application/json")


async def _document(form: Form) -> dict[str, Any]:
    return await worked_out(form.size, lambda: wes.read_run(wes.read_fields(form.fields)))


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


async def _answer(request: Request, document: dict[str, Any], uploads: Sequence[UploadFile] = ()) -> Response:
    found, who = context(request), await person(request)
    key = idempotency_key(request)
    if _is_dry(request):
        _, files = await _check(found, who, document, uploads)
        return send(await _look(found, who.owner, document, files))
    try:
        run_id = await accept(found, who, document, key, uploads)
    except Conflict as error:
        raise KeyReused(str(error)) from None
    return send({"run_id": str(run_id)})


async def accept(
    found: Context, who: Caller, document: dict[str, Any], key: str | None, uploads: Sequence[UploadFile] = ()
) -> UUID:
    """The run of this request: the one that it made already, if it has a key, else a new one. Conflict if the key is
    that of another request.

    The key goes before the checks: what a run came from may be gone when its request is repeated."""
    digest = None
    if key:
        digest = await asyncio.to_thread(_digest, document, uploads)
        if made := await runs.made(found.database, who.owner, key, digest):
            return made
    engine, files = await _check(found, who, document, uploads)
    return await _make(found, who.owner, document, engine, files, key, digest)


async def _check(
    found: Context, who: Caller, document: dict[str, Any], uploads: Sequence[UploadFile]
) -> tuple[EngineInfo, Files]:
    """The engine for a request, and its attachments by name; InvalidRequest for what cannot be run here."""
    engine = _engine(found, document)
    _check_parameters(engine, document.get("workflow_engine_parameters", {}))
    terms = wes.terms(document)
    if terms.output_to:
        places.check_output_to(found, who, terms.output_to)
    names = attachments.check_names([file.filename or "" for file in uploads])
    files = [(name, file.file) for name, file in zip(names, uploads, strict=True)]
    with ExitStack() as opened:
        sent = dict(files)
        if terms.resume:
            earlier = await _resumable(found, who.owner, terms.resume, engine)
            sent = sent or resumed.named(found.files / earlier.directory, document, opened)
            resumed.check(sent, document)
        rules = submitted.Rules(found.stores, found.allow_private_sources, found.allowed_sources)
        await submitted.check(document["workflow_url"], terms.inputs_url, sent, rules)
    return engine, files


async def _resumable(found: Context, owner: Owner, run_id: str, engine: EngineInfo) -> runs.Run:
    """The run to go on with, which has ended."""
    what = "workflow_engine_parameters.resume"
    try:
        earlier = await runs.get(found.database, owner, UUID(hex=run_id))
    except NotFound:
        raise InvalidRequest(f"{what} must be the id of a run of yours") from None
    if earlier.state not in TERMINAL:
        raise InvalidRequest(f"{what}: that run has not ended; cancel it, or wait")
    if earlier.backend != engine.name:
        raise InvalidRequest(f"{what}: that run was of another engine than {engine.name}")
    return earlier


async def _make(
    found: Context,
    owner: Owner,
    document: dict[str, Any],
    engine: EngineInfo,
    files: Files,
    key: str | None,
    digest: str | None,
) -> UUID:
    """Write the attachments, then the row. What is refused leaves nothing behind; where that is not known, the files
    stay, with their mark, for the reconciler to look at later: the row may still be on its way."""
    run_id = uuid4()
    directory = PurePosixPath(owner.directory) / f"run-{run_id.hex}"
    folder = found.files / directory
    try:
        await _lay(found, folder, document, files)
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


async def _look(found: Context, owner: Owner, document: dict[str, Any], files: Files) -> Mapping[str, Any]:
    """What a run of this would be, with nothing kept; its files have the mark, should this process be killed."""
    run_id = uuid4()
    folder = found.files / owner.directory / f"run-{run_id.hex}"
    try:
        await _lay(found, folder, document, files)
        return await found.check(wes.run_spec(run_id, owner.directory, PurePosixPath(folder), document))
    finally:
        await _discard(folder)


def _is_dry(request: Request) -> bool:
    wanted = single(request, "dry_run") or "false"
    if wanted not in ("true", "false"):
        raise InvalidRequest("dry_run must be true or false")
    return wanted == "true"


async def _lay(found: Context, folder: Path, document: dict[str, Any], files: Files) -> None:
    """Write the attachments, with the mark of a directory that has no row."""

    def lay() -> None:
        folder.mkdir(parents=True)
        (folder / INCOMING).touch()
        if not files and (earlier := wes.terms(document).resume):
            resumed.link(folder.with_name(f"run-{earlier}"), folder)
        (folder / "attachments").mkdir(exist_ok=True)
        attachments.write(folder / "attachments", files, found.attachment_bytes)

    await asyncio.to_thread(lay)  # all at once: to go to a thread and back takes as long as a small file


async def _discard(folder: Path) -> None:
    """Remove the files of a run that was not made."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _digest(document: dict[str, Any], uploads: Sequence[UploadFile]) -> str:
    """What a request asks for, whatever its boundary is. Stored digests are held against it: as those were made, it is
    of the files of a new run's directory, the mark among them."""
    folder = PurePosixPath("attachments")
    files = [(folder / (upload.filename or "").removeprefix("./"), upload.file) for upload in uploads]
    told = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for path, file in sorted([(PurePosixPath(INCOMING), BytesIO()), *files], key=itemgetter(0)):
        told.update(str(path).encode(errors="surrogatepass") + b"\0")
        content = hashlib.sha256()
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            content.update(piece)
        told.update(content.digest())
    return told.hexdigest()
