"""Have GPUs to oneself: one locked file for each device, which the kernel frees however the worker ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from wesgate.worker.faults import Fault
from wesgate.worker.interrupts import Interrupts

FOLDER = ".gpus"
"""Below the files root: no owner has this name, and no task may name what is no owner's."""

LOOK_AGAIN_S = 0.5


def take(files_root: str, wanted: int, there_are: int, interrupts: Interrupts) -> tuple[int, ...]:
    """The numbers of the first GPUs that nobody has, this process's until it ends. Waits while they are taken: a worker
    that is about to end may have them still."""
    if wanted > there_are:
        raise Fault(
            f"the task asks for {wanted} GPUs, and this service has {there_are}: ask for fewer, or let the operator "
            "set executors.local.slots.gpus"
        )
    if not wanted:
        return ()
    folder = Path(files_root) / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        interrupts.check()
        held = _free(folder, wanted, there_are)
        if held:
            return held
        interrupts.wait(LOOK_AGAIN_S)


def _free(folder: Path, wanted: int, there_are: int) -> tuple[int, ...]:
    """So many GPUs, locked; none if there are not enough: two that wait must not hold a part each."""
    held: dict[int, int] = {}
    for number in range(there_are):
        lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        held[number] = lock
        if len(held) == wanted:
            return tuple(held)  # the descriptors stay open, and no step inherits them
    for lock in held.values():
        os.close(lock)
    return ()
