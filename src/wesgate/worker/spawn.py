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
from wesgate.worker.handover import send, send_stores

PYTHON = (sys.executable, "-P", "-X", "utf8")
"""In UTF-8 whatever the service's locale is, as all that steps are told to speak."""

ANSWER_TIMEOUT_S = 20.0
ENDED = "no worker was seen to start: the process that starts them ended; if it goes on, see the service's log"


class ForkServer:
    """Starts workers that outlive it and this process. Safe to use from several threads. `modules` are those of heads
    that it shall load, so that its workers can fork them."""

    def __init__(
        self, environment: Mapping[str, str], stores: Sequence[Store] = (), modules: Sequence[str] = ()
    ) -> None:
        self._environment = dict(environment) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._stores = tuple(stores)
        self._modules = tuple(modules)
        self._turn = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, directory: Path, lock: int) -> int:
        """Start a worker for this attempt, which gets the lock; its process id. `Retryable` if that cannot be."""
        ours, theirs = socket.socketpair()
        with self._turn, ours:
            with theirs:
                if not self._sent(directory, lock, theirs):
                    self._stop()
                    if not self._sent(directory, lock, theirs):
                        raise Retryable(ENDED)
            ours.settimeout(ANSWER_TIMEOUT_S)
            with suppress(OSError):  # nobody is there to read them; so the answer will say
                send_stores(ours, self._stores)
            return _pid(self._answer())

    def close(self) -> None:
        """Stop the server; its workers go on."""
        with self._turn:
            self._stop()

    def _sent(self, directory: Path, lock: int, stores: socket.socket) -> bool:
        self._channel = self._channel or self._start()
        with suppress(OSError):
            send(self._channel, str(directory), [lock, stores.fileno()])
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
                [*PYTHON, "-m", "wesgate.worker.forkserver", str(theirs.fileno()), *self._modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(ANSWER_TIMEOUT_S)
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
