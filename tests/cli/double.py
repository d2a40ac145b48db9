"""A server in small, for the client's tests: scripted runs over real HTTP, in the shapes of WES 1.1 or of 1.0."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.cli.answers import AWAY, T0, T1, missing, ranged, reply
from tests.cli.tes_double import TesDouble, TesStage

BASE = "/ga4gh/wes/v1"


def a_task(name: str, exit_code: int | None = 0, **more: Any) -> dict[str, Any]:
    """A TaskLog; without an exit code it is running."""
    ended = {"end_time": T1, "exit_code": exit_code} if exit_code is not None else {}
    return {"id": f"id-{name}", "name": name, "cmd": ["sh"], "start_time": T0, **ended, **more}


def a_run(
    run_id: str, state: str = "COMPLETE", tasks: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    """A RunLog."""
    times = {"start_time": T0, "end_time": T1}
    return {
        "run_id": run_id,
        "state": state,
        "request": {"workflow_url": "wf.wdl", "workflow_type": "WDL", "workflow_type_version": "1.0"},
        "run_log": {"name": "engine", "cmd": [], "stdout": "", "stderr": "", **times},
        "task_logs": tasks or [],
        "outputs": {},
        **more,
    }


@dataclass
class Double:
    """The server's state. A run is a list of frames: each look at it shows the next one, the last one for ever. `ours`
    is a wesgate: it has dry runs, filters, files and live logs, as they are scripted."""

    url: str = ""
    old: bool = False
    ours: bool = False
    forecast: dict[str, Any] = field(default_factory=lambda: {"valid": True, "inputs": [], "errors": []})
    queries: list[list[tuple[str, str]]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    listing: list[dict[str, Any]] | None = None
    page: int = 1000
    removed: str = ""
    cut: int = 0
    ranges: list[str] = field(default_factory=list)
    live: dict[str, list[list[bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    next_run: list[dict[str, Any]] = field(default_factory=lambda: [a_run("new-run")])
    tes: dict[str, dict[str, Any]] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    canceled: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    instead: Response | None = None
    storage: list[str] | None = None
    tasks: TesDouble = field(default_factory=TesDouble)

    def told(self, path: str) -> dict[str, Any]:
        """A file as the list of outputs tells of it."""
        body = self.files[path]
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return {"name": f"w.{path.partition('/')[0]}", "path": path, "size_bytes": len(body), "digest": digest}

    def add(self, *frames: dict[str, Any]) -> None:
        """Add a run."""
        self.runs[frames[0]["run_id"]] = list(frames)

    def frame(self, run_id: str) -> dict[str, Any] | None:
        """The run as it is shown now."""
        frames = self.runs.get(run_id)
        if not frames:
            return None
        return frames.pop(0) if len(frames) > 1 else frames[0]


class Stage:
    """The server: it plays one double at a time."""

    url = ""

    def __init__(self) -> None:
        self.double = Double()
        self.app = Starlette(
            routes=[
                Route(f"{BASE}/service-info", self.service_info),
                Route(f"{BASE}/runs", self.list_runs),
                Route(f"{BASE}/runs", self.submit, methods=["POST"]),
                Route(f"{BASE}/runs/counts", self.counts),
                Route(f"{BASE}/runs/{{run_id}}", self.run_log),
                Route(f"{BASE}/runs/{{run_id}}/outputs", self.outputs),
                Route(f"{BASE}/runs/{{run_id}}/outputs/{{path:path}}", self.output),
                Route(f"{BASE}/runs/{{run_id}}/status", self.status),
                Route(f"{BASE}/runs/{{run_id}}/tasks", self.tasks),
                Route(f"{BASE}/runs/{{run_id}}/cancel", self.cancel, methods=["POST"]),
                Route(f"{BASE}/runs/{{run_id}}/{{rest:path}}", self.stream),
                Route("/texts/{name}", self.text),
                Route("/ga4gh/tes/v1/service-info", self.tes_info),
                Route("/tes/{name}", self.tes),
                *TesStage(lambda: self.double.tasks).routes,
            ]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.double.tokens.append(Request(scope).headers.get("authorization"))
        await (self.double.instead or self.app)(scope, receive, send)

    async def service_info(self, request: Request) -> Response:
        names = ("inputs_url", "output_to", "delete_after", "resume") if self.double.ours else ("max_tasks",)
        told = {"default_workflow_engine_parameters": [{"name": name, "type": "string"} for name in names]}
        return reply({"workflow_type_versions": {"WDL": {"workflow_type_version": ["draft-2", "1.1"]}}, **told})

    async def tes_info(self, request: Request) -> Response:
        storage = self.double.storage
        return missing("route") if storage is None else reply({"storage": storage})

    async def list_runs(self, request: Request) -> Response:
        self.double.queries.append(request.query_params.multi_items())
        shown = [frames[0] for frames in self.double.runs.values()]
        keys = ("run_id", "state") if self.double.old else ("run_id", "state", "start_time", "tags")
        begin = int(request.query_params.get("page_token", "0"))
        end = begin + min(2, int(request.query_params["page_size"]))
        page = [{key: run[key] for key in keys if key in run} for run in shown[begin:end]]
        return reply({"runs": page, "next_page_token": str(end) if end < len(shown) else ""})

    async def submit(self, request: Request) -> Response:
        double = self.double
        async with request.form() as form:
            double.forms.append({key: value for key, value in form.multi_items() if isinstance(value, str)})
            for file in form.getlist("workflow_attachment"):
                assert isinstance(file, UploadFile)
                double.attachments[file.filename or ""] = await file.read()
        if double.ours and request.query_params.get("dry_run") == "true":
            return reply(double.forecast)
        double.add(*double.next_run)
        return reply({"run_id": double.next_run[0]["run_id"]})

    async def run_log(self, request: Request) -> Response:
        run = self.double.frame(request.path_params["run_id"])
        return reply(run, AWAY.get(run["state"], 200)) if run else missing("run")

    async def status(self, request: Request) -> Response:
        run = self.double.frame(request.path_params["run_id"])
        if not run:
            return missing("run")
        return reply({"run_id": run["run_id"], "state": run["state"]}, AWAY.get(run["state"], 200))

    async def tasks(self, request: Request) -> Response:
        frames = self.double.runs.get(request.path_params["run_id"])
        if self.double.old or not frames:
            return missing("route")
        return reply({"task_logs": frames[0]["task_logs"], "next_page_token": ""})

    async def counts(self, request: Request) -> Response:
        self.double.queries.append(request.query_params.multi_items())
        return reply({"counts": {"COMPLETE": 7, "QUEUED": 0}, "total": 7})

    async def outputs(self, request: Request) -> Response:
        if not self.double.ours:
            return missing("route")
        if self.double.removed:
            return reply({"msg": self.double.removed}, 404)
        listing = self.double.listing
        files = list(map(self.double.told, self.double.files)) if listing is None else listing
        begin = int(request.query_params.get("page_token", "0"))
        end = begin + self.double.page
        return reply({"outputs": files[begin:end], "next_page_token": str(end) if end < len(files) else ""})

    async def output(self, request: Request) -> Response:
        self.double.ranges.append(request.headers.get("range", ""))
        body = self.double.files[request.path_params["path"]]
        if not self.double.cut:
            return ranged(body, request)
        cut, self.double.cut = self.double.cut, 0
        headers = {"content-length": str(len(body))}
        return StreamingResponse(iter([body[:cut]]), headers=headers)

    async def stream(self, request: Request) -> Response:
        """The connections of a log that is followed, each of so many pieces; then it is away."""
        rest = request.path_params["rest"]
        if not self.double.ours:
            return missing("route")
        self.double.asked.append((f"{rest}?{request.url.query}", request.headers.get("last-event-id")))
        if not self.double.live.get(rest):
            return reply({"msg": "away"}, 503)
        pieces = self.double.live[rest].pop(0)
        return StreamingResponse(iter(pieces), media_type="text/event-stream")

    async def cancel(self, request: Request) -> Response:
        self.double.canceled.append(request.path_params["run_id"])
        return reply({"run_id": request.path_params["run_id"]})

    async def tes(self, request: Request) -> Response:
        return reply(self.double.tes[request.path_params["name"]])

    async def text(self, request: Request) -> Response:
        body = self.double.texts.get(request.path_params["name"])
        if body is None:
            return missing("log")
        return PlainTextResponse(body) if self.double.old else ranged(body, request)


@contextmanager
def serving() -> Iterator[Stage]:
    """A stage on a loopback port, until the block ends."""
    stage, listener = Stage(), socket.create_server(("127.0.0.1", 0))
    stage.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(stage, lifespan="off", ws="none", log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield stage
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
