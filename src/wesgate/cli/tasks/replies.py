"""What a TES server said of a task, read leniently: views and versions hold more or less of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wesgate.cli.remote.reading import (
    NOT_YET,
    as_list,
    as_object,
    as_text,
    as_texts,
    as_whole,
    has_ended,
    is_over,
)
from wesgate.cli.text import parse_time
from wesgate.core.states import State


@dataclass(frozen=True, slots=True)
class StepLog:
    """What became of one step (`tesExecutorLog`)."""

    ended: bool = False
    exit_code: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt (`tesTaskLog`). `outputs` are URLs and sizes."""

    start: datetime | None = None
    end: datetime | None = None
    steps: tuple[StepLog, ...] = ()
    outputs: tuple[tuple[str, float | None], ...] = ()
    system_logs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended_steps(self) -> int:
        return sum(step.ended for step in self.steps)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as far as the server told. `steps` are its commands; `attempts` are the oldest first, at least one."""

    id: str
    state: str
    name: str = ""
    created: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[tuple[str, ...], ...] = ()
    attempts: tuple[Attempt, ...] = (Attempt(),)

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def over(self) -> bool:
        return is_over(self.state)


def read_task(data: Mapping[str, Any], task_id: str = "") -> Task:
    """A tesTask in any view."""
    attempts = tuple(read_attempt(as_object(item)) for item in as_list(data.get("logs")))
    return Task(
        id=as_text(data.get("id")) or task_id,
        state=as_text(data.get("state")) or State.UNKNOWN.value,
        name=as_text(data.get("name")),
        created=parse_time(data.get("creation_time")),
        tags=as_texts(data.get("tags")),
        steps=tuple(_command(as_object(item)) for item in as_list(data.get("executors"))),
        attempts=attempts or (Attempt(),),
    )


def read_attempt(data: Mapping[str, Any]) -> Attempt:
    """A tesTaskLog."""
    outputs = [as_object(item) for item in as_list(data.get("outputs"))]
    return Attempt(
        start=parse_time(data.get("start_time")),
        end=parse_time(data.get("end_time")),
        steps=tuple(_step(as_object(item)) for item in as_list(data.get("logs"))),
        outputs=tuple((as_text(one.get("url")), as_number(one.get("size_bytes"))) for one in outputs),
        system_logs=tuple(as_text(line) for line in as_list(data.get("system_logs"))),
        metadata=as_texts(data.get("metadata")),
    )


def as_number(value: Any) -> float | None:
    """A finite number, from a number or its digits; anything else is none."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _step(data: Mapping[str, Any]) -> StepLog:
    code = as_whole(data.get("exit_code"))
    ended = has_ended(data)
    return StepLog(
        ended=ended,
        exit_code=code if ended and code != NOT_YET else None,
        start=parse_time(data.get("start_time")),
        end=parse_time(data.get("end_time")),
        stdout=as_text(data.get("stdout")),
        stderr=as_text(data.get("stderr")),
    )


def _command(data: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(as_text(word) for word in as_list(data.get("command")))
