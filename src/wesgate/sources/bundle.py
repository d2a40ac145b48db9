"""Which file of a bundle or repository is the workflow, and which are its inputs: the rules of Amazon Genomics CLI.

https://aws.github.io/amazon-genomics-cli/docs/workflows/#multi-file-workflows
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from wesgate.core.errors import InvalidRequest
from wesgate.sources.attachments import check_name

MANIFEST = "MANIFEST.json"
MANIFEST_BYTES = 1 << 20
MAIN = "main.wdl"
INPUTS = "inputs*.json"


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
    names = _names(tree, folder)
    top = _only_folder(names) if zipped else folder
    here = [name for name in names if name.startswith(top) and "/" not in name[len(top) :]]
    if top + MANIFEST in here:
        return _of_manifest(tree, top, _read_manifest(tree / top / MANIFEST))
    main = names[0] if zipped and len(names) == 1 else _main(names, here, top, "bundle" if zipped else "repository")
    beside = main.rpartition("/")[0]
    inputs = (name for name in names if name.rpartition("/")[0] == beside and fnmatchcase(Path(name).name, INPUTS))
    return Contents(main, tuple(inputs) if zipped else ())


def _names(tree: Path, folder: str) -> list[str]:
    names = []
    for where, _, files in os.walk(tree / folder):
        names += [Path(where, name).relative_to(tree).as_posix() for name in files if name != ".DS_Store"]
    # What macOS puts into each archive it makes.
    return sorted(name for name in names if not name.startswith("__MACOSX/"))


def _only_folder(names: Sequence[str]) -> str:
    """The one folder that holds all files, as in the archives that forges make of repositories; empty if there is
    none."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""


def _main(names: Sequence[str], here: Sequence[str], top: str, what: str) -> str:
    if top + MAIN in here:
        return top + MAIN
    documents = [name for name in names if name.lower().endswith(".wdl")]
    if len(documents) != 1:
        choice = "" if what == "bundle" else ", and '#' with the path of one of them"
        raise InvalidRequest(
            f"the {what} holds {len(documents) or 'no'} WDL documents, and neither {MANIFEST} nor {MAIN} at its top "
            f"says which is the workflow: add one of these{choice}"
        )
    return documents[0]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MANIFEST_BYTES:
            raise ValueError
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{MANIFEST} is no JSON object of a reasonable size") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"{MANIFEST} is no JSON object")
    return found


def _of_manifest(tree: Path, top: str, manifest: dict[str, Any]) -> Contents:
    inputs = manifest.get("inputFileURLs") or []
    if not isinstance(inputs, list):
        raise InvalidRequest(f"inputFileURLs of {MANIFEST} is no list")
    main = _named(tree, top, manifest.get("mainWorkflowURL"), "mainWorkflowURL")
    return Contents(main, tuple(_named(tree, top, given, "inputFileURLs") for given in inputs))


def _named(tree: Path, top: str, given: object, what: str) -> str:
    if not isinstance(given, str) or not given:
        raise InvalidRequest(f"{what} of {MANIFEST} names no file")
    name = top + "/".join(check_name(given, f"{what} of {MANIFEST}"))
    if not (tree / name).is_file():
        raise InvalidRequest(f"{what} of {MANIFEST} names a file that is not there: {name}")
    return name
