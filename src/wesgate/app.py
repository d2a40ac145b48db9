"""create_app(context) -> FastAPI: the routers, the error renderer, the limits."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from wesgate import __version__
from wesgate.api import awe, problems, routing, webhooks
from wesgate.api.bodies.limits import BodyLimit
from wesgate.api.dependencies import Context
from wesgate.api.origin import OwnOrigin
from wesgate.api.tes import described
from wesgate.api.tes import routes as tes
from wesgate.api.wes import routes as wes

WES_BASE = "/ga4gh/wes/v1"
TES_BASES = ("/ga4gh/tes/v1", "/v1")
AWE_BASE = "/awe"


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return described.with_schemas(super().openapi())


def create_app(context: Context | None, *, body_bytes: int = 1 << 30) -> FastAPI:
    """The application. Without a context it answers nothing but its own description (`openapi`)."""
    app = _App(
        title="wesgate",
        version=__version__,
        description="WES 1.1 and TES 1.1 over a site's own compute.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    problems.install(app)
    app.add_middleware(BodyLimit, limit=body_bytes)
    app.add_middleware(OwnOrigin, urls=context.own_urls if context else ())
    for base in TES_BASES:
        routing.add(app, tes.router, base, described=base == TES_BASES[0])
    routing.add(app, wes.router, WES_BASE)
    routing.add(app, awe.router, AWE_BASE)
    routing.add(app, webhooks.router, WES_BASE)
    app.add_api_route("/healthz", _alive, methods=["GET", "HEAD"], include_in_schema=False)
    return app


async def _alive() -> Response:
    return Response(b"alive", media_type="text/plain")
