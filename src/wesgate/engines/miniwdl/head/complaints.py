"""Why a run ended as it did, in words for its owner: what miniwdl raised, as a fault and as complaints with a place."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import CommandFailed, DownloadFailed, Interrupted, RunFailed, Terminated, error_json

from wesgate.engines.miniwdl.head.bounds import TooMuch
from wesgate.engines.miniwdl.head.inputs import Unfit
from wesgate.engines.miniwdl.head.session import TaskLost
from wesgate.engines.miniwdl.verdict import Fault, Result
from wesgate.sources import arrive
from wesgate.storage.http import FetchFailed

STDERR_LINES = 20
STDERR_BYTES = 4096
ADVICE = " (to allow, set [file_io] allow_any_input = true)"
"""What miniwdl adds to some messages, for those who run it themselves."""
DEEP = ", exceeded import_max_depth; circular imports?"
CIRCLE = ": the imports lead in a circle, or more than nine deep"
NAME_BYTES = 200
"""Of a file's name, to be sure: 255 less what is put behind it for a moment when it is linked."""
LONGEST = 4000
"""Of a message, in characters: miniwdl repeats what was written, however much that is."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One reason. `file` is as the caller sent it; empty, and the rest 0, where a reason has no place."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def sentence(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}" if self.file else self.message


def explain(error: BaseException, directory: Path) -> Result:
    """What went wrong, as a fault and sentences for the run's owner."""
    cause = root_cause(error)
    told = tuple(complaint.sentence for complaint in complaints(error, directory))
    return Result(fault_of(cause), told, error=_jsonable(error_json(error)))


def root_cause(error: BaseException) -> BaseException:
    while isinstance(error, RunFailed) and error.__cause__:
        error = error.__cause__
    return error


def fault_of(cause: BaseException) -> Fault:
    if _is_out_of_memory(cause) or _is_too_long(cause):
        return Fault.WORKFLOW
    match cause:
        case Terminated():
            return Fault.TERMINATED
        case TaskLost() | Interrupted():
            return Fault.SYSTEM
        case WDL.Error.RuntimeError() | WDL.Error.SyntaxError() | WDL.Error.ImportError():
            return Fault.WORKFLOW
        case WDL.Error.ValidationError() | WDL.Error.MultipleValidationErrors() | RecursionError() | TooMuch():
            return Fault.WORKFLOW
        case _:
            return Fault.SYSTEM


def complaints(error: BaseException, directory: Path) -> list[Complaint]:
    """Why the run ended, the most important first. What lies in the run's directory is named as seen from there."""
    return [replace(each, message=_inside(each.message, directory)) for each in _complaints(error, directory)]


def _complaints(error: BaseException, directory: Path) -> list[Complaint]:
    cause = root_cause(error)
    if _is_out_of_memory(cause):
        told = "the workflow computes more than fits into the memory of its head; see engines.miniwdl.head_memory_gb"
        return [Complaint(told)]
    match cause:
        case WDL.Error.MultipleValidationErrors():
            return [located(each, directory) for each in cause.exceptions]
        case Unfit():
            return [Complaint(_cut(fault)) for fault in cause.faults]
        case WDL.Error.ImportError() if (last := _last_import(cause)).__cause__ is None:
            return [located(last, directory)]
        case WDL.Error.ImportError() if cause.__cause__:
            return [located(cause, directory), *_complaints(cause.__cause__, directory)]
        case Terminated() | CommandFailed() | DownloadFailed():
            return [Complaint(sentence) for sentence in _sentences(cause)]
        case WDL.Error.RuntimeError() | WDL.Error.SyntaxError() | WDL.Error.ValidationError():
            return [located(cause, directory)]
        case _:
            return [Complaint(sentence) for sentence in _sentences(cause)]


def _sentences(cause: BaseException) -> list[str]:
    match cause:
        case Terminated():
            return ["the run was told to stop before it ended"]
        case CommandFailed():
            return _command_sentences(cause)
        case DownloadFailed() if cause.__cause__:
            return [f"input {cause.__cause__}"]
        case OSError() if _is_too_long(cause):
            name = _name(cause)
            return [f"a file's name is too long, it may have {NAME_BYTES} bytes; it begins with {name[:50]}"]
        case FetchFailed() | OSError() | TooMuch() | DownloadFailed():
            return [str(cause)]
        case RecursionError():
            return ["an expression of the workflow is nested too deeply to be computed"]
        case _:
            what = f"{type(cause).__name__}: {cause}"
            return [f"miniwdl failed unexpectedly; the run's stderr has the details: {what}"]


def located(error: BaseException, directory: Path) -> Complaint:
    """What an error says and where."""
    message = _cut(str(error) or type(error).__name__)
    position = getattr(error, "pos", None)
    if position is None:
        return Complaint(message)
    source = str(position.abspath)
    for folder in ("attachments", f"source/{arrive.WORKFLOW}"):
        source = source.removeprefix(f"{directory / folder}/")
    return Complaint(message, source, position.line, position.column)


def _last_import(error: BaseException) -> BaseException:
    while isinstance(error.__cause__, WDL.Error.ImportError):
        error = error.__cause__
    return error


def _inside(message: str, directory: Path) -> str:
    for name in dict.fromkeys((os.path.realpath(directory), str(directory.absolute()))):
        message = message.replace(f"{name}/", "").replace(name, ".")
    return message


def _cut(message: str) -> str:
    message = message.replace(ADVICE, "").replace(DEEP, CIRCLE)
    return message if len(message) <= LONGEST else f"{message[:LONGEST]}…"


def _is_out_of_memory(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, MemoryError) or _is_out_of_memory(error.__cause__))


def _is_too_long(error: BaseException) -> bool:
    # The site gives short names to what is its own.
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def _name(error: OSError) -> str:
    named = error.filename2 or error.filename
    return os.fsdecode(named).rpartition("/")[2] if isinstance(named, str | bytes) else ""


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
