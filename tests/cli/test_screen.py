"""The live view: what it shows of thousands of tasks, and how it stands on a real terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from tests.cli.double import Double, a_run, a_task
from wesgate.cli.people.options import connected
from wesgate.cli.people.replies import Stand, read_run
from wesgate.cli.people.screen import picture, shown_tasks
from wesgate.cli.people.watch import Snapshot, look

RUN = read_run(
    a_run(
        "r", "RUNNING", [a_task(f"t-{n}", {0: 1, 1: None, 2: None}.get(n, 0)) for n in range(5000)], tags={"name": "n"}
    )
)


def drawn(seen: Snapshot, room: int = 10) -> str:
    assert RUN.start is not None
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(picture(seen, RUN.start + timedelta(seconds=65), room))
    return capture.get()


def test_of_thousands_of_tasks_those_that_failed_and_run_are_shown() -> None:
    shown = shown_tasks(RUN.tasks, 10)
    assert len(shown) == 10
    assert {task.name for task in shown if task.stand is not Stand.DONE} == {"t-0", "t-1", "t-2"}
    text = drawn(Snapshot(RUN, RUN.tasks))
    assert "2 running, 4997 done, 1 failed" in text
    assert "… and 4990 more" in text
    assert "1 min 05 s" in text
    assert len(text.splitlines()) < 16


def test_steps_and_the_end_of_the_youngest_log_are_shown(server: Double) -> None:
    server.texts["err"] = b"first\nlast \x1b[2J[bold]line\n"
    server.tes["1"] = {"state": "RUNNING", "executors": [{}, {}, {}], "logs": [{"logs": [{"exit_code": 0}]}]}
    task = a_task("a", None, tes_uri=f"{server.url}/tes/1", stderr="/texts/err")
    server.add(a_run("r", "RUNNING", [task]))
    with connected(server.url, "") as client:
        text = drawn(look(client, "r"))
    assert "running, 1 of 3 steps done" in text
    assert "last \\x1b[2J[bold]line" in text


def test_a_terminal_shows_the_run_live_and_nothing_of_it_is_a_command(server: Double, tmp_path: Path) -> None:
    (tmp_path / "w.wdl").write_text("version 1.0\nworkflow w {}")
    evil = a_task("evil\x1b]0;owned\x07", None)
    done = a_run("new-run", "COMPLETE", [evil | {"exit_code": 0}], outputs={"w.o": 1}, tags={"name": "my run"})
    server.next_run = [a_run("new-run", "RUNNING", [evil]), done]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "wesgate", "run", str(tmp_path / "w.wdl"), "--follow", "--url", server.url]
    with subprocess.Popen(command, stdout=theirs, env=os.environ | {"TERM": "xterm"}) as process:
        os.close(theirs)
        text = read_all(ours)
    assert process.returncode == 0
    assert "my run" in text
    assert "evil\\x1b]0;owned\\x07" in text
    assert "\x1b]0;owned" not in text
    assert "w.o  1" in text


def read_all(terminal: int) -> str:
    """All that was written to a terminal until it was closed, which Linux tells by an error."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)
