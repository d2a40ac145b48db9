"""TES for many tasks at once, and for one that is only asked about: routes of our own beside the spec's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import caller
from wesgate.api.bodies.whole import LARGE_BYTES, read_json, worked_out
from wesgate.api.dependencies import Context, context, idempotency_key, send
from wesgate.api.tes import asked, described
from wesgate.core import codec
from wesgate.core.errors import InvalidRequest
from wesgate.core.failpoints import failpoint
from wesgate.core.owner import Caller
from wesgate.db import tasks
from wesgate.ga4gh import strict
from wesgate.ga4gh.dialects import Asking
from wesgate.ga4gh.parameters import Terms

router = APIRouter(tags=["TES"])

LARGEST_BATCH = 1000
KEY_ENDS = len(f"/{LARGEST_BATCH - 1}")


@router.post("/tasks:batch", openapi_extra=described.BATCH)
async def create_tasks(request: Request) -> Response:
    """Accept the tasks of `{"tasks": [...]}`, 1 to 1000, all or none; `{"ids": [...]}` are in their order. With an
    `Idempotency-Key`, the same body gives the same ids. An addition of ours."""
    found, who = context(request), await caller(request)
    key = idempotency_key(request)
    if key and len(key) > 255 - KEY_ENDS:
        raise InvalidRequest(f"Idempotency-Key must be 1 to {255 - KEY_ENDS} characters for a batch")
    body, asking = await read_json(request), asked.asking(request, found)
    # A small body may hold a thousand tasks, which take as long as a large one.
    new = await worked_out(LARGE_BYTES, lambda: _new(found, who, key, body, asking))
    failpoint("api-before-commit")
    ids = await tasks.create_all(found.database, who, new)
    failpoint("api-after-commit")
    return send({"ids": list(map(str, ids))})


@router.post("/tasks:cancel", openapi_extra=described.CANCEL_ALL)
async def cancel_tasks(request: Request) -> Response:
    """Cancel all tasks that a list with these filters would show; `{"canceled": N}` counts those that had neither ended
    nor were being canceled. An addition of ours."""
    found, who, wanted = context(request), await caller(request), asked.wanted(request)
    if not wanted:
        raise InvalidRequest(
            "give at least one of tag_key, name_prefix and state: all tasks are never canceled at once"
        )
    canceled = await tasks.cancel_all(found.database, who, wanted)
    failpoint("api-cancel-committed")
    return send({"canceled": canceled})


@router.post("/tasks:validate", openapi_extra=described.VALIDATE)
async def validate_task(request: Request) -> Response:
    """Check a task as if it were created: the document as it would be kept, the terms it would run on, and what it
    would be warned about. Nothing is stored. An addition of ours."""
    found, who = context(request), await caller(request)
    body, asking = await read_json(request), asked.asking(request, found)
    accepted = await worked_out(len(body), lambda: asked.accept(found, who, strict.parse(body), asking))
    return send({
        "task": accepted.document,
        "executor": found.executor,
        "submitter": accepted.submitter,
        "policy": _policy(accepted.terms),
        "warnings": accepted.warnings,
    })  # fmt: skip


def _policy(terms: Terms) -> dict[str, Any]:
    most = {"max_attempts": terms.max_attempts, "max_preemptions": terms.max_preemptions}
    return strict.known(codec.dump(terms.policy)) | most


def _new(found: Context, who: Caller, key: str | None, body: bytes, asking: Asking) -> list[tasks.NewTask]:
    sent = strict.parse(body)
    documents = sent.get("tasks") if isinstance(sent, dict) else None
    if not isinstance(documents, list) or not 1 <= len(documents) <= LARGEST_BATCH:
        raise InvalidRequest(f'a batch is a JSON object {{"tasks": [...]}} of 1 to {LARGEST_BATCH} tasks')
    digest = asked.digest_of(body, key)
    accepted = asked.accept_all(found, who, documents, asking)
    return [
        asked.new_task(found, one, f"{key}/{number}" if key else None, digest) for number, one in enumerate(accepted)
    ]
