"""The executor's end of the fork server: start it when it is needed, hand it an attempt and its lock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wesgate.core.errors import Retryable
from wesgate.core.spec import Store
from wesgate.worker.handover import send_stores

ANSWER_TIMEOUT_S = 20.0
ENDED = "no worker was seen to start: the process that starts them ended; if it goes on, see the service's log"


class ForkServer:
    """Starts workers that outlive it and this process. Safe to use from several threads."""

    def __init__(self, environment: Mapping[str, str], stores: Sequence[Store] = ()) -> None:
        self._environment = dict(environment) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._stores = tuple(stores)
        self._turn = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, directory: Path, lock: int) -> int:
        """Start a worker for this attempt, which gets the lock; its process id. `Retryable` if that cannot be."""
        message = f"{directory}\n".encode()
        with self._turn:
            if not self._sent(message, lock):
                self._stop()
                if not self._sent(message, lock):
                    raise Retryable(ENDED)
            return _pid(self._answer())

    def close(self) -> None:
        """Stop the server; its workers go on."""
        with self._turn:
            self._stop()

    def _sent(self, message: bytes, lock: int) -> bool:
        self._channel = self._channel or self._start()
        with suppress(OSError):
            socket.send_fds(self._channel, [message], [lock])
            return True
        return False

    def _answer(self) -> str:
        # Without an answer nobody knows whether it forked. A second message could make a second worker, and both would
        # hold the one lock.
        assert self._channel is not None
        try:
            answer = self._channel.recv(4096).decode()
        except TimeoutError as error:
            self._stop()
            raise Retryable(f"no worker could be started within {ANSWER_TIMEOUT_S:.0f} s") from error
        except OSError:
            answer = ""
        if not answer:
            self._stop()
            raise Retryable(ENDED)
        return answer

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
        with suppress(OSError):  # it ended; so the next message will say
            send_stores(ours, self._stores)
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
