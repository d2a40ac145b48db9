"""The tasks of a run, as WES shows them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.dependencies import base_url, context, row_id, send, single
from wesgate.api.paging import page_size
from wesgate.db import runs, tasks
from wesgate.ga4gh import wes
from wesgate.ga4gh.views import Task

router = APIRouter(tags=["WES"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000


@router.get("/runs/{run_id}/tasks")
async def list_tasks(request: Request, run_id: str) -> Response:
    """The tasks of a run in the order they were made, as in its RunLog."""
    found, who, run = context(request), await person(request), row_id(run_id)
    await runs.status(found.database, who.owner, run)  # or there is no such run
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"tasks of {run}"
    place = found.pager.place(scope, single(request, "page_token"))
    page = await tasks.of_run(found.database, run, place, size + 1)
    shown = [task_log(base_url(request), run, task) for task in page[:size]]
    return send({"task_logs": shown, "next_page_token": found.pager.token(scope, page, size)})


@router.get("/runs/{run_id}/tasks/{task_id}")
async def get_task(request: Request, run_id: str, task_id: str) -> Response:
    """One task of a run."""
    run, task = await run_and_task(request, run_id, task_id)
    return send(task_log(base_url(request), run, task))


async def run_and_task(request: Request, run_id: str, task_id: str) -> tuple[UUID, Task]:
    """A run of the caller's, and a task of that run."""
    found, who, run = context(request), await person(request), row_id(run_id)
    return run, await tasks.get_of_run(found.database, who.owner, run, row_id(task_id))


def task_log(base: str, run_id: UUID, task: Task) -> dict[str, Any]:
    """`TaskLog` of a task of this run."""
    return wes.task_log(task.id, task.document, task.report, task.detail, wes.task_urls(base, run_id, task.id))
