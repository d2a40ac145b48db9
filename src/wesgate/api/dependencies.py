"""What the routes work with, and the few things that all of them do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from wesgate.api.events import Events
from wesgate.api.paging import Pager
from wesgate.core.errors import InvalidRequest, NotFound
from wesgate.core.spec import RunSpec, Store
from wesgate.db.counts import Counts
from wesgate.db.session import Database
from wesgate.ga4gh import strict
from wesgate.ga4gh.parameters import Site
from wesgate.ga4gh.service_info import About, EngineInfo
from wesgate.ga4gh.views import encode
from wesgate.identity.callers import Callers

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
LABEL_KEYS = "awe:"
"""How the keys begin of runs that AWE's labels name."""
OWN_KEYS = ("wg-", LABEL_KEYS)
"""How the keys begin that are not a caller's to choose: heads are queued under the first (`core.spec.attempt_key`)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What one API process has: made by `wiring`, the same for every request. `own_urls` are where it is reached
    besides loopback; `stores` are without their options; `submitter` and `wes_client` are the dialects that everybody
    is spoken to in, by TES and by WES, empty for each their own; `price_per_hour_usd` is what an hour of a task costs,
    if the site says. `check` looks at a run without running it."""

    database: Database
    callers: Callers
    pager: Pager
    events: Events
    about: About
    engines: Sequence[EngineInfo]
    executor: str
    site: Site
    submitter: str
    wes_client: str
    price_per_hour_usd: float | None
    files: Path
    roots: Sequence[str]
    stores: Sequence[Store]
    public_url: str | None
    own_urls: Sequence[str]
    allow_private_sources: bool
    allowed_sources: Sequence[str]
    check: Callable[[RunSpec], Awaitable[Mapping[str, Any]]]
    json_bytes: int
    attachment_bytes: int
    counts: Counts = field(default_factory=Counts)


def context(request: Request) -> Context:
    """The context of the app that serves this request."""
    found: Context = request.app.state.context
    return found


def row_id(text: str) -> UUID:
    """An id from a path; anything but the one form that we print is an id of nothing."""
    if not _UUID.fullmatch(text):
        raise NotFound
    return UUID(text)


def idempotency_key(request: Request) -> str | None:
    """The `Idempotency-Key` header: 1 to 255 visible ASCII characters, and not one of ours."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 255 visible ASCII characters")
    if key is not None and key.startswith(OWN_KEYS):
        own = " or ".join(OWN_KEYS)
        raise InvalidRequest(f"an Idempotency-Key that begins with {own} is wesgate's own; choose another")
    return key


def base_url(request: Request) -> str:
    """Where clients reach this service: as configured, else as this request did."""
    return context(request).public_url or f"{request.url.scheme}://{request.url.netloc}"


def send(document: Any) -> Response:
    """A document as the answer."""
    return Response(encode(document), media_type="application/json")


def single(request: Request, name: str) -> str | None:
    """A query parameter that may be given once."""
    values = several(request, name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} is given more than once")
    return values[0] if values else None


def several(request: Request, name: str) -> list[str]:
    """A query parameter that may be given any number of times."""
    if not request.scope["query_string"]:  # to read nothing takes a tenth of a status route's time
        return []
    values: list[str] = strict.clean(request.query_params.getlist(name), name)
    return values
