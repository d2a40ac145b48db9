"""The routes of TES 1.1, at `/ga4gh/tes/v1` and at `/v1`, where older clients look."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from wesgate.api.auth import caller
from wesgate.api.body import read_json, worked_out
from wesgate.api.dependencies import Context, context, idempotency_key, row_id, send, several, single
from wesgate.api.paging import page_size
from wesgate.core.errors import InvalidRequest
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller
from wesgate.core.paths import within
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.ga4gh import service_info, strict, tes
from wesgate.ga4gh.tes import View

router = APIRouter(tags=["TES"])

DEFAULT_PAGE, LARGEST_PAGE = 256, 2047
INPUT_SCHEMES = frozenset({"", "file", "http", "https"})
OUTPUT_SCHEMES = frozenset({"", "file"})


@router.get("/service-info")
async def get_service_info(request: Request) -> Response:
    """What this TES is and where its `file://` inputs may be."""
    found = context(request)
    return send(service_info.tes(found.about, _storage(found, await caller(request))))


@router.get("/tasks/service-info")
async def get_legacy_service_info(request: Request) -> Response:
    """The same as TES before 1.0 had it: py-tes 0.4 takes these three members only."""
    found = context(request)
    storage = _storage(found, await caller(request))
    return send({"name": found.about.name, "doc": found.about.description, "storage": storage})


@router.post("/tasks")
async def create_task(request: Request) -> Response:
    """Accept a task. With an `Idempotency-Key`, the same body gives the same task."""
    found, who = context(request), await caller(request)
    key = idempotency_key(request)
    body = await read_json(request)
    new = await worked_out(len(body), lambda: _new(found, who, key, body))
    failpoint("api-before-commit")
    task_id = await tasks.create(found.database, who, new)
    failpoint("api-after-commit")
    return send({"id": str(task_id)})


@router.get("/tasks")
async def list_tasks(request: Request) -> Response:
    """The caller's tasks, newest first."""
    found, who = context(request), await caller(request)
    view, wanted = _view(request), _filter(request)
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"tasks {who} {wanted}"
    place = found.pager.place(scope, single(request, "page_token"))
    whole = view is not View.MINIMAL
    page = await tasks.page(found.database, who, wanted, place, size + 1, whole=whole)
    shown: dict[str, object] = {"tasks": [_show(view, task) for task in page[:size]]}
    if token := found.pager.token(scope, page, size):
        shown["next_page_token"] = token
    return send(shown)


@router.get("/tasks/{task_id}")
async def get_task(request: Request, task_id: str) -> Response:
    """One task."""
    found, who, view = context(request), await caller(request), _view(request)
    wanted = row_id(task_id)
    if view is View.MINIMAL:
        state = await tasks.status(found.database, who, wanted)
        return Response(tes.minimal(wanted, state), media_type="application/json")
    return send(_show(view, await tasks.get(found.database, who, wanted)))


@router.post("/tasks/{task_id}:cancel")
async def cancel_task(request: Request, task_id: str) -> Response:
    """Cancel a task; one that ended stays as it is."""
    await tasks.cancel(context(request).database, await caller(request), row_id(task_id))
    failpoint("api-cancel-committed")
    return send({})


@router.get("/events")
async def stream_events(request: Request) -> Response:
    """The state changes of the caller's tasks as server-sent events, from `event: ready` on. An addition of ours."""
    stream = await context(request).events.of_tasks(await caller(request))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _new(found: Context, who: Caller, key: str | None, body: bytes) -> tasks.NewTask:
    document = tes.read_task(strict.parse(body))
    _check_urls(document, _roots(found, who))
    asked = document.get("resources", {})
    return tasks.NewTask(
        id=uuid4(),
        backend=found.executor,
        document=document,
        cpu_cores=asked.get("cpu_cores") or 1.0,
        ram_gb=asked.get("ram_gb") or 0.0,
        max_attempts=found.max_attempts,
        key=key,
        digest=hashlib.sha256(body).hexdigest() if key else None,
    )


def _roots(found: Context, who: Caller) -> list[str]:
    """The directories that the caller's files may be in: those of the site, and the owner's own."""
    return [*found.roots, str(found.files / who.owner.directory)]


def _storage(found: Context, who: Caller) -> list[str]:
    return [f"file://{quote(root)}" for root in _roots(found, who)]


def _check_urls(document: dict[str, list[dict[str, str]]], roots: list[str]) -> None:
    """Refuse early what no worker would be able or allowed to fetch; the worker resolves links and checks again."""
    for what, schemes in (("inputs", INPUT_SCHEMES), ("outputs", OUTPUT_SCHEMES)):
        for number, file in enumerate(document.get(what, ())):
            if file.get("content"):
                continue
            _check_url(file.get("url", ""), schemes, roots, f"{what}.{number}.url")


def _check_url(url: str, schemes: frozenset[str], roots: list[str], where: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidRequest(f"{where} is not a URL") from None
    if parts.scheme.lower() not in schemes:
        raise InvalidRequest(f"{where}: this service can use {', '.join(sorted(schemes - {''}))} and absolute paths")
    if parts.scheme.lower() in ("", "file") and url:
        path = unquote(parts.path) if parts.scheme else url
        if parts.netloc not in ("", "localhost") or not any(within(path, root) for root in roots):
            raise InvalidRequest(f"{where} is under none of the roots that service-info names in storage")


def _view(request: Request) -> View:
    asked = single(request, "view") or View.MINIMAL
    if asked not in View.__members__:
        raise InvalidRequest("view is MINIMAL, BASIC or FULL")
    return View(asked)


def _filter(request: Request) -> tasks.Filter:
    state = single(request, "state")
    if state and state not in State.__members__:
        raise InvalidRequest("state is not a state of TES 1.1")
    keys = [key for key in several(request, "tag_key") if key]
    values = several(request, "tag_value")
    if len(values) > len(keys):
        raise InvalidRequest("there are more tag_value than tag_key")
    padded = [*values, *[""] * (len(keys) - len(values))]
    prefix = single(request, "name_prefix") or ""
    return tasks.Filter(prefix, State(state) if state else None, tuple(zip(keys, padded, strict=True)))


def _show(view: View, task: tasks.Task) -> dict[str, object]:
    if view is View.MINIMAL:
        return {"id": str(task.id), "state": task.state}
    return tes.render(view, task.id, task.state, task.document, task.created_at, task.reports, task.detail)
