"""The view of a run that is being followed: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import typer

from wesgate.cli.people.replies import Log, Stand
from wesgate.cli.people.report import counts, label, why
from wesgate.cli.people.watch import Snapshot, youngest_first
from wesgate.cli.text import one_line, took

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

MARKS = {Stand.WAITING: "·", Stand.RUNNING: "▶", Stand.DONE: "✓", Stand.FAILED: "✗", Stand.STOPPED: "■"}
COLORS = {Stand.WAITING: "dim", Stand.RUNNING: "cyan", Stand.DONE: "green", Stand.FAILED: "bold red",
          Stand.STOPPED: "yellow"}  # fmt: skip
BESIDES = 13
"""Lines of the live view that are not tasks: heading, bar, log."""


class Screen(Protocol):
    """Where snapshots are shown while the run is followed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, seen: Snapshot) -> None:
        """Show it in place of the one before."""
        ...


def screen() -> Screen:
    """The live view where the terminal and the installed libraries allow it."""
    if not sys.stdout.isatty():
        return PlainScreen()
    try:
        from rich.console import Console
    except ImportError:
        return PlainScreen()
    console = Console()
    return PlainScreen() if console.is_dumb_terminal else LiveScreen(console)


def shown_tasks(tasks: Sequence[Log], room: int) -> list[Log]:
    """The tasks worth a line when there is no room for all: what failed, then what runs, then what ended last."""
    if len(tasks) <= room:
        return list(tasks)
    by_stand = {stand: youngest_first([task for task in tasks if task.stand is stand]) for stand in Stand}
    failed = by_stand[Stand.FAILED][: max(1, room // 3)]
    others = (Stand.RUNNING, Stand.STOPPED, Stand.DONE, Stand.WAITING)
    ranked = [*failed, *(task for stand in others for task in by_stand[stand])]
    return sorted(ranked[:room], key=lambda task: task.start.timestamp() if task.start else float("inf"))


class PlainScreen:
    """One line for each change, fit for a log file. Many changes at once are told as one count."""

    def __init__(self) -> None:
        self._state = ""
        self._stands: dict[str, Stand] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, seen: Snapshot) -> None:
        """Print what has changed since the last one."""
        changed = [task for task in seen.tasks if self._stands.get(task.id or task.name) is not task.stand]
        self._stands.update({task.id or task.name: task.stand for task in changed})
        now = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        if seen.run.state != self._state:
            typer.echo(f"{now}  run {one_line(seen.run.state)}")
            self._state = seen.run.state
        if len(changed) > 10:
            typer.echo(f"{now}  tasks: {counts(seen.tasks)}")
        else:
            for task in changed:
                typer.echo(f"{now}  task {label(task)} {task.stand}{_aside(task)}")


class LiveScreen:
    """A panel that redraws itself in place, clocks running, and leaves its last look behind."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._seen: Snapshot | None = None
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, seen: Snapshot) -> None:
        """Take it up; the next redraw shows it."""
        self._seen = seen

    def _render(self) -> RenderableType:
        if self._seen is None:
            return "waiting for the server …"
        return picture(self._seen, datetime.now(UTC), max(3, self._console.height - BESIDES))


def picture(seen: Snapshot, now: datetime, room: int) -> Group:
    """The live view of one snapshot, in at most `room` lines of tasks."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.text import Text

    parts: list[RenderableType] = [_heading(seen, now)]
    shown = shown_tasks(seen.tasks, room)
    if seen.tasks:
        parts += [_bar(seen.tasks), _task_table(seen, shown, now)]
    if len(shown) < len(seen.tasks):
        parts.append(Text(f"  … and {len(seen.tasks) - len(shown)} more", style="dim"))
    if seen.lines:
        parts.append(Rule(Text(f"log of {one_line(seen.lines_of, 60)}"), align="left", style="dim"))
        parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in seen.lines]
    return Group(*parts)


def _heading(seen: Snapshot, now: datetime) -> RenderableType:
    from rich.text import Text

    run = seen.run
    styles = {
        "COMPLETE": "bold green",
        "RUNNING": "bold cyan",
        "EXECUTOR_ERROR": "bold red",
        "SYSTEM_ERROR": "bold red",
    }
    return Text.assemble(
        (one_line(run.name, 60) or "run", "bold"),
        f"  {one_line(run.id, 60)}  ",
        (one_line(run.state, 30), styles.get(run.state, "bold yellow")),
        f"  {took(run.start, run.end or now)}",
        no_wrap=True,
        overflow="ellipsis",
    )


def _bar(tasks: Sequence[Log]) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    ended = sum(task.stand not in (Stand.WAITING, Stand.RUNNING) for task in tasks)
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=len(tasks), completed=ended, width=30), Text(counts(tasks)))
    return line


def _task_table(seen: Snapshot, shown: Sequence[Log], now: datetime) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for task in shown:
        style = COLORS[task.stand]
        news = seen.steps.get(task.id) or (why(task) if task.stand is Stand.FAILED else task.stand.value)
        table.add_row(
            Text(f"{MARKS[task.stand]} {label(task)}", style=style),
            Text(one_line(news, 60), style=style),
            Text(took(task.start, task.end or now)),
        )
    return table


def _aside(task: Log) -> str:
    after = took(task.start, task.end)
    cause = f": {why(task)}" if task.stand is Stand.FAILED and why(task) else ""
    return (f" after {after}" if after else "") + cause
