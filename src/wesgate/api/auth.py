"""Who makes this request."""

from __future__ import annotations

from starlette.requests import Request

from wesgate.api.dependencies import context
from wesgate.core.errors import NotAuthenticated, NotPermitted
from wesgate.core.owner import Caller


async def caller(request: Request) -> Caller:
    """The caller; a run token speaks for its run."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise NotAuthenticated("there is more than one Authorization header")
    return await context(request).callers.of(headers[0] if headers else None)


async def person(request: Request) -> Caller:
    """The caller, who is not a head: run tokens are for TES alone."""
    found = await caller(request)
    if found.run_id is not None:
        raise NotPermitted("a run token is good for TES only")
    return found
