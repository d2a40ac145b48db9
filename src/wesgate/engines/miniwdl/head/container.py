"""miniwdl's container backend: each attempt of a WDL task is one TES task on the run's shared directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import WDL
from WDL._util import path_really_within
from WDL.runtime import config
from WDL.runtime.error import Interrupted, OutputError
from WDL.runtime.task_container import TaskContainer

from wesgate.engines.miniwdl.head.calls import TASK_ID
from wesgate.engines.miniwdl.head.runtime import call_path, further_runtime, is_written, with_defaults
from wesgate.engines.miniwdl.head.session import Session, TaskLost
from wesgate.engines.miniwdl.head.tes.adopt import Left
from wesgate.engines.miniwdl.head.tes.outcome import Ended
from wesgate.engines.miniwdl.head.tes.request import (
    Asked,
    CallFacts,
    create_key,
    fingerprint,
    needs_script_file,
    task_document,
)


class TesContainer(TaskContainer):
    """Works inside a wesgate head only, which puts the session here before it starts miniwdl."""

    session: ClassVar[Session | None] = None
    _own_session: Session
    _left: Left | None = None
    _copied = False
    _interruptions = 0

    @classmethod
    def global_init(cls, _cfg: config.Loader, _logger: logging.Logger) -> None:
        if cls.session is None:
            raise WDL.Error.RuntimeError("the container backend 'wesgate' works inside the head job of a run only")

    @classmethod
    def detect_resource_limits(cls, _cfg: config.Loader, _logger: logging.Logger) -> dict[str, int]:
        # Not limits, which no head knows: WDL 1.2's defaults for a task that asks for nothing.
        return {"cpu": 1, "mem_bytes": 2 * 1024**3}

    def __init__(self, cfg: config.Loader, run_id: str, host_dir: str) -> None:
        assert self.session is not None
        self._own_session = self.session
        super().__init__(cfg, run_id, host_dir)
        self._set_container_dir(host_dir)

    def add_paths(self, host_paths: Iterable[str]) -> None:
        # In the order of a set, two heads would give files of equal names different places.
        super().add_paths(sorted(host_paths))

    def copy_input_files(self, logger: logging.Logger) -> None:
        super().copy_input_files(logger)
        self._copied = True

    def process_runtime(self, logger: logging.Logger, runtime_eval: dict[str, WDL.Value.Base]) -> None:
        runtime = with_defaults(runtime_eval, self._own_session.runtime_defaults)
        super().process_runtime(logger, runtime)
        self.runtime_values.update(further_runtime(runtime))
        for name in ("gpu", "inlineDockerfile", "docker_network"):
            if self.runtime_values.get(name):
                raise WDL.Error.RuntimeError(f"runtime.{name} is not offered by this service; remove it from the task")

    def reset(self, logger: logging.Logger) -> None:
        self._left = None
        self._set_container_dir(self.host_dir)
        if self._own_session.host_paths:
            # The paths in the command are fixed, so every attempt works in `work`.
            Path(self.host_work_dir()).rename(f"{self.host_dir}/work.attempt-{self.try_counter}")
        super().reset(logger)

    def host_path(self, container_path: str, inputs_only: bool = False) -> str | None:
        """As miniwdl has it, but what leads out of the working directory is refused whether there is something or not:
        nobody is to learn what the host has."""
        inner = container_path.removeprefix(f"{self.container_dir}/work/")
        work = self.host_work_dir()
        is_input, _ = self._input_host_path(container_path)
        if not (is_input or inner.startswith("/") or path_really_within(f"{work}/{inner}", work)):
            raise OutputError(f"task outputs attempted to use a path outside its working directory: {container_path}")
        return super().host_path(container_path, inputs_only)

    def host_work_dir(self) -> str:
        name = "work" if self._own_session.host_paths else self._numbered("work")
        return f"{self._output_dir()}/{name}"

    def host_stdout_txt(self) -> str:
        return f"{self._output_dir()}/{self._numbered('stdout')}.txt"

    def host_stderr_txt(self) -> str:
        return f"{self._output_dir()}/{self._numbered('stderr')}.txt"

    def _numbered(self, name: str) -> str:
        return f"{name}{self.try_counter}" if self.try_counter > 1 else name

    def _run(self, logger: logging.Logger, terminating: Callable[[], bool], command: str) -> int:
        call = self._facts(command)
        digest = fingerprint(call)
        task_id = self._adopt(call, digest, logger) or self._create(call, digest, logger, terminating)
        self.failure_info = {"tes_task": task_id}
        (Path(self.host_dir) / TASK_ID).write_text(task_id)
        with self.task_running_context():
            ended = self._own_session.wait(task_id, terminating)
        self.failure_info = {"tes_task": task_id, "system_logs": list(ended.reasons)}
        logger.info("TES task %s ended as %s, exit code %s", task_id, ended.state, ended.exit_code)
        return self._exit_code(ended)

    def _facts(self, command: str) -> CallFacts:
        own, values = self._own_session, self.runtime_values
        attempt_dir = own.directory / own.head_attempt
        return CallFacts(
            run_id=own.run_id,
            head_attempt=own.head_attempt,
            name=self.run_id,
            call=call_path(attempt_dir, Path(self.host_dir), self.run_id),
            attempt=self.try_counter,
            command=command,
            host_dir=self.host_dir,
            container_dir=self.container_dir,
            work=self.host_work_dir(),
            stdout=self.host_stdout_txt(),
            stderr=self.host_stderr_txt(),
            asked=Asked(
                image=own.image(str(values["docker"])),
                env=values.get("env", {}),
                cpu=values.get("cpu"),
                memory_bytes=values.get("memory_limit") or values.get("memory_reservation"),
                disk_gb=values.get("disks"),
                preemptible=self._interruptions < values.get("preemptible", 0),
                zones=values.get("zones", ()),
            ),
            inputs=dict(self.input_path_map),
            written=frozenset(path for path in self.input_path_map if is_written(attempt_dir, Path(path))),
            copied=self._copied,
        )

    def _adopt(self, call: CallFacts, digest: str, logger: logging.Logger) -> str | None:
        left = self._own_session.adoptable.take(call, digest)
        if left is None:
            return None
        logger.warning("adopting TES task %s, which an earlier head of this run created", left.id)
        self._left = left
        self._set_container_dir(self._output_dir())
        return left.id

    def _create(self, call: CallFacts, digest: str, logger: logging.Logger, terminating: Callable[[], bool]) -> str:
        if needs_script_file(call):
            call.script.write_text(call.command, encoding="utf-8")
        task_id = self._own_session.create(task_document(call, digest), create_key(call, digest), terminating)
        logger.info("TES task %s created", task_id)
        return task_id

    def _output_dir(self) -> str:
        """Where this attempt's outputs are: below the earlier head's directory when its task was adopted."""
        if self._left is None:
            return self.host_dir
        own = self._own_session
        below = os.path.relpath(self.host_dir, own.directory / own.head_attempt)
        return os.path.normpath(own.directory / self._left.head_attempt / below)

    def _set_container_dir(self, directory: str) -> None:
        if self._own_session.host_paths:
            self.container_dir = directory

    def _exit_code(self, ended: Ended) -> int:
        match ended:
            case Ended(state="COMPLETE", exit_code=code):
                return code or 0
            case Ended(state="EXECUTOR_ERROR", exit_code=int(code)) if code != 0:
                return code
            case Ended(state="PREEMPTED"):
                self._interruptions += 1
                raise Interrupted(ended.sentence)
            case _:
                raise TaskLost(ended.sentence, more_info=self.failure_info)
