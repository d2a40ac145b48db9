"""The lists of runs: a page of those that a caller looks for, and how many there are in each state."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from wesgate.api.auth import person
from wesgate.api.dependencies import context, send, several, single
from wesgate.api.paging import page_size
from wesgate.api.wes.clients import client_of
from wesgate.core.errors import InvalidRequest
from wesgate.core.states import State
from wesgate.db import runs
from wesgate.db.lists.filters import Filter
from wesgate.ga4gh import finding, wes

router = APIRouter(tags=["WES"])

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
MOST_TAGS = 16
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)


@router.get("/runs")
async def list_runs(request: Request) -> Response:
    """The caller's runs, newest first: all, or those that fit `state`, `tag`, `name`, `since`, `until` and `search`,
    which are additions of ours."""
    found, who, asked = context(request), await person(request), wanted(request)
    size = page_size(single(request, "page_size"), DEFAULT_PAGE, LARGEST_PAGE)
    scope = f"runs {who.owner.id} {asked}"
    place = found.pager.place(scope, single(request, "page_token"))
    page = await runs.page(found.database, who.owner, asked, place, size + 1)
    states = client_of(request).states
    shown = [
        wes.summary(run.id, states.get(run.state, run.state), run.tags, run.started_at, run.ended_at)
        for run in page[:size]
    ]
    return send({"runs": shown, "next_page_token": found.pager.token(scope, page, size)})


@router.get("/runs/counts")
async def count_runs(request: Request) -> Response:
    """How many of the caller's runs that fit the same filter are in each state. An addition of ours."""
    found, who = context(request), await person(request)
    counts = await found.counts.of(found.database, who.owner, wanted(request))
    return send({"counts": counts, "total": sum(counts.values())})


def wanted(request: Request) -> Filter:
    """The filter that the query asks for."""
    search = single(request, "search")
    return Filter(
        name_prefix=single(request, "name") or "",
        state=_state(single(request, "state")),
        tags=_tags(several(request, "tag")),
        since=moment("since", single(request, "since")),
        until=moment("until", single(request, "until")),
        words=finding.searched(search) if search else (),
    )


def _state(text: str | None) -> State | None:
    if text and text not in State.__members__:
        raise InvalidRequest("state is not a state of WES 1.1")
    return State(text) if text else None


def _tags(sent: list[str]) -> tuple[tuple[str, str], ...]:
    """`key:value`, or a key alone for any value. A key has no colon; a value may."""
    pairs = [text.partition(":")[::2] for text in sent if text]
    if not all(key for key, _ in pairs):
        raise InvalidRequest("tag is KEY:VALUE, or KEY for any value")
    if len(pairs) > MOST_TAGS:
        raise InvalidRequest(f"tag is given more than {MOST_TAGS} times")
    return tuple(pairs)


def moment(name: str, text: str | None) -> datetime | None:
    """A time as RFC 3339 has it, or a day, which begins at midnight UTC."""
    if not text:
        return None
    if not _MOMENT.fullmatch(text):
        raise InvalidRequest(f"{name} is a time such as 2026-11-21T09:30:00Z or a day; in a URL, + is %2B")
    try:
        told = datetime.fromisoformat(text.upper())
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name} is a time that no calendar has") from None
