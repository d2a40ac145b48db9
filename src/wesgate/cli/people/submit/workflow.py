"""From a workflow on the command line to the form of a WES submit, with the local files that it needs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.client import Form
from wesgate.cli.people.submit import wdl
from wesgate.cli.people.submit.params import Signature, absolute
from wesgate.cli.people.submit.places import (
    MAX_TEXT,
    files_below,
    find_main,
    is_remote,
    main_in_zip,
    type_at,
    type_of,
)
from wesgate.cli.people.submit.terms import with_name
from wesgate.cli.remote.reading import as_object


@dataclass(frozen=True, slots=True)
class Workflow:
    """What is to be run: its URL or the name of its main file, the files to upload with the names they get, and the
    inputs that it brings along."""

    url: str
    type: str
    type_version: str = ""
    files: Mapping[Path, str] = field(default_factory=dict)
    signature: Signature = field(default_factory=Signature)
    inputs: tuple[Path, ...] = ()


def form(
    workflow: Workflow, params: Mapping[str, Any], tags: Mapping[str, str], engine_parameters: Mapping[str, str]
) -> Form:
    """The form of the submit."""
    fields = [
        ("workflow_params", json.dumps(params)),
        ("workflow_type", workflow.type),
        ("workflow_type_version", workflow.type_version),
        ("workflow_url", workflow.url),
    ]
    named_tags = with_name(tags, workflow.url)
    fields += [("tags", json.dumps(named_tags))] if named_tags else []
    fields += [("workflow_engine_parameters", json.dumps(engine_parameters))] if engine_parameters else []
    return Form(tuple(fields), tuple((name, path) for path, name in workflow.files.items()))


def find_workflow(source: str, attach: Sequence[Path], kind: str = "", kind_version: str = "") -> Workflow:
    """The workflow that `source` names: a place that the server reads, or a local file with all that it imports, a
    directory of files, or a zip of them."""
    if is_remote(source):
        names = named(None, [], attach)
        return Workflow(source, kind or type_at(source), kind_version, names, Signature(attached=names))
    path = absolute(Path(source))
    if path.is_dir():
        return _of_directory(path, attach, kind, kind_version)
    if path.suffix.lower() == ".zip":
        return _of_zip(path, attach, kind, kind_version)
    return _of_files(path, [], attach, kind, kind_version)


def _of_directory(folder: Path, attach: Sequence[Path], kind: str, kind_version: str) -> Workflow:
    files = files_below(folder)
    found = find_main(list(files), lambda name: read_text(files[name]).encode(), str(folder))
    workflow = _of_files(files[found.main], list(files.values()), attach, kind, kind_version)
    return replace(workflow, inputs=tuple(files[name] for name in found.inputs))


def _of_zip(path: Path, attach: Sequence[Path], kind: str, kind_version: str) -> Workflow:
    main, text = main_in_zip(path)
    names = named(None, [], [path, *attach])
    chosen = kind or type_of(main)
    return Workflow(names[path], chosen, kind_version or _version(text, chosen), names, _signature(text, chosen, names))


def _of_files(main: Path, others: Sequence[Path], attach: Sequence[Path], kind: str, kind_version: str) -> Workflow:
    text = read_text(main)
    chosen = kind or type_of(main.name)
    imports = imported(main, text) if chosen.upper() == "WDL" else []
    names = named(main, [*imports, *others], attach)
    version = kind_version or _version(text, chosen)
    return Workflow(names[main], chosen, version, names, _signature(text, chosen, names))


def _signature(text: str, kind: str, names: Mapping[Path, str]) -> Signature:
    if kind.upper() != "WDL":
        return Signature(attached=names)
    return Signature(wdl.workflow_name(text), wdl.declared(text), names)


def with_inputs(workflow: Workflow, inputs: Sequence[Path]) -> Workflow:
    """The workflow with these files sent along, each in a folder of its own: two may have the same name."""
    names = {path: f"inputs/{number}/{path.name}" for number, path in enumerate(inputs, 1)}
    files = {**names, **workflow.files}
    return replace(workflow, files=files, signature=replace(workflow.signature, attached=files))


def imported(main: Path, text: str) -> list[Path]:
    """Every local file that a WDL file imports, directly or not, in the order found."""
    found: dict[Path, None] = {}
    waiting = [(main, text)]
    while waiting:
        importer, content = waiting.pop()
        for name in wdl.imports(content):
            path = _import_path(importer, name)
            if path is not None and path != main and path not in found:
                found[path] = None
                waiting.append((path, read_text(path, f"{importer} imports {name!r}: ")))
    return list(found)


def named(main: Path | None, imports: Sequence[Path], attach: Sequence[Path]) -> dict[Path, str]:
    """The names under which files are uploaded. Workflow files keep their places under their common folder, so that
    no name leads above it; an attached file elsewhere is named by its last part."""
    sources = [main, *imports] if main else []
    root = Path(os.path.commonpath([path.parent for path in sources])) if sources else None
    names = {path: path.relative_to(root).as_posix() for path in sources if root}
    for path in map(absolute, attach):
        if not path.is_file():
            raise UsageProblem(f"--attach {path}: there is no such file")
        inside = root is not None and path.is_relative_to(root)
        names.setdefault(path, path.relative_to(root).as_posix() if inside and root else path.name)
    twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        raise UsageProblem(f"two attached files would both be named {twice[0]!r}; rename one of them")
    return names


def read_text(path: Path, because: str = "") -> str:
    """The text of a workflow file."""
    try:
        if path.stat().st_size > MAX_TEXT:
            raise UsageProblem(f"{because}{path} is larger than {MAX_TEXT >> 20} MiB; that is no workflow text")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{because}{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageProblem(f"{because}{path} is not UTF-8 text") from error


def version_from(service_info: Mapping[str, Any], kind: str) -> str:
    """A version of this workflow type that the server offers; its last, since servers list them upwards."""
    offered = as_object(as_object(service_info.get("workflow_type_versions")).get(kind))
    versions = offered.get("workflow_type_version")
    words = [word for word in versions if isinstance(word, str)] if isinstance(versions, list) else []
    return words[-1] if words else "1.0"


def _version(text: str, kind: str) -> str:
    if kind.upper() == "WDL":
        return wdl.version(text)
    found = re.search(r"""^\s*["']?cwlVersion["']?\s*:\s*["']?([\w.-]+)""", text, re.MULTILINE)
    return found.group(1) if found and kind.upper() == "CWL" else ""


def _import_path(importer: Path, name: str) -> Path | None:
    if re.match(r"https?://", name):
        return None
    if name.startswith("/") or "://" in name:
        raise UsageProblem(f"{importer} imports {name!r}, which cannot be uploaded: import it by a relative path")
    return absolute(importer.parent / name)
