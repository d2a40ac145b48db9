"""A small TES client for people: any server, 1.0 or 1.1, and what wesgate can do besides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from wesgate.cli.errors import NoSuchRun, ServerProblem
from wesgate.cli.remote.connection import PAGE_SIZE, Api, Connection
from wesgate.cli.remote.reading import as_list, as_object, as_text
from wesgate.cli.tasks.replies import Task, read_task

TES = Api("TES", "/ga4gh/tes/v1", "task", "wesgate task ls")

NO_SUCH_ROUTE = (404, 405, 501)
"""How servers answer for a route that they do not have."""

TOO_LARGE = 413

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks are meant; an empty filter means all."""

    states: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    name_prefix: str = ""

    def query(self) -> list[tuple[str, str]]:
        """As TES has it: one state at most, and tags by their places in two lists."""
        state = [("state", self.states[0])] if len(self.states) == 1 else []
        tags = [pair for key, value in self.tags for pair in (("tag_key", key), ("tag_value", value))]
        return [*state, *tags, *([("name_prefix", self.name_prefix)] if self.name_prefix else [])]

    def matches(self, task: Task) -> bool:
        """Whether it is one of them: there are servers that leave out parts of a filter."""
        tags = all(key in task.tags and (not value or task.tags[key] == value) for key, value in self.tags)
        return tags and task.name.startswith(self.name_prefix) and (not self.states or task.state in self.states)


class TesClient:
    """Speaks TES over a connection. Every failure is a `ServerProblem` or `NoSuchRun` of one line."""

    def __init__(self, server: Connection) -> None:
        self._server = server

    @property
    def base(self) -> str:
        return self._server.base

    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        return self._server.is_here()

    def file_roots(self) -> Sequence[str]:
        """The directories of this machine that tasks may read in place."""
        return self._server.file_roots()

    def create(self, document: Mapping[str, Any], key: str) -> str:
        """Submit a task; its id. A server that knows `Idempotency-Key` makes one task of two with the same key."""
        told = self._server.json("POST", "/tasks", **_body(document, key))
        return self._id(told.get("id"))

    def create_together(self, documents: Sequence[Mapping[str, Any]], key: str) -> list[str] | None:
        """Submit all or none; their ids in order. None if this server cannot, or not so much at once."""
        told = self._own("POST", "/tasks:batch", besides=(TOO_LARGE,), **_body({"tasks": list(documents)}, key))
        if told is None:
            return None
        ids = [self._id(one) for one in as_list(told.get("ids"))]
        if len(ids) != len(documents):
            raise ServerProblem(f"{self.base} told {len(ids)} ids for {len(documents)} tasks; see `wesgate task ls`")
        return ids

    def validate(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What would become of the task. None if this server does not tell."""
        return self._own("POST", "/tasks:validate", **_body(document))

    def tasks(self, wanted: Wanted, page_size: int = PAGE_SIZE, view: str = "BASIC") -> Iterator[Task]:
        """The tasks in the server's order, page by page as they are taken."""
        query = [("view", view), *wanted.query()]
        for item in self._server.pages("/tasks", "tasks", page_size, query):
            task = read_task(as_object(item))
            if wanted.matches(task):
                yield task

    def document(self, task_id: str, view: str = "FULL") -> Mapping[str, Any]:
        """A task as the server gives it."""
        return self._server.json("GET", self._path(task_id), params={"view": view})

    def task(self, task_id: str, view: str = "FULL") -> Task:
        """A task."""
        return read_task(self.document(task_id, view), task_id)

    def state(self, task_id: str) -> str:
        """The state of a task."""
        return self.task(task_id, "MINIMAL").state

    def cancel(self, task_id: str) -> None:
        """Ask for the task to be canceled."""
        self._server.json("POST", self._path(task_id, ":cancel"))

    def cancel_all(self, wanted: Wanted) -> int | None:
        """Cancel all tasks that are wanted; how many. None if this server cannot."""
        told = self._own("POST", "/tasks:cancel", params=wanted.query())
        count = told.get("canceled") if told is not None else None
        if told is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise ServerProblem(f"{self.base} did not tell how many tasks it canceled; see `wesgate task ls`")
        return count

    def log(self, task_id: str, attempt: int, step: int, stream: str, offset: int = 0) -> bytes | None:
        """A step's stdout or stderr from `offset` on (at most a window of it); None if this server has no such log.
        Attempts count from 1, steps from 0."""
        # A server with a dashboard may answer any path with a web page.
        return self._log(partial(self._server.text, offset=offset, kind="text/plain"), task_id, attempt, step, stream)

    def end_of_log(self, task_id: str, attempt: int, step: int, stream: str, count: int) -> tuple[bytes, int] | None:
        """The last bytes of a step's stdout or stderr, and how many it has; None as for `log`."""
        fetch = partial(self._server.end_of_text, count=count, kind="text/plain")
        return self._log(fetch, task_id, attempt, step, stream)

    def _log(self, fetch: Callable[[str], T | None], task_id: str, attempt: int, step: int, stream: str) -> T | None:
        try:
            return fetch(f"{self.base}{self._path(task_id)}/logs/{step}/{stream}?attempt={attempt}")
        except ServerProblem as problem:
            if problem.status in NO_SUCH_ROUTE:
                return None
            raise

    def _own(self, method: str, path: str, *, besides: Sequence[int] = (), **options: Any) -> Mapping[str, Any] | None:
        """What a route answers that wesgate has beyond TES; None if this server has no such route, or answers with one
        of the statuses `besides`."""
        try:
            return self._server.json(method, path, **options)
        except NoSuchRun:
            return None
        except ServerProblem as problem:
            if problem.status in (*NO_SUCH_ROUTE, *besides):
                return None
            raise

    def _id(self, value: Any) -> str:
        if not as_text(value):
            raise ServerProblem(
                f"{self.base} accepted the task without telling its id; look for it with `wesgate task ls`"
            )
        return as_text(value)

    def _path(self, task_id: str, rest: str = "") -> str:
        return f"/tasks/{self._server.quoted(task_id)}{rest}"


def _body(document: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """A JSON body: letters beyond ASCII are escaped, so that half a surrogate pair can be sent."""
    headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
    return {"content": json.dumps(document).encode(), "headers": headers}
