"""What running steps have written so far, read when somebody looks: the loop stores a report only every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wesgate.api.logs import STREAMS, log_path, open_log
from wesgate.core.codec import storable
from wesgate.core.errors import NotFound
from wesgate.core.report import TAIL_BYTES
from wesgate.core.states import State
from wesgate.ga4gh.views import Task


async def with_tails(files: Path, tasks: Sequence[Task]) -> list[Task]:
    """The tasks, those that run with the ends of their streams as they are now."""
    if not any(map(_runs, tasks)):
        return list(tasks)
    return await asyncio.to_thread(lambda: [_with_tails(files, task) if _runs(task) else task for task in tasks])


def _runs(task: Task) -> bool:
    return task.state == State.RUNNING and bool((task.report or {}).get("directory"))


def _with_tails(files: Path, task: Task) -> Task:
    *earlier, last = task.reports
    told = list((last or {}).get("steps", ()))
    steps = []
    for number in range(len(task.document["executors"])):
        step = told[number] if number < len(told) else {}
        if not step.get("end_time"):
            tails = {stream: _tail(files, log_path(last, number, stream)) for stream in STREAMS}
            if number >= len(told) and set(tails.values()) == {None}:
                break  # not begun, and so is none after it
            step = {**step, **{stream: text for stream, text in tails.items() if text is not None}}
        steps.append(step)
    return replace(task, reports=(*earlier, {**(last or {}), "steps": steps}))


def _tail(files: Path, path: str) -> str | None:
    """The end of a log, as text whatever its bytes are; None if there is no such file."""
    try:
        file = open_log(files, path)
        if file is None:
            return None
        with file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return str(storable(file.read(TAIL_BYTES).decode("utf-8", errors="replace")))
    except (OSError, NotFound):
        return None
