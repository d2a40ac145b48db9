"""The streams of a run's engine and tasks, as far as they have come: routes of our own beside WES."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.dependencies import context, row_id
from wesgate.api.logs import send_log
from wesgate.api.wes.tasks import run_and_task
from wesgate.db import runs

router = APIRouter(tags=["WES"])


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
    _, task = await run_and_task(request, run_id, task_id)
    report = task.report or {}
    directory, steps = report.get("directory", ""), report.get("steps", [])
    known = directory and stream in ("stdout", "stderr")
    path = f"{directory}/logs/{max(0, len(steps) - 1)}.{stream}" if known else ""
    return await send_log(request, context(request).files, path)
