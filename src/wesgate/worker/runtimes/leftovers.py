"""Find and end what a dead worker left running."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "WESGATE_KEY"
"""The environment variable by which processes of a step are known. A process id alone proves nothing: the kernel may
have given it to another program since."""

LOOK_AGAIN_S = 0.02


def kill_marked(key: str, grace_s: float = 0.0) -> int:
    """End every process that carries this key in its environment; how many there were. With a grace they are asked
    first. Processes that start others while they are being ended are found in the next round."""
    killed = 0
    if grace_s and sum(_signal(pid, key, signal.SIGTERM) for pid in marked(key)):
        until = time.monotonic() + grace_s
        while any(marked(key)) and time.monotonic() < until:
            time.sleep(LOOK_AGAIN_S)
    for _ in range(20):
        found = list(marked(key))
        if not found:
            break
        killed += sum(_signal(pid, key, signal.SIGKILL) for pid in found)
    return killed


def marked(key: str) -> Iterator[int]:
    """Living processes, other than this one, that carry the key. Where there is no /proc there are none to find."""
    mark = f"{MARK}={key}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) != os.getpid() and _carries(path, mark):
            yield int(path.name)


def _carries(process: Path, mark: bytes) -> bool:
    with suppress(OSError):
        return mark in (process / "environ").read_bytes().split(b"\0")
    return False


def _signal(pid: int, key: str, number: int) -> bool:
    # The descriptor stays with this process, so that what is looked at again is what is ended.
    with suppress(OSError):
        process = os.pidfd_open(pid)
        try:
            if _carries(Path(f"/proc/{pid}"), f"{MARK}={key}".encode()):
                signal.pidfd_send_signal(process, number)
                return True
        finally:
            os.close(process)
    return False
