"""What the local executor promises beyond all executors: its runtimes, its clients' deaths, its wake-ups, its speed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import signal
import socket
import uuid
from pathlib import Path

import psutil
import pytest

from tests.contracts.conftest import Grounds
from tests.contracts.ground import Ground, said
from tests.contracts.test_executor import containers, kill_worker
from wesgate.core.backend import Handle
from wesgate.core.errors import Misconfigured, Permanent, Retryable
from wesgate.core.spec import FileType, Input, Output, Step, TaskSpec, attempt_key
from wesgate.core.states import State
from wesgate.executors.local import CLEAR_TIMEOUT_S, LocalExecutor, LocalSettings, Secrets
from wesgate.reconcile.kernel import CALL_TIMEOUT_S
from wesgate.settings import Local
from wesgate.worker.layout import Order, read, write
from wesgate.worker.runtimes.probe import RUNTIMES
from wesgate.worker.work import FIRST_LOOK_S, MOST_LISTED


@pytest.fixture
async def podman(grounds: Grounds) -> Ground:
    return await grounds("podman")


def executor(tmp_path: Path, **environment: str) -> LocalExecutor:
    return LocalExecutor(LocalSettings(), tmp_path, tmp_path, {"PATH": "", **environment})


async def test_a_container_whose_client_was_killed_is_waited_for(podman: Ground) -> None:
    spec = podman.task("echo up; while [ ! -e $I/go ]; do sleep 0.05; done; exit 5", volumes=(podman.inside,))
    handle = await podman.start(spec)
    await podman.says(handle, "up")
    key = handle.split("/")[1]
    (client,) = [each for each in psutil.process_iter(["cmdline"]) if is_client(each.info["cmdline"], key)]
    client.kill()
    (podman.attempt(handle) / "files" / "inside" / "go").touch()
    seen = await podman.end(handle)
    assert (seen.state, seen.report and seen.report.steps[0].exit_code) == (State.EXECUTOR_ERROR, 5), seen


def is_client(command: list[str] | None, key: str) -> bool:
    return command is not None and command[:2] == ["podman", "run"] and f"{key}-0" in command


async def test_a_runtime_that_is_not_there_is_named_with_its_reason(tmp_path: Path) -> None:
    wanted = LocalExecutor(LocalSettings(runtime="docker"), tmp_path, tmp_path, {"PATH": ""})
    with pytest.raises(Misconfigured, match=r"docker is not installed.*set its runtime to auto"):
        await wanted.start()


async def test_without_any_program_auto_is_plain(tmp_path: Path) -> None:
    bare = executor(tmp_path)
    await bare.start()
    assert bare.runtime == "process:plain"


async def test_auto_takes_the_best_runtime_that_works(tmp_path: Path, environment: dict[str, str]) -> None:
    auto = LocalExecutor(LocalSettings(), tmp_path, tmp_path, environment)
    await auto.start()
    assert auto.runtime in RUNTIMES
    assert auto.runtime != "process:plain" or os.getuid() != 0


async def test_an_executor_that_was_not_started_takes_no_tasks(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="not started yet"):
        await executor(tmp_path).submit("k", TaskSpec("o", ()))


@pytest.mark.parametrize("handle", ["../x", "a/../b", "a/b/c", "a", "/b", "a/\0"])
async def test_a_handle_that_leads_elsewhere_is_refused(tmp_path: Path, handle: str) -> None:
    with pytest.raises(Permanent, match="is no handle"):
        await executor(tmp_path).poll([Handle(handle)])


async def test_a_disk_that_cannot_be_written_is_retried_later(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = LocalExecutor(LocalSettings(), tmp_path / "file", tmp_path, {"PATH": ""})
    await broken.start()
    with pytest.raises(Retryable, match="see to the files root"):
        await broken.submit("k", TaskSpec("o", ()))


@pytest.mark.parametrize(("slow", "times"), [(False, 1), (True, 2)])
async def test_listeners_are_woken_when_a_task_ends_and_when_it_starts_late(
    plain: Ground, slow: bool, times: int
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * FIRST_LOOK_S)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        inputs = (Input(f"{plain.inside}/late", url=url),) if slow else ()
        key = attempt_key(uuid.uuid4(), 1)
        handle = await plain.executor.submit(key, plain.task("true", inputs=inputs))
        heard: list[str] = []
        while heard.count(key) < times:
            heard.append(await plain.hear())
        assert (await plain.executor.poll([handle]))[handle].state is State.COMPLETE


async def test_a_dead_listener_disturbs_nobody(plain: Ground, short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(short_tmp / "wake-process-plain" / "gone"))
    assert (await plain.run(plain.task("true"))).state is State.COMPLETE
    (short_tmp / "wake-process-plain" / "gone").unlink()


async def test_a_step_finds_the_programs_and_proxies_of_the_service(tmp_path: Path, plain: Ground) -> None:
    environment = {**os.environ, "HTTPS_PROXY": "http://proxy:3128", "DATABASE_URL": "secret"}
    proxied = LocalExecutor(LocalSettings(runtime="process:plain"), plain.root, tmp_path, environment)
    await proxied.start()
    seen = await plain.end(await proxied.submit(attempt_key(uuid.uuid4(), 1), plain.task("env")))
    await proxied.close()
    assert "HTTPS_PROXY=http://proxy:3128" in said(seen)
    assert f"PATH={os.environ['PATH']}" in said(seen)
    assert "secret" not in said(seen)
    assert f"HOME={os.environ['HOME']}\n" not in said(seen)


async def test_a_worker_does_not_know_the_services_secrets(plain: Ground) -> None:
    handle = await plain.start(plain.task("echo up; sleep 600"))
    await plain.says(handle, "up")
    worker = psutil.Process(int((read(plain.attempt(handle) / "worker.json") or {})["pid"]))
    known = worker.environ()
    await plain.executor.cancel(handle)
    assert "CONTAINERS_CONF" in known
    assert "WESGATE_SECRET" not in known
    await plain.end(handle)


async def test_a_task_without_a_sandbox_uses_only_the_owners_paths(plain: Ground) -> None:
    seen = await plain.run(plain.task("true", volumes=("/inside",)))
    assert seen.state is State.SYSTEM_ERROR
    assert "outside the directories that this service may use" in seen.detail


async def test_a_worker_on_its_way_when_its_attempt_is_forbidden_runs_no_user_code(plain: Ground) -> None:
    stalled = plain.make(failpoints="worker-claimed=sleep:1500")
    await stalled.start()
    key, spec = attempt_key(uuid.uuid4(), 1), plain.task("echo started")
    handle = await stalled.submit(key, spec)
    plain.attempt(handle).joinpath("cancel").touch()  # as `forbid` leaves it when it comes between find and spawn
    with pytest.raises(Retryable, match="started meanwhile"):
        await plain.executor.forbid(key, spec)
    assert await plain.executor.find(key, spec) == handle
    seen = await plain.end(handle)
    await stalled.close()
    assert (seen.state, seen.report and seen.report.steps) == (State.CANCELED, ())
    assert not plain.attempt(handle).joinpath("started").exists()


async def test_container_programs_that_hang_stop_nothing_but_their_own_clearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wesgate.executors.local.CLEAR_TIMEOUT_S", 0.5)
    (tmp_path / "podman").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "podman").chmod(0o755)
    hung = executor(tmp_path, PATH=str(tmp_path))
    handles = [Handle(f"o/{attempt_key(uuid.uuid4(), 1)}") for _ in range(50)]
    for handle in handles:
        (tmp_path / handle / "started").mkdir(parents=True)
        spec = TaskSpec("o", (Step("image", ("true",)),))
        write(tmp_path / handle / "task.json", Order(handle.split("/")[1], spec, "podman", str(tmp_path)))
    clears = [asyncio.create_task(hung.cancel(handle)) for handle in handles]
    await asyncio.wait(clears, timeout=0.3)
    async with asyncio.timeout(1):
        assert len(await hung.poll(handles)) == len(handles)
    with pytest.raises(Retryable, match="podman rm gave no answer within"):
        await clears[0]
    for each in clears:
        each.cancel()
    await asyncio.gather(*clears, return_exceptions=True)
    await hung.close()


def with_slow_podman(podman: Ground, folder: Path, environment: dict[str, str], script: str) -> LocalExecutor:
    """An executor whose podman runs these lines of shell first; `$1` is what it is asked to do."""
    program = folder / "podman"
    program.write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("podman")} "$@"\n')
    program.chmod(0o755)
    known = environment | {"PATH": f"{folder}:{environment['PATH']}"}
    return LocalExecutor(LocalSettings(runtime="podman"), podman.root, folder, known)


async def test_a_client_that_is_still_starting_when_its_worker_is_killed_makes_no_container(
    podman: Ground, tmp_path: Path, environment: dict[str, str]
) -> None:
    key = attempt_key(uuid.uuid4(), 1)
    # In a process of its own, as podman's client has one where it is not root.
    slowly = f"sh -c ': > {tmp_path}/starting; sleep 1; : > {tmp_path}/went-on'"
    script = f'[ "$1 $3" != "run {key}-0" ] || {slowly}'
    slow = with_slow_podman(podman, tmp_path, environment, script)
    await slow.start()
    handle = await slow.submit(key, podman.task("sleep 600"))
    while not (tmp_path / "starting").exists():
        await asyncio.sleep(0.01)
    kill_worker(podman.attempt(handle), signal.SIGKILL)
    await podman.until(handle, lambda seen: seen.infrastructure)
    await slow.cancel(handle)
    await asyncio.sleep(1.2)
    await slow.close()
    assert not (tmp_path / "went-on").exists()
    assert containers(podman, key) == []


async def test_a_container_that_could_not_be_removed_is_removed_by_a_cancel(
    podman: Ground, tmp_path: Path, environment: dict[str, str]
) -> None:
    broken = with_slow_podman(podman, tmp_path, environment, f'[ "$1" != rm ] || [ -e {tmp_path}/mended ] || exit 125')
    await broken.start()
    handle = await broken.submit(attempt_key(uuid.uuid4(), 1), podman.task("true"))
    seen = await podman.end(handle)
    assert (seen.state, seen.infrastructure) == (State.SYSTEM_ERROR, True)
    assert "what is left of step 0 could not be cleared away: podman rm failed" in seen.detail
    with pytest.raises(Retryable, match="podman rm failed"):
        await broken.cancel(handle)
    assert len(containers(podman, handle.split("/")[1])) == 1
    (tmp_path / "mended").touch()
    await broken.cancel(handle)
    await broken.close()
    assert containers(podman, handle.split("/")[1]) == []


async def test_an_attempt_that_cannot_be_read_counts_as_missing_and_hides_no_other(
    plain: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    handles = [await plain.start(plain.task("true")) for _ in range(2)]
    for handle in handles:
        await plain.end(handle)
    result = plain.attempt(handles[0]) / "result.json"
    result.unlink()
    result.symlink_to("result.json")  # as a bad disk, it cannot be read by root either
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert set(await plain.executor.poll(handles)) == {handles[1]}
    assert [record.message for record in caplog.records] == ["local.unreadable"]


async def test_outputs_whose_names_are_not_utf8_have_urls_that_lead_to_them(ground: Ground) -> None:
    script = (
        """f=$(printf 'x\\377'); mkdir -p $I/"$f.d"; echo 1 > $I/"$f.d/$f"; echo 22 > $I/"$f"; mkfifo $I/"$f.p" || :"""
    )
    found = [
        Output(f"{ground.inside}/x?", ground.data.as_uri(), path_prefix=ground.inside),
        Output(f"{ground.inside}/*.d", str(ground.data), FileType.DIRECTORY, path_prefix=ground.inside),
    ]
    seen = await ground.run(ground.task(script, volumes=(ground.inside,), outputs=tuple(found)))
    assert seen.state is State.COMPLETE, seen
    assert seen.report
    assert [(each.url, each.path, each.size_bytes) for each in seen.report.outputs] == [
        (f"{ground.data.as_uri()}/x%FF", f"{ground.inside}/x\ufffd", 3),
        (f"{ground.data.as_uri()}/x%FF.d/x%FF", f"{ground.inside}/x\ufffd.d/x\ufffd", 2),
    ]
    assert Path(os.fsdecode(os.fsencode(ground.data) + b"/x\xff.d/x\xff")).read_text() == "1\n"
    bad = Output(f"{ground.inside}/*.p", ground.data.as_uri(), path_prefix=ground.inside)
    seen = await ground.run(ground.task(script, volumes=(ground.inside,), outputs=(bad,)))
    assert "x\ufffd.p is not a regular file" in seen.detail


async def test_a_report_names_so_many_files_and_says_how_many_there_were(plain: Ground) -> None:
    out = plain.directory("many")
    seen = await plain.run(plain.task(f"cd {out.path}; seq {MOST_LISTED + 5} | xargs touch", outputs=(out,)))
    assert seen.report
    assert len(seen.report.outputs) == MOST_LISTED
    assert f"{MOST_LISTED + 5} files were delivered" in seen.report.system_logs[-1]


def test_a_clear_ends_before_the_loop_gives_it_up() -> None:
    assert CLEAR_TIMEOUT_S < CALL_TIMEOUT_S


def test_every_runtime_can_be_set() -> None:
    assert [Local.model_validate({"runtime": name}).runtime for name in RUNTIMES] == list(RUNTIMES)


def test_what_is_secret_is_looked_for_once_in_a_while() -> None:
    walks = itertools.count(1)
    known = Secrets(lambda: (f"/etc/{next(walks)}",))
    assert known.now() == known.now() == ("/etc/1",)


async def test_background_processes_of_a_plain_step_end_with_it(plain: Ground) -> None:
    word = f"left-{uuid.uuid4().hex}"
    script = f"setsid sh -c 'echo > $0; sleep 600; true' $I/up {word} & while [ ! -e $I/up ]; do sleep 0.01; done"
    seen = await plain.run(plain.task(script, volumes=(plain.inside,)))
    assert seen.state is State.COMPLETE
    assert not [each.pid for each in psutil.process_iter(["cmdline"]) if word in (each.info["cmdline"] or [])]
