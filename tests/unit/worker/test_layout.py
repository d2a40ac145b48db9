"""The records of an attempt, its lock, and the failpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wesgate.core.failpoints import FailpointRaised, arm, failpoint
from wesgate.core.report import OutputFile, StepLog, TaskReport
from wesgate.core.spec import FileType, Input, Lane, Output, Resources, Step, TaskSpec
from wesgate.core.states import State
from wesgate.worker.layout import (
    Attempt,
    Limits,
    Order,
    Outcome,
    StepRecord,
    WorkerProcess,
    is_alive,
    is_locked,
    read_order,
    read_outcome,
    read_steps,
    tail,
    take_lock,
    write,
)


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    step = Step("i", ("c", "ü\0"), env={"A": "b"}, ignore_error=True)
    spec = TaskSpec(
        "o", (step,), (Input("/i", content="x"),), (Output("/o", "/u", FileType.DIRECTORY),), ("/v",),
        Resources(0.5, 2.0, backend_parameters={"k": "v"}), Lane.HEAD, ("/r",),
    )  # fmt: skip
    order = Order("k", spec, "podman", "/root", environment={"PATH": "/bin"}, limits=Limits(visible=("/x",)))
    write(Attempt(tmp_path).order, order)
    assert read_order(Attempt(tmp_path)) == order


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = TaskReport("a", "b", (StepLog(3, "a", "b", "out", "err"),), (OutputFile("u", "p", 1),), ("log",))
    outcome = Outcome(State.EXECUTOR_ERROR, "why", report, infrastructure=True)
    write(Attempt(tmp_path).result, outcome)
    assert read_outcome(Attempt(tmp_path)) == outcome


def test_steps_that_were_not_started_have_no_record(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    write(attempt.step(0), StepRecord(StepLog(0)))
    assert [record.log.exit_code for record in read_steps(attempt, 3)] == [0]


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    Attempt(tmp_path).result.write_text('{"state": "COMP')
    assert read_outcome(Attempt(tmp_path)) is None
    Attempt(tmp_path).order.mkdir()
    assert read_order(Attempt(tmp_path)) is None


def test_a_lock_is_seen_by_others_until_its_last_holder_lets_go(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    assert not is_locked(attempt)
    lock = take_lock(attempt)
    assert lock is not None
    handed_on = os.dup(lock)
    os.close(lock)
    assert is_locked(attempt)
    assert take_lock(attempt) is None
    os.close(handed_on)
    assert not is_locked(attempt)


def test_a_worker_lives_while_it_holds_the_lock_and_says_so(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    lock = take_lock(attempt)
    assert lock is not None
    assert not is_alive(attempt)
    write(attempt.worker, WorkerProcess(os.getpid()))
    assert is_alive(attempt)
    os.close(lock)
    assert not is_alive(attempt)


def test_a_tail_is_text_whatever_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"x" * 20_000 + b"\xff\0end")
    assert len(tail(path)) == 10_000
    assert tail(path).endswith("x\ufffd\ufffdend")
    assert tail(tmp_path / "none") == ""


def test_a_link_in_place_of_a_stream_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to("/etc/passwd")
    assert tail(tmp_path / "s") == ""


def test_a_failpoint_acts_at_its_nth_hit_and_once() -> None:
    arm("worker-result=raise@2")
    try:
        failpoint("worker-result")
        with pytest.raises(FailpointRaised, match="the result is written"):
            failpoint("worker-result")
        failpoint("worker-result")
    finally:
        arm("")


def test_a_failpoint_that_nobody_registered_is_an_error() -> None:
    with pytest.raises(KeyError):
        failpoint("worker-made-up")


@pytest.mark.parametrize("text", ["worker-made-up=kill", "worker-result", "worker-result=dance", "=kill"])
def test_arming_what_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no failpoint"):
        arm(text)
