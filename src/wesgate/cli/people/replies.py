"""What a WES server said, read leniently: servers of 1.0 and 1.1 leave out fields and disagree on their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from wesgate.cli.remote.reading import as_object, as_text, as_texts, as_whole, has_ended
from wesgate.cli.text import parse_time
from wesgate.core.states import State
from wesgate.ga4gh import finding


class Stand(StrEnum):
    """How a task stands. WES task logs hold no state, so it is told from times and exit code."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Log:
    """A `Log` or `TaskLog`. `stdout` and `stderr` may be a URL, a path, or the text itself. `canceled` is whether the
    task's run was: what did not end well was stopped, then."""

    id: str = ""
    name: str = ""
    start: datetime | None = None
    end: datetime | None = None
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    system_logs: tuple[str, ...] = ()
    tes_uri: str = ""
    canceled: bool = False

    @property
    def stand(self) -> Stand:
        if self.canceled and self.exit_code != 0:
            return Stand.STOPPED
        if self.exit_code is not None:
            return Stand.DONE if self.exit_code == 0 else Stand.FAILED
        if self.end is not None:
            return Stand.FAILED if self.system_logs else Stand.DONE
        return Stand.WAITING if self.start is None else Stand.RUNNING


@dataclass(frozen=True, slots=True)
class Run:
    """A run as far as the server told: a list item holds less than a run log. `request` is what was submitted."""

    id: str
    state: str
    start: datetime | None = None
    end: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    workflow: str = ""
    log: Log = field(default_factory=Log)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[Log, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the server finds it by. A wesgate's engine log is named by the workflow's URL, others' by a name."""
        told = self.tags.get("name", "") or (self.log.name if self.log.name != self.workflow else "")
        return told or finding.name_of({"workflow_url": self.workflow})


@dataclass(frozen=True, slots=True)
class Output:
    """A file that came out of a run. `path` is its place among the outputs, empty if it is elsewhere (`url`)."""

    name: str
    path: str
    size: int | None = None
    digest: str = ""
    url: str = ""


def read_output(data: Mapping[str, Any]) -> Output:
    """One file of a wesgate's list of outputs."""
    count = as_whole(data.get("size_bytes"))
    texts = {key: as_text(data.get(key)) for key in ("name", "path", "digest", "url")}
    return Output(size=count, **texts)


def read_run(data: Mapping[str, Any], run_id: str = "") -> Run:
    """A RunLog, RunSummary or RunStatus."""
    request, log = as_object(data.get("request")), read_log(data.get("run_log"))
    tasks = data.get("task_logs")
    return Run(
        id=as_text(data.get("run_id")) or run_id,
        state=as_text(data.get("state")) or State.UNKNOWN.value,
        start=parse_time(data.get("start_time")) or log.start,
        end=parse_time(data.get("end_time")) or log.end,
        tags=as_texts(data.get("tags") or request.get("tags")),
        workflow=as_text(request.get("workflow_url")),
        log=log,
        outputs=as_object(data.get("outputs")),
        tasks=tuple(read_log(item) for item in tasks) if isinstance(tasks, list) else (),
        request=request,
    )


def read_log(value: Any) -> Log:
    """A Log or TaskLog; whatever else came is an empty one."""
    data = as_object(value)
    lines = data.get("system_logs")
    exit_code = data.get("exit_code")
    return Log(
        id=as_text(data.get("id")),
        name=as_text(data.get("name")),
        start=parse_time(data.get("start_time")),
        end=parse_time(data.get("end_time")),
        exit_code=exit_code if isinstance(exit_code, int) and not isinstance(exit_code, bool) else None,
        stdout=as_text(data.get("stdout")),
        stderr=as_text(data.get("stderr")),
        system_logs=tuple(as_text(line) for line in lines) if isinstance(lines, list) else (),
        tes_uri=as_text(data.get("tes_uri")),
    )


def read_step(data: Mapping[str, Any]) -> str:
    """How far a TES task is: its state, and how many of its steps have ended when it has several."""
    state = as_text(data.get("state")).lower()
    steps, logs = data.get("executors"), data.get("logs")
    last = as_object(logs[-1]).get("logs") if isinstance(logs, list) and logs else None
    if state != "running" or not isinstance(steps, list) or len(steps) < 2:
        return state
    # Some servers list a step when it begins, some when it has ended.
    ended = sum(has_ended(as_object(step)) for step in last) if isinstance(last, list) else 0
    return f"{state}, {min(ended, len(steps))} of {len(steps)} steps done"
