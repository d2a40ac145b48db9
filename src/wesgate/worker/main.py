"""The worker: carry out one attempt of a task from its order to its result.

It holds the attempt's lock for its whole life, runs user code at most once (the start fence), and answers to whatever
happens with one outcome and one sentence.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from wesgate.core.failpoints import arm, failpoint
from wesgate.worker.faults import Fenced
from wesgate.worker.handover import receive_stores
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Attempt, Outcome, WorkerProcess, read_order, take_lock, write
from wesgate.worker.wake import wake
from wesgate.worker.warm import stand_by
from wesgate.worker.work import Work


def main(
    directory: str, lock: int | None = None, stores: socket.socket | None = None, warm: Collection[str] = ()
) -> int:
    """Carry out the attempt in this directory. `lock` is its lock, taken by whoever started this worker; from `stores`
    come those of the site, which only memory may hold; `warm` are the modules that can be run by forking."""
    attempt = Attempt(Path(directory).resolve())
    held = take_lock(attempt) if lock is None else lock
    if held is None:
        return 0
    write(attempt.worker, WorkerProcess(os.getpid()))
    order = read_order(attempt)
    # A second worker of the same attempt never runs user code: what the first one started may have had effects.
    if order is None or attempt.started.exists() or attempt.result.exists():
        return 0
    arm(order.failpoints)
    failpoint("worker-claimed")
    standby = stand_by(order, warm)
    interrupts = Interrupts(attempt.cancel)
    interrupts.install()
    try:
        outcome = Work(order, attempt, interrupts, receive_stores(stores), standby).outcome()
    except Fenced:
        return 0
    write_result(attempt, outcome)
    failpoint("worker-result")
    wake(order.wake, order.key)
    tidy(attempt)
    return 0


def tidy(attempt: Attempt) -> None:
    """Remove what only the steps needed; the logs and the records stay."""
    for folder in (attempt.tmp, attempt.files, attempt.inputs, attempt.directory / "root", attempt.directory / "empty"):
        shutil.rmtree(folder, ignore_errors=True)


def write_result(attempt: Attempt, outcome: Outcome) -> None:
    """The last word on an attempt. A full disk does not prevent it."""
    attempt.reserve.unlink(missing_ok=True)
    try:
        write(attempt.result, outcome, durable=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        bare = replace(outcome.report, steps=(), outputs=(), system_logs=())
        write(attempt.result, replace(outcome, report=bare), durable=True)


if __name__ == "__main__":
    # Not sys.exit: it would wait for a fetch that was given up.
    os._exit(main(sys.argv[1]))
