"""Whose log is printed, of a task: the streams of its steps, attempt by attempt. Steps count from 0 and attempts
from 1, as in the API and in what the server says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from wesgate.cli.errors import UsageProblem
from wesgate.cli.remote.streams import Logs, Stream, whole
from wesgate.cli.tasks.client import TesClient
from wesgate.cli.tasks.replies import StepLog, Task


@dataclass(slots=True)
class Source:
    """Which streams of a task: of one step or (None) all, of one attempt or (0) the last one and those that follow
    while it is looked at. `told` gets every look."""

    client: TesClient
    task_id: str
    names: Sequence[str]
    step: int | None = None
    attempt: int = 0
    tail: int | None = None
    told: Callable[[Task], None] = lambda _: None
    _first: int = field(default=0, init=False)

    def look(self) -> Logs:
        """The streams as they are now."""
        task = self._task()
        self._first = self._first or len(task.attempts)
        attempts = [self.attempt] if self.attempt else range(self._first, len(task.attempts) + 1)
        streams = tuple(stream for number in attempts for _, stream in self._streams(task, number))
        return Logs(streams, task.over or 0 < self.attempt < len(task.attempts))

    def document(self) -> dict[str, object]:
        """The streams as `--json` prints them."""
        task = self._task()
        attempt = self.attempt or len(task.attempts)
        steps: dict[int, dict[str, object]] = {}
        for (step, name), stream in self._streams(task, attempt):
            steps.setdefault(step, {"step": step})[name] = whole(stream, self.tail)
        return {"id": task.id, "state": task.state, "attempt": attempt, "steps": list(steps.values())}

    def _task(self) -> Task:
        task = self.client.task(self.task_id, "BASIC")
        if self.attempt > len(task.attempts):
            raise UsageProblem(f"--attempt {self.attempt}: the task has only {len(task.attempts)} so far")
        if self.step is not None and self.step >= _steps(task):
            raise UsageProblem(f"--step {self.step}: the last step of the task is {_steps(task) - 1}")
        self.told(task)
        return task

    def _streams(self, task: Task, attempt: int) -> Iterator[tuple[tuple[int, str], Stream]]:
        full = cache(partial(self.client.task, task.id))
        for step in range(_steps(task)) if self.step is None else [self.step]:
            for name in self.names:
                yield (step, name), self._stream(task, attempt, step, name, full)

    def _stream(self, task: Task, attempt: int, step: int, name: str, full: Callable[[], Task]) -> Stream:
        log = task.attempts[attempt - 1]
        heading = [f"attempt {attempt}"] if attempt > 1 else []
        heading += [f"step {step}"] if _steps(task) > 1 else []
        ended = task.over or attempt < len(task.attempts) or _step(task, attempt, step).ended
        if step > log.ended_steps:
            return Stream(" ".join([*heading, name]), lambda _: b"", lambda _: (b"", 0), ended)
        place = task.id, attempt, step, name

        def told() -> bytes:
            log = _step(full(), attempt, step)
            return (log.stdout if name == "stdout" else log.stderr).encode("utf-8", "replace")

        def fetch(offset: int) -> bytes:
            body = self.client.log(*place, offset)
            return told()[offset:] if body is None else body

        def end(count: int) -> tuple[bytes, int]:
            return self.client.end_of_log(*place, count) or (told()[-count:], len(told()))

        return Stream(" ".join([*heading, name]), fetch, end, ended)


def _steps(task: Task) -> int:
    return max(1, len(task.steps), len(task.last.steps))


def _step(task: Task, attempt: int, step: int) -> StepLog:
    steps = task.attempts[attempt - 1].steps if attempt <= len(task.attempts) else ()
    return steps[step] if step < len(steps) else StepLog()
