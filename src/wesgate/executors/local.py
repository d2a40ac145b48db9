"""Run tasks on this machine: one detached worker for each attempt, found again by its directory after any restart."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from wesgate.core.backend import Handle, Observation
from wesgate.core.environment import CERTIFICATES, PROXIES, for_fetching, for_programs
from wesgate.core.errors import Misconfigured, Permanent, Retryable
from wesgate.core.failpoints import failpoint
from wesgate.core.report import StepLog, TaskReport
from wesgate.core.spec import Fetching, Lane, Store, TaskSpec
from wesgate.core.states import State
from wesgate.worker.faults import Fault
from wesgate.worker.layout import (
    Attempt,
    Limits,
    Order,
    is_alive,
    is_locked,
    read,
    read_order,
    read_outcome,
    read_status,
    read_steps,
    tail,
    take_lock,
    write,
)
from wesgate.worker.runtimes.containers import CLIENT_GRACE_S, remove
from wesgate.worker.runtimes.leftovers import kill_marked
from wesgate.worker.runtimes.probe import choose, trying
from wesgate.worker.runtimes.runtime import last_line, runtime_name
from wesgate.worker.runtimes.sandbox import secret_files
from wesgate.worker.spawn import ForkServer

log = logging.getLogger(__name__)

Seen = Observation[TaskReport]

# What a worker may inherit: where programs, homes and proxies are, and what the container clients read. Everything else
# (the service's own settings and secrets) stays away from it.
PASSED_ON = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "DBUS_SESSION_BUS_ADDRESS"})
PASSED_ON_PREFIXES = ("XDG_", "CONTAINER_", "CONTAINERS_", "DOCKER_", "REGISTRY_", "STORAGE_", CERTIFICATES)

LOCK_TRIES = 100
LOCK_PAUSE_S = 0.01
"""Somebody's look at the lock holds it for a moment, a worker holds it some milliseconds before it says who it is."""

SECRETS_KEPT_S = 30.0
"""How long it is known which files of the host are secret; a walk over /etc costs some milliseconds."""

CLEAR_TIMEOUT_S = 7.0
"""Below the time that the loop gives a call: whoever asked is told, and the thread is free again."""

CLEARS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """How tasks run on this machine.

    `runtime`: podman, docker, process, one of the process runtimes by its full name, or `auto` for the first that
    works. `grace_s`: seconds between asking a step to end and making it. `pids`: processes a container may have.
    `network`: whether steps reach the network. `visible`: more host paths that the sandboxed process runtimes show,
    read-only. `private`: the service's own directories besides the files root, which no task may name or see.
    `fetching`: what http(s) inputs may be. `disk_gb`: what a task may write that asks for no disk, None without a
    bound. `gpus`: devices that this machine has for tasks. `stores`: where objects are, with credentials. `heads`: the
    modules of engines' heads, which are loaded once for all heads that are `python -m MODULE` with this very Python.
    """

    runtime: str = "auto"
    grace_s: float = 10.0
    pids: int = 4096
    network: bool = True
    visible: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    fetching: Fetching = field(default_factory=Fetching)
    disk_gb: float | None = None
    gpus: int = 0
    stores: tuple[Store, ...] = field(default=(), repr=False)
    heads: tuple[str, ...] = ()


class LocalExecutor:
    """Keeps nothing in memory that the attempts' directories do not hold. A handle is `<owner>/<key>`."""

    def __init__(
        self,
        settings: LocalSettings,
        files_root: Path,
        wake_dir: Path,
        environment: Mapping[str, str],
        failpoints: str = "",
    ) -> None:
        self._settings = settings
        self._root = files_root
        self._wake = wake_dir
        self._environment = passed_on(environment)
        self._failpoints = failpoints
        self._runtime = ""
        self._limits = worker_limits(settings)
        self._workers = ForkServer(self._environment, settings.stores)
        # Apart, so that the workers of tasks do not carry what heads are made of.
        self._heads = (
            ForkServer(self._environment, settings.stores, settings.heads) if settings.heads else self._workers
        )
        self._secrets = Secrets()
        self._unreadable: set[Handle] = set()  # what the log was told of
        # Clearing waits for a container program, which may hang: it must not take the threads that all else needs.
        self._clears = ThreadPoolExecutor(CLEARS_AT_ONCE, "clear")

    @property
    def runtime(self) -> str:
        """What steps run in, known after `start`: podman, docker or one of the process runtimes."""
        return self._runtime

    async def start(self) -> None:
        """Find out which runtime works here. `Misconfigured` if the one that is wanted does not."""
        wanted, network = self._settings.runtime, self._settings.network
        chosen, rejected = await asyncio.to_thread(choose, wanted, trying(self._environment), network=network)
        for verdict in rejected:
            log.info("local.runtime.rejected", extra={"runtime": verdict.runtime, "reason": verdict.reason})
        if chosen is None:
            reasons = "; ".join(f"{verdict.runtime}: {verdict.reason}" for verdict in rejected)
            raise Misconfigured(f"the local executor cannot run tasks as set: {reasons}; set its runtime to auto")
        if chosen.reason:
            log.warning("local.runtime.limited", extra={"runtime": chosen.runtime, "reason": chosen.reason})
        log.info("local.runtime", extra={"runtime": chosen.runtime})
        self._runtime = chosen.runtime
        self._limits = replace(self._limits, memory=chosen.limits)

    async def close(self) -> None:
        """Start no more workers; those that run go on."""
        self._clears.shutdown(wait=False, cancel_futures=True)
        for workers in (self._workers, self._heads):
            await asyncio.to_thread(workers.close)

    async def find(self, key: str, spec: TaskSpec) -> Handle | None:
        try:
            return await asyncio.to_thread(self._find, key, spec.owner)
        except OSError as error:
            raise Retryable(f"the attempt {key} cannot be looked for: {error}") from error

    async def submit(self, key: str, spec: TaskSpec) -> Handle:
        if not self._runtime:
            raise Retryable("the local executor was not started yet")
        try:
            return await asyncio.to_thread(self._submit, key, spec)
        except OSError as error:
            raise Retryable(f"no worker could be started: {error}; see to the files root {self._root}") from error

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, Seen]:
        try:
            return await asyncio.to_thread(self._poll, handles)
        except OSError as error:
            raise Retryable(f"the attempts cannot be looked at: {error}") from error

    async def forbid(self, key: str, spec: TaskSpec) -> None:
        try:
            await asyncio.to_thread(self._forbid, self._attempt(f"{spec.owner}/{key}"))
        except OSError as error:
            raise Retryable(f"the attempt {key} cannot be forbidden: {error}") from error

    async def cancel(self, handle: Handle) -> None:
        attempt = self._attempt(handle)
        try:
            left = await asyncio.to_thread(self._cancel, attempt)
            if left is not None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._clears, clear, attempt, left, self._environment)
        except (OSError, Fault) as error:
            raise Retryable(f"{handle} could not be canceled: {error}") from error

    def _attempt(self, handle: str) -> Attempt:
        parts = handle.split("/")
        if len(parts) != 2 or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise Permanent(f"{handle!r} is no handle of the local executor")
        return Attempt(self._root / parts[0] / parts[1])

    def _find(self, key: str, owner: str) -> Handle | None:
        attempt = self._attempt(f"{owner}/{key}")
        order = read_order(attempt)
        if order is None or order.key != key or order.spec.owner != owner:
            return None
        if was_started(attempt):
            return Handle(f"{owner}/{key}")
        lock = self._lock(attempt)
        if lock is not None:
            os.close(lock)
        return Handle(f"{owner}/{key}") if lock is None or was_started(attempt) else None

    def _submit(self, key: str, spec: TaskSpec) -> Handle:
        handle = Handle(f"{spec.owner}/{key}")
        attempt = self._attempt(handle)
        make_directory(attempt)
        if was_started(attempt):
            return handle
        lock = self._lock(attempt)
        if lock is None:
            return handle
        try:
            # Once more, now that nobody else can start it.
            if not was_started(attempt):
                attempt.worker.unlink(missing_ok=True)
                if attempt.cancel.exists():
                    raise Permanent(f"the attempt {key} was canceled before it was submitted")
                write(attempt.order, self._order(key, spec))
                failpoint("executor-directory")
                workers = self._heads if spec.lane is Lane.HEAD else self._workers
                workers.spawn(attempt.directory, lock)
                failpoint("executor-spawned")
        finally:
            os.close(lock)
        return handle

    def _lock(self, attempt: Attempt) -> int | None:
        """The lock; None if a worker has it. `Retryable` if somebody else has: whether it starts one will show."""
        for _ in range(LOCK_TRIES):
            lock = take_lock(attempt)
            if lock is not None or is_alive(attempt):
                return lock
            time.sleep(LOCK_PAUSE_S)
        raise Retryable(f"the attempt {attempt.key} is being started already, and it is not known yet how that ends")

    def _order(self, key: str, spec: TaskSpec) -> Order:
        return Order(
            key=key,
            spec=spec,
            runtime=self._runtime,
            files_root=str(self._root),
            wake=str(self._wake),
            environment=for_steps(self._environment, spec.lane),
            failpoints=self._failpoints,
            limits=self._hiding(self._limits),
        )

    def _hiding(self, limits: Limits) -> Limits:
        sandboxed = self._runtime in ("process:bubblewrap", "process:namespace")
        return replace(limits, hidden=self._secrets.now()) if sandboxed else limits

    def _poll(self, handles: Sequence[Handle]) -> dict[Handle, Seen]:
        seen = {handle: self._observe(handle, self._attempt(handle)) for handle in handles}
        return {handle: found for handle, found in seen.items() if found is not None}

    def _observe(self, handle: Handle, attempt: Attempt) -> Seen | None:
        # A directory that cannot be read (a bad disk, another's hand) counts as missing: it must not hide the others.
        try:
            seen = observe(attempt)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            any(self._root.iterdir())  # raises if it is not this attempt but all of them: then nothing is known
            if handle not in self._unreadable:
                self._unreadable.add(handle)
                log.warning("local.unreadable", extra={"handle": handle, "error": str(error)})
            return None
        self._unreadable.discard(handle)
        return seen

    def _forbid(self, attempt: Attempt) -> None:
        # Whoever starts the attempt looks for the marker once it holds the lock, and a worker before it lets user code
        # run. So if nobody holds the lock now and nothing was started, nothing ever will be.
        make_directory(attempt)
        for mark in (False, True):
            if mark:
                attempt.cancel.touch()
            if is_locked(attempt) or was_started(attempt):
                raise Retryable(f"the attempt {attempt.key} was started meanwhile, and is to be canceled")

    def _cancel(self, attempt: Attempt) -> Order | None:
        """Tell the worker to stop. The order, if there is no worker and something may be left to clear away."""
        ended = attempt.result.exists()
        if not ended:
            make_directory(attempt)
            attempt.cancel.touch()
        # A worker that ended may have left what it could not clear.
        lost = (ended or not terminate(attempt)) and attempt.started.exists()
        return read_order(attempt) if lost else None


class Secrets:
    """Which files of the host are secret, as it was a short while ago. Safe to use from several threads."""

    def __init__(self, walk: Callable[[], tuple[str, ...]] = secret_files) -> None:
        self._walk = walk
        self._turn = threading.Lock()
        self._known: tuple[str, ...] = ()
        self._until = 0.0

    def now(self) -> tuple[str, ...]:
        with self._turn:
            if time.monotonic() >= self._until:
                self._known = self._walk()
                self._until = time.monotonic() + SECRETS_KEPT_S
            return self._known


def make_directory(attempt: Attempt) -> None:
    """The attempt's directory, for the service's user alone."""
    attempt.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    attempt.directory.mkdir(mode=0o700, exist_ok=True)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of the service's environment that its workers get."""
    return {
        name: value
        for name, value in environment.items()
        if name in PASSED_ON or name.lower() in PROXIES or name.startswith(PASSED_ON_PREFIXES)
    }


def for_steps(environment: Mapping[str, str], lane: Lane) -> dict[str, str]:
    """The part of it that steps get which run this machine's programs; heads fetch documents besides."""
    return for_fetching(environment) if lane is Lane.HEAD else for_programs(environment)


def worker_limits(settings: LocalSettings) -> Limits:
    return Limits(
        grace_s=settings.grace_s,
        pids=settings.pids,
        network=settings.network,
        visible=settings.visible,
        private=tuple(dict.fromkeys(os.path.realpath(path) for path in settings.private)),
        fetching=settings.fetching,
        disk_gb=settings.disk_gb,
        gpus=settings.gpus,
    )


def was_started(attempt: Attempt) -> bool:
    """Whether user code may have run, or the attempt ended before it could."""
    return attempt.started.exists() or attempt.result.exists()


def observe(attempt: Attempt) -> Seen | None:
    """How an attempt stands; None if nothing of it is there."""
    # Whether it lives is asked before the result is looked for: a worker that ends in between has left one. One that
    # was just started holds the lock before it says who it is.
    alive = is_locked(attempt)
    outcome = read_outcome(attempt)
    if outcome is not None:
        return Observation(outcome.state, outcome.detail, outcome.report, outcome.infrastructure)
    order = read_order(attempt)
    if order is None:
        return None
    status = read_status(attempt)
    report = live_report(attempt, order)
    if alive:
        return Observation(status.state if status else State.INITIALIZING, report=report)
    detail = f"the worker ended without a result: {_last_words(attempt)}"
    return Observation(State.SYSTEM_ERROR, detail, report, infrastructure=True)


def live_report(attempt: Attempt, order: Order) -> TaskReport:
    """What can be told of an attempt that has no result."""
    status = read_status(attempt)
    return TaskReport(
        start_time=status.start_time if status else None,
        steps=tuple(
            _with_tails(attempt, number, record.log)
            for number, record in enumerate(read_steps(attempt, len(order.spec.steps)))
        ),
        system_logs=status.system_logs if status else (),
        directory=f"{order.spec.owner}/{order.key}",
    )


def _with_tails(attempt: Attempt, number: int, step: StepLog) -> StepLog:
    if step.end_time is not None:
        return step
    return replace(step, stdout=tail(attempt.stdout(number)), stderr=tail(attempt.stderr(number)))


def _last_words(attempt: Attempt) -> str:
    return last_line(tail(attempt.worker_log)) or "it was killed, or its machine went down"


def terminate(attempt: Attempt) -> bool:
    """Tell the worker to stop; whether there is one, or may come: that one finds the marker."""
    pid = (read(attempt.worker) or {}).get("pid")
    if not isinstance(pid, int):
        return is_locked(attempt)
    if not hasattr(os, "pidfd_open"):
        alive = is_alive(attempt)
        if alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return alive
    try:
        worker = os.pidfd_open(pid)
    except ProcessLookupError:
        return is_locked(attempt)
    try:
        # The lock is held, and worker.json is removed before it changes hands: so its holder lives, and this descriptor
        # is the holder's and not a later process's.
        alive = is_alive(attempt)
        if alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker, signal.SIGTERM)
        return alive
    finally:
        os.close(worker)


def clear(attempt: Attempt, order: Order, environment: Mapping[str, str]) -> None:
    """End and remove what a worker that died left behind."""
    runtime = runtime_name(order)
    contained = runtime in ("podman", "docker")
    # First of all the clients: one that is still starting would make its container later.
    kill_marked(order.key, CLIENT_GRACE_S if contained else 0.0)
    if contained:
        names = [attempt.container(number) for number in range(len(order.spec.steps))]
        remove(runtime, names, environment, CLEAR_TIMEOUT_S)
