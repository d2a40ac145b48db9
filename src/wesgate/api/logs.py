"""Log files of runs and tasks, inert: plain text that no browser will run."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, Response

from wesgate.core.errors import NotFound

_INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}


async def send_log(files: Path, path: str) -> Response:
    """A log file below the shared root. One that is not there yet is empty: its step has written nothing."""
    if not path:
        raise NotFound
    found = (files / path).resolve()
    if not found.is_relative_to(files.resolve()):
        raise NotFound
    if not found.is_file():
        return Response(b"", headers=_INERT, media_type="text/plain; charset=utf-8")
    return FileResponse(found, headers=_INERT, media_type="text/plain; charset=utf-8")
