"""Start workers fast: a process with everything imported forks one for each order it gets.

It speaks over the one socket it inherits: for each order the attempt's directory, with the lock and a socket attached,
and back a line with the worker's process id or what went wrong. From the attached socket the worker, and it alone,
reads the stores of the site: this process never knows their credentials, and so nothing else that is forked from it
does. It has no threads, ends when the socket is closed, and the workers outlive it as they outlive the service.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Collection, Sequence
from contextlib import suppress

from wesgate.core.codec import learn
from wesgate.core.report import StepLog
from wesgate.core.spec import Fetching, Input, Output, Policy, Resources, Step, Store, TaskSpec
from wesgate.worker.handover import receive
from wesgate.worker.layout import Limits, Order, StepRecord
from wesgate.worker.main import main
from wesgate.worker.warm import warm_up


def serve(channel: socket.socket, modules: Sequence[str] = ()) -> None:
    """Fork a worker for each message until the other side is gone. Heads that are one of these modules are forked, too,
    each from its worker."""
    learn(Order, TaskSpec, Policy, Step, Input, Output, Resources, Limits, Fetching, StepRecord, StepLog, Store)
    warm = warm_up(modules)
    gc.collect()
    gc.freeze()  # a collection in a worker would copy the pages that all of them share
    # The kernel reaps children whose SIGCHLD is ignored.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers start with it blocked: one that is sent before they can take it waits for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with suppress(EOFError, ConnectionError):
        while True:
            channel.sendall(f"{_answer(channel, warm)}\n".encode())


def _answer(channel: socket.socket, warm: Collection[str]) -> str:
    try:
        directory, (lock, stores) = receive(channel, 2)
    except OSError as error:
        return f"error {error.strerror}"
    try:
        return str(_fork(channel, directory, lock, stores, warm))
    except OSError as error:
        return f"error {error.strerror}"
    finally:
        os.close(lock)
        os.close(stores)


def _fork(channel: socket.socket, directory: str, lock: int, stores: int, warm: Collection[str]) -> int:
    pid = os.fork()
    if pid == 0:
        _be_a_worker(channel, directory, lock, stores, warm)
    return pid


def _be_a_worker(channel: socket.socket, directory: str, lock: int, stores: int, warm: Collection[str]) -> None:
    code = 1
    try:
        os.setsid()
        os.chdir(directory)  # container programs leave files where they are started
        channel.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _stream_to(os.path.join(directory, "worker.log"))  # noqa: PTH118  # nothing else needs a Path here
        code = main(directory, lock, socket.socket(fileno=stores), warm)
    except BaseException:  # the next line is the only place where it can be told
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _stream_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(nothing)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        serve(inherited, sys.argv[2:])
