"""What a TES request asks for, as its query, its headers and its body have it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from wesgate.api import places
from wesgate.api.dependencies import Context, several, single
from wesgate.core.errors import InvalidRequest
from wesgate.core.owner import Caller
from wesgate.core.states import State
from wesgate.db.lists.filters import Filter
from wesgate.db.tasks import NewTask
from wesgate.ga4gh import tes
from wesgate.ga4gh.dialects import Asking
from wesgate.ga4gh.tes import Accepted
from wesgate.ga4gh.views import View


def asking(request: Request, found: Context) -> Asking:
    """How it was asked, by which the answer is folded."""
    return Asking(request.headers.get("user-agent", ""), request.url.path.startswith("/v1/"), found.submitter)


def view(request: Request) -> View:
    """`view`."""
    asked = single(request, "view") or View.MINIMAL
    if asked not in View.__members__:
        raise InvalidRequest("view is MINIMAL, BASIC or FULL")
    return View(asked)


def wanted(request: Request) -> Filter:
    """The filter of a list: `name_prefix`, `state`, `tag_key` and `tag_value`."""
    state = single(request, "state")
    if state and state not in State.__members__:
        raise InvalidRequest("state is not a state of TES 1.1")
    keys = [key for key in several(request, "tag_key") if key]
    values = several(request, "tag_value")
    if len(values) > len(keys):
        raise InvalidRequest("there are more tag_value than tag_key")
    padded = [*values, *[""] * (len(keys) - len(values))]
    prefix = single(request, "name_prefix") or ""
    return Filter(prefix, State(state) if state else None, tuple(zip(keys, padded, strict=True)))


def accept(found: Context, who: Caller, sent: Any, asked: Asking) -> Accepted:
    """A task document that can be run here, or InvalidRequest."""
    accepted = tes.read_task(sent, found.site, asked)
    places.check_urls(found, who, accepted.document)
    return accepted


def accept_all(found: Context, who: Caller, sent: Sequence[Any], asked: Asking) -> list[Accepted]:
    """The same of several, named by their place."""
    accepted = []
    for number, document in enumerate(sent):
        if not isinstance(document, dict):
            raise InvalidRequest(f"tasks.{number} is not a JSON object")
        try:
            accepted.append(accept(found, who, document, asked))
        except InvalidRequest as error:
            raise InvalidRequest(f"tasks.{number}.{error}") from None
    return accepted


def new_task(found: Context, accepted: Accepted, key: str | None = None, digest: str | None = None) -> NewTask:
    """A row for it."""
    resources = accepted.document.get("resources", {})
    return NewTask(
        id=uuid4(),
        backend=found.executor,
        document=accepted.document,
        cpu_cores=resources.get("cpu_cores") or 1.0,
        ram_gb=resources.get("ram_gb") or 0.0,
        terms=accepted.terms,
        submitter=accepted.submitter,
        warnings=accepted.warnings,
        key=key,
        digest=digest,
    )


def digest_of(body: bytes, key: str | None) -> str | None:
    """By which a body that comes with a key is known again."""
    return hashlib.sha256(body).hexdigest() if key else None
