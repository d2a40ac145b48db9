"""Drives the py-tes that it finds against a TES: `drive.py VERB URL ...` prints as JSON what the client makes of it.

A program of its own: two versions of py-tes cannot be in one process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import tes  # type: ignore[import-untyped]

ENDED = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED"}
PATIENCE_S = 60.0


def create(client: Any, image: str, script: str) -> str:
    """A task with all members that this client knows in both versions."""
    step = tes.Executor(image=image, command=["sh", "-c", script], workdir="/tmp", env={"A": "b"})
    inputs = [tes.Input(path="/in/a", content="given")]
    resources = tes.Resources(cpu_cores=1, ram_gb=0.5, disk_gb=1.0, preemptible=False)
    task = tes.Task(name="driven", executors=[step], inputs=inputs, resources=resources, tags={"by": "py-tes"})
    return str(client.create_task(task))


def watch(client: Any, task: str, until: Callable[[Any], bool]) -> tuple[list[str], Any]:
    """The states until then, and the last FULL view; every view of every poll is parsed."""
    states: list[str] = []
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        for view in ("MINIMAL", "BASIC", "FULL"):
            found = client.get_task(task, view)
            states += [found.state] if states[-1:] != [found.state] else []
        if until(found):
            return states, found
        time.sleep(0.1)
    raise SystemExit(f"still {states}")


def run(client: Any, image: str, script: str) -> Any:
    task = create(client, image, script)
    states, found = watch(client, task, lambda found: found.state in ENDED)
    step = found.logs[-1].logs[-1]
    return {"states": states, "exit_code": step.exit_code, "stdout": step.stdout, "listed": listed(client)[0]}


def cancel(client: Any, image: str, script: str) -> Any:
    task = create(client, image, script)
    watch(client, task, lambda found: found.state == "RUNNING" and found.logs[-1].logs[-1].stdout)
    client.cancel_task(task)
    states, found = watch(client, task, lambda found: found.state in ENDED)
    client.cancel_task(task)
    return {"states": states, "stdout": found.logs[-1].logs[-1].stdout}


def look(client: Any, *tasks: str) -> Any:
    """The states that it sees, of each task alone and of all in the list, which has the newest first."""
    alone = [{client.get_task(task, view).state for view in ("MINIMAL", "BASIC", "FULL")} for task in tasks]
    return {"alone": [sorted(states) for states in alone], "listed": listed(client)[::-1]}


def info(client: Any) -> Any:
    return client.get_service_info().as_dict()


def listed(client: Any) -> list[str]:
    """Pages of one, to the end."""
    states, token = [], None
    while True:
        page = client.list_tasks(view="FULL", page_size=1, page_token=token)
        states += [task.state for task in page.tasks]
        token = page.next_page_token
        if not token:
            return states


VERBS: dict[str, Callable[..., Any]] = {"run": run, "cancel": cancel, "look": look, "info": info}

if __name__ == "__main__":
    verb, url, *rest = sys.argv[1:]
    print(json.dumps(VERBS[verb](tes.HTTPClient(url, timeout=5), *rest), default=str))  # noqa: T201
