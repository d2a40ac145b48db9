"""Errors as answers: one shape for both APIs, and nothing in it that came from the request.

The body is WES 1.1's `ErrorResponse` (msg, status_code) with the members of RFC 9457 beside it, so that a strict
client and a curious person are both served. Validation is 400, since neither spec knows 422 for it.
"""

from __future__ import annotations

import json
import logging
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wesgate.core import errors

log = logging.getLogger(__name__)

STATUS: dict[type[Exception], HTTPStatus] = {
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.NotPermitted: HTTPStatus.FORBIDDEN,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.REQUEST_TIMEOUT: {"Connection": "close"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "2"},
}


_MEMBERS = {"msg": "string", "status_code": "integer", "type": "string", "title": "string", "status": "integer",
            "detail": "string"}  # fmt: skip
DESCRIPTION: dict[str, Any] = {
    "description": "an error",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {name: {"type": kind} for name, kind in _MEMBERS.items()},
                "required": ["msg", "status_code"],
            }
        }
    },
}
"""Any error, as OpenAPI describes it."""


def install(app: FastAPI) -> None:
    """Have every error of this app answered here."""
    app.add_exception_handler(errors.WesgateError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


def problem(status: HTTPStatus, message: str) -> Response:
    """The answer for an error."""
    body = {
        "msg": message,
        "status_code": status.value,
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": message,
    }
    return Response(json.dumps(body), status, headers=_HEADERS.get(status), media_type="application/json")


async def _known(_: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return _fault(error)
    return problem(status, str(error))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    answer = problem(status, status.description or status.phrase)
    answer.headers.update(error.headers or {})
    return answer


async def _gone(_: Request, error: Exception) -> Response:
    del error  # whoever asked went away before the end of the question: nobody hears this
    return problem(HTTPStatus.BAD_REQUEST, "the request ended early")


async def _unforeseen(_: Request, error: Exception) -> Response:
    return _fault(error)


def _fault(error: Exception) -> Response:
    """A fault of ours: the log has it whole, the client gets a reference to quote."""
    reference = secrets.token_hex(6)
    log.error("api.fault", exc_info=error, extra={"reference": reference})
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"a fault of this service; quote {reference} to its operator")
