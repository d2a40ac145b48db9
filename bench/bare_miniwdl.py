"""`miniwdl run` with wesgate's process runtime: each command is a process of this machine in the same sandbox."""

from __future__ import annotations

import contextlib
import logging
import sys

from WDL import CLI
from WDL.runtime import config, task_container
from WDL.runtime.backend.cli_subprocess import SubprocessBase

from wesgate.worker.files.mounts import Mount
from wesgate.worker.runtimes.process import SYSTEM_PATH, bubblewrap_options
from wesgate.worker.runtimes.sandbox import look, skeleton


class Process(SubprocessBase):
    """Runs in place: the paths inside are the paths outside."""

    def __init__(self, cfg: config.Loader, run_id: str, host_dir: str) -> None:
        super().__init__(cfg, run_id, host_dir)
        self.container_dir = host_dir

    @classmethod
    def global_init(cls, cfg: config.Loader, logger: logging.Logger) -> None:
        cls.detect_resource_limits(cfg, logger)

    @property
    def cli_name(self) -> str:
        return "process"

    def _pull(self, logger: logging.Logger, cleanup: contextlib.ExitStack) -> str:  # noqa: ARG002  # miniwdl's
        return ""

    def _run_invocation(self, logger: logging.Logger, cleanup: contextlib.ExitStack, image: str) -> list[str]:  # noqa: ARG002  # miniwdl's
        work: str = self.host_work_dir()  # type: ignore[no-untyped-call]  # miniwdl's
        mounts = [Mount(self.host_dir, self.host_dir, writable=True), Mount("/tmp", "/tmp", writable=True)]
        options = bubblewrap_options(skeleton(mounts, (), (), "/dev/shm", look), {"PATH": SYSTEM_PATH}, work)
        return ["bwrap", *options, "--"]


if __name__ == "__main__":
    task_container._backends["process"] = Process  # there already, so miniwdl loads no plugins
    sys.exit(CLI.main(sys.argv[1:]))  # type: ignore[no-untyped-call]  # miniwdl's
