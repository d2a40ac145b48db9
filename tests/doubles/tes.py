"""A small TES over real HTTP that runs each task as a process of this machine, with faults on demand."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ENDS = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"}
BASE = "/ga4gh/tes/v1"


@dataclass
class DoubleTask:
    """A task as the double keeps it. `scratch` stands for the container: container paths are put below it."""

    id: str
    document: dict[str, Any]
    scratch: Path
    state: str = "QUEUED"
    exit_code: int | None = None
    system_logs: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def show(self, view: str) -> dict[str, Any]:
        if view == "MINIMAL":
            return {"id": self.id, "state": self.state}
        log: dict[str, Any] = {"logs": [{"exit_code": self.exit_code}] if self.exit_code is not None else []}
        if view == "FULL":
            log["system_logs"] = self.system_logs
        return {"id": self.id, "state": self.state, **self.document, "logs": [log]}


class TesDouble:
    """`faults` holds statuses that the next requests get in place of an answer; `preempt` how many of the next tasks
    lose their machine. Tasks whose image begins with `missing` cannot be pulled."""

    def __init__(self, scratch: Path, page: int = 1000) -> None:
        self.tasks: dict[str, DoubleTask] = {}
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.cached: list[dict[str, str]] = []  # calls that were told as answered from the cache
        self.faults: list[int] = []
        self.events_on = True
        self.preempt = 0
        self.page = page
        self._keys: dict[str, tuple[str, Any]] = {}
        self._scratch = scratch
        self._lock = threading.RLock()
        self._ears: list[queue.SimpleQueue[dict[str, str]]] = []
        self._changed = threading.Condition(self._lock)
        double = self

        class Requests(_Requests):
            tes = double

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @contextmanager
    def serving(self) -> Iterator[TesDouble]:
        self._thread.start()
        try:
            yield self
        finally:
            self.cancel_all()
            self._server.shutdown()
            self._server.server_close()

    def create(self, document: dict[str, Any], key: str | None) -> str:
        with self._lock:
            if key and key in self._keys:
                assert self._keys[key][1] == document, "another body under a key that was used"
                return self._keys[key][0]
            task = DoubleTask(f"task-{len(self.tasks) + 1}", document, self._scratch / f"task-{len(self.tasks) + 1}")
            self.tasks[task.id] = task
            if key:
                self._keys[key] = (task.id, document)
        threading.Thread(target=self._work, args=(task,), daemon=True).start()
        return task.id

    def cancel(self, task: DoubleTask) -> None:
        with self._lock:
            if task.state in ENDS:
                return
            process = task.process
            self._become(task, "CANCELED")
        if process:
            os.killpg(process.pid, signal.SIGKILL)

    def cancel_all(self) -> None:
        for task in list(self.tasks.values()):
            self.cancel(task)

    def live(self) -> int:
        return sum(task.state not in ENDS for task in self.tasks.values())

    def wait_for(self, state: str, count: int = 1, timeout_s: float = 20) -> None:
        """Until so many tasks are in this state."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: sum(task.state == state for task in self.tasks.values()) >= count, timeout_s
            )
        assert reached, [(task.id, task.state) for task in self.tasks.values()]

    def listen(self) -> queue.SimpleQueue[dict[str, str]]:
        ear: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._ears.append(ear)
        return ear

    def _become(self, task: DoubleTask, state: str) -> bool:
        with self._changed:
            if task.state in ENDS:
                return False
            task.state = state
            for ear in self._ears:
                ear.put({"id": task.id, "state": state})
            self._changed.notify_all()
            return True

    def _work(self, task: DoubleTask) -> None:
        if task.document["executors"][0]["image"].startswith("missing"):
            task.system_logs = ["image missing:1 cannot be pulled: there is no such image"]
            self._become(task, "SYSTEM_ERROR")
            return
        if self.preempt:
            self.preempt -= 1
            self._become(task, "PREEMPTED")
            return
        with self._lock:
            if task.state in ENDS:
                return
            try:
                task.process = start(task)
            except OSError as error:
                task.system_logs = [f"the double could not start it: {error}"]
                self._become(task, "SYSTEM_ERROR")
                return
            self._become(task, "RUNNING")
        code = task.process.wait()
        task.exit_code = 128 - code if code < 0 else code
        self._become(task, "COMPLETE" if code == 0 else "EXECUTOR_ERROR")


def start(task: DoubleTask) -> subprocess.Popen[bytes]:
    """Put the files in place and start the only step."""
    step = task.document["executors"][0]
    for output in task.document["outputs"]:
        if output["type"] == "DIRECTORY":
            link(task, host_path(output["url"]), output["path"])
    for file in task.document["inputs"]:
        if "content" in file:
            place = inside(task, file["path"])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(
                file["content"].replace("/mnt/miniwdl_task_container", str(inside(task, "/mnt/miniwdl_task_container")))
            )
        else:
            link(task, host_path(file["url"]), file["path"])
    streams = {output["path"]: host_path(output["url"]) for output in task.document["outputs"]}
    with streams[step["stdout"]].open("wb") as stdout, streams[step["stderr"]].open("wb") as stderr:
        command = [
            str(inside(task, word)) if word.startswith("/mnt/") or own(word) else word for word in step["command"]
        ]
        environment = {"PATH": os.environ["PATH"], **step.get("env", {})}
        return subprocess.Popen(
            command,
            cwd=inside(task, step["workdir"]),
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )


def own(word: str) -> bool:
    return word.endswith("/command")


def inside(task: DoubleTask, path: str) -> Path:
    """Where a container path is on the host: below the scratch directory, unless it is the host's own."""
    return task.scratch / path.lstrip("/") if path.startswith("/mnt/") else Path(path)


def link(task: DoubleTask, source: Path, path: str) -> None:
    target = inside(task, path)
    if target == source:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    target.symlink_to(source)


def host_path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


class _Requests(BaseHTTPRequestHandler):
    tes: TesDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self._refused():
            return None
        if parts.path == f"{BASE}/events":
            return self._stream() if self.tes.events_on else self._send(404, {"msg": "no such route"})
        if parts.path == f"{BASE}/tasks":
            return self._send(200, self._list(query))
        if task := self.tes.tasks.get(parts.path.rsplit("/", 1)[-1]):
            return self._send(200, task.show(query["view"]))
        return self._send(404, {"msg": "no such task", "status_code": 404})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._refused():
            return None
        if self.path == f"{BASE}/tasks":
            return self._send(200, {"id": self.tes.create(body, self.headers["idempotency-key"])})
        if self.path.endswith("/cached-calls"):
            self.tes.cached += body["calls"]
            return self._send(200, {})
        found = re.fullmatch(BASE + r"/tasks/([^/:]+):cancel", self.path)
        assert found
        self.tes.cancel(self.tes.tasks[found[1]])
        return self._send(200, {})

    def _refused(self) -> bool:
        self.tes.requests.append(f"{self.command} {self.path}")
        self.tes.tokens.add(self.headers["authorization"])
        if self.tes.faults:
            self._send(self.tes.faults.pop(0), {"msg": "a fault that was asked for"})
            return True
        return False

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        found = [
            task.show(query["view"])
            for task in self.tes.tasks.values()
            if task.document["tags"].get(query["tag_key"]) == query["tag_value"]
        ]
        begin = int(query.get("page_token", "0"))
        end = begin + self.tes.page
        return {"tasks": found[begin:end], **({"next_page_token": str(end)} if end < len(found) else {})}

    def _stream(self) -> None:
        ear = self.tes.listen()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            self._chunk("event: ready\ndata: {}\n\n")
            while True:
                try:
                    self._chunk(f"data: {json.dumps(ear.get(timeout=1))}\n\n")
                except queue.Empty:
                    self._chunk(":\n\n")
        except OSError:
            self.close_connection = True

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
