"""What each submitter sends and what must come of it, as its sources have it: one line each, one document each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wesgate.core.spec import MissingOutputs
from wesgate.core.states import State

DOCUMENTS = Path(__file__).parent / "documents"
GA4GH, LEGACY = "/ga4gh/tes/v1", "/v1"
REQUESTS, AKKA = "python-requests/2.34.2", "akka-http/10.2.9"

ENDED = {"PREEMPTED": "SYSTEM_ERROR", "CANCELING": "RUNNING"}
OLD = ENDED | {"PAUSED": "RUNNING"}


@dataclass(frozen=True)
class Submitter:
    """One submitter: the dialect that it must be taken for, how it asks, and what it must get. `shown` are the states
    that are not shown as they are, `unsent` what of its document is not kept."""

    dialect: str
    base: str
    agent: str
    shown: Mapping[str, str] = field(default_factory=dict)
    missing: MissingOutputs = MissingOutputs.FAIL
    entrypoint: bool = False
    largest: int | None = None
    cancel: tuple[bytes, str | None] = (b"", None)
    authorization: str | None = None
    poll: str = "/tasks/{id}?view=MINIMAL"
    unsent: tuple[str, ...] = ()


# What py-tes 0.4 sends for whoever has no credentials: `None:None`.
NONE_NONE = "Basic Tm9uZTpOb25l"

SUBMITTERS = {
    "cromwell": Submitter(
        "cromwell", LEGACY, AKKA, ENDED, MissingOutputs.SKIP, largest=(1 << 31) - 1,
        cancel=(b"", "text/plain; charset=UTF-8"), unsent=("backend_parameters",),
    ),
    "nextflow": Submitter(
        "nextflow", LEGACY, "okhttp/4.12.0", ENDED, MissingOutputs.SKIP, poll="/tasks/{id}",
        cancel=(b"", "application/json; charset=utf-8"),
    ),
    "snakemake": Submitter(
        "snakemake", LEGACY, REQUESTS, OLD, cancel=(b"", "application/json"), authorization=NONE_NONE,
    ),
    "toil": Submitter("toil", LEGACY, REQUESTS, OLD, cancel=(b"", "application/json"), authorization=NONE_NONE),
    "cwl-tes": Submitter("cwl-tes", LEGACY, REQUESTS, OLD, cancel=(b"", "application/json"), authorization=NONE_NONE),
    "sprocket": Submitter(
        "sprocket", GA4GH, "crankshaft/0.10.0", cancel=(b"null", "application/json"),
        poll="/tasks?tag_key=crankshaft-task-group&tag_value=Zq3bX9&page_size=2047&view=MINIMAL",
    ),
    "pulsar": Submitter(
        "pulsar", LEGACY, REQUESTS, OLD | {"QUEUED": "INITIALIZING"}, cancel=(b"", "application/json"),
        poll="/tasks/{id}?view=FULL",
    ),
}  # fmt: skip
"""By the name of the document."""

WITHOUT_A_DOCUMENT = {"py-tes-0.4": "a library, not a submitter: known by how it asks, whatever the task is"}

STATES = tuple(state.value for state in State if state is not State.UNKNOWN)
"""Those that a row may have."""


def document(name: str, *, root: str, image: str = "docker.io/library/debian:bookworm-slim", store: str = "") -> Any:
    """What this submitter sends: nulls and all. `store` is where sprocket has its files."""
    text = (DOCUMENTS / f"{name}.json").read_text()
    for word, value in {"root": root, "image": image, "store": store or "s3://bucket"}.items():
        text = text.replace(f"{{{word}}}", value)
    return json.loads(text)


def kept(sent: Any, unsent: tuple[str, ...] = ()) -> Any:
    """The same as it must come back: without nulls and those members, and with every `type`."""
    match sent:
        case dict():
            made = {key: kept(item, unsent) for key, item in sent.items() if item is not None and key not in unsent}
            return {**made, "type": made.get("type", "FILE")} if "path" in made else made
        case list():
            return [kept(item, unsent) for item in sent]
        case _:
            return sent
