"""The routes of WES 1.1 that show and cancel runs, at `/ga4gh/wes/v1`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.bodies.whole import worked_out
from wesgate.api.dependencies import base_url, context, row_id, send
from wesgate.api.wes import cached_calls, events, lists, outputs, streams, submit
from wesgate.api.wes import tasks as tasks_of
from wesgate.api.wes.clients import client_of
from wesgate.core.failpoints import failpoint
from wesgate.db import runs, tasks
from wesgate.ga4gh import run_parameters, service_info, wes, wes_clients
from wesgate.ga4gh.views import encode, with_member

router = APIRouter(tags=["WES"])

INLINE_TASKS = 1000
"""How many task logs a RunLog holds for clients that know no /tasks; the rest are there."""


@router.get("/service-info")
async def get_service_info(request: Request) -> Response:
    """What this WES is, what it runs, and how many runs the caller has."""
    found, who = context(request), await person(request)
    counts = await found.counts.of(found.database, who.owner)
    protocols = sorted({"file", "http", "https", *(store.url.partition(":")[0] for store in found.stores)})
    info = service_info.wes(found.about, found.engines, run_parameters.KNOWN, counts, protocols)
    return send(service_info.as_1_0(info) if client_of(request).of_1_0 else info)


@router.get("/runs/{run_id}/status")
async def get_run_status(request: Request, run_id: str) -> Response:
    """The state of one run."""
    who, wanted = await person(request), row_id(run_id)
    state = await runs.status(context(request).database, who.owner, wanted)
    if state in wes_clients.FOLDED:
        document = (await runs.get(context(request).database, who.owner, wanted)).document
        state = client_of(request, document).states.get(state, state)
    body = b'{"run_id":"%b","state":"%b"}' % (run_id.encode(), state.encode())
    return Response(body, media_type="application/json")


@router.get("/runs/{run_id}")
async def get_run_log(request: Request, run_id: str) -> Response:
    """One whole run, with its first task logs inline for WES 1.0 clients."""
    found, who = context(request), await person(request)
    run, params, outputs = await runs.log(found.database, who.owner, row_id(run_id))
    base = base_url(request)
    url = f"{base}/ga4gh/wes/v1/runs/{run.id}"
    log = wes.engine_log(run.document["workflow_url"], run.report, run.detail, url, run.started_at, run.ended_at)
    inline = await tasks.of_run(found.database, run.id, None, INLINE_TASKS)
    shown = {
        **wes.run_log(run.id, run.state, run.document, log, url),
        "task_logs": [tasks_of.task_log(base, run.id, task) for task in inline],
    }
    client = client_of(request, run.document)
    if client.text_outputs:
        outputs = await worked_out(len(outputs), lambda: wes_clients.outputs_of_text(outputs))
    return Response(_whole(wes_clients.run_log(shown, client), params, outputs), media_type="application/json")


def _whole(log: dict[str, Any], params: str, outputs: str) -> bytes:
    """A RunLog, as it is sent, of what may be large as it is stored."""
    asked = with_member(encode(log.pop("request")), "workflow_params", params.encode())
    return with_member(with_member(encode(log), "request", asked), "outputs", outputs.encode())


@router.post("/runs/{run_id}/cancel")
async def cancel_run(request: Request, run_id: str) -> Response:
    """Cancel a run; one that ended stays as it is."""
    who = await person(request)
    await runs.cancel(context(request).database, who.owner, row_id(run_id))
    failpoint("api-cancel-committed")
    return send({"run_id": run_id})


router.routes[:0] = lists.router.routes  # /runs/counts is no run
router.routes += [*submit.router.routes, *tasks_of.router.routes, *streams.router.routes]
router.routes += [*events.router.routes, *outputs.router.routes, *cached_calls.router.routes]
