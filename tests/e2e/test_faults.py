"""Kill every process at every named place: each accepted run and task reaches one end, no attempt starts its user
code twice, and nothing is left running."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.service import Service, gone, left_running, postgres, working
from wesgate.core.failpoints import FAILPOINTS

TES, WES = "/ga4gh/tes/v1/tasks", "/ga4gh/wes/v1/runs"

WORKFLOW = """
version 1.0
workflow w { call count  output { Array[String] starts = count.starts } }
task count {
    command { echo started >> starts.txt }
    output { Array[String] starts = read_lines("starts.txt") }
}
"""

OURS = [name for name in FAILPOINTS if not name.startswith("worker-") and name != "reconcile-canceled"]
WORKERS = [name for name in FAILPOINTS if name.startswith("worker-")]


def counting(service: Service) -> dict[str, Any]:
    """A task whose step appends a line to a file each time it is started."""
    folder = service.data / "shared" / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    step = {"image": "any", "command": ["/bin/sh", "-c", "echo started >> /ledger/starts"]}
    return {"executors": [step], "outputs": [{"path": "/ledger", "url": f"file://{folder}", "type": "DIRECTORY"}]}


def starts(service: Service) -> int:
    path = service.data / "shared" / "ledger" / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def armed(service: Service, name: str, **more: str) -> Service:
    roots = f'["{service.data}/shared"]'
    return service.start(failpoints=f"{name}=kill", files__allowed=roots, **more)


def test_every_failpoint_is_in_one_of_the_lists() -> None:
    assert {*OURS, *WORKERS, "reconcile-canceled"} == set(FAILPOINTS)


@pytest.mark.parametrize("name", OURS)
def test_a_run_outlives_the_service_dying_at(name: str, service: Service) -> None:
    """The client repeats with the same key when its answer was lost, as clients with a key do."""
    armed(service, name)
    try:
        service.submit(WORKFLOW, key="k")
    except httpx.TransportError:
        assert name.startswith("api-")
    service.died()
    service.start()
    run = service.submit(WORKFLOW, key="k").json()["run_id"]
    log = service.ended(f"{WES}/{run}")
    assert log["state"] == "COMPLETE", log
    assert log["outputs"]["w.starts"] == ["started"]
    assert len(service.get(WES)["runs"]) == 1
    assert len(log["task_logs"]) == 1
    assert service.stop() == 0
    assert gone(service.data) == []


@pytest.mark.parametrize("name", WORKERS)
def test_a_task_outlives_its_worker_dying_at(name: str, service: Service) -> None:
    """With one attempt only, a task whose worker died has started its user code once at most."""
    armed(service, name, executors__local__max_attempts="1")
    task = service.post(TES, json=counting(service)).json()["id"]
    ended = service.ended(f"{TES}/{task}?view=FULL")
    assert ended["state"] == ("COMPLETE" if name == "worker-result" else "SYSTEM_ERROR"), ended
    assert starts(service) <= 1
    if ended["state"] == "SYSTEM_ERROR":
        assert ended["logs"][0]["system_logs"], "it must say why"
    assert service.stop() == 0
    assert gone(service.data) == []


@pytest.mark.parametrize("name", WORKERS)
def test_a_lost_worker_is_replaced_when_attempts_are_left(name: str, service: Service) -> None:
    armed(service, name, executors__local__max_attempts="1000")
    task = service.post(TES, json=counting(service)).json()["id"]
    enough = 1 if name == "worker-result" else 2
    service.until(f"{TES}/{task}?view=FULL", lambda found: len(found["logs"]) >= enough)
    service.kill()
    service.start(files__allowed=f'["{service.data}/shared"]')
    assert service.ended(f"{TES}/{task}")["state"] == "COMPLETE"
    attempts = len(service.get(f"{TES}/{task}?view=FULL")["logs"])
    assert enough <= attempts
    assert 1 <= starts(service) <= attempts
    assert gone(service.data) == []


def test_a_cancel_outlives_the_service_dying_after_the_stop_was_sent(service: Service) -> None:
    armed(service, "reconcile-canceled")
    task = service.post(TES, json=sleeping()).json()["id"]
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    service.post(f"{TES}/{task}:cancel")
    service.died()
    service.start()
    assert service.ended(f"{TES}/{task}")["state"] == "CANCELED"
    assert gone(service.data) == []


def sleeping() -> dict[str, Any]:
    return {"executors": [{"image": "any", "command": ["/bin/sleep", "600"]}]}


def test_a_running_task_is_adopted_after_the_service_was_killed(service: Service) -> None:
    roots = f'["{service.data}/shared"]'
    service.start(files__allowed=roots)
    document = counting(service)
    document["executors"][0]["command"][-1] += "; sleep 3"
    task = service.post(TES, json=document).json()["id"]
    service.until(f"{TES}/{task}", lambda _: starts(service) == 1)
    service.kill()
    assert left_running(service.data), "the worker must outlive the service"
    service.start(files__allowed=roots)
    assert service.ended(f"{TES}/{task}")["state"] == "COMPLETE"
    assert starts(service) == 1


def test_a_reboot_ends_or_repeats_everything_that_ran(service: Service) -> None:
    """All processes are gone at once, the files stay."""
    service.start()
    task = service.post(TES, json=sleeping()).json()["id"]
    run = service.submit(WORKFLOW.replace("echo", "sleep 1; echo")).json()["run_id"]
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    service.until(f"{WES}/{run}/status", lambda found: found["state"] == "RUNNING")
    reboot(service)
    service.start(executors__local__max_attempts="3")
    assert service.ended(f"{WES}/{run}")["state"] == "COMPLETE"
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    service.post(f"{TES}/{task}:cancel")
    assert service.ended(f"{TES}/{task}")["state"] == "CANCELED"
    assert gone(service.data) == []


def reboot(service: Service) -> None:
    """All at once: a worker that sees its step die first would call that the step's failure."""
    service.kill()
    processes = [*working(service.data), *postgres(service.data)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    psutil.wait_procs(processes, 10)


def test_a_clean_stop_ends_the_database_and_leaves_the_work(service: Service) -> None:
    service.start()
    task = service.post(TES, json=sleeping()).json()["id"]
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    assert service.stop() == 0
    assert postgres(service.data) == []
    service.start()
    service.post(f"{TES}/{task}:cancel")
    assert service.ended(f"{TES}/{task}")["state"] == "CANCELED"
