"""TES 1.1 as it comes in: what a task document may hold, and how it becomes what executors get.

Spec: https://github.com/ga4gh/task-execution-schemas (1.1.0). A document is kept as it was sent, without unset and
null fields and with every `type` filled in: strict clients refuse keys they did not send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wesgate.core import codec
from wesgate.core.errors import InvalidRequest
from wesgate.core.paths import unmountable
from wesgate.core.spec import Input, Lane, Output, Policy, Resources, Step, TaskSpec
from wesgate.ga4gh import dialects, parameters, strict
from wesgate.ga4gh.dialects import Asking
from wesgate.ga4gh.parameters import Site, Terms

CONTENT_LIMIT = 1 << 20
"""The longest inline `content` in bytes; TES asks for at least 128 KiB."""

Name = Annotated[str, Field(max_length=4096)]
ContainerPath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]


def _can_be_mounted(path: str) -> str:
    if reason := unmountable(path):
        raise ValueError(reason)
    return path


MountedPath = Annotated[ContainerPath, AfterValidator(_can_be_mounted)]
Short = Annotated[str, Field(max_length=65536)]
# A whole number stays one: py-tes refuses `cpu_cores: 2.0`.
Amount = Annotated[int | float, Field(ge=0, le=1_000_000)]
TAGS_LIMIT = 64 << 10
"""The longest tags of a task or a run in characters, keys and values together: lists show them, 1000 rows a page."""


def _bounded(tags: dict[str, str]) -> dict[str, str]:
    if sum(map(len, tags)) + sum(map(len, tags.values())) > TAGS_LIMIT:
        raise ValueError(f"tags are longer than {TAGS_LIMIT} characters together")
    return tags


Tags = Annotated[dict[str, str], Field(max_length=1000), AfterValidator(_bounded)]
ANYBODY, PLAIN_SITE = Asking(), Site()
_VARIABLE = re.compile(r"[^=\x00]+")
_WILDCARDS = re.compile(r"[*?\[]")


class _Wire(BaseModel):
    # Unknown members are dropped, not refused: newer clients send more than 1.1.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class TesInput(_Wire):
    """`tesInput`."""

    name: Name | None = None
    description: Name | None = None
    url: Name | None = None
    path: MountedPath
    type: Literal["FILE", "DIRECTORY"] = "FILE"
    content: str | None = None
    streamable: bool | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> TesInput:
        if self.content is None and not self.url:
            raise ValueError("an input needs a url or content")
        if self.content and len(self.content.encode()) > CONTENT_LIMIT:
            raise ValueError(f"content is longer than {CONTENT_LIMIT} bytes; give it by url")
        return self


class TesOutput(_Wire):
    """`tesOutput`."""

    name: Name | None = None
    description: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=4096)]
    path: MountedPath
    path_prefix: ContainerPath | None = None
    type: Literal["FILE", "DIRECTORY"] = "FILE"

    @model_validator(mode="after")
    def _wildcards_have_a_prefix(self) -> TesOutput:
        if not _WILDCARDS.search(self.path):
            return self
        if not self.path_prefix:
            raise ValueError("a path with wildcards needs path_prefix")
        if not self.path.startswith(self.path_prefix):
            raise ValueError("path does not begin with path_prefix")
        return self


class TesExecutor(_Wire):
    """`tesExecutor`: one step."""

    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\s-][^\s]*$")]
    command: Annotated[list[Short], Field(min_length=1, max_length=10_000)]
    workdir: ContainerPath | None = None
    stdin: ContainerPath | None = None
    stdout: MountedPath | None = None
    stderr: MountedPath | None = None
    env: dict[str, Short] | None = None
    ignore_error: bool | None = None

    @model_validator(mode="after")
    def _variables_have_names(self) -> TesExecutor:
        if any(not _VARIABLE.fullmatch(name) for name in self.env or ()):
            raise ValueError("a variable of env has no name, or one with '='")
        return self


class TesResources(_Wire):
    """`tesResources`; fractional cores as in TES 1.2. Zero asks for nothing in particular."""

    cpu_cores: Amount | None = None
    preemptible: bool | None = None
    ram_gb: Amount | None = None
    disk_gb: Amount | None = None
    zones: list[Name] | None = None
    backend_parameters: dict[str, Short] | None = None
    backend_parameters_strict: bool | None = None


class TesTask(_Wire):
    """What a client may set of `tesTask`; `id`, `state`, `logs` and `creation_time` are ours and are not read."""

    name: Name | None = None
    description: Name | None = None
    inputs: Annotated[list[TesInput], Field(max_length=100_000)] | None = None
    outputs: Annotated[list[TesOutput], Field(max_length=100_000)] | None = None
    resources: TesResources | None = None
    executors: Annotated[list[TesExecutor], Field(min_length=1, max_length=1000)]
    volumes: Annotated[list[MountedPath], Field(max_length=1000)] | None = None
    tags: Tags | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A client's task, checked: the document to keep and to return, whose it looks like, and the terms it runs on.
    `warnings` are told in its system logs."""

    document: dict[str, Any]
    terms: Terms
    submitter: str = ""
    warnings: tuple[str, ...] = ()


def read_task(sent: Any, site: Site = PLAIN_SITE, asking: Asking = ANYBODY) -> Accepted:
    """A client's task, or InvalidRequest."""
    if not isinstance(sent, dict):
        raise InvalidRequest("a task is a JSON object")
    try:
        task = TesTask.model_validate(strict.without_nulls(sent))
    except ValidationError as error:
        raise strict.refused(error) from None
    document = task.model_dump(exclude_unset=True)
    for file in (*document.get("inputs", ()), *document.get("outputs", ())):
        file.setdefault("type", "FILE")
    dialect = dialects.of_document(document, asking)
    resources = document.get("resources", {})
    asked = resources.pop("backend_parameters", {})
    agreed = parameters.agree(asked, resources.get("backend_parameters_strict", False), site, dialect)
    if agreed.kept:
        resources["backend_parameters"] = dict(agreed.kept)
    return Accepted(document, agreed.terms, dialect.name, agreed.warnings)


def task_spec(
    document: Mapping[str, Any],
    policy: Mapping[str, Any],
    owner: str,
    lane: Lane,
    roots: Sequence[str],
    live: Sequence[str],
    run_id: UUID | None,
) -> TaskSpec:
    """A kept document, and the policy that was kept with it, as executors get it."""
    resources = document.get("resources", {})
    return TaskSpec(
        owner=owner,
        steps=tuple(codec.load(Step, step) for step in document["executors"]),
        inputs=tuple(codec.load(Input, file) for file in document.get("inputs", ())),
        outputs=tuple(codec.load(Output, file) for file in document.get("outputs", ())),
        volumes=tuple(document.get("volumes", ())),
        resources=codec.load(Resources, resources),
        lane=lane,
        roots=tuple(roots),
        run=run_id.hex if run_id else "",
        policy=codec.load(Policy, policy),
        live=tuple(live),
    )


def document_of(spec: TaskSpec, name: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """A task of our own making (a head) as a document like any client's."""
    told = codec.dump(spec)
    return {
        "name": name,
        "executors": [strict.known(step) for step in told["steps"]],
        "inputs": [strict.known(file) for file in told["inputs"]],
        "outputs": [strict.known(file) for file in told["outputs"]],
        "resources": strict.known(told["resources"]),
        "tags": dict(tags),
    }
