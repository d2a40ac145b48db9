"""What is wanted: the documents that backends are given, frozen, without a framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Kind(StrEnum):
    """The three kinds of row that the loop serves."""

    RUN = "run"
    TASK = "task"
    INSTANCE = "instance"


class Lane(StrEnum):
    """Which slots of an executor a task waits for. Heads have their own: sharing, they would hold the slots
    that the tasks they wait for need."""

    TASK = "task"
    HEAD = "head"


class FileType(StrEnum):
    """TES 1.1 `tesFileType`."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"


@dataclass(frozen=True, slots=True)
class Fetching:
    """What the operator lets be fetched. `allow_private`: also from hosts that are not public. `timeout_s`: seconds for
    one input of a run, and for all those of a task together. `max_bytes`: of one input. `tree_bytes` and
    `tree_timeout_s` are for all files of a workflow together. `allowed`: the workflows that may be run, if not all."""

    allow_private: bool = False
    timeout_s: float = 3600.0
    max_bytes: int = 1_000_000_000_000
    tree_bytes: int = 1_000_000_000
    tree_timeout_s: float = 300.0
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """Where objects are: every URL that begins with `url` is reached with these options of obstore."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)


class MissingOutputs(StrEnum):
    """What an output that is not there means, when all steps went well."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a task is run, decided when it is created from what the site allows, what its submitter is used to, and its
    own `backend_parameters`.

    `timeout_s`: seconds for all steps together; None is unbounded. `image_entrypoint`: the entry point of the image
    runs, with the command as its arguments. `gpus`: how many devices the steps get.
    """

    missing_outputs: MissingOutputs = MissingOutputs.FAIL
    timeout_s: float | None = None
    image_entrypoint: bool = True
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A file or directory at `path` in the container before the first step: from `content` if given, else `url`."""

    path: str
    url: str = ""
    content: str | None = None
    type: FileType = FileType.FILE


@dataclass(frozen=True, slots=True)
class Output:
    """What is at `path` (may hold POSIX wildcards) after the last step goes to `url`."""

    path: str
    url: str
    type: FileType = FileType.FILE
    path_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a task: what TES calls an executor. `command` is an argument list, never a shell line."""

    image: str
    command: tuple[str, ...]
    workdir: str = ""
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    ignore_error: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task asks for; None or zero leaves it to the executor. Sizes are in GB (10^9 bytes)."""

    cpu_cores: float | None = None
    ram_gb: float | None = None
    disk_gb: float | None = None
    preemptible: bool = False
    zones: tuple[str, ...] = ()
    backend_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task as an executor gets it.

    `owner` is the name of the owner's directory. `roots` are the host directories that `file://` URLs may name,
    besides the owner's own; the worker resolves links before it compares. `run` is the run (32 hex) whose head made
    the task, empty for tasks of anybody else: such a task alone may write into that run's directory. `live` are the
    host directories whose `file://` directories are mounted for writing where they are.
    """

    owner: str
    steps: tuple[Step, ...]
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    volumes: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    lane: Lane = Lane.TASK
    roots: tuple[str, ...] = ()
    run: str = ""
    policy: Policy = field(default_factory=Policy)
    live: tuple[str, ...] = ()


class DeleteAfter(StrEnum):
    """After which ends of a run its intermediate files are removed."""

    NEVER = "never"
    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What a run asks of this service, whatever its engine. `inputs_url`: where its inputs come from, under those that
    it carries; `output_to`: the URL below which its outputs are put; `resume`: the run whose finished work it may use
    (32 hex)."""

    inputs_url: str = ""
    output_to: str = ""
    delete_after: DeleteAfter = DeleteAfter.NEVER
    resume: str = ""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as an engine gets it. `directory` is the run's own, absolute; `workflow_url` is as `sources` reads it: a
    path inside `directory`/attachments, or a URL."""

    id: UUID
    owner: str
    directory: str
    workflow_url: str
    params: Mapping[str, Any]
    engine_parameters: Mapping[str, str] = field(default_factory=dict)
    terms: RunTerms = field(default_factory=RunTerms)


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """Something of an owner's own that a provisioner makes."""

    owner: str
    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def attempt_key(row_id: UUID, attempt: int) -> str:
    """The name under which one attempt's submit is idempotent: `wg-<32 hex>-<n>`, never reused.

    Lower case, digits and dashes, at most 64 characters: the intersection of what podman, Slurm, AWS Batch (128),
    ECS (64) and Azure Batch (64, case-insensitive) accept as a name.
    """
    return f"wg-{row_id.hex}-{attempt}"
