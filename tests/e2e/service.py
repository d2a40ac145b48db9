"""A real `wesgate serve` in a process of its own, to be killed, and what it may leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ENDED = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"}
PATIENCE_S = 60.0


@dataclass
class Service:
    """One process of the service over one data directory; the port changes with every start, as a client must bear.
    `popen` says as whom it is started."""

    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""
    words: tuple[str, ...] = ("serve", "--port", "0")
    ready: str = "wesgate is ready: "
    python: str = sys.executable
    popen: dict[str, Any] = field(default_factory=dict)

    def start(self, **more: str) -> Service:
        given = {f"WESGATE_{name.upper()}": value for name, value in (self.settings | more).items()}
        started: dict[str, Any] = {"env": os.environ, "start_new_session": True} | self.popen
        started["env"] = {**started["env"], "WESGATE_EXECUTORS__LOCAL__RUNTIME": "process", **given}
        command = [self.python, "-m", "wesgate", *self.words, "--data", str(self.data)]
        with (self.data.parent / "serve.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, **started)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(self.ready), self.log()
        self.url = line.removeprefix(self.ready).strip()
        return self

    def log(self) -> str:
        """What the processes of this data directory have told operators."""
        return (self.data.parent / "serve.log").read_text()

    def kill(self) -> None:
        """SIGKILL, as a machine that runs out of memory does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as an operator does."""
        return self._end(signal.SIGTERM)

    def died(self) -> None:
        """Wait until it has killed itself."""
        assert self.process is not None
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL
        self._closed()

    def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._closed()
        return code

    def _closed(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    def get(self, path: str) -> Any:
        return json.loads(self.get_text(path))

    def get_text(self, path: str) -> str:
        answer = httpx.get(self.url + path, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, **more: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=30, **more)

    def submit(self, workflow: str, params: str = "{}", key: str | None = None) -> httpx.Response:
        """Submit a WDL document as a run."""
        form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl",
                "workflow_params": params}  # fmt: skip
        files = [("workflow_attachment", ("main.wdl", workflow.encode()))]
        headers = {"Idempotency-Key": key} if key else {}
        return self.post("/ga4gh/wes/v1/runs", data=form, files=files, headers=headers)

    def ended(self, path: str) -> Any:
        """The document at a path, once its state is an end."""
        return self.until(path, lambda found: found["state"] in ENDED)

    def until(self, path: str, holds: Callable[[Any], bool], patience_s: float = PATIENCE_S) -> Any:
        """The document at a path, once it is as wanted."""
        until = time.monotonic() + patience_s
        while not holds(found := self.get(path)):
            assert time.monotonic() < until, f"still {found}\n{self.log()[-4000:]}"
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str], **settings: str) -> Iterator[Service]:
    """A service that stops as it should at the end, and leaves nothing running."""
    service = Service(folder / "data", popen={"env": environment})
    service.data.mkdir(parents=True)
    service.start(**settings)
    try:
        yield service
    finally:
        assert service.stop() == 0
    assert gone(service.data) == []


def working(data: Path) -> list[psutil.Process]:
    """The processes that work for a data directory: workers, heads and steps, not the service and its database. They
    have its files open, are in it, or name it."""
    files = f"{data}/files"
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and any(files in place for place in _places(process))
    ]


def _places(process: psutil.Process) -> list[str]:
    places: list[str] = []
    for ask in (lambda: [process.cwd()], process.cmdline, lambda: _open(process.pid)):
        with contextlib.suppress(psutil.Error, OSError):
            places.extend(ask())
    return places


def _open(pid: int) -> list[str]:
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]


def postgres(data: Path) -> list[psutil.Process]:
    """The processes of its database."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if any(f"{data}/postgres" in word for word in [*(process.info["cmdline"] or ()), str(process.info["cwd"])])
    ]


def left_running(data: Path) -> list[str]:
    """What these processes are, for people."""
    found = []
    for process in working(data):
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def gone(data: Path, patience_s: float = 15.0) -> list[str]:
    """What is left running after a moment's grace: a worker ends just after it has left its result."""
    until = time.monotonic() + patience_s
    while (found := left_running(data)) and time.monotonic() < until:
        time.sleep(0.1)
    return found
