"""Routes as FastAPI describes them and as Starlette would serve them.

Every endpoint here takes the request and gives a response: FastAPI has nothing to solve or to validate for it, and what
it does anyway, per request and per route passed by, is more than all the rest of a status route.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from wesgate.api import problems


class DirectRoute(APIRoute):
    """Calls its endpoint with the request and the parameters of the path, which are strings."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = self._serve
        self._begin, self._end = self.path.partition("{")[0], self.path.rpartition("}")[2]
        methods = frozenset(self.methods or ())
        # HEAD beside every GET (RFC 9110, section 9.3.2), and not among the methods, which the description lists.
        self._served = methods | {"HEAD"} if "GET" in methods else methods

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Every request passes dozens of routes by: two comparisons tell most of them, and cost a tenth of a match.
        path: str = scope["path"]
        if not scope.get("root_path") and not (path.startswith(self._begin) and path.endswith(self._end)):
            return Match.NONE, {}
        match, child = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL and scope["method"] in self._served else match, child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._serve if scope["method"] in self._served else super().handle)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = await self.endpoint(Request(scope, receive, send), **scope["path_params"])
        if scope["method"] == "HEAD":  # what would be streamed is not begun
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await response(scope, receive, send)


def add(app: FastAPI, router: APIRouter, base: str, *, described: bool = True) -> None:
    """Serve the routes of `router` below `base`, in their order and after those that the app has."""
    for route in router.routes:
        assert isinstance(route, APIRoute)
        app.router.add_api_route(
            base + route.path,
            route.endpoint,
            methods=list(route.methods or ()),
            tags=route.tags,
            include_in_schema=described,
            responses={"default": problems.DESCRIPTION},
            openapi_extra=route.openapi_extra,
            route_class_override=DirectRoute,
        )
