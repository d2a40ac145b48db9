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


def patiently(ask: Callable[[], T]) -> T:
    """What was asked for, asked again while the server is away."""
    begun = time.monotonic()
    while True:
        try:
            return ask()
        except ServerProblem as problem:
            if not problem.transient or time.monotonic() - begun > AWAY_S:
                raise
        time.sleep(RETRY_S)


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    begun = time.monotonic()
    return ask(), time.monotonic() - begun
