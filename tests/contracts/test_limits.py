"""What a task may use: its time, its disk, its memory, its processes and cores; beyond that it fails and the host is
fine."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.contracts.ground import Ground, said
from wesgate.core.spec import Lane, MissingOutputs, Policy, Resources, Step
from wesgate.core.states import State

OVER_DISK = "it wrote more than the 0.02 GB of disk that the task may use"
FILL = "dd if=/dev/zero of={} bs=1024 count=30000; echo full; sleep 600"


def needs_containers(ground: Ground) -> None:
    if ground.runtime != "podman":
        pytest.skip("processes of the host are not limited, as docs/howto/runtimes.md says")


# Time


async def test_a_task_is_stopped_when_its_time_is_over_and_what_it_made_is_delivered(ground: Ground) -> None:
    steps = ground.sh("echo a > $I/a; sleep 600", ignore_error=True), "echo no"
    spec = ground.task(*steps, outputs=(ground.output("a"),), policy=Policy(timeout_s=1))
    seen = await ground.run(spec)
    sentence = "step 0 was stopped: the task's time limit of 1 s passed"
    assert (seen.state, seen.detail, seen.infrastructure) == (State.EXECUTOR_ERROR, sentence, False)
    assert seen.report
    assert [step.exit_code in (137, 143) for step in seen.report.steps] == [True]
    assert sentence in seen.report.system_logs
    assert (ground.data / "a").read_text() == "a\n"


async def test_the_time_is_for_all_steps_together(ground: Ground) -> None:
    seen = await ground.run(ground.task("sleep 2", "sleep 600", policy=Policy(timeout_s=5)))
    assert seen.detail == "step 1 was stopped: the task's time limit of 5 s passed"
    assert seen.report
    began, ended = seen.report.steps[1].start_time, seen.report.steps[1].end_time
    assert began
    assert ended
    assert datetime.fromisoformat(ended) - datetime.fromisoformat(began) < timedelta(seconds=4.5)


async def test_a_step_that_will_not_end_in_time_is_killed(ground: Ground) -> None:
    script = "trap '' TERM; while true; do sleep 0.1; done"
    seen = await ground.run(ground.task(script, policy=Policy(timeout_s=0.5)))
    assert seen.detail == "step 0 was stopped: the task's time limit of 0.5 s passed"
    assert seen.report
    assert seen.report.steps[0].exit_code == 137


async def test_a_task_that_ends_in_time_is_left_alone(ground: Ground) -> None:
    assert (await ground.run(ground.task("true", policy=Policy(timeout_s=600)))).state is State.COMPLETE


async def test_a_cancel_in_the_grace_of_a_limit_is_a_cancel(ground: Ground) -> None:
    script = "trap 'echo asked' TERM; while true; do sleep 0.1; done"
    handle = await ground.start(ground.task(script, policy=Policy(timeout_s=0.5)))
    await ground.says(handle, "asked")
    await ground.executor.cancel(handle)
    assert (await ground.end(handle)).state is State.CANCELED


async def test_a_head_has_a_time_limit_too(ground: Ground) -> None:
    step = Step("", ("sleep", "600"))
    seen = await ground.run(ground.task(step, lane=Lane.HEAD, policy=Policy(timeout_s=0.5)))
    assert seen.detail == "step 0 was stopped: the task's time limit of 0.5 s passed"


# Disk


@pytest.mark.parametrize("place", ["volume", "directory", "log", "tmp"])
async def test_a_task_that_writes_more_than_it_may_is_stopped(ground: Ground, place: str) -> None:
    if place == "tmp" and ground.is_plain:
        pytest.skip("without a sandbox /tmp is the host's")
    work = ground.directory("work")
    target = {"volume": "$I/big", "directory": "$I/work/big", "log": "/dev/stderr", "tmp": "/tmp/big"}[place]
    volumes = (ground.inside,) if place == "volume" else ()
    outputs = (work,) if place == "directory" else ()
    spec = ground.task(FILL.format(target), resources=Resources(disk_gb=0.02), volumes=volumes, outputs=outputs)
    seen = await ground.run(spec)
    assert (seen.state, seen.detail) == (State.EXECUTOR_ERROR, f"step 0 was stopped: {OVER_DISK}")


async def test_what_was_there_before_does_not_count(ground: Ground) -> None:
    work = ground.directory("work")
    place = ground.data / "work" if not ground.is_plain else ground.root / ground.owner / "inside" / "work"
    place.mkdir(parents=True)
    (place / "old").write_bytes(b"x" * 30_000_000)
    spec = ground.task("sleep 1; echo new > $I/work/new", outputs=(work,), resources=Resources(disk_gb=0.02))
    assert (await ground.run(spec)).state is State.COMPLETE


async def test_files_without_end_are_ended(ground: Ground) -> None:
    script = "i=0; while true; do : > $I/f$i; i=$((i+1)); done"
    seen = await ground.run(ground.task(script, volumes=(ground.inside,), resources=Resources(disk_gb=0.001)))
    assert seen.detail == "step 0 was stopped: it wrote more than the 0.001 GB of disk that the task may use"


async def test_the_site_bounds_the_disk_of_a_task_that_asks_for_none(ground: Ground) -> None:
    strict = replace(ground, executor=ground.make(disk_gb=0.02))
    await strict.executor.start()
    fill = "dd if=/dev/zero of=$I/big bs=1024 count=30000; sleep 1.5"
    volumes = (ground.inside,)
    seen = await strict.run(strict.task(fill, volumes=volumes))
    roomy = await strict.run(strict.task(fill, volumes=volumes, resources=Resources(disk_gb=1)))
    await strict.executor.close()
    assert (seen.detail, roomy.state) == (f"step 0 was stopped: {OVER_DISK}", State.COMPLETE)


# Memory, processes, cores


async def test_an_ignored_step_killed_for_its_memory_is_told_and_the_task_goes_on(ground: Ground) -> None:
    needs_containers(ground)
    steps = ground.sh("tail /dev/zero", ignore_error=True), "echo on"
    seen = await ground.run(ground.task(*steps, resources=Resources(ram_gb=0.064)))
    assert (seen.state, said(seen, 1)) == (State.COMPLETE, "on\n")
    assert seen.report
    assert [step.exit_code for step in seen.report.steps] == [137, 0]
    assert "step 0: killed: out of memory (limit 64000000 bytes)" in seen.report.system_logs


async def test_a_step_whose_process_was_killed_for_its_memory_is_told(ground: Ground) -> None:
    needs_containers(ground)
    seen = await ground.run(ground.task("tail /dev/zero; exit 3", resources=Resources(ram_gb=0.064)))
    assert seen.report
    assert (seen.state, seen.report.steps[0].exit_code) == (State.EXECUTOR_ERROR, 3)
    assert "processes were killed: out of memory" in " ".join(seen.report.system_logs)


async def test_a_fork_bomb_ends_and_the_host_is_fine(ground: Ground) -> None:
    needs_containers(ground)
    few = replace(ground, executor=ground.make(pids=20))
    await few.executor.start()
    bomb = "i=0; while [ $i -lt 100 ]; do sleep 600 & i=$((i+1)); done; echo never"
    began = time.monotonic()
    seen = await few.run(few.task(bomb))
    await few.executor.close()
    assert seen.state is State.EXECUTOR_ERROR
    assert seen.report
    assert "never" not in said(seen)
    assert "fork" in seen.report.steps[0].stderr
    assert time.monotonic() - began < 30


async def test_a_part_of_a_core_is_all_that_a_step_gets(ground: Ground) -> None:
    needs_containers(ground)
    script = "timeout 2 sh -c 'while true; do :; done'; true"
    seen = await ground.run(ground.task(script, resources=Resources(cpu_cores=0.2)))
    assert seen.report
    assert 0.1 < float(seen.report.metadata["cpu_seconds"]) < 1.0


# Outputs that are not there


@pytest.mark.parametrize(("path", "words"), [("no", "does not exist"), ("*.no", "matches nothing")])
async def test_a_missing_output_may_be_skipped(ground: Ground, path: str, words: str) -> None:
    missing = replace(ground.output(path), path_prefix=ground.inside)
    outputs = (missing, ground.output("a"))
    spec = ground.task("echo a > $I/a", outputs=outputs, policy=Policy(missing_outputs=MissingOutputs.SKIP))
    seen = await ground.run(spec)
    assert seen.state is State.COMPLETE, seen
    assert seen.report
    assert f"output {ground.inside}/{path} {words}; skipped" in seen.report.system_logs
    assert [output.size_bytes for output in seen.report.outputs] == [2]


async def test_an_output_that_is_there_and_no_file_is_never_skipped(ground: Ground) -> None:
    policy = Policy(missing_outputs=MissingOutputs.SKIP)
    seen = await ground.run(ground.task("mkfifo $I/a", outputs=(ground.output("a"),), policy=policy))
    assert seen.state is State.EXECUTOR_ERROR, seen
