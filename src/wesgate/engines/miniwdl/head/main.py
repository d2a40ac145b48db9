"""The head job of a run: `python -m wesgate.engines.miniwdl.head.main RUN_DIRECTORY`."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
import os
import resource
import signal
import sys
import types
from pathlib import Path

from wesgate.engines.miniwdl.verdict import RESULT, Fault, Result, read_result, write_result

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAMPLE = "task sample { command { } }"
STOPPED = Result(Fault.TERMINATED, ("the run was told to stop before it began",))


def main(directory: Path) -> int:
    """Run the workflow of this directory and leave `result.json` there. A run that has ended is not run again."""
    if _has_ended(directory):
        return 0
    _heed_early_signals(directory)
    _write_logs()
    _without_docker()
    _look_for_plugins_once()
    # miniwdl takes 0.2 s to load; a signal may come meanwhile.
    from wesgate.engines.miniwdl.config import HeadPlan
    from wesgate.engines.miniwdl.head.run import run_workflow

    plan = HeadPlan.read((directory / "head.json").read_text(encoding="utf-8"))
    _limit_memory(plan.settings.head_memory_gb)
    result = run_workflow(directory, plan, claim_attempt(directory))
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    write_result(directory, result)
    for message in result.messages:
        logging.getLogger("wesgate").error("%s", message)
    return 0 if result.fault is Fault.NONE else 1


def warm() -> None:
    """Load in this process all that heads are made of, so that those forked from it share its memory and its work."""
    _without_docker()
    _look_for_plugins_once()
    import WDL
    from WDL._grammar import versions
    from WDL.runtime import config

    importlib.import_module("wesgate.engines.miniwdl.head.run")
    for version in versions:
        WDL.parse_document(SAMPLE, version=version)  # makes the tables of its grammar
    for group in config.default_plugins():
        importlib.metadata.entry_points(group=f"miniwdl.plugin.{group}")


def claim_attempt(directory: Path) -> str:
    """A directory of this head's own, the first that no head had: miniwdl cannot go on in one that was used."""
    number = 1
    while True:
        try:
            (directory / f"attempt-{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return f"attempt-{number}"


def _limit_memory(gigabytes: float) -> None:
    # Expressions of a workflow are computed here: range(2000000000) would take all the memory of the machine.
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if highest < 0 else min(wanted, highest), highest))


def _has_ended(directory: Path) -> bool:
    # A machine that shuts down stops its heads, too: whoever starts this run again wants it to go on.
    result = read_result(directory)
    if result is not None and result.fault is Fault.TERMINATED:
        (directory / RESULT).unlink()
        return False
    return result is not None


def _heed_early_signals(directory: Path) -> None:
    def stop(number: int, _frame: types.FrameType | None) -> None:
        write_result(directory, STOPPED)
        os._exit(128 + number)

    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, stop)


def _write_logs() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.raiseExceptions = False


def _without_docker() -> None:
    """miniwdl imports docker's errors to recognize a failed build of its own Docker backend, which no head uses; the
    real package costs each head 0.15 s."""
    docker, errors = types.ModuleType("docker"), types.ModuleType("docker.errors")
    errors.BuildError = type("BuildError", (Exception,), {})  # type: ignore[attr-defined]  # a module made by hand
    sys.modules.update({"docker": docker, "docker.errors": errors})


def _look_for_plugins_once() -> None:
    """miniwdl looks for plugins before every task, and reads a file of each installed package to find them: 4 ms."""
    importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)  # type: ignore[assignment]


if __name__ == "__main__":
    # The head's threads may still wait for a server that is away; nothing of them matters once the result is there.
    code = main(Path(sys.argv[1]))
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
