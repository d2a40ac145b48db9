"""A small WES client for people: any server, 1.0 or 1.1, and what wesgate can do besides."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from wesgate.cli.errors import NoSuchRun, ServerProblem, UsageProblem
from wesgate.cli.people.replies import Log, Output, Run, read_log, read_output, read_run, read_step
from wesgate.cli.remote.connection import PAGE_SIZE, Api, Connection
from wesgate.cli.remote.live import follow_text
from wesgate.cli.remote.reading import as_list, as_object, as_text
from wesgate.core.states import State
from wesgate.ga4gh import run_parameters

WES = Api("WES", "/ga4gh/wes/v1", "run", "wesgate ls")

MANY_OUTPUTS = 1000
"""How many output files are asked for at once; servers may send fewer."""

OURS = frozenset(parameter.name for parameter in run_parameters.KNOWN)
"""The parameters that wesgate takes whatever the engine. A server that tells of them all has what wesgate has beside
WES; others leave query parameters that they do not know unread, so that a dry run would start a run there."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a submit and the files that go with it, by the names they get on the server."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are meant: those that all of this is true of. A tag without a value means any value."""

    words: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    name: str = ""
    since: str = ""
    until: str = ""

    def query(self) -> list[tuple[str, str]]:
        """As wesgate's lists take it."""
        texts = {"name": self.name, "since": self.since, "until": self.until, "search": " ".join(self.words)}
        tags = [("tag", f"{key}:{value}" if value else key) for key, value in self.tags]
        return [
            *(("state", state) for state in self.states),
            *tags,
            *((key, text) for key, text in texts.items() if text),
        ]

    def matches(self, run: Run) -> bool:
        """Whether a list item is one of them, by its state and tags: all that other servers' lists tell."""
        tags = all(key in run.tags and (not value or run.tags[key] == value) for key, value in self.tags)
        return tags and (not self.states or run.state in self.states)


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
        self._offered: frozenset[str] | None = None

    @property
    def base(self) -> str:
        return self._server.base

    def service_info(self) -> Mapping[str, Any]:
        """What the server says about itself."""
        return self._server.json("GET", "/service-info")

    def file_roots(self) -> Sequence[str]:
        """The directories of this machine that runs may read in place."""
        return self._server.file_roots()

    def offered(self) -> frozenset[str]:
        """The names of the engine parameters that the server says it takes."""
        if self._offered is None:
            told = as_list(self.service_info().get("default_workflow_engine_parameters"))
            self._offered = frozenset(as_text(as_object(one).get("name")) for one in told)
        return self._offered

    def is_wesgate(self) -> bool:
        """Whether the server has what wesgate has beside WES."""
        return self.offered() >= OURS

    def submit(self, form: Form) -> str:
        """Submit a run; its id."""
        run_id = as_text(self._post(form).get("run_id"))
        if not run_id:
            raise ServerProblem(f"{self.base} accepted the run without telling its id; look for it with `wesgate ls`")
        return run_id

    def dry_run(self, form: Form) -> Mapping[str, Any] | None:
        """What the server says of a run with this form, which is not started. None if this server cannot tell; it is
        not asked, since it might start the run."""
        if not self.is_wesgate():
            return None
        told = self._post(form, dry_run="true")
        if run_id := as_text(told.get("run_id")):
            raise ServerProblem(f"{self.base} started the run {run_id}; stop it with `wesgate cancel {run_id}`")
        if not isinstance(told.get("valid"), bool):
            raise ServerProblem(f"{self.base} did not tell whether the workflow is valid; ask its operator")
        return told

    def _post(self, form: Form, **query: str) -> Mapping[str, Any]:
        parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in form.fields]
        try:
            with ExitStack() as stack:
                for name, path in form.files:
                    file = stack.enter_context(path.open("rb"))
                    parts.append(("workflow_attachment", (name, file, "application/octet-stream")))
                return self._server.json("POST", "/runs", files=parts, params=query)
        except OSError as error:
            raise UsageProblem(f"{error.filename} cannot be read: {error.strerror}") from error

    def state(self, run_id: str) -> str:
        """The state of a run, from the cheapest route."""
        return read_run(self._server.json("GET", self._path(run_id, "/status")), run_id).state

    def run(self, run_id: str) -> Run:
        """The run log."""
        return read_run(self._server.json("GET", self._path(run_id)), run_id)

    def cancel(self, run_id: str) -> None:
        """Ask for the run to be canceled."""
        self._server.json("POST", self._path(run_id, "/cancel"))

    def runs(self, page_size: int = PAGE_SIZE, wanted: Wanted | None = None) -> Iterator[Run]:
        """All runs, or (of a wesgate) those that are wanted, in the server's order, page by page as they are taken."""
        for item in self._server.pages("/runs", "runs", page_size, wanted.query() if wanted else ()):
            yield read_run(as_object(item))

    def counts(self, wanted: Wanted) -> Mapping[str, Any]:
        """How many runs are wanted, by state and in all, of a wesgate."""
        return self._server.json("GET", "/runs/counts", params=wanted.query())

    def outputs(self, run_id: str) -> list[Output]:
        """The files that came out of a run, of a wesgate."""
        if not self.is_wesgate():
            raise ServerProblem(f"{self.base} sends no output files (wesgate does); see `wesgate outputs {run_id}`")
        told = self._server.pages(self._path(run_id, "/outputs"), "outputs", MANY_OUTPUTS)
        return [read_output(as_object(item)) for item in told]

    def why_gone(self, run: Run, outputs: Mapping[str, Any]) -> str:
        """Why files among these outputs of a run are not there any more; empty where nothing tells so."""
        is_published = "output_to" in as_object(run.request.get("workflow_engine_parameters"))
        if is_published or '"/' not in json.dumps(outputs):
            return ""
        try:
            if self.is_wesgate():
                self._server.json("GET", self._path(run.id, "/outputs"), params={"page_size": "1"})
        except ServerProblem as problem:
            return str(problem) if problem.status == httpx.codes.NOT_FOUND else ""
        return ""

    @contextmanager
    def output(self, run_id: str, output: Output, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """A file that came out of a run, from `offset` on where the server sends parts: where what comes begins, and
        what comes."""
        # A name that is not UTF-8 is whole in the URL only; behind a proxy the URL may be another server's.
        by_path = f"{self.base}{self._path(run_id, '/outputs/')}{quote(os.fsencode(output.path))}"
        headers = {"Accept": "*/*", **({"Range": f"bytes={offset}-"} if offset else {})}
        with self._server.opened(output.url if self._server.is_ours(output.url) else by_path, headers) as reply:
            yield offset if reply.status_code == httpx.codes.PARTIAL_CONTENT else 0, reply.iter_bytes()

    def tasks(self, run: Run) -> tuple[Log, ...]:
        """The tasks of a run."""
        found = self._tasks(run)
        return tuple(replace(task, canceled=True) for task in found) if run.state == State.CANCELED else found

    def _tasks(self, run: Run) -> tuple[Log, ...]:
        # A 1.0 server has them in the run log only.
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

    def log(self, run_id: str, where: str, offset: int = 0) -> bytes:
        """A log from `offset` on (at most a window of it); empty if there is none yet."""
        url = log_place(self.base, run_id, where)
        return _bytes(where)[offset:] if url is None else self._server.text(url, offset) or b""

    def end_of_log(self, run_id: str, where: str, count: int) -> tuple[bytes, int]:
        """The last bytes of a log, and how many it has."""
        url = log_place(self.base, run_id, where)
        if url is None:
            return _bytes(where)[-count:], len(_bytes(where))
        return self._server.end_of_text(url, count) or (b"", 0)

    def follow_log(self, run_id: str, task_id: str, stream: str, tail: int | None) -> Iterator[str]:
        """The log of a run's engine, or of a task of it, of a wesgate, as it grows, until it ends."""
        of_task = f"/tasks/{self._server.quoted(task_id)}" if task_id else ""
        begin = f"&tail={tail}" if tail is not None else ""
        url = f"{self.base}{self._path(run_id, of_task)}/logs/{stream}?follow=true{begin}"
        return follow_text(self._server, url)

    def _path(self, run_id: str, rest: str = "") -> str:
        return f"/runs/{self._server.quoted(run_id)}{rest}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
