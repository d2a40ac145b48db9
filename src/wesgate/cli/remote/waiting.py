"""Waiting for a run or a task: how often to ask, and how long a server may be away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from wesgate.cli.errors import ServerProblem

FIRST_PAUSE_S = 0.3
LONGEST_PAUSE_S = 2.0
SLOWEST_S = 15.0
RETRY_S = 1.0
AWAY_S = 120.0
"""How long a server may be away (restarted, say) before waiting for a run is given up."""

T = TypeVar("T")


def pause_after(pause_s: float, changed: bool, cost_s: float, longest_s: float = LONGEST_PAUSE_S) -> float:
    """The next pause: short after news, growing while there is none, and never a burden on a slow server."""
    longer = FIRST_PAUSE_S if changed else min(longest_s, pause_s * 1.3)
    return max(longer, min(4 * cost_s, SLOWEST_S))


def poll(
    ask: Callable[[], T], over: Callable[[T], bool], show: Callable[[T], None], longest_s: float = LONGEST_PAUSE_S
) -> T:
    """Ask until it is over. Only the first question fails at once when the server is away."""
    answer, pause_s = ask(), FIRST_PAUSE_S
    show(answer)
    while not over(answer):
        time.sleep(pause_s)
        last, (answer, cost_s) = answer, patiently(lambda: _timed(ask))
        show(answer)
        pause_s = pause_after(pause_s, answer != last, cost_s, longest_s)
    return answer


class Patience:
    """How long a server may be away, counted anew whenever something came from it."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Something came."""
        self._since = time.monotonic()

    def bear(self, problem: ServerProblem) -> None:
        """Return when it is time to ask again; raise the problem if asking again is of no use."""
        if not problem.transient or time.monotonic() - self._since > AWAY_S:
            raise problem
        time.sleep(RETRY_S)


def patiently(ask: Callable[[], T]) -> T:
    """What was asked for, asked again while the server is away."""
    patience = Patience()
    while True:
        try:
            return ask()
        except ServerProblem as problem:
            patience.bear(problem)


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    begun = time.monotonic()
    return ask(), time.monotonic() - begun
