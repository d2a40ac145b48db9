"""Named places where a test can make a process die: every commit and every call of the submit protocol has one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

FAILPOINTS: dict[str, str] = {
    "api-before-commit": "the request was checked and its files written, there is no row",
    "api-after-commit": "the row is committed, the client was not answered",
    "api-cancel-committed": "the wish to cancel is committed, the client was not answered",
    "reconcile-admitted": "waiting tasks have their slots, none is leased",
    "reconcile-claimed": "rows are leased, nothing was done",
    "reconcile-polled": "jobs were looked at, nothing was decided",
    "reconcile-submitting": "SUBMITTING is committed, the backend was not called",
    "reconcile-found": "the backend was asked for the job where need be, and not told to submit it",
    "reconcile-cleared": "an old attempt's job was cleared away, nothing is written",
    "reconcile-forbidden": "the backend forbade the key, nothing is written",
    "reconcile-called": "the backend was called, its handles are not committed",
    "reconcile-submitted": "the handles are committed",
    "reconcile-canceled": "the backend was told to cancel, nothing is written",
    "reconcile-become": "new states are committed",
    "reconcile-waited": "the next look is committed",
    "reconcile-given-back": "leases of rows that were not served are given back",
    "queue-put": "a run's head is committed as a task, its handle was not returned",
    "queue-canceled": "the wish to cancel a run's tasks is committed, the loop was not answered",
    "webhooks-claimed": "deliveries to webhooks are claimed, none was sent",
    "webhooks-sent": "a receiver took a delivery, it is not deleted",
    "settle-claimed": "runs that ended are claimed to be settled, nothing was done",
    "settle-removed": "files of a run that ended are removed, nothing is written",
    "settle-settled": "it is written that a run is settled",
    "executor-directory": "the attempt's directory and task.json are written, no worker was started",
    "executor-spawned": "the worker was started, the handle was not returned",
    "worker-claimed": "the worker holds the lock, the start fence is not taken",
    "worker-started": "the start fence is taken, no user code has run",
    "worker-step-ended": "a step ended, its record is not written",
    "worker-staged-out": "the outputs are delivered, the result is not written",
    "worker-result": "the result is written, nobody was woken",
}
"""Every failpoint with what is true there. A test enumerates the names and kills the process at each."""


class FailpointRaised(Exception):
    """A failpoint was armed to raise."""


@dataclass(slots=True)
class _Armed:
    act: Callable[[], None]
    hits_left: int


_armed: dict[str, _Armed] = {}


def failpoint(name: str) -> None:
    """Do what this failpoint is armed with, or nothing. A name that is not registered is a `KeyError` at once."""
    FAILPOINTS[name]
    if not _armed:
        return
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits_left -= 1
    if armed.hits_left == 0:
        armed.act()


def arm(text: str) -> None:
    """Arm failpoints from `name=action@nth` items separated by commas, and disarm all others.

    Actions: `kill` (SIGKILL to this process), `raise` (`FailpointRaised`), `sleep:MS`. `@nth` says at which hit, the
    first without it; each acts once.
    """
    parsed = dict(_parse(item.strip()) for item in text.split(",") if item.strip())
    _armed.clear()
    _armed.update(parsed)


def _parse(item: str) -> tuple[str, _Armed]:
    name, equals, rest = item.partition("=")
    action, _, nth = rest.partition("@")
    if name not in FAILPOINTS or not equals:
        raise ValueError(f"no failpoint {item!r}; write name=kill@1 with one of: {', '.join(sorted(FAILPOINTS))}")
    return name, _Armed(_action(name, action), int(nth or "1"))


def _action(name: str, action: str) -> Callable[[], None]:
    match action.split(":"):
        case ["kill"]:
            return lambda: os.kill(os.getpid(), signal.SIGKILL)
        case ["raise"]:
            return lambda: _raise(name)
        case ["sleep", milliseconds]:
            seconds = int(milliseconds) / 1000
            return lambda: time.sleep(seconds)
        case _:
            raise ValueError(f"no failpoint action {action!r}; use kill, raise or sleep:MS")


def _raise(name: str) -> None:
    raise FailpointRaised(f"{name}: {FAILPOINTS[name]}")
