"""The executor's end of the fork server: start it when it is needed, hand it an attempt and its lock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from wesgate.core.errors import Retryable

ANSWER_TIMEOUT_S = 20.0


class ForkServer:
    """Starts workers that outlive it and this process. Safe to use from several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._turn = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, directory: Path, lock: int) -> int:
        """Start a worker for this attempt, which gets the lock; its process id. `Retryable` if that cannot be."""
        message = f"{directory}\n".encode()
        with self._turn:
            for _ in range(2):
                answer = self._ask(message, lock)
                if answer is not None:
                    return _pid(answer)
                # It was killed, perhaps after a fork: then the new worker finds the lock's file shared, and the start
                # fence lets one of the two run.
                self._stop()
        raise Retryable("no worker could be started: the process that starts them ends at once; see the service's log")

    def close(self) -> None:
        """Stop the server; its workers go on."""
        with self._turn:
            self._stop()

    def _ask(self, message: bytes, lock: int) -> str | None:
        channel = self._channel or self._start()
        try:
            socket.send_fds(channel, [message], [lock])
            return channel.recv(4096).decode() or None
        except TimeoutError as error:
            self._stop()
            raise Retryable(f"no worker could be started within {ANSWER_TIMEOUT_S:.0f} s") from error
        except OSError:
            return None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "wesgate.worker.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(ANSWER_TIMEOUT_S)
        self._channel = ours
        return ours

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _pid(answer: str) -> int:
    if answer.startswith("error"):
        raise Retryable(f"no worker could be started: {answer.removeprefix('error').strip()}")
    return int(answer)
