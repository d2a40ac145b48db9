"""The pages of `docs/reference` that follow from the code, and the OpenAPI document: an operator trusts them, so they
are written by this (`make reference`) and compared with the code by `make check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

import wesgate
from wesgate.core.failpoints import FAILPOINTS, arm
from wesgate.core.states import TERMINAL, TRANSITIONS, State
from wesgate.settings import Settings

GENERATED = "<!-- Written by `make reference` from {source}; change that, not this page. -->\n\n"

MEANING = {
    State.QUEUED: "accepted; nothing of it exists outside the database yet",
    State.INITIALIZING: "placed; its inputs are being staged",
    State.RUNNING: "its first step was started",
    State.PAUSED: "held by an engine; nothing here pauses a run or task",
    State.CANCELING: "cancel was accepted; its job may still be running",
    State.COMPLETE: "ended well",
    State.EXECUTOR_ERROR: "a step, or the workflow itself, failed: the caller's own error",
    State.SYSTEM_ERROR: "something other than a step failed: the site's error",
    State.CANCELED: "canceled, and nothing of it is left running",
    State.PREEMPTED: "its machine was taken away; nothing here says so yet",
}

_TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path", SecretStr: "secret"}
_HELP_WIDTH = 100


def root() -> Path:
    """The checkout that this module lies in."""
    return Path(wesgate.__file__).parents[2]


def pages() -> dict[str, Callable[[], str]]:
    """Every generated file, by its path below the checkout."""
    return {
        "openapi/wesgate.json": openapi,
        "docs/reference/settings.md": settings,
        "docs/reference/states.md": states,
        "docs/reference/failpoints.md": failpoints,
        "docs/reference/cli.md": commands,
    }


def write(checkout: Path) -> None:
    """Write them all anew."""
    for name, text in pages().items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8")


def stale(checkout: Path) -> list[str]:
    """Those that are not what the code says, or are not there."""
    return [name for name, text in pages().items() if _kept(checkout / name) != text()]


def _kept(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def openapi() -> str:
    """The OpenAPI document of both APIs."""
    from wesgate.app import create_app

    return json.dumps(create_app(None).openapi(), indent=2, sort_keys=True) + "\n"


def settings() -> str:
    """Every setting, section by section."""
    head = (
        "# Settings\n\n"
        "A value given on the command line beats one in the environment, which beats one in the settings file, which\n"
        "beats the default. The file is `wesgate.toml` where the service is started; `--config FILE` or\n"
        "`WESGATE_CONFIG=FILE` names another. Lists in the environment are JSON:\n"
        "`WESGATE_FILES__ALLOWED='[\"/data\"]'`. An unknown name in the file is an error.\n"
    )
    return _source("src/wesgate/settings.py") + head + "".join(_sections(Settings, ()))


def _sections(model: type[BaseModel], place: tuple[str, ...]) -> Iterator[str]:
    fields = model.model_fields.items()
    inner = {name: kind for name, field in fields if (kind := _section(field))}
    rows = [_row(name, field, place) for name, field in fields if name not in inner]
    if rows:
        title = f"`[{'.'.join(place)}]`\n\n{_plain(model.__doc__)}" if place else "At the top of the file"
        yield f"\n## {title}\n\n" + _table(("setting", "type", "default", "meaning"), rows)
    for name, kind in inner.items():
        yield from _sections(kind, (*place, name))
    for name, field in fields:
        if listed := _listed(field):
            yield _listed_section(listed, ".".join((*place, name)))


def _listed(field: FieldInfo) -> type[BaseModel] | None:
    """What the field is a list of, if that has settings of its own."""
    one = next((one for one in get_args(field.annotation) if one is not Ellipsis), None)
    is_table = get_origin(field.annotation) is tuple and isinstance(one, type) and issubclass(one, BaseModel)
    return one if is_table else None


def _listed_section(model: type[BaseModel], place: str) -> str:
    """One table of a list: it has no variable of its own, the list has."""
    rows = [
        (f"`{name}`", _type(field.annotation), _default(field), _plain(field.description))
        for name, field in model.model_fields.items()
    ]
    head = f"\n## `[[{place}]]`\n\n{_plain(model.__doc__)} In the environment, the list is JSON.\n\n"
    return head + _table(("setting", "type", "default", "meaning"), rows)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _row(name: str, field: FieldInfo, place: tuple[str, ...]) -> tuple[str, str, str, str]:
    variable = "__".join(("WESGATE_" + (place[0] if place else name), *place[1:], *((name,) if place else ()))).upper()
    bounds = " ".join(_bounds(field.metadata))
    return (
        f"`{name}`<br>`{variable}`",
        _type(field.annotation) + (f" {bounds}" if bounds else ""),
        _default(field),
        _plain(field.description),
    )


def _type(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        metadata = [one for note in notes for one in (note.metadata if isinstance(note, FieldInfo) else [note])]
        return " ".join([_type(base), *_bounds(metadata)])
    inner = [one for one in get_args(kind) if one not in (NoneType, Ellipsis)]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{word}`" for word in inner)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_type, inner))
    if get_origin(kind) is tuple:
        return f"list of {_type(inner[0])}s"
    if get_origin(kind) is dict:
        return f"table of {_type(inner[1])}s by name"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "table"
    return _TYPES[kind]


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for bound in metadata:
        match bound:
            case annotated_types.Ge(least):
                yield f"from {least}"
            case annotated_types.Gt(limit):
                yield f"above {limit}"
            case annotated_types.Le(most):
                yield f"to {most}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none: it must be given"
    if field.default_factory is dict:
        return "empty"
    if field.default_factory:
        return _plain(field.default_factory.__doc__).rstrip(".")
    match field.default:
        case None:
            return "none"
        case () | "":
            return "empty"
        case value:
            return f"`{json.dumps(value)}`"


def states() -> str:
    """The table of how states may follow each other."""
    head = (
        "# States\n\n"
        "Runs (WES) and tasks (TES) share these words. A state only ever moves forward along this table; the code\n"
        "and a trigger in the database both hold to it. A retry is a new attempt inside the same row, so it never\n"
        "shows as a step back.\n\n"
    )
    rows = [
        (f"`{state}`", MEANING[state], ", ".join(f"`{one}`" for one in State if one in following) or "nothing: an end")
        for state in MEANING
        for following in [TRANSITIONS[state]]
    ]
    ends = ", ".join(f"`{state}`" for state in State if state in TERMINAL)
    tail = f"\nThe ends are {ends}.\n`UNKNOWN` is a word of both specs that is never stored and never sent.\n"
    return _source("src/wesgate/core/states.py") + head + _table(("state", "means", "may become"), rows) + tail


def failpoints() -> str:
    """Every failpoint."""
    head = (
        "# Failpoints\n\n"
        "Places where a test can make a process die: every commit and every call of the submit protocol has one. They\n"
        "are for fault tests only; leave `WESGATE_FAILPOINTS` unset in a service. A test kills the process at each of\n"
        "them and sees that every run still ends once, with nothing doubled and nothing left running.\n\n"
    )
    rows = [(f"`{name}`", truth) for name, truth in FAILPOINTS.items()]
    tail = f"\nThe setting `failpoints`: {_plain(arm.__doc__)}\n"
    return _source("src/wesgate/core/failpoints.py") + head + _table(("failpoint", "what is true there"), rows) + tail


def commands() -> str:
    """What every command says with `--help`."""
    import typer

    from wesgate.cli import app

    whole: Any = typer.main.get_command(app)  # of typer's own copy of click, which has no types
    parent = whole.make_context("wesgate", [], resilient_parsing=True, terminal_width=_HELP_WIDTH)
    told = [("wesgate", whole.get_help(parent)), *_helps(whole, parent, "wesgate")]
    text = "".join(f"\n## `{name}`\n\n```text\n{said.rstrip()}\n```\n" for name, said in told)
    return _source("src/wesgate/cli") + "# Commands\n" + text


def _helps(group: Any, parent: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """The help of every command in a group, and in the groups in it."""
    for name, command in group.commands.items():
        own = command.make_context(name, [], parent=parent, resilient_parsing=True)
        yield f"{prefix} {name}", command.get_help(own)
        yield from _helps(command, own, f"{prefix} {name}") if hasattr(command, "commands") else ()


def _source(source: str) -> str:
    return GENERATED.format(source=source)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def main(arguments: Sequence[str]) -> int:
    """Write, or with `--check` compare."""
    if not (root() / "pyproject.toml").is_file():
        print(f"reference: {root()} is no checkout of wesgate; run this from one", file=sys.stderr)
        return 2
    if list(arguments) == ["--check"]:
        behind = stale(root())
        if behind:
            print(f"reference: not what the code says: {', '.join(behind)}; run `make reference`", file=sys.stderr)
        return 1 if behind else 0
    if arguments:
        print("usage: python -m wesgate.cli.reference [--check]", file=sys.stderr)
        return 2
    write(root())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
