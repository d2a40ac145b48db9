"""Where a run's outputs are published: the place that it asked for, and what the worker of its head is told of it."""

from __future__ import annotations

from wesgate.core.paths import OUTPUTS
from wesgate.core.spec import FileType, Output, RunSpec
from wesgate.storage.target import redacted
from wesgate.worker.files.deliver import below


def destination(spec: RunSpec) -> str:
    """The URL of the directory that a run's outputs go to, empty for none: the place that it asked for as it is, or
    below that, by the run's id, if it ends with a slash."""
    to = spec.terms.output_to
    return below(to, str(spec.id)) if to.partition("?")[0].endswith("/") else to


def published(spec: RunSpec) -> tuple[Output, ...]:
    """What the worker puts there once the head has ended: found by name, since a directory that is wanted on this
    machine would be filled in place."""
    to, folder = destination(spec), f"{spec.directory}/{OUTPUTS}"
    return (Output(f"{folder}/*", to, FileType.DIRECTORY, path_prefix=folder),) if to else ()


def shown(place: str) -> str:
    """A place as it may be told: without the secret of its signature."""
    return place if place.startswith("/") or not place else redacted(place)
