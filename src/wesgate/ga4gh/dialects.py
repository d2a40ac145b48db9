"""What each submitter of tasks can bear: one table of who they are, and how answers are folded for them.

Read in the sources of the submitters and in runs of them; docs/reference/submitters.md is the same table for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wesgate.core.spec import MissingOutputs
from wesgate.core.states import State

TAG = "wesgate-submitter"
"""A tag with which a task names its submitter, whatever it looks like."""

Document = Mapping[str, Any]

LARGEST_INT = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """One submitter. `sent` recognizes its task documents (as sent, without nulls), `agent` its User-Agent, and
    `legacy_base` that it asks at `/v1`; `states` are the words it cannot bear and those it gets instead;
    `largest_size` is the most that it can read as `size_bytes`."""

    name: str
    sent: Callable[[Document], bool] = lambda _: False
    agent: re.Pattern[str] | None = None
    legacy_base: bool = False
    states: Mapping[State, State] = field(default_factory=dict)
    largest_size: int | None = None
    missing_outputs: MissingOutputs = MissingOutputs.FAIL
    image_entrypoint: bool = True


# Words of TES 1.1 that a client of 1.0 takes for "still running", for ever, or fails to read.
_ENDED_AT_LAST = {State.PREEMPTED: State.SYSTEM_ERROR, State.CANCELING: State.RUNNING}
_OF_1_0 = _ENDED_AT_LAST | {State.PAUSED: State.RUNNING}
# Pulsar takes every state that its table lacks for a failure, and QUEUED is not in it (pulsar/client/tes.py).
_OF_PULSAR = _OF_1_0 | {State.QUEUED: State.INITIALIZING}


def _first(document: Document) -> Document:
    steps = document.get("executors")
    first = steps[0] if isinstance(steps, list) and steps else {}
    return first if isinstance(first, dict) else {}


def _command(document: Document) -> list[str]:
    command = _first(document).get("command")
    return [word for word in command if isinstance(word, str)] if isinstance(command, list) else []


def _tags(document: Document) -> Document:
    tags = document.get("tags")
    return tags if isinstance(tags, dict) else {}


def _is_cromwell(document: Document) -> bool:
    return "BackendJobDescriptorKey_" in str(document.get("description", ""))


def _is_nextflow(document: Document) -> bool:
    return any("/.command.run" in word for word in _command(document)[:5])


def _is_snakemake(document: Document) -> bool:
    return str(document.get("name", "")).startswith("snakejob.")


def _is_toil(document: Document) -> bool:
    return _command(document)[:1] == ["_toil_contained_executor"]


def _is_cwl_tes(document: Document) -> bool:
    return "CWLDocumentId" in _tags(document) or _gives_all_of_its_home(document)


def _gives_all_of_its_home(document: Document) -> bool:
    # CWL has HOME be where the step runs, and cwl-tes takes that directory as an output. Its tag is null for a document
    # without an id: https://www.commonwl.org/v1.2/CommandLineTool.html#Runtime_environment
    step, outputs = _first(document), document.get("outputs")
    home, env = step.get("workdir"), step.get("env")
    if not home or not isinstance(outputs, list) or not isinstance(env, dict) or env.get("HOME") != home:
        return False
    return any(
        isinstance(file, dict) and file.get("type") == "DIRECTORY" and file.get("path") == home for file in outputs
    )


def _is_sprocket(document: Document) -> bool:
    return "crankshaft-task-group" in _tags(document)


def _is_pulsar(document: Document) -> bool:
    volumes = document.get("volumes")
    return isinstance(volumes, list) and "/pulsar_staging/" in volumes


UNKNOWN = Dialect("")
"""Whoever is none of them is believed to know TES 1.1."""

# Engines send whole commands: an entry point would get them as arguments. Those that declare outputs which their tasks
# need not make would lose good tasks to a strict reading.
DIALECTS = (
    Dialect("cromwell", _is_cromwell, states=_ENDED_AT_LAST, largest_size=LARGEST_INT,
            missing_outputs=MissingOutputs.SKIP, image_entrypoint=False),
    Dialect("nextflow", _is_nextflow, states=_ENDED_AT_LAST,
            missing_outputs=MissingOutputs.SKIP, image_entrypoint=False),
    Dialect("snakemake", _is_snakemake, states=_OF_1_0, image_entrypoint=False),
    Dialect("toil", _is_toil, states=_OF_1_0, image_entrypoint=False),
    Dialect("cwl-tes", _is_cwl_tes, states=_OF_1_0, image_entrypoint=False),
    Dialect("sprocket", _is_sprocket, re.compile(r"crankshaft|sprocket", re.IGNORECASE), image_entrypoint=False),
    Dialect("pulsar", _is_pulsar, states=_OF_PULSAR, image_entrypoint=False),
    Dialect("py-tes-0.4", agent=re.compile(r"python-requests/"), legacy_base=True, states=_OF_1_0),
)  # fmt: skip

BY_NAME = {dialect.name: dialect for dialect in (UNKNOWN, *DIALECTS)}


@dataclass(frozen=True, slots=True)
class Asking:
    """How a request was made: its User-Agent, whether it came to `/v1`, and the one dialect of the site's setting."""

    agent: str = ""
    legacy_base: bool = False
    set_to: str = ""


def of_document(document: Document, asking: Asking) -> Dialect:
    """Whose document this is, to be kept with the task."""
    named = str(_tags(document).get(TAG, ""))
    if dialect := BY_NAME.get(asking.set_to or named or "-"):
        return dialect
    return next((dialect for dialect in DIALECTS if dialect.sent(document)), _asking(asking))


def of_answer(submitter: str, asking: Asking) -> Dialect:
    """For whom a task's answer is: its submitter, else whoever asks looks like one."""
    if asking.set_to or submitter:
        return BY_NAME.get(asking.set_to or submitter, UNKNOWN)
    return _asking(asking)


def shown(state: str, submitter: str, asking: Asking) -> str:
    """A state as the asker can bear it."""
    if not asking.set_to and not may_be_folded(state, submitter):
        return state
    return of_answer(submitter, asking).states.get(State(state), state)


def _asking(asking: Asking) -> Dialect:
    for dialect in DIALECTS:
        if dialect.agent and dialect.agent.search(asking.agent) and (asking.legacy_base or not dialect.legacy_base):
            return dialect
    return UNKNOWN


# Tasks of nobody in the table are folded by how they are asked for, if a dialect goes by that.
_FOLDED: frozenset[tuple[str, str]] = frozenset(
    (state, name) for one in DIALECTS for state in one.states for name in (one.name, *([""] if one.agent else []))
)


def may_be_folded(state: str, submitter: str) -> bool:
    """Whether anybody is shown another state than this of a submitter's task; no, for nearly every poll."""
    return (state, submitter) in _FOLDED
