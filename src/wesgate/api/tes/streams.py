"""The whole streams of a task's steps, as far as they have come or as they come: a route of our own beside TES."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import caller
from wesgate.api.dependencies import context, row_id, single
from wesgate.api.following import Now, is_followed, place, send_growing
from wesgate.api.logs import STREAMS, log_path, send_log
from wesgate.core.errors import InvalidRequest, NotFound
from wesgate.core.owner import Caller
from wesgate.core.states import TERMINAL
from wesgate.db import tasks
from wesgate.db.session import Database
from wesgate.ga4gh.views import Task

router = APIRouter(tags=["TES"])

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of one attempt, from 1 on, of a task."""

    task_id: UUID
    attempt: int
    step: int
    name: str

    def path(self, task: Task) -> str:
        """Where it is, relative to the shared root; empty while that is not known."""
        report = task.reports[self.attempt - 1] if self.attempt <= len(task.reports) else None
        return log_path(report, self.step, self.name)

    def is_over(self, task: Task) -> bool:
        """Whether nothing more will be written."""
        return task.state in TERMINAL or self.attempt < len(task.reports)


@router.get("/tasks/{task_id}/logs/{step}/{stream}")
async def get_step_stream(request: Request, task_id: str, step: str, stream: str) -> Response:
    """The stdout or stderr of a step (from 0 on), of the last attempt or of `attempt`. `Range` is served, and
    `tail` lines; with `follow=true` it comes as server-sent events until the task has ended. An addition of ours."""
    found, who = context(request), await caller(request)
    follow, _ = is_followed(request), place(request, several=False)
    asked = single(request, "attempt")
    task = await tasks.get(found.database, who, row_id(task_id))
    wanted = _named(task, asked, step, stream)
    if follow:
        return await send_growing(request, task.id, partial(_look, found.database, who, wanted))
    return await send_log(request, found.files, wanted.path(task), not_yet=True)


async def _look(database: Database, who: Caller, wanted: Stream) -> Now:
    task = await tasks.get(database, who, wanted.task_id)
    return Now(wanted.path(task), wanted.is_over(task))


def _named(task: Task, attempt: str | None, step: str, name: str) -> Stream:
    """The stream that these words name, or NotFound."""
    there = max(1, len(task.reports))  # the first will come
    if attempt is not None and not _NUMBER.fullmatch(attempt):
        raise InvalidRequest("attempt is a whole number from 1 on")
    number = int(attempt) if attempt else there
    known = _NUMBER.fullmatch(step) and int(step) < len(task.document["executors"]) and name in STREAMS
    if not known or not 1 <= number <= there:
        raise NotFound
    return Stream(task.id, number, int(step), name)
