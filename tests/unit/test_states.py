"""The one table of states: forward only, and nothing leaves an end."""

from __future__ import annotations

import pytest

from wesgate.core.states import TERMINAL, TRANSITIONS, State


def test_every_state_but_unknown_has_a_line() -> None:
    assert set(TRANSITIONS) == set(State) - {State.UNKNOWN}


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_nothing_follows_an_end(end: State) -> None:
    assert not TRANSITIONS[end]


def test_no_path_comes_back_to_where_it_was() -> None:
    def reach(state: State) -> set[State]:
        return set(TRANSITIONS[state]).union(*(reach(following) for following in TRANSITIONS[state]))

    assert not [state for state in TRANSITIONS if state in reach(state)]


@pytest.mark.parametrize("state", sorted(set(TRANSITIONS) - TERMINAL - {State.CANCELING}))
def test_whatever_has_not_ended_can_be_canceled(state: State) -> None:
    assert State.CANCELING in TRANSITIONS[state]


def test_canceled_follows_canceling_alone() -> None:
    assert [state for state, following in TRANSITIONS.items() if State.CANCELED in following] == [State.CANCELING]
