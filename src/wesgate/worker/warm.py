"""Start an engine's head by forking: what it is made of was loaded once, and all heads share the memory of it.

The process that forks the workers of heads loads the modules. A worker forks its head as soon as it knows its order and
before it knows anything else, the credentials of the site's stores above all; the child waits until it is that step's
turn. From then on it is what `python -m MODULE ARGUMENTS` would be: its session, environment, directory and streams are
the step's own, and the worker stays beside it as beside any step.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wesgate.core.spec import Step
from wesgate.worker.children import Forked, dying_with
from wesgate.worker.handover import receive, send
from wesgate.worker.layout import Order

READY = b"+"


def warm_up(modules: Sequence[str]) -> frozenset[str]:
    """Load these modules by their `warm()`; those that can be run by forking from now on. The others are told of on
    standard error, and started as programs."""
    if sys.platform != "linux":  # where no child dies with its parent
        return frozenset()
    loaded = []
    for name in modules:
        try:
            importlib.import_module(name).warm()
        except Exception:  # whatever it is, heads can do without
            traceback.print_exc()
        else:
            loaded.append(name)
        sys.modules.pop(name, None)  # it is run as __main__, which is a module of its own
    # Of several threads, a fork takes one along, and the locks of all.
    return frozenset(loaded) if threading.active_count() == 1 else frozenset()


@dataclass(frozen=True, slots=True)
class Standby:
    """A child that waits to be a step."""

    child: Forked
    channel: socket.socket

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: str | None, streams: Sequence[int]
    ) -> Forked | None:
        """Let it run this command; None if it could not, and has run nothing of it."""
        ready = b""
        with suppress(OSError), self.channel:
            send(self.channel, [list(argv), dict(environment), directory], streams)
            ready = self.channel.recv(len(READY))
        if ready:
            return self.child
        self.child.kill()
        self.child.wait()
        return None


def stand_by(order: Order, warm: Collection[str]) -> Standby | None:
    """A child for the one step of this order, if that is a head whose module is loaded. To be called before there are
    threads, handlers of signals or secrets, all of which a fork would take along."""
    if len(order.spec.steps) != 1 or not is_warm(order.spec.steps[0], warm):
        return None
    ours, theirs = socket.socketpair()
    worker = os.getpid()
    with theirs:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_the_step(theirs, worker)
    return Standby(Forked(pid), ours)


def is_warm(step: Step, warm: Collection[str]) -> bool:
    """Whether this step is a module that is loaded here, run by this very Python."""
    python, flag, module, *_ = (*step.command, "", "", "")
    return (python, flag) == (sys.executable, "-m") and module in warm


def _be_the_step(channel: socket.socket, worker: int) -> None:
    code = 1
    try:
        os.setsid()
        dying_with(worker, signal.SIGKILL)()
        _keep_only(channel.fileno())
        (argv, environment, directory), streams = receive(channel, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _keep_only(channel.fileno())
        os.chdir(directory)
        _look_anew(environment)
        channel.sendall(READY)
        channel.close()
        _take_signals()
        code = run(argv[2], argv[3:])
    except (EOFError, OSError):
        pass  # the worker ended without a need for it, or starts the step as a program, which tells what is wrong
    except BaseException:  # the next line is the only place where it can be told
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def run(module: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` does, up to its exit code."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return exit_code(end.code)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def exit_code(code: Any) -> int:
    """What `sys.exit` was given, as the exit code that Python makes of it."""
    match code:
        case None:
            return 0
        case int():
            return code & 0xFF
        case _:
            print(code, file=sys.stderr)  # noqa: T201  # as Python does
            return 1


def _keep_only(file: int) -> None:
    os.closerange(3, file)
    os.closerange(max(3, file + 1), os.sysconf("SC_OPEN_MAX"))


def _look_anew(environment: Mapping[str, str]) -> None:
    os.environ.clear()  # noqa: TID251  # the worker's own, which is not the step's
    os.environ.update(environment)  # noqa: TID251  # handed on, not read
    time.tzset()
    tempfile.tempdir = None


def _take_signals() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
