"""Whose log is printed, of a run: that of its engine, or of one of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from wesgate.cli.people.client import WesClient
from wesgate.cli.people.find import find_task
from wesgate.cli.people.replies import Log, Stand
from wesgate.cli.remote.reading import is_over
from wesgate.cli.remote.streams import Logs, Stream, whole


@dataclass(frozen=True, slots=True)
class Source:
    """Whose log it is: a task's, or the engine's where no task is named; which of its streams, and how many of their
    last lines."""

    client: WesClient
    run_id: str
    task: str
    names: Sequence[str]
    tail: int | None = None

    def look(self) -> Logs:
        """The streams as they are now."""
        log, over = self._log()
        return Logs(tuple(self._stream(log, name) for name in self.names), over, log.system_logs)

    def live(self) -> dict[str, Callable[[], Iterator[str]]]:
        """How each of the streams is followed; none where it has ended, or the server tells of none as it grows."""
        if not self.client.is_wesgate():
            return {}
        log, over = self._log()
        if over:
            return {}
        return {
            name: partial(self.client.follow_log, self.run_id, log.id if self.task else "", name, self.tail)
            for name in self.names
        }

    def document(self) -> dict[str, object]:
        """The streams as `--json` prints them."""
        log, _ = self._log()
        return {
            "run_id": self.run_id,
            "task": log.id or log.name or None,
            "system_logs": list(log.system_logs),
            **{name: whole(self._stream(log, name), self.tail) for name in self.names},
        }

    def _log(self) -> tuple[Log, bool]:
        run = self.client.run(self.run_id)
        if not self.task:
            return run.log, is_over(run.state)
        log = find_task(self.client.tasks(run), self.task)
        return log, is_over(run.state) or log.stand not in (Stand.WAITING, Stand.RUNNING)

    def _stream(self, log: Log, name: str) -> Stream:
        where = log.stdout if name == "stdout" else log.stderr
        end = partial(self.client.end_of_log, self.run_id, where)
        return Stream(name, partial(self.client.log, self.run_id, where), end, where=where)
