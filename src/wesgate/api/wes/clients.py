"""Who asks, as far as it matters for the answer."""

from __future__ import annotations

from starlette.requests import Request

from wesgate.api.dependencies import context
from wesgate.ga4gh import wes_clients
from wesgate.ga4gh.wes_clients import Asking, Client, Document


def client_of(request: Request, document: Document | None = None) -> Client:
    """Whose question this is; `document` is the request of the run that it is about."""
    headers = request.headers
    asking = Asking(
        headers.get("user-agent", ""),
        headers.get("content-type", ""),
        headers.get("expect", ""),
        context(request).wes_client,
    )
    return wes_clients.who(asking, document)
