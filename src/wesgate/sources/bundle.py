"""Which file of a bundle or repository is the workflow, and which are its inputs: the rules of Amazon Genomics CLI.

https://aws.github.io/amazon-genomics-cli/docs/workflows/#multi-file-workflows
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from wesgate.core.errors import InvalidRequest
from wesgate.sources.attachments import check_name

MANIFEST = "MANIFEST.json"
MANIFEST_BYTES = 1 << 20
INPUTS = "inputs*.json"

Read = Callable[[str], bytes]
"""The content of a file by its name, or of a large one its beginning."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Paths below the tree. Later inputs win over earlier ones."""

    main: str
    inputs: tuple[str, ...] = ()


def find(tree: Path, folder: str = "", *, zipped: bool) -> Contents:
    """The workflow of a tree, or of one folder in it; InvalidRequest if it cannot be told. Input files that no manifest
    names are looked for in zip bundles alone: those of a repository are examples, as a rule."""
    if folder and not (tree / folder).is_dir():
        raise InvalidRequest(f"the repository has no folder {folder}")
    names, read = _names(tree, folder), partial(_beginning, tree)
    if zipped:
        return of_bundle(names, read, _is_wdl, "the bundle")
    choice = ", and '#' with the path of one of them"
    return _of_manifest(names, folder, read) or Contents(_main(names, folder, _is_wdl, "the repository", choice))


def of_bundle(names: Sequence[str], read: Read, is_workflow: Callable[[str], bool], what: str) -> Contents:
    """The workflow of a bundle with these files, `what` in sentences; InvalidRequest if it cannot be told."""
    kept = [name for name in sorted(names) if not _is_litter(name)]
    top = _only_folder(kept)
    if found := _of_manifest(kept, top, read):
        return found
    main = kept[0] if len(kept) == 1 else _main(kept, top, is_workflow, what)
    beside = main.rpartition("/")[0]
    inputs = (name for name in kept if name.rpartition("/")[0] == beside and fnmatchcase(_last(name), INPUTS))
    return Contents(main, tuple(inputs))


def _names(tree: Path, folder: str) -> list[str]:
    names = []
    for where, _, files in os.walk(tree / folder):
        names += [Path(where, name).relative_to(tree).as_posix() for name in files]
    return sorted(name for name in names if not _is_litter(name))


def _beginning(tree: Path, name: str) -> bytes:
    with (tree / name).open("rb") as file:
        return file.read(MANIFEST_BYTES + 1)


def _is_wdl(name: str) -> bool:
    return name.lower().endswith(".wdl")


def _is_litter(name: str) -> bool:
    # What macOS puts into each archive it makes.
    return name.startswith("__MACOSX/") or _last(name) == ".DS_Store"


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _only_folder(names: Sequence[str]) -> str:
    """The one folder that holds all files, as in the archives that forges make of repositories; empty if there is
    none."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""


def _main(names: Sequence[str], top: str, is_workflow: Callable[[str], bool], what: str, choice: str = "") -> str:
    found = [name for name in names if is_workflow(name)]
    mains = [name for name in found if PurePosixPath(name) == PurePosixPath(top, f"main{PurePosixPath(name).suffix}")]
    found = mains or found
    if len(found) != 1:
        some = f"{len(found)} workflows" if found else "no workflow"
        raise InvalidRequest(
            f"{what} holds {some}, and neither a {MANIFEST} nor a main.* at its top says which is meant: "
            f"add one of these{choice}"
        )
    return found[0]


def _of_manifest(names: Sequence[str], top: str, read: Read) -> Contents | None:
    if top + MANIFEST not in names:
        return None
    manifest = _parse(read(top + MANIFEST))
    inputs = manifest.get("inputFileURLs") or []
    if not isinstance(inputs, list):
        raise InvalidRequest(f"inputFileURLs of {MANIFEST} is no list")
    main = _named(names, top, manifest.get("mainWorkflowURL"), "mainWorkflowURL")
    return Contents(main, tuple(_named(names, top, given, "inputFileURLs") for given in inputs))


def _parse(content: bytes) -> dict[str, Any]:
    try:
        if len(content) > MANIFEST_BYTES:
            raise ValueError
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{MANIFEST} is no JSON object of a reasonable size") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"{MANIFEST} is no JSON object")
    return found


def _named(names: Sequence[str], top: str, given: object, what: str) -> str:
    if not isinstance(given, str) or not given:
        raise InvalidRequest(f"{what} of {MANIFEST} names no file")
    name = top + "/".join(check_name(given, f"{what} of {MANIFEST}"))
    if name not in names:
        raise InvalidRequest(f"{what} of {MANIFEST} names a file that is not there: {name}")
    return name
