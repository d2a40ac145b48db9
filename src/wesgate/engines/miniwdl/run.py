"""One run of miniwdl inside a head: load, bind, run, and put the end into words."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import WDL
from WDL._util import TerminationSignalFlag
from WDL.runtime import config
from WDL.runtime.error import CommandFailed, DownloadFailed, Interrupted, RunFailed, Terminated, error_json
from WDL.runtime.task import run_local_task
from WDL.runtime.workflow import run_local_workflow

from wesgate.engines.miniwdl import addresses
from wesgate.engines.miniwdl.adopt import Adoptable
from wesgate.engines.miniwdl.client import TesClient
from wesgate.engines.miniwdl.config import HeadPlan, miniwdl_options, run_options
from wesgate.engines.miniwdl.container import Session, TaskLost, TesContainer
from wesgate.engines.miniwdl.fetch import Source
from wesgate.engines.miniwdl.inputs import Places, bind_inputs, choose, load_document
from wesgate.engines.miniwdl.request import RUN_TAG
from wesgate.engines.miniwdl.verdict import Fault, Result
from wesgate.engines.miniwdl.watch import Watch
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed
from wesgate.storage.patience import Bounds

HEED_S = 0.5
"""The longest that a signal to stop may go unheeded."""

STDERR_LINES = 20
STDERR_BYTES = 4096

Download = Generator[dict[str, Any], dict[str, Any], None]


def run_workflow(directory: Path, plan: HeadPlan, head_attempt: str) -> Result:
    """Run to the end; whatever happens is in the result. Call it on the main thread: it takes the signals."""
    log = logging.getLogger("wesgate")

    def run() -> Result:
        try:
            return _run(directory, plan, head_attempt, terminating)
        except Exception as error:  # what miniwdl may raise has no end, and each must end the run with its reason
            log.debug("the run failed", exc_info=True)
            return explain(error, Path(directory))

    with TerminationSignalFlag(log) as terminating, ThreadPoolExecutor(1, "run") as pool:
        running = pool.submit(run)
        # A signal that comes just before a wait begins, or to another thread, does not end the wait; only the main
        # thread takes signals, and miniwdl's waits have no limit.
        while not wait([running], HEED_S).done:
            pass
        return running.result()


def _run(directory: Path, plan: HeadPlan, head_attempt: str, terminating: Callable[[], bool]) -> Result:
    options = run_options(plan)
    places = Places(directory / "attachments", (Path(plan.owner_directory), *map(Path, plan.settings.roots)))
    fetching = plan.settings.fetching
    bounds = Bounds(fetching.max_bytes, fetching.timeout_s, terminating)
    source = Source(directory / "downloads", bounds, Network(fetching.allow_private))
    exe = choose(load_document(plan.workflow, places, source), options.task)
    inputs = bind_inputs(json.loads((directory / "inputs.json").read_text(encoding="utf-8")), exe, places)
    cfg = config.Loader(logging.getLogger("wesgate"), filenames=[], overrides=miniwdl_options(plan, options))
    # The entry points for this would also serve every other miniwdl of the same installation.
    cfg._downloaders = (downloaders(source), {})  # type: ignore[attr-defined]  # its cache
    TesContainer.session = open_session(directory, plan, head_attempt)
    attempt_directory = directory / head_attempt
    run_local = run_local_task if isinstance(exe, WDL.Tree.Task) else run_local_workflow
    _, outputs = run_local(cfg, exe, inputs, run_dir=f"{attempt_directory}/.")  # type: ignore[arg-type]  # as chosen
    return Result(Fault.NONE, outputs=WDL.values_to_json(outputs, exe.name), directory=str(attempt_directory))


def open_session(directory: Path, plan: HeadPlan, head_attempt: str) -> Session:
    """The way to TES, and what earlier heads of this run left there."""
    client = TesClient(lambda: addresses.read(Path(plan.api_directory)), (directory / "token").read_text())
    earlier = head_attempt != "attempt-1"
    return Session(
        client=client,
        watch=Watch(client, (RUN_TAG, plan.run_id)),
        adoptable=Adoptable(client.tagged(RUN_TAG, plan.run_id, "BASIC") if earlier else ()),
        run_id=plan.run_id,
        directory=directory,
        head_attempt=head_attempt,
        host_paths=plan.host_paths,
    )


def downloaders(source: Source) -> dict[str, Callable[..., Download]]:
    """What miniwdl shall do for a File that is a URL. Its own downloaders would run tasks in images of their own."""

    def localize(_cfg: config.Loader, _logger: logging.Logger, uri: str, **_: Any) -> Download:
        yield {"outputs": {"file": str(source.file(uri))}}

    return {"http": localize, "https": localize}


def explain(error: BaseException, directory: Path) -> Result:
    """What went wrong, as a fault and sentences for the run's owner."""
    if _is_out_of_memory(error):
        told = "the workflow computes more than fits into the memory of its head; see engines.miniwdl.head_memory_gb"
        return Result(Fault.WORKFLOW, (told,))
    cause = root_cause(error)
    details = error_json(error)
    return Result(fault_of(cause), tuple(sentences(cause, directory)), error=_jsonable(details))


def _is_out_of_memory(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, MemoryError) or _is_out_of_memory(error.__cause__))


def root_cause(error: BaseException) -> BaseException:
    while isinstance(error, RunFailed) and error.__cause__:
        error = error.__cause__
    return error


def fault_of(cause: BaseException) -> Fault:
    match cause:
        case Terminated():
            return Fault.TERMINATED
        case TaskLost() | Interrupted():
            return Fault.SYSTEM
        case WDL.Error.RuntimeError() | WDL.Error.SyntaxError() | WDL.Error.ImportError():
            return Fault.WORKFLOW
        case WDL.Error.ValidationError() | WDL.Error.MultipleValidationErrors():
            return Fault.WORKFLOW
        case _:
            return Fault.SYSTEM


def sentences(cause: BaseException, directory: Path) -> list[str]:
    """Why the run ended, the most important first."""
    match cause:
        case Terminated():
            return ["the run was told to stop before it ended"]
        case CommandFailed():
            return _command_sentences(cause)
        case WDL.Error.MultipleValidationErrors():
            return [located(each, directory) for each in cause.exceptions]
        case WDL.Error.ImportError() if cause.__cause__:
            return [located(cause, directory), *sentences(cause.__cause__, directory)]
        case DownloadFailed() if cause.__cause__:
            return [f"input {cause.__cause__}"]
        case WDL.Error.RuntimeError() | WDL.Error.SyntaxError() | WDL.Error.ValidationError():
            return [located(cause, directory)]
        case FetchFailed() | OSError():
            return [str(cause)]
        case _:
            return [f"miniwdl failed unexpectedly; the run's stderr has the details: {type(cause).__name__}: {cause}"]


def located(error: BaseException, directory: Path) -> str:
    """`file:line:column: message`, with the file as the caller sent it."""
    message = str(error) or type(error).__name__
    position = getattr(error, "pos", None)
    if position is None:
        return message
    source = str(position.abspath).removeprefix(f"{directory / 'attachments'}/")
    return f"{source}:{position.line}:{position.column}: {message}"


def _command_sentences(failed: CommandFailed) -> list[str]:
    call = Path(failed.stderr_file).parent.name
    tail = stderr_tail(Path(failed.stderr_file))
    logs = dict.fromkeys(str(line) for line in failed.more_info.get("system_logs", ()))
    return [f"{call}: {failed}", *logs, *([f"the end of its stderr:\n{tail}"] if tail else [])]


def stderr_tail(path: Path) -> str:
    """The last lines that the command wrote to its standard error."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - STDERR_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-STDERR_LINES:])


def _jsonable(details: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(details, default=str)))
