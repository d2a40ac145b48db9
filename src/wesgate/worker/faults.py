"""What ends an attempt before its steps are done: a state and one sentence for the person who sent the task."""

from __future__ import annotations

from wesgate.core.states import State


class Fault(Exception):
    """The task cannot be carried out; the message is the one sentence that says why."""

    state = State.SYSTEM_ERROR


class StepFault(Fault):
    """A step is to blame: it failed, or left something that cannot be delivered."""

    state = State.EXECUTOR_ERROR


class Missing(Fault):
    """An output is not there, or matches nothing."""


class Exceeded(Exception):
    """A step went beyond what its task may use; the message says how, after "step 0 was stopped: "."""


class Stopped(Fault):
    """The machine told the worker to stop, nobody canceled the task: another attempt may be made."""


class Fenced(Exception):
    """Another worker took the start fence of this attempt: this one leaves everything to it."""


class Canceled(Fault):
    """The task was canceled."""

    state = State.CANCELED
