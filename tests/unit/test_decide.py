"""decide, as a table: what each kind of row needs, whatever its backend."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOON, a_row
from wesgate.core.backend import Observation
from wesgate.core.decide import MISSING_GRACE, Become, Cancel, Phase, Submit, Wait, decide, next_look
from wesgate.core.report import StepLog, TaskReport
from wesgate.core.states import TERMINAL, TRANSITIONS, State


def seen(state: State, **more: Any) -> Observation[Any]:
    return Observation(state, **more)


def test_a_planned_row_is_submitted() -> None:
    assert decide(a_row(state=State.QUEUED, phase=Phase.PLANNED), None, NOON) == Submit(1)


def test_a_row_found_submitting_is_submitted_again_which_finds_first() -> None:
    assert decide(a_row(state=State.QUEUED, phase=Phase.SUBMITTING), None, NOON) == Submit(1)


@pytest.mark.parametrize("end", sorted(TERMINAL - {State.CANCELED}))
def test_a_job_that_ended_ends_its_row(end: State) -> None:
    assert decide(a_row(), seen(end, detail="why"), NOON) == Become(end, "why")


def test_a_job_that_somebody_else_canceled_is_a_fault_and_not_the_callers_wish() -> None:
    action = decide(a_row(state=State.RUNNING), seen(State.CANCELED), NOON)
    assert action == Become(State.SYSTEM_ERROR, "the job was canceled by someone else than its caller")


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL - {State.CANCELING, State.UNKNOWN}))
def test_a_job_that_is_ahead_takes_its_row_along(state: State) -> None:
    ahead = sorted(TRANSITIONS[state] - {State.CANCELING})
    assert [decide(a_row(state=state), seen(next_state), NOON) for next_state in ahead] == [
        Become(next_state) for next_state in ahead
    ]


def test_a_job_that_went_back_leaves_its_row_where_it_is() -> None:
    assert isinstance(decide(a_row(state=State.RUNNING), seen(State.QUEUED), NOON), Wait)


def test_a_job_that_is_missing_is_waited_for() -> None:
    action = decide(a_row(), None, NOON)
    assert action == Wait(NOON + timedelta(seconds=5), missing_since=NOON)


def test_a_job_that_stays_missing_ends_its_row_with_the_reason() -> None:
    action = decide(a_row(missing_since=NOON), None, NOON + MISSING_GRACE)
    assert action == Become(State.SYSTEM_ERROR, "the backend has no trace of the job", clear=True)


def test_a_job_that_is_seen_again_is_no_longer_missing() -> None:
    action = decide(a_row(missing_since=NOON), seen(State.RUNNING), NOON)
    assert isinstance(action, Wait)
    assert action.missing_since is None


def test_a_lost_job_is_tried_again_while_attempts_are_left() -> None:
    lost = seen(State.SYSTEM_ERROR, detail="its worker was killed", infrastructure=True)
    left = TaskReport(system_logs=("its worker was killed",))
    assert decide(a_row(max_attempts=2), lost, NOON) == Submit(2, "its worker was killed", left)


def test_preemptions_are_counted_apart_from_faults_and_end_the_row_as_what_they_are() -> None:
    taken = seen(State.PREEMPTED)
    row = a_row(attempt=2, preemptions=1, max_preemptions=2)
    again = decide(row, taken, NOON)
    assert isinstance(again, Submit)
    assert (again.attempt, again.preempted) == (3, True)
    assert decide(a_row(attempt=3, preemptions=2, max_preemptions=2), taken, NOON) == Become(State.PREEMPTED)
    lost = seen(State.SYSTEM_ERROR, infrastructure=True)
    assert isinstance(decide(a_row(attempt=2, preemptions=1, max_attempts=2), lost, NOON), Submit)


def test_what_an_attempt_left_is_kept_with_the_reason_of_its_loss() -> None:
    left = TaskReport(steps=(StepLog(0),), system_logs=("step 0: slow",))
    action = decide(a_row(max_attempts=2), seen(State.RUNNING, detail="gone", report=left, infrastructure=True), NOON)
    assert action == Submit(2, "gone", replace(left, system_logs=("step 0: slow", "gone")))


def test_a_lost_job_without_attempts_left_ends_its_row_after_clearing_up() -> None:
    lost = seen(State.SYSTEM_ERROR, detail="its worker was killed", infrastructure=True)
    assert decide(a_row(attempt=2, max_attempts=2), lost, NOON) == Become(
        State.SYSTEM_ERROR, "its worker was killed", clear=True
    )


def test_canceling_a_row_that_was_never_submitted_submits_nothing() -> None:
    action = decide(a_row(state=State.CANCELING, phase=Phase.PLANNED), None, NOON)
    assert action == Become(State.CANCELED, "canceled before it was submitted")


def test_canceling_a_row_that_may_have_been_submitted_looks_for_its_job() -> None:
    assert decide(a_row(state=State.CANCELING, phase=Phase.SUBMITTING), None, NOON) == Submit(1)


def test_canceling_a_live_job_stops_it_and_looks_again() -> None:
    action = decide(a_row(state=State.CANCELING), seen(State.RUNNING), NOON)
    assert action == Cancel(until=NOON + timedelta(seconds=1))


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_a_canceled_row_ends_canceled_however_its_job_ended(end: State) -> None:
    assert decide(a_row(state=State.CANCELING), seen(end), NOON) == Become(State.CANCELED)


def test_a_canceled_row_without_a_job_ends_after_clearing_up() -> None:
    assert decide(a_row(state=State.CANCELING), None, NOON) == Become(State.CANCELED, clear=True)


def test_a_job_is_looked_at_less_often_the_longer_nothing_changed() -> None:
    looks = [next_look(a_row(), NOON + timedelta(seconds=quiet)) for quiet in (0, 50, 10_000)]
    waits = [(look - NOON).total_seconds() - quiet for look, quiet in zip(looks, (0, 50, 10_000), strict=True)]
    assert waits == [1, 5, 10]
