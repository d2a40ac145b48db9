"""What became of a run: read from what its head left behind, never from an exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from wesgate.core.backend import QueuedTask
from wesgate.core.states import State
from wesgate.engines.miniwdl.head.bounds import TOO_MUCH

RESULT = "result.json"
RESULT_LIMIT = 64 * 1024 * 1024


class Fault(StrEnum):
    """Whose doing the end of a run was. The head writes it; miniwdl's exit code says nothing about it."""

    NONE = "none"
    WORKFLOW = "workflow"  # the document, its inputs, or a command of it
    SYSTEM = "system"
    TERMINATED = "terminated"  # the head was told to stop


@dataclass(frozen=True, slots=True)
class Result:
    """`result.json`: how the head says the run ended. `error` is miniwdl's own error JSON, kept for the curious.
    `published` is the place that the outputs name; they are there once the head's job has ended well."""

    fault: Fault
    messages: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    directory: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    published: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an ended run and the sentences that explain it."""

    state: State
    messages: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)


def write_result(directory: Path, result: Result) -> None:
    """Leave the result whole or not at all."""
    text = json.dumps(
        {
            "fault": result.fault.value,
            "messages": list(result.messages),
            "outputs": dict(result.outputs),
            "directory": result.directory,
            "error": dict(result.error),
            "published": result.published,
        }
    )
    part = directory / f".{RESULT}.{os.getpid()}"
    part.write_text(text, encoding="utf-8")
    part.rename(directory / RESULT)


def read_result(directory: Path) -> Result | None:
    """What the head left, or None. What cannot be read counts as a fault of the system, with the reason."""
    try:
        # Tasks without mounts can write beside this file: a link to elsewhere is not followed.
        with os.fdopen(os.open(directory / RESULT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return parse_result(file.read(RESULT_LIMIT + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        return Result(Fault.SYSTEM, (f"the result of the run cannot be read: {error.strerror}",))


def parse_result(content: bytes) -> Result:
    if len(content) > RESULT_LIMIT:
        return Result(Fault.SYSTEM, (f"the result of the run is larger than {RESULT_LIMIT} bytes",))
    try:
        data = json.loads(content)
        return Result(
            fault=Fault(data["fault"]),
            messages=tuple(str(message) for message in data["messages"]),
            outputs=dict(data["outputs"]),
            directory=str(data["directory"]),
            error=dict(data["error"]),
            published=str(data.get("published", "")),
        )
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        return Result(Fault.SYSTEM, (f"the result of the run is not what a head writes: {error}",))


def conclude(head: QueuedTask, result: Result | None) -> Verdict:
    """How a run ended whose head has ended."""
    if result is None and _was_cut_off(head):
        result = Result(Fault.WORKFLOW, (TOO_MUCH,))
    if result is not None and result.fault is Fault.NONE:
        if not result.published or head.state is State.COMPLETE:
            return Verdict(State.COMPLETE, outputs=result.outputs)
        result = replace(result, fault=Fault.SYSTEM, messages=_unpublished(head, result.published))
    messages = _without_result(head) if result is None else result.messages
    if head.state is State.CANCELED:  # what the head has to say then is how it was stopped
        return Verdict(State.CANCELED, messages if result is not None and result.fault is Fault.WORKFLOW else ())
    fault_is_theirs = result is not None and result.fault is Fault.WORKFLOW
    return Verdict(State.EXECUTOR_ERROR if fault_is_theirs else State.SYSTEM_ERROR, messages)


def _was_cut_off(head: QueuedTask) -> bool:
    """Whether the kernel ended it for the time that it took: it has a limit only while it reads the workflow."""
    steps = head.report.steps if head.report else ()
    return bool(steps) and steps[0].exit_code in (-signal.SIGXCPU, 128 + signal.SIGXCPU)


def _unpublished(head: QueuedTask, place: str) -> tuple[str, ...]:
    reason = head.detail or f"the head job ended as {head.state}"
    return (f"the workflow succeeded, and its outputs could not be put at {place}: {reason}",)


def _without_result(head: QueuedTask) -> tuple[str, ...]:
    logs = head.report.system_logs if head.report else ()
    reason = head.detail or (logs[-1] if logs else "no reason was given; see the run's stderr")
    return (f"the head job ended as {head.state} without a result: {reason}", *logs)
