"""The streams of a run's engine and tasks, as far as they have come or as they come: routes of our own beside WES."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.dependencies import context, row_id
from wesgate.api.following import Now, is_followed, place, send_growing
from wesgate.api.logs import STREAMS, log_path, send_log
from wesgate.api.wes.tasks import run_and_task
from wesgate.core.errors import NotFound
from wesgate.core.owner import Caller, Owner
from wesgate.core.states import TERMINAL
from wesgate.db import history, tasks
from wesgate.db.session import Database
from wesgate.ga4gh.views import Task

router = APIRouter(tags=["WES"])


@router.get("/runs/{run_id}/logs/{stream}")
async def get_run_stream(request: Request, run_id: str, stream: str) -> Response:
    """The engine's own stdout or stderr, as far as it has come. `Range` is served, and `tail` lines; with `follow=true`
    it comes as server-sent events until the run has ended, however often the engine is started."""
    found, who = context(request), await person(request)
    follow, _ = is_followed(request), place(request, several=True)
    _check(stream)
    look = partial(_look_at_run, found.database, who.owner, row_id(run_id), stream)
    now = await look()
    if follow:
        return await send_growing(request, row_id(run_id), look, several=True)
    return await send_log(request, found.files, now.path, not_yet=True)


@router.get("/runs/{run_id}/tasks/{task_id}/logs/{stream}")
async def get_task_stream(request: Request, run_id: str, task_id: str, stream: str) -> Response:
    """The stdout or stderr of a task's last step, as far as it has come. `Range` is served, and `tail` lines; with
    `follow=true` it comes as server-sent events until the task has ended, however often it is tried."""
    found, who = context(request), await person(request)
    follow, _ = is_followed(request), place(request, several=True)
    _check(stream)
    run, task = await run_and_task(request, run_id, task_id)
    if follow:
        look = partial(_look_at_task, found.database, Caller(who.owner, run), task.id, stream)
        return await send_growing(request, task.id, look, several=True)
    return await send_log(request, found.files, _path(task, stream), not_yet=True)


def _check(stream: str) -> None:
    if stream not in STREAMS:
        raise NotFound


async def _look_at_run(database: Database, owner: Owner, run_id: UUID, stream: str) -> Now:
    state, path = await history.engine_log(database, owner, run_id, stream)
    return Now(path, state in TERMINAL)


async def _look_at_task(database: Database, who: Caller, task_id: UUID, stream: str) -> Now:
    task = await tasks.get(database, who, task_id)
    return Now(_path(task, stream), task.state in TERMINAL)


def _path(task: Task, stream: str) -> str:
    steps = (task.report or {}).get("steps", ())
    return log_path(task.report, max(0, len(steps) - 1), stream)
