"""A TES in small: scripted tasks, with the routes that only wesgate has, or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.cli.answers import AWAY, T0, T1, missing, ranged, reply

BASE = "/ga4gh/tes/v1"
DOCUMENT = {"name": "hello", "executors": [{"image": "ubuntu:22.04", "command": ["echo", "hi"]}]}


def a_step(exit_code: int | None = 0, stdout: str = "", stderr: str = "") -> dict[str, Any]:
    """A tesExecutorLog; without an exit code it runs, as wesgate shows that."""
    times = {"start_time": T0} if exit_code is None else {"start_time": T0, "end_time": T1}
    return {"exit_code": -1 if exit_code is None else exit_code, "stdout": stdout, "stderr": stderr, **times}


def a_task(task_id: str, state: str = "COMPLETE", *attempts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A tesTask in the FULL view."""
    logs = [{"logs": [], "outputs": [], **attempt} for attempt in attempts or ({"start_time": T0, "end_time": T1},)]
    return {"id": task_id, "state": state, "creation_time": T0, **DOCUMENT, "logs": logs, **more}


@dataclass
class TesDouble:
    """The server's state. A task is a list of frames, as a run is; `logs` are by attempt, step and stream. `plain` is a
    server that has the routes of TES only. Of list filters it knows the name's alone, as many do."""

    plain: bool = False
    web_page: bool = False
    refuse_batch: int = 0
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    logs: dict[tuple[int, int, str], bytes] = field(default_factory=dict)
    log_requests: list[tuple[int, int, str]] = field(default_factory=list)
    next_tasks: list[list[dict[str, Any]]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    queries: list[list[tuple[str, str]]] = field(default_factory=list)
    forecast: Mapping[str, Any] = field(default_factory=dict)

    def add(self, *frames: dict[str, Any]) -> None:
        """Add a task."""
        self.tasks[frames[0]["id"]] = list(frames)

    def frame(self, task_id: str) -> dict[str, Any] | None:
        """The task as it is shown now."""
        frames = self.tasks.get(task_id)
        if not frames:
            return None
        return frames.pop(0) if len(frames) > 1 else frames[0]

    def create(self, document: dict[str, Any], key: str | None) -> str:
        """Accept a task: the next scripted one, or one that completes."""
        self.created.append(document)
        self.keys.append(key)
        frames = self.next_tasks.pop(0) if self.next_tasks else [a_task(f"task-{len(self.created)}")]
        self.add(*frames)
        return str(frames[0]["id"])


def viewed(task: dict[str, Any], view: str) -> dict[str, Any]:
    """A view of a task."""
    if view == "MINIMAL":
        return {"id": task["id"], "state": task["state"]}
    return task if view == "FULL" else {**task, "logs": [_basic(log) for log in task["logs"]]}


def _basic(log: dict[str, Any]) -> dict[str, Any]:
    steps = [{key: value for key, value in step.items() if key not in ("stdout", "stderr")} for step in log["logs"]]
    return {key: value for key, value in log.items() if key != "system_logs"} | {"logs": steps}


class TesStage:
    """The routes of the double that is played."""

    def __init__(self, double: Callable[[], TesDouble]) -> None:
        self.double = double
        self.routes = [
            Route(f"{BASE}/tasks", self.list_tasks),
            Route(f"{BASE}/tasks", self.create, methods=["POST"]),
            Route(f"{BASE}/tasks:batch", self.batch, methods=["POST"]),
            Route(f"{BASE}/tasks:validate", self.validate, methods=["POST"]),
            Route(f"{BASE}/tasks:cancel", self.cancel_all, methods=["POST"]),
            Route(f"{BASE}/tasks/{{task_id}}:cancel", self.cancel, methods=["POST"]),
            Route(f"{BASE}/tasks/{{task_id}}/logs/{{step:int}}/{{stream}}", self.log),
            Route(f"{BASE}/tasks/{{task_id}}", self.get),
        ]

    async def create(self, request: Request) -> Response:
        return reply({"id": self.double().create(await request.json(), request.headers.get("idempotency-key"))})

    async def batch(self, request: Request) -> Response:
        if self.double().plain or self.double().refuse_batch:
            return reply({"msg": "no"}, self.double().refuse_batch or 404)
        key = request.headers.get("idempotency-key")
        return reply({"ids": [self.double().create(document, key) for document in (await request.json())["tasks"]]})

    async def validate(self, request: Request) -> Response:
        if self.double().plain:
            return missing("route")
        return reply({"task": await request.json(), **self.double().forecast})

    async def cancel_all(self, request: Request) -> Response:
        if self.double().plain:
            return reply({}, 405)
        self.double().queries.append(request.query_params.multi_items())
        return reply({"canceled": 3})

    async def list_tasks(self, request: Request) -> Response:
        query = request.query_params
        self.double().queries.append(query.multi_items())
        shown = [frames[0] for frames in self.double().tasks.values()]
        shown = [task for task in shown if task["name"].startswith(query.get("name_prefix", ""))]
        begin = int(query.get("page_token", "0"))
        end = begin + min(2, int(query["page_size"]))
        page = [viewed(task, query.get("view", "MINIMAL")) for task in shown[begin:end]]
        return reply({"tasks": page, **({"next_page_token": str(end)} if end < len(shown) else {})})

    async def get(self, request: Request) -> Response:
        task = self.double().frame(request.path_params["task_id"])
        if task is None:
            return missing("task")
        return reply(viewed(task, request.query_params.get("view", "MINIMAL")), AWAY.get(task["state"], 200))

    async def cancel(self, request: Request) -> Response:
        self.double().canceled.append(request.path_params["task_id"])
        return reply({})

    async def log(self, request: Request) -> Response:
        place = request.path_params
        if self.double().web_page:
            return HTMLResponse("<h1>a dashboard</h1>")
        if self.double().plain or place["task_id"] not in self.double().tasks:
            return missing("route")
        key = int(request.query_params["attempt"]), place["step"], place["stream"]
        self.double().log_requests.append(key)
        return ranged(self.double().logs.get(key, b""), request)
