"""What a run's inputs are bound to: files that others named, each found, allowed and absolute before use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import WDL

from wesgate.core.paths import is_url
from wesgate.core.spec import Store
from wesgate.core.stores import store_for
from wesgate.worker.files.places import READABLE, is_kept

_WEB = ("http://", "https://")

Exe: TypeAlias = WDL.Tree.Task | WDL.Tree.Workflow
Bindings: TypeAlias = WDL.Env.Bindings[WDL.Value.Base]
Declared: TypeAlias = WDL.Env.Bindings[WDL.Tree.Decl]

MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Places:
    """The directory of the run's attachments, the roots below which input files may lie, what else came along with the
    run (a bundle, a repository), its owner's directory, where the service keeps records, too, and the stores of
    objects."""

    attachments: Path
    roots: tuple[Path, ...]
    trees: tuple[Path, ...] = ()
    own: str = ""
    stores: tuple[Store, ...] = ()

    def covering(self, path: Path) -> Path | None:
        """The root that this path lies below once all links are followed."""
        real = path.resolve()
        return next((root for root in self.roots if real.is_relative_to(root.resolve())), None)

    def is_record(self, path: Path) -> bool:
        """Whether this is, or holds, what only the service may read: heads do, and would tell it to the workflow."""
        return bool(self.own) and is_kept(str(path.resolve()), os.path.realpath(self.own), READABLE)


def choose(document: WDL.Tree.Document, task: str | None) -> Exe:
    """What to run: the named task, else the workflow, else the only task."""
    if task is not None:
        named = next((each for each in document.tasks if each.name == task), None)
        if named is None:
            raise WDL.Error.InputError(f"the document has no task named {task}")
        return named
    if document.workflow:
        return document.workflow
    if len(document.tasks) == 1:
        return document.tasks[0]
    raise WDL.Error.InputError(
        "the document has no workflow; set the engine parameter 'task' to one of its tasks: "
        + (", ".join(each.name for each in document.tasks) or "it has none")
    )


class Unfit(WDL.Error.InputError):
    """What is wrong with a run's inputs, one sentence for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def bind_inputs(params: Mapping[str, Any], exe: Exe, places: Places) -> Bindings:
    """The run's inputs as WDL values, with every file and directory found, allowed and absolute; `Unfit` if that cannot
    be."""
    try:
        return _bound(params, exe, places, exe.required_inputs)
    except WDL.Error.InputError as error:
        raise Unfit(_faults(params, exe, places) or [str(error)]) from error


def _bound(params: Mapping[str, Any], exe: Exe, places: Places, required: Declared | None) -> Bindings:
    try:
        values = WDL.values_from_json(dict(params), exe.available_inputs, required, namespace=exe.name)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise WDL.Error.InputError(f"workflow_params do not fit the inputs of {exe.name}: {error}") from error
    return WDL.Value.rewrite_env_paths(values, lambda value: place_input(value, places))


def _faults(params: Mapping[str, Any], exe: Exe, places: Places) -> list[str]:
    """The fault of each input by itself, and which are missing."""
    given, found = {name.removeprefix(f"{exe.name}.") for name in params}, list[str]()
    for name, value in params.items():
        try:
            given |= {binding.name for binding in _bound({name: value}, exe, places, None)}
        except WDL.Error.InputError as error:
            found.append(str(error))
            if len(found) == MOST_FAULTS:
                return [*found, "and maybe more: these are the first"]
    missing = [f"{exe.name}.{binding.name}" for binding in exe.required_inputs if binding.name not in given]
    return [*found, *([f"missing required inputs: {', '.join(missing)}"] if missing else [])]


def place_input(value: WDL.Value.File | WDL.Value.Directory, places: Places) -> str:
    """The absolute path (or the URL) of one input; raises `InputError` with the reason why it may not be used."""
    directory = isinstance(value, WDL.Value.Directory)
    given = str(value.value)
    if store_for(given, places.stores) or (given.startswith(_WEB) and not directory):
        return given
    path = _local_path(given, places)
    root = places.covering(path)
    if root is None:
        raise WDL.Error.InputError(f"input {given} is not below a directory that runs may read: {_named(places.roots)}")
    if places.is_record(path):
        raise WDL.Error.InputError(f"input {given} is, or holds, a record of the service: name another file")
    # Those of `Path` raise for a name that is too long.
    if not (os.path.isdir(path) if directory else os.path.isfile(path)):  # noqa: PTH112, PTH113
        raise WDL.Error.InputError(f"input {'directory' if directory else 'file'} not found: {given}")
    if directory:
        _refuse_links_out(path, root)
    return str(path)


def _local_path(given: str, places: Places) -> Path:
    if "\0" in given:
        raise WDL.Error.InputError("an input path holds a zero byte")
    if given.startswith("file://"):
        given = unquote(urlsplit(given).path)
    elif is_url(given) and "://" in given:
        raise WDL.Error.InputError(
            f"input {given} cannot be fetched: give an http or https URL of a file, one of a store of this site, or a "
            "path of a file or directory"
        )
    # A relative path means what came along. `..` is not collapsed by pathlib: links are followed first.
    paths = [folder / given for folder in (places.attachments, *places.trees)]
    return next((path for path in paths if os.path.lexists(path)), paths[0])


def _refuse_links_out(path: Path, root: Path) -> None:
    from WDL.CLI import validate_input_path  # slow, and directories are rare

    validate_input_path(str(path), True, None, str(root))  # type: ignore[no-untyped-call]  # miniwdl's


def _named(roots: Sequence[Path]) -> str:
    return ", ".join(str(root) for root in roots) or "none is configured"
