"""What every runtime is: the way one step of a task is started on this host, told to stop, and read when it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wesgate.core.spec import Lane, Step
from wesgate.worker.faults import Fault
from wesgate.worker.files.mounts import Mount
from wesgate.worker.layout import Attempt, Order
from wesgate.worker.runtimes.meters import Meter
from wesgate.worker.warm import Standby

KILLED, TERMINATED = 137, 143
"""The exit codes of what SIGKILL and SIGTERM ended: 128 + 9, 128 + 15."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start. `environment` None keeps the worker's own; `added` comes on top of either. `dies_by` is the
    signal that the kernel sends it when the worker ends, 0 for none; `files` are descriptors that it inherits, closed
    in the worker afterwards; `standby` is a child that can be it."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    directory: str | None = None
    dies_by: int = 0
    files: tuple[int, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict)
    standby: Standby | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended. `problem` is set when its command could not be run at all, `limit` when it was stopped for
    what it used; `note` is for the system logs."""

    exit_code: int
    problem: str = ""
    note: str = ""
    limit: str = ""


class Runtime(Protocol):
    """One way to run the steps of one task; knows the task's order and mounts from the start."""

    def prepare(self) -> Sequence[str]:
        """Make ready what the steps need, once; a `Fault` if that cannot be. What the submitter should know of it."""
        ...

    def launch(self, number: int, step: Step, *, stdin: bool) -> Launch:
        """The process that runs this step. Nothing is started yet."""
        ...

    def meter(self, number: int) -> Meter:
        """What measures this step, which starts now."""
        ...

    def send(self, number: int, process_group: int, signal: int) -> None:
        """Send a signal to what runs of this step; not to be told apart from a step that just ended."""
        ...

    def ended(self, number: int, returncode: int) -> Ended:
        """How the step ended, whose process gave this return code."""
        ...

    def clear(self, number: int, process_group: int) -> None:
        """Leave nothing of this step running or lying about. Safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """All that a runtime may know. `gpus` are the numbers of the devices that the attempt has to itself."""

    order: Order
    attempt: Attempt
    mounts: tuple[Mount, ...]
    gpus: tuple[int, ...] = ()


def runtime_name(order: Order) -> str:
    """The runtime of this order: heads are the service's own programs and always run plain, on the host."""
    return "process:plain" if runs_head(order) else order.runtime


def runs_head(order: Order) -> bool:
    """Whether this order is an engine's own program."""
    return order.spec.lane is Lane.HEAD


def exit_code(returncode: int) -> int:
    """A return code as shells tell it: 128 + n for what signal n ended."""
    return 128 - returncode if returncode < 0 else returncode


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse what cannot be an environment variable, or what a runtime could read as something else."""
    for name, value in environment.items():
        if not name or name.startswith("#") or name != name.strip() or any(letter in name for letter in "=\n\r\0*"):
            raise Fault(f"{name!r} cannot be the name of an environment variable")
        if "\0" in value:
            raise Fault(f"the environment variable {name} has a zero byte in its value")


def last_line(text: str) -> str:
    """The line of a program's complaint that says most: the last one that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def described(argv: Sequence[str]) -> str:
    """A command in one short line."""
    text = " ".join(argv)
    return text if len(text) <= 120 else text[:117] + "..."
