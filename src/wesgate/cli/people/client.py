"""A small WES client for people: any server, 1.0 or 1.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from wesgate.cli.errors import NoSuchRun, ServerProblem
from wesgate.cli.people.replies import Log, Run, read_log, read_run, read_step
from wesgate.cli.remote.connection import PAGE_SIZE, Api, Connection, part
from wesgate.cli.remote.reading import as_object, as_text

WES = Api("WES", "/ga4gh/wes/v1", "run", "wesgate ls")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a submit and the files that go with it, by the names they get on the server."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, Path], ...] = ()


def log_place(base: str, run_id: str, where: str) -> str | None:
    """The URL at which a log can be fetched; None if `where` is the text itself or lies elsewhere."""
    if re.match(r"https?://\S+$", where):
        return where
    if re.match(r"\.{0,2}/(?!/)\S*$", where):
        return urljoin(f"{base}/runs/{quote(run_id, safe='')}", where)
    return None


class WesClient:
    """Speaks WES over a connection. Every failure is a `ServerProblem` or `NoSuchRun` of one line."""

    def __init__(self, server: Connection) -> None:
        self._server = server
        self._has_tasks = True

    @property
    def base(self) -> str:
        return self._server.base

    def service_info(self) -> Mapping[str, Any]:
        """What the server says about itself."""
        return self._server.json("GET", "/service-info")

    def file_roots(self) -> Sequence[str]:
        """The directories of this machine that runs may read in place."""
        return self._server.file_roots()

    def submit(self, form: Form) -> str:
        """Submit a run; its id."""
        with ExitStack() as stack:
            parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in form.fields]
            for name, path in form.files:
                file = stack.enter_context(path.open("rb"))
                parts.append(("workflow_attachment", (name, file, "application/octet-stream")))
            run_id = as_text(self._server.json("POST", "/runs", files=parts).get("run_id"))
        if not run_id:
            raise ServerProblem(f"{self.base} accepted the run without telling its id; look for it with `wesgate ls`")
        return run_id

    def state(self, run_id: str) -> str:
        """The state of a run, from the cheapest route."""
        return read_run(self._server.json("GET", self._path(run_id, "/status")), run_id).state

    def run(self, run_id: str) -> Run:
        """The run log."""
        return read_run(self._server.json("GET", self._path(run_id)), run_id)

    def cancel(self, run_id: str) -> None:
        """Ask for the run to be canceled."""
        self._server.json("POST", self._path(run_id, "/cancel"))

    def runs(self, page_size: int = PAGE_SIZE) -> Iterator[Run]:
        """All runs, in the server's order, page by page as they are taken."""
        for item in self._server.pages("/runs", "runs", page_size):
            yield read_run(as_object(item))

    def tasks(self, run: Run) -> tuple[Log, ...]:
        """The tasks of a run; a 1.0 server has them in the run log only."""
        if not self._has_tasks:
            return run.tasks
        try:
            return tuple(read_log(item) for item in self._server.pages(self._path(run.id, "/tasks"), "task_logs"))
        except (NoSuchRun, ServerProblem) as error:
            if isinstance(error, ServerProblem) and error.transient:
                raise
            self._has_tasks = False
            return run.tasks

    def step(self, task: Log) -> str:
        """How far the TES task behind a task log is; empty if this server does not tell."""
        if not task.tes_uri or not self._server.is_ours(task.tes_uri):
            return ""
        try:
            return read_step(self._server.json("GET", url=task.tes_uri, params={"view": "BASIC"}))
        except (NoSuchRun, ServerProblem):
            return ""

    def log(self, run_id: str, where: str, offset: int = 0, last: int = 0) -> bytes:
        """A log from `offset` on (at most a window of it), or its `last` bytes; empty if there is none yet."""
        url = log_place(self.base, run_id, where)
        if url is None:
            return part(where.encode("utf-8", "replace"), offset, last)
        return self._server.text(url, offset, last) or b""

    def _path(self, run_id: str, rest: str = "") -> str:
        return f"/runs/{self._server.quoted(run_id)}{rest}"
