"""What a head tells of the calls that its engine's cache answered: a route of our own, for run tokens alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wesgate.api.auth import caller
from wesgate.api.bodies.whole import read_json, worked_out
from wesgate.api.dependencies import context, row_id, send
from wesgate.core.errors import NotPermitted
from wesgate.db import cached_calls
from wesgate.db.cached_calls import CachedCall
from wesgate.ga4gh import strict
from wesgate.ga4gh.views import timestamp
from wesgate.ga4gh.wes import FROM_CACHE

router = APIRouter(tags=["WES"])


class Call(BaseModel):
    """A call by its place in the run, and, if they are known, the task and the run that did the work."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    call: Annotated[str, Field(min_length=1, max_length=4096)]
    name: Annotated[str, Field(min_length=1, max_length=1024)]
    task: Annotated[str, Field(max_length=64)] = ""
    run: Annotated[str, Field(max_length=64)] = ""


class Calls(BaseModel):
    """What is sent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    calls: Annotated[list[Call], Field(max_length=1000)]


@router.post("/runs/{run_id}/cached-calls")
async def tell_cached_calls(request: Request, run_id: str) -> Response:
    """Add calls that were answered from the call cache to the tasks of a run. Telling one twice changes nothing."""
    who, wanted = await caller(request), row_id(run_id)
    if who.run_id != wanted:
        raise NotPermitted("only the head of this run tells of its calls")
    body = await read_json(request)
    sent = await worked_out(len(body), lambda: _read(body))
    now = timestamp(datetime.now(UTC))
    await cached_calls.record(context(request).database, who, [_row(wanted, call, now) for call in sent.calls])
    return send({})


def _read(body: bytes) -> Calls:
    try:
        return Calls.model_validate(strict.without_nulls(strict.parse(body)))
    except ValidationError as error:
        raise strict.refused(error) from None


def _row(run_id: UUID, call: Call, now: str) -> CachedCall:
    known = f": task {call.task} of run {call.run}" if call.task and call.run else ""
    report = {"start_time": now, "end_time": now, "system_logs": [f"{FROM_CACHE}{known}"], "steps": [{"exit_code": 0}]}
    document = {"name": call.name, "executors": [{"command": []}]}
    return CachedCall(uuid5(run_id, call.call), call.name, document, report, _source(call.run))


def _source(run: str) -> UUID | None:
    with suppress(ValueError):
        return UUID(run)
    return None
