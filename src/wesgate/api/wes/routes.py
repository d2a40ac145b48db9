"""The routes of WES 1.1 that show and cancel runs, at `/ga4gh/wes/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.dependencies import base_url, context, row_id, send, single
from wesgate.api.paging import page_size
from wesgate.api.wes import streams, submit
from wesgate.api.wes import tasks as tasks_of
from wesgate.core.failpoints import failpoint
from wesgate.db import runs, tasks
from wesgate.ga4gh import run_parameters, service_info, wes

router = APIRouter(tags=["WES"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
INLINE_TASKS = 1000
"""How many task logs a RunLog holds for clients that know no /tasks; the rest are there."""


@router.get("/service-info")
async def get_service_info(request: Request) -> Response:
    """What this WES is, what it runs, and how many runs the caller has."""
    found, who = context(request), await person(request)
    counts = await runs.counts(found.database, who.owner)
    return send(service_info.wes(found.about, found.engines, run_parameters.KNOWN, counts, ["file", "http", "https"]))


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
    return send({**shown, "task_logs": [tasks_of.task_log(base, run.id, task) for task in inline]})


@router.post("/runs/{run_id}/cancel")
async def cancel_run(request: Request, run_id: str) -> Response:
    """Cancel a run; one that ended stays as it is."""
    who = await person(request)
    await runs.cancel(context(request).database, who.owner, row_id(run_id))
    failpoint("api-cancel-committed")
    return send({"run_id": run_id})


router.routes += [*submit.router.routes, *tasks_of.router.routes, *streams.router.routes]
