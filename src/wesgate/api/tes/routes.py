"""The routes of TES 1.1, at `/ga4gh/tes/v1` and at `/v1`, where older clients look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from wesgate.api import places
from wesgate.api.auth import caller
from wesgate.api.bodies.whole import read_json, worked_out
from wesgate.api.dependencies import Context, context, idempotency_key, row_id, send, single
from wesgate.api.paging import page_size
from wesgate.api.tes import asked, bulk, described, streams
from wesgate.api.tes.live import with_tails
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller
from wesgate.db import tasks
from wesgate.ga4gh import parameters, service_info, strict
from wesgate.ga4gh.dialects import Asking, may_be_folded, shown
from wesgate.ga4gh.views import Task, View, encode, minimal, render

router = APIRouter(tags=["TES"])

DEFAULT_PAGE, LARGEST_PAGE = 256, 2047


@router.get("/service-info", openapi_extra=described.SERVICE_INFO)
async def get_service_info(request: Request) -> Response:
    """What this TES is and where its `file://` inputs may be."""
    found = context(request)
    return send(service_info.tes(found.about, places.storage(found, await caller(request)), parameters.KNOWN))


@router.get("/tasks/service-info", openapi_extra=described.LEGACY_SERVICE_INFO)
async def get_legacy_service_info(request: Request) -> Response:
    """The same as TES before 1.0 had it: py-tes 0.4 takes these three members only."""
    found = context(request)
    storage = places.storage(found, await caller(request))
    return send({"name": found.about.name, "doc": found.about.description, "storage": storage})


@router.post("/tasks", openapi_extra=described.CREATE)
async def create_task(request: Request) -> Response:
    """Accept a task. With an `Idempotency-Key`, the same body gives the same task."""
    found, who = context(request), await caller(request)
    key = idempotency_key(request)
    body = await read_json(request)
    asking = asked.asking(request, found)
    new = await worked_out(len(body), lambda: _new(found, who, key, body, asking))
    failpoint("api-before-commit")
    task_id = await tasks.create(found.database, who, new)
    failpoint("api-after-commit")
    return send({"id": str(task_id)})


@router.get("/tasks", openapi_extra=described.LIST)
async def list_tasks(request: Request) -> Response:
    """The caller's tasks, newest first."""
    found, who = context(request), await caller(request)
    view, wanted = asked.view(request), asked.wanted(request)
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"tasks {who} {wanted}"
    place = found.pager.place(scope, single(request, "page_token"))
    asking = asked.asking(request, found)
    if view is View.MINIMAL:
        short = await tasks.short_page(found.database, who, wanted, place, size + 1)
        token = found.pager.token(scope, short, size)
        return Response(_minimal_page(short[:size], asking, token), media_type="application/json")
    page = await tasks.page(found.database, who, wanted, place, size + 1)
    answer: dict[str, object] = {"tasks": await _shown(found, view, page[:size], asking)}
    if token := found.pager.token(scope, page, size):
        answer["next_page_token"] = token
    return send(answer)


@router.get("/tasks/{task_id}", openapi_extra=described.GET)
async def get_task(request: Request, task_id: str) -> Response:
    """One task."""
    found, who, view = context(request), await caller(request), asked.view(request)
    wanted = row_id(task_id)
    if view is View.MINIMAL:
        state, submitter = await tasks.status(found.database, who, wanted)
        if found.submitter or may_be_folded(state, submitter):
            state = shown(state, submitter, asked.asking(request, found))
        return Response(minimal(wanted, state), media_type="application/json")
    (task,) = await _shown(found, view, [await tasks.get(found.database, who, wanted)], asked.asking(request, found))
    return send(task)


@router.post("/tasks/{task_id}:cancel", openapi_extra=described.CANCEL)
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


def _new(found: Context, who: Caller, key: str | None, body: bytes, asking: Asking) -> tasks.NewTask:
    accepted = asked.accept(found, who, strict.parse(body), asking)
    return asked.new_task(found, accepted, key, asked.digest_of(body, key))


async def _shown(found: Context, view: View, page: Sequence[Task], asking: Asking) -> list[dict[str, Any]]:
    told = await with_tails(found.files, page) if view is View.FULL else page
    return [render(view, task, asking, found.price_per_hour_usd) for task in told]


def _minimal_page(page: Sequence[tasks.Short], asking: Asking, token: str) -> bytes:
    listed = b",".join([minimal(task.id, shown(task.state, task.submitter, asking)) for task in page])
    rest = b',"next_page_token":%b' % encode(token) if token else b""
    return b'{"tasks":[%b]%b}' % (listed, rest)


router.routes += [*bulk.router.routes, *streams.router.routes]
