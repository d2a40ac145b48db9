"""The states of runs, tasks and instances, and the one table of how they may follow each other."""

from enum import StrEnum


class State(StrEnum):
    """WES 1.1 and TES 1.1 share these words (`State`, `tesState`); UNKNOWN is never stored."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"  # accepted; nothing of it exists outside yet
    INITIALIZING = "INITIALIZING"  # placed; inputs are being staged
    RUNNING = "RUNNING"  # the first step was started
    PAUSED = "PAUSED"  # an engine holds it
    COMPLETE = "COMPLETE"
    EXECUTOR_ERROR = "EXECUTOR_ERROR"  # a step failed: the user's own error
    SYSTEM_ERROR = "SYSTEM_ERROR"  # something other than a step failed
    CANCELED = "CANCELED"  # canceled, and nothing of it is left running
    PREEMPTED = "PREEMPTED"  # the backend took its machine away
    CANCELING = "CANCELING"  # cancel was accepted; its job may still be running


TERMINAL = frozenset(
    {State.COMPLETE, State.EXECUTOR_ERROR, State.SYSTEM_ERROR, State.CANCELED, State.PREEMPTED},
)

_ENDS = TERMINAL - {State.CANCELED}

# A retry is a new attempt inside a row, so no edge leads backwards and none leaves a terminal state.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.INITIALIZING, State.RUNNING, State.PAUSED, State.CANCELING}) | _ENDS,
    State.INITIALIZING: frozenset({State.RUNNING, State.PAUSED, State.CANCELING}) | _ENDS,
    State.PAUSED: frozenset({State.RUNNING, State.CANCELING}) | _ENDS,
    State.RUNNING: frozenset({State.CANCELING}) | _ENDS,
    State.CANCELING: frozenset({State.CANCELED}),
} | {state: frozenset() for state in TERMINAL}
