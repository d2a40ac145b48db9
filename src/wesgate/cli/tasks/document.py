"""Task documents: read from files, or put together from the command line; and what can be checked of them here."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.submit.params import absolute, pair, read_json
from wesgate.cli.text import one_line

MAX_DOCUMENT = 64 * 1024 * 1024
MAX_CONTENT = 128 * 1024
"""What every TES server takes of an input's content."""

STDIN = "-"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is, as far as files go: on this machine or not, and the directories that its tasks may read."""

    is_here: bool
    roots: Sequence[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A task of one step as the command line tells it. Pairs are texts of the form KEY=VALUE."""

    image: str
    command: Sequence[str]
    name: str = ""
    cpu: float | None = None
    ram: float | None = None
    disk: float | None = None
    gpus: int | None = None
    env: Sequence[str] = ()
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    tags: Sequence[str] = ()
    params: Sequence[str] = ()


def from_file(name: str) -> dict[str, Any]:
    """The task document in a file, or (`-`) on standard input."""
    try:
        if name == STDIN:
            body = sys.stdin.buffer.read(MAX_DOCUMENT + 1)
        else:
            with Path(name).open("rb") as file:
                body = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageProblem(f"{one_line(name)} cannot be read: {error.strerror}") from error
    if len(body) > MAX_DOCUMENT:
        raise UsageProblem(f"{one_line(name)} is larger than {MAX_DOCUMENT >> 20} MiB; give content by URL")
    try:
        data = read_json(body)
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{one_line(name)} is not JSON: {one_line(str(error))}") from error
    if not isinstance(data, dict):
        raise UsageProblem(f"{one_line(name)} holds no JSON object: a task is one")
    return data


def from_options(asked: Asked, place: Place) -> dict[str, Any]:
    """The task document that the command line describes."""
    step = {"image": asked.image, "command": list(asked.command), "env": _pairs(asked.env, "variable")}
    gpus = {"gpus": str(asked.gpus)} if asked.gpus is not None else {}
    resources = {
        "cpu_cores": _number(asked.cpu, "--cpu"),
        "ram_gb": _number(asked.ram, "--ram"),
        "disk_gb": _number(asked.disk, "--disk"),
        "backend_parameters": _pairs(asked.params, "backend parameter") | gpus,
    }
    return _filled(
        {
            "name": asked.name,
            "inputs": [_input(text, place) for text in asked.inputs],
            "outputs": [_output(text, place) for text in asked.outputs],
            "resources": _filled(resources),
            "executors": [_filled(step)],
            "tags": _pairs(asked.tags, "tag"),
        }
    )


def complaints(document: Mapping[str, Any]) -> list[str]:
    """What no TES server would take, as far as can be told here: members that TES requires."""
    steps = document.get("executors")
    if not isinstance(steps, list) or not steps:
        return ["executors: a task needs at least one"]
    return [
        *(line for number, step in enumerate(steps) for line in _step_complaints(step, f"executors.{number}")),
        *_file_complaints(document, "inputs", ("url", "content")),
        *_file_complaints(document, "outputs", ("url",)),
    ]


def _step_complaints(step: Any, where: str) -> list[str]:
    told = step if isinstance(step, dict) else {}
    command = told.get("command")
    is_command = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
    lines = [] if isinstance(told.get("image"), str) and told["image"] else [f"{where}.image: an image is needed"]
    return lines if is_command else [*lines, f"{where}.command: a list of words is needed"]


def _file_complaints(document: Mapping[str, Any], what: str, sources: Sequence[str]) -> list[str]:
    files = document.get(what) or []
    if not isinstance(files, list):
        return [f"{what}: a list is needed"]
    lines = []
    for number, file in enumerate(files):
        told = file if isinstance(file, dict) else {}
        if not isinstance(told.get("path"), str) or not told["path"].startswith("/"):
            lines.append(f"{what}.{number}.path: an absolute path is needed")
        if not any(isinstance(told.get(name), str) for name in sources):
            lines.append(f"{what}.{number}: {' or '.join(sources)} is needed")
    return lines


def _input(text: str, place: Place) -> dict[str, Any]:
    path, source = _path_and_place(text, "--input")
    if _URL.match(source):
        return {"path": path.rstrip("/"), "url": source, "type": "DIRECTORY" if path.endswith("/") else "FILE"}
    local = absolute(Path(source))
    kind = "DIRECTORY" if local.is_dir() else "FILE"
    if kind == "FILE" and not local.is_file():
        raise UsageProblem(f"--input {one_line(source)}: there is no such file here; a URL has a scheme, as s3://…")
    if any(local.is_relative_to(root) for root in place.roots):
        return {"path": path.rstrip("/"), "url": _file_url(local), "type": kind}
    return {"path": path.rstrip("/"), "content": _content(local), "type": kind}


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_CONTENT + 1)
        if len(body) <= MAX_CONTENT:
            return body.decode("utf-8")
        cause = f"it has more than {MAX_CONTENT >> 10} KiB"
    except UnicodeDecodeError:
        cause = "it is not text"
    except OSError as error:
        cause = str(error.strerror)
    raise UsageProblem(
        f"--input {one_line(str(path))} cannot be sent along ({cause}), and the server does not say that tasks may "
        "read it in place: put it where its service-info says, or give a URL"
    )


def _output(text: str, place: Place) -> dict[str, Any]:
    path, target = _path_and_place(text, "--output")
    if not _URL.match(target):
        if not place.is_here:
            raise UsageProblem(f"--output {one_line(text)}: the server is not on this machine; give a URL")
        target = _file_url(absolute(Path(target)))
    wildcard = _WILDCARD.search(path)
    prefix = {"path_prefix": path[: path.rindex("/", 0, wildcard.start()) + 1]} if wildcard else {}
    return {
        "path": path.rstrip("/"),
        "url": target,
        "type": "DIRECTORY" if path.endswith("/") else "FILE",
        **prefix,
    }


def _path_and_place(text: str, option: str) -> tuple[str, str]:
    path, value = pair(text, option)
    if not path.startswith("/") or not path.rstrip("/") or not value:
        raise UsageProblem(f"{option} {one_line(text)!r} is not PATH=URL with an absolute path in the container")
    return path, value


def _file_url(path: Path) -> str:
    return f"file://{quote(str(path))}"


def _pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    return dict(pair(text, what) for text in texts)


def _number(number: float | None, option: str) -> float | int | None:
    if number is not None and not math.isfinite(number):
        raise UsageProblem(f"{option} {number} is no amount")
    # TES 1.1 has whole cores; fractions are of 1.2.
    return int(number) if number is not None and number.is_integer() else number


def _filled(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}
