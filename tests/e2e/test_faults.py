"""Kill every process at every named place: each accepted run and task reaches one end, no attempt starts its user
code twice, and nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.doubles.receiver import receiving
from tests.e2e.service import ENDED, PATIENCE_S, Service, gone, left_running, postgres, working
from tests.podman import BUSYBOX, podman_environment
from wesgate.core.failpoints import FAILPOINTS
from wesgate.db.session import Database

TES, WES, HOOKS = "/ga4gh/tes/v1/tasks", "/ga4gh/wes/v1/runs", "/ga4gh/wes/v1/webhooks"

WORKFLOW = """
version 1.0
workflow w { call count  output { Array[String] starts = count.starts } }
task count {
    command { echo started >> starts.txt }
    output { Array[String] starts = read_lines("starts.txt") }
}
"""

OF_CANCEL = ("api-cancel-committed", "queue-canceled", "reconcile-canceled")
OF_LOSS = ("reconcile-cleared",)
OF_FORBIDDING = ("reconcile-forbidden",)
OF_GIVING_BACK = ("reconcile-given-back",)
OF_WEBHOOKS = ("webhooks-claimed", "webhooks-sent")
OF_SETTLING = [name for name in FAILPOINTS if name.startswith("settle-")]
KEPT = {"attachments", "inputs.json", "outputs", "outputs.json", "result.json"}
WORKERS = [name for name in FAILPOINTS if name.startswith("worker-")]
BEFORE_THE_STEP = ("worker-claimed", "worker-started")

# A run is three rows: itself, its head, and the head's task. The first hit of the submit protocol is the run's, the
# second the head's, the third the task's; a head's request to TES is the second that the API accepts.
HITS_OF_A_RUN = {
    "api-before-commit": 2, "api-after-commit": 2, "reconcile-admitted": 2, "reconcile-claimed": 4,
    "reconcile-polled": 4, "reconcile-submitting": 3, "reconcile-called": 3, "reconcile-submitted": 3,
    "reconcile-become": 4, "executor-directory": 2, "executor-spawned": 2,
}  # fmt: skip
HITS_OF_A_TASK = {"reconcile-claimed": 3, "reconcile-polled": 2, "reconcile-become": 2}


def deaths(hits: Mapping[str, int], *prefixes: str) -> list[str]:
    """Each failpoint that a run or task comes by when all goes well, at the first hit and, if said, at later ones. A
    hit that is not reached leaves the service alive, and `died` does not bear that."""
    return [
        f"{name}=kill@{hit}"
        for name in FAILPOINTS
        if name.startswith(prefixes) and name not in (*OF_CANCEL, *OF_LOSS, *OF_FORBIDDING, *OF_GIVING_BACK)
        for hit in range(1, hits.get(name, 1) + 1)
    ]


def is_of_looking(death: str) -> bool:
    """Whether the loop comes by only as it looks, so that what is over at once may not be seen often enough."""
    return death.startswith(("reconcile-claimed", "reconcile-polled", "reconcile-become", "reconcile-waited"))


IN_A_RUN = deaths(HITS_OF_A_RUN, "api-", "queue-", "reconcile-", "executor-")
IN_A_TASK = deaths(HITS_OF_A_TASK, "api-", "reconcile-", "executor-")


def counting(service: Service, *, then: str = "true", image: str = "any") -> dict[str, Any]:
    """A task whose step appends a line to a file each time it is started."""
    folder = service.data / "shared" / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    step = {"image": image, "command": ["/bin/sh", "-c", f"echo started >> /ledger/starts; {then}"]}
    return {"executors": [step], "outputs": [{"path": "/ledger", "url": f"file://{folder}", "type": "DIRECTORY"}]}


def sleeping(image: str = "any") -> dict[str, Any]:
    return {"executors": [{"image": image, "command": ["/bin/sleep", "600"]}]}


def starts(service: Service) -> int:
    path = service.data / "shared" / "ledger" / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def armed(service: Service, failpoints: str, **more: str) -> Service:
    return service.start(failpoints=failpoints, files__allowed=f'["{service.data}/shared"]', **more)


def asked(ask: Callable[[], httpx.Response]) -> None:
    """Ask a service that may die before it answers."""
    with contextlib.suppress(httpx.TransportError):
        ask()


async def attempts(database: Database, lane: str) -> int:
    """How many attempts the latest task of a lane has had."""
    statement = "SELECT max(number) FROM attempts JOIN tasks ON tasks.id = row_id WHERE lane = $1"
    return int((await database.fetch(statement, lane))[0]["max"] or 0)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.05)


async def ends_and_attempts(database: Database) -> list[tuple[int, int]]:
    """For each run, head and task, how often it ended and how many attempts it had."""
    statement = """
        SELECT count(*) FILTER (WHERE state = ANY($1)) AS ends,
               (SELECT count(*) FROM attempts WHERE attempts.row_id = history.row_id) AS attempts
        FROM history GROUP BY row_id
    """
    return [(row["ends"], row["attempts"]) for row in await database.fetch(statement, list(ENDED))]


def test_every_failpoint_is_in_one_of_the_lists() -> None:
    listed = {death.partition("=")[0] for death in [*IN_A_RUN, *IN_A_TASK]}
    assert {*listed, *WORKERS, *OF_CANCEL, *OF_LOSS, *OF_FORBIDDING, *OF_GIVING_BACK, *OF_WEBHOOKS} == {*FAILPOINTS} - {
        *OF_SETTLING
    }
    assert all((IN_A_RUN, IN_A_TASK, WORKERS, OF_SETTLING)), "an empty list tests nothing"


@pytest.mark.parametrize("death", IN_A_RUN)
async def test_a_run_outlives_the_service_dying_at(death: str, quick: Service, database: Database) -> None:
    """The client repeats with the same key when its answer was lost, as clients with a key do."""
    armed(quick, death)
    workflow = WORKFLOW.replace("starts.txt }", "starts.txt; sleep 1 }") if is_of_looking(death) else WORKFLOW
    asked(lambda: quick.submit(workflow, key="k"))
    quick.died()
    quick.start()
    run = quick.submit(workflow, key="k").json()["run_id"]
    log = quick.ended(f"{WES}/{run}")
    assert log["state"] == "COMPLETE", log
    assert log["outputs"]["w.starts"] == ["started"]
    assert len(quick.get(WES)["runs"]) == 1
    assert len(log["task_logs"]) == 1
    assert await ends_and_attempts(database) == [(1, 1)] * 3
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("death", IN_A_TASK)
async def test_a_task_outlives_the_service_dying_at(death: str, quick: Service, database: Database) -> None:
    armed(quick, death)
    document, key = counting(quick, then="sleep 1" if is_of_looking(death) else "true"), {"Idempotency-Key": "k"}
    asked(lambda: quick.post(TES, json=document, headers=key))
    quick.died()
    armed(quick, "")
    task = quick.post(TES, json=document, headers=key).json()["id"]
    assert quick.ended(f"{TES}/{task}")["state"] == "COMPLETE"
    assert len(quick.get(TES)["tasks"]) == 1
    assert starts(quick) == 1
    assert await ends_and_attempts(database) == [(1, 1)]
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("name", WORKERS)
def test_a_task_outlives_its_worker_dying_at(name: str, quick: Service) -> None:
    """With one attempt only, a task whose worker died has started its user code once at most."""
    armed(quick, f"{name}=kill", executors__local__max_attempts="1")
    task = quick.post(TES, json=counting(quick)).json()["id"]
    ended = quick.ended(f"{TES}/{task}?view=FULL")
    assert ended["state"] == ("COMPLETE" if name == "worker-result" else "SYSTEM_ERROR"), ended
    assert starts(quick) <= 1
    if ended["state"] == "SYSTEM_ERROR":
        assert ended["logs"][0]["system_logs"], "it must say why"
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("name", WORKERS)
def test_a_lost_worker_is_replaced_when_attempts_are_left(name: str, quick: Service) -> None:
    armed(quick, f"{name}=kill", executors__local__max_attempts="1000")
    task = quick.post(TES, json=counting(quick)).json()["id"]
    enough = 1 if name == "worker-result" else 2
    quick.until(f"{TES}/{task}?view=FULL", lambda found: len(found["logs"]) >= enough)
    quick.kill()
    quick.start(files__allowed=f'["{quick.data}/shared"]')
    assert quick.ended(f"{TES}/{task}")["state"] == "COMPLETE"
    attempts = len(quick.get(f"{TES}/{task}?view=FULL")["logs"])
    assert enough <= attempts
    assert 1 <= starts(quick) <= attempts
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("lane", ["head", "task"])
@pytest.mark.parametrize("name", WORKERS)
async def test_a_run_outlives_a_worker_dying_at(name: str, lane: str, quick: Service, database: Database) -> None:
    """The service is killed when the head asks for its task, so that either's worker is armed and not the other's."""
    tries, of_task = {"executors__local__max_attempts": "1000"}, lane == "task"
    armed(quick, f"api-before-commit=kill@2{'' if of_task else f',{name}=kill'}", **tries)
    run = quick.submit(WORKFLOW).json()["run_id"]
    enough = 1 if name == "worker-result" else 2
    if of_task or name not in BEFORE_THE_STEP:
        quick.died()
    if of_task:
        armed(quick, f"{name}=kill", **tries)
    if of_task or name in BEFORE_THE_STEP:
        await until(lambda: at_least(database, lane, enough))
        quick.kill()
    quick.start(**tries)
    log = quick.ended(f"{WES}/{run}")
    assert log["state"] == "COMPLETE", log
    assert [ends for ends, _ in await ends_and_attempts(database)] == [1] * 3
    assert await at_least(database, lane, enough), "its worker was to die"
    assert 1 <= len(log["outputs"]["w.starts"]) <= await attempts(database, "task")
    assert quick.stop() == 0
    assert gone(quick.data) == []


async def at_least(database: Database, lane: str, number: int) -> bool:
    return await attempts(database, lane) >= number


@pytest.mark.parametrize("name", OF_GIVING_BACK)
async def test_a_task_canceled_while_it_is_claimed_never_starts_though_the_service_dies_at(
    name: str, quick: Service, database: Database
) -> None:
    armed(quick, f"reconcile-claimed=sleep:3000,{name}=kill")
    posting = asyncio.create_task(asyncio.to_thread(asked, lambda: quick.post(TES, json=counting(quick))))
    await until(lambda: found(database, "SELECT 1 FROM tasks WHERE lease_holder IS NOT NULL"))
    await database.fetch("UPDATE tasks SET state = 'CANCELING'")
    quick.died()
    await posting
    armed(quick, "")
    (task,) = quick.get(TES)["tasks"]
    assert quick.ended(f"{TES}/{task['id']}")["state"] == "CANCELED"
    assert (starts(quick), await ends_and_attempts(database)) == (0, [(1, 0)])
    assert quick.stop() == 0
    assert gone(quick.data) == []


async def found(database: Database, statement: str) -> bool:
    return bool(await database.fetch(statement))


@pytest.mark.parametrize("death", [f"{name}=kill@{hit}" for name in OF_WEBHOOKS for hit in (1, 2)])
async def test_a_receiver_is_told_of_all_in_order_though_the_service_dies_at(
    death: str, quick: Service, database: Database
) -> None:
    allowed = {"sources__allow_private": "true", "webhooks__timeout_s": "1"}
    async with receiving() as receiver:
        quick.start(failpoints=death, **allowed)
        hook = (await asyncio.to_thread(quick.post, HOOKS, json={"url": receiver.url})).json()
        await asyncio.to_thread(asked, lambda: quick.submit(WORKFLOW, key="k"))
        await asyncio.to_thread(quick.died)
        await asyncio.to_thread(quick.start, **allowed)
        run = (await asyncio.to_thread(quick.submit, WORKFLOW, key="k")).json()["run_id"]
        await asyncio.to_thread(quick.ended, f"{WES}/{run}/status")
        await until(lambda: none_waits(database))
    told = [sent.event for sent in receiver.sent]
    assert [one["data"]["run_id"] for one in told] == [run] * len(told)
    states = [row["state"] for row in await database.fetch("SELECT state FROM history WHERE kind = 'run' ORDER BY id")]
    assert list(dict.fromkeys(one["data"]["state"] for one in told)) == states
    assert len({one["id"] for one in told}) == len(states)
    assert len(told) >= len(states) + death.startswith("webhooks-sent")
    assert all(sent.verified(hook["secret"]) for sent in receiver.sent)
    assert quick.stop() == 0
    assert gone(quick.data) == []


async def none_waits(database: Database) -> bool:
    return not await found(database, "SELECT 1 FROM deliveries")


@pytest.mark.parametrize("name", OF_SETTLING)
async def test_files_that_are_not_wanted_go_though_the_service_dies_at(
    name: str, quick: Service, database: Database
) -> None:
    armed(quick, f"{name}=kill")
    form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl",
            "workflow_engine_parameters": '{"delete_after": "always"}'}  # fmt: skip
    files = [("workflow_attachment", ("main.wdl", WORKFLOW.encode()))]
    run = quick.post(WES, data=form, files=files).json()["run_id"]
    quick.died()
    await database.fetch("UPDATE runs SET settle_at = now() WHERE settle_at < 'infinity'")  # its lease runs out
    quick.start()
    await until(lambda: found(database, "SELECT 1 FROM runs WHERE settle_at = 'infinity'"))
    assert quick.get(f"{WES}/{run}")["outputs"] == {"w.starts": ["started"]}
    names = {path.name for path in quick.data.glob("files/*/run-*/*")}
    assert names >= KEPT
    assert not names & {"attempt-1", "source"}
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("death", ["api-cancel-committed=kill", "reconcile-canceled=kill"])
async def test_a_canceled_task_outlives_the_service_dying_at(death: str, quick: Service, database: Database) -> None:
    armed(quick, death)
    task = quick.post(TES, json=sleeping()).json()["id"]
    quick.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    asked(lambda: quick.post(f"{TES}/{task}:cancel"))
    quick.died()
    quick.start()
    assert quick.ended(f"{TES}/{task}")["state"] == "CANCELED"
    assert await ends_and_attempts(database) == [(1, 1)]
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("death", [f"{name}=kill" for name in OF_CANCEL] + ["reconcile-canceled=kill@2"])
async def test_a_canceled_run_outlives_the_service_dying_at(death: str, quick: Service, database: Database) -> None:
    """The loop stops the run first, then its head and its task."""
    armed(quick, death)
    run = quick.submit(WORKFLOW.replace("echo", "sleep 600; echo")).json()["run_id"]
    quick.until(f"{TES}?state=RUNNING", lambda found: len(found["tasks"]) == 1)
    asked(lambda: quick.post(f"{WES}/{run}/cancel"))
    quick.died()
    quick.start()
    assert quick.ended(f"{WES}/{run}/status")["state"] == "CANCELED"
    assert [task["state"] for task in quick.get(TES)["tasks"]] == ["CANCELED"]
    assert await ends_and_attempts(database) == [(1, 1)] * 3
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("name", ["reconcile-found", *OF_FORBIDDING, "reconcile-become"])
async def test_a_task_canceled_in_the_middle_of_its_submit_never_starts_though_the_service_dies_at(
    name: str, quick: Service, database: Database
) -> None:
    armed(quick, "reconcile-submitting=kill")
    asked(lambda: quick.post(TES, json=counting(quick), headers={"Idempotency-Key": "k"}))
    quick.died()
    quick.words = ("api", "--port", "0")
    armed(quick, "")
    (task,) = quick.get(TES)["tasks"]
    quick.post(f"{TES}/{task['id']}:cancel")
    assert quick.stop() == 0
    quick.words = ("serve", "--port", "0")
    with contextlib.suppress(AssertionError):  # it may die before it says that it is ready
        armed(quick, f"{name}=kill")
    quick.died()
    quick.start()
    assert quick.ended(f"{TES}/{task['id']}")["state"] == "CANCELED"
    assert (starts(quick), await ends_and_attempts(database)) == (0, [(1, 1)])
    assert quick.stop() == 0
    assert gone(quick.data) == []


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_lost_task_outlives_the_service_dying_once_it_was_cleared_away(
    attempts: int, quick: Service, database: Database
) -> None:
    """Its worker died first. It ends, or is tried again where attempts are left."""
    armed(quick, "worker-started=kill,reconcile-cleared=kill", executors__local__max_attempts=str(attempts))
    asked(lambda: quick.post(TES, json=counting(quick)))
    quick.died()
    armed(quick, "")
    (task,) = quick.get(TES)["tasks"]
    assert quick.ended(f"{TES}/{task['id']}")["state"] == ("SYSTEM_ERROR" if attempts == 1 else "COMPLETE")
    assert starts(quick) == attempts - 1
    assert await ends_and_attempts(database) == [(1, attempts)]
    assert quick.stop() == 0
    assert gone(quick.data) == []


def test_a_running_task_is_adopted_after_the_service_was_killed(service: Service) -> None:
    roots = f'["{service.data}/shared"]'
    service.start(files__allowed=roots)
    task = service.post(TES, json=counting(service, then="sleep 2")).json()["id"]
    service.until(f"{TES}/{task}", lambda _: starts(service) == 1)
    service.kill()
    assert left_running(service.data), "the worker must outlive the service"
    service.start(files__allowed=roots)
    assert service.ended(f"{TES}/{task}")["state"] == "COMPLETE"
    assert starts(service) == 1


@pytest.mark.parametrize("told", [signal.SIGSTOP, signal.SIGTERM], ids=["killed", "told"])
def test_a_reboot_ends_or_repeats_everything_that_ran(told: signal.Signals, service: Service) -> None:
    """All processes are gone at once, or are asked to go and then killed; the files stay."""
    armed(service, "")
    task = service.post(TES, json=counting(service, then="sleep 600")).json()["id"]
    run = service.submit(WORKFLOW.replace("echo", "sleep 1; echo")).json()["run_id"]
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    service.until(f"{WES}/{run}/status", lambda found: found["state"] == "RUNNING")
    reboot(service, told)
    armed(service, "")
    log = service.ended(f"{WES}/{run}")
    assert log["state"] == "COMPLETE", log
    (call,) = service.get(f"{TES}?view=FULL&tag_key=wesgate-run&tag_value={run}")["tasks"]
    assert 1 <= len(log["outputs"]["w.starts"]) <= len(call["logs"])
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    service.post(f"{TES}/{task}:cancel")
    assert service.ended(f"{TES}/{task}")["state"] == "CANCELED"
    assert 1 <= starts(service) <= len(service.get(f"{TES}/{task}?view=FULL")["logs"])
    assert service.stop() == 0
    assert gone(service.data) == []


def reboot(service: Service, told: signal.Signals = signal.SIGSTOP) -> None:
    """Everything is told this, then killed. Without a word, a worker that sees its step die first would call that the
    step's failure."""
    assert service.process is not None
    processes = [psutil.Process(service.process.pid), *working(service.data), *postgres(service.data)]
    for number in (told, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(processes, 10 if number != signal.SIGSTOP else 0)
    service.kill()


def test_a_clean_stop_ends_the_database_and_leaves_the_work(service: Service) -> None:
    service.start()
    task = service.post(TES, json=sleeping()).json()["id"]
    service.until(f"{TES}/{task}", lambda found: found["state"] == "RUNNING")
    assert service.stop() == 0
    assert postgres(service.data) == []
    service.start()
    service.post(f"{TES}/{task}:cancel")
    assert service.ended(f"{TES}/{task}")["state"] == "CANCELED"


@pytest.fixture
def podman(quick: Service, tmp_path: Path) -> Iterator[Service]:
    """The same with containers; none of them is left, whatever the test does."""
    quick.settings["executors__local__runtime"] = "podman"
    quick.popen["env"] = podman_environment(tmp_path, BUSYBOX)
    yield quick
    if left := containers(quick):
        remove(quick, left)
        pytest.fail(f"containers were left: {left}")


def containers(service: Service) -> list[str]:
    """The names of the containers, running or not, of attempts that have a directory."""
    known = {path.name for path in service.data.glob("files/*/wg-*")}
    command = ["podman", "ps", "--all", "--format", "{{.Names}}"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, env=service.popen["env"])
    return [name for name in listed.stdout.split() if name.rpartition("-")[0] in known]


def remove(service: Service, names: list[str]) -> None:
    command = ["podman", "rm", "--force", "--time=0", *names]
    subprocess.run(command, check=True, capture_output=True, env=service.popen["env"])


def soon(holds: Callable[[], bool], patience_s: float = 15.0) -> bool:
    """Whether this holds after a moment's grace: a container is removed just after its task has ended."""
    until = time.monotonic() + patience_s
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.1)
    return held


@pytest.mark.parametrize("name", ["reconcile-called", "executor-spawned"])
async def test_a_container_outlives_the_service_dying_at(name: str, podman: Service, database: Database) -> None:
    armed(podman, f"{name}=kill")
    asked(lambda: podman.post(TES, json=counting(podman, then="sleep 2", image=BUSYBOX)))
    podman.died()
    assert soon(lambda: starts(podman) == 1)
    armed(podman, "")
    (task,) = podman.get(TES)["tasks"]
    assert podman.ended(f"{TES}/{task['id']}")["state"] == "COMPLETE"
    assert starts(podman) == 1
    assert await ends_and_attempts(database) == [(1, 1)]
    assert soon(lambda: not containers(podman))
    assert podman.stop() == 0
    assert gone(podman.data) == []


async def test_a_worker_that_dies_before_its_container_starts_is_replaced(podman: Service, database: Database) -> None:
    armed(podman, "worker-started=kill,reconcile-cleared=kill", executors__local__max_attempts="2")
    asked(lambda: podman.post(TES, json=counting(podman, image=BUSYBOX)))
    podman.died()
    armed(podman, "")
    (task,) = podman.get(TES)["tasks"]
    assert podman.ended(f"{TES}/{task['id']}")["state"] == "COMPLETE"
    assert starts(podman) == 1
    assert await ends_and_attempts(database) == [(1, 2)]
    assert soon(lambda: not containers(podman))
    assert podman.stop() == 0
    assert gone(podman.data) == []


async def test_a_reboot_repeats_what_ran_in_containers(podman: Service, database: Database) -> None:
    """All processes are gone at once, and the containers with them."""
    roots = {"files__allowed": f'["{podman.data}/shared"]', "executors__local__max_attempts": "2"}
    podman.start(**roots)
    task = podman.post(TES, json=counting(podman, then="[ $(wc -l < /ledger/starts) = 2 ] || sleep 600", image=BUSYBOX))
    podman.until(f"{TES}/{task.json()['id']}", lambda _: starts(podman) == 1)
    reboot(podman)
    remove(podman, containers(podman))
    podman.start(**roots)
    assert podman.ended(f"{TES}/{task.json()['id']}")["state"] == "COMPLETE"
    assert starts(podman) == 2
    assert await ends_and_attempts(database) == [(1, 2)]
    assert soon(lambda: not containers(podman))
    assert podman.stop() == 0
    assert gone(podman.data) == []
