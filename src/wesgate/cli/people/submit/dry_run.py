"""`wesgate run --dry-run`: what the server says of a workflow, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wesgate.cli.people.client import Form
from wesgate.cli.remote.reading import as_list, as_object, as_text, as_whole
from wesgate.cli.text import columns, one_line


def told_lines(told: Mapping[str, Any], form: Form) -> list[str]:
    """What is wrong, as `file:line:column: message`, then which inputs there are, those that are needed first."""
    here = {name: _shown(path) for name, path in form.files}
    errors = [_error(as_object(one), here) for one in as_list(told.get("errors"))]
    version, digest = (one_line(as_text(told.get(key)), 100) for key in ("workflow_type_version", "digest"))
    language = version and f"{dict(form.fields).get('workflow_type', '')} {version}"
    verdict = ", ".join(part for part in ("valid" if told.get("valid") else "not valid", language, digest) if part)
    return [*errors, *_inputs([as_object(one) for one in as_list(told.get("inputs"))]), verdict]


def _error(one: Mapping[str, Any], here: Mapping[str, str]) -> str:
    name = as_text(one.get("file"))
    numbers = [as_whole(one.get(key)) for key in ("line", "column")]
    place = [here.get(name, name), *(str(number) for number in numbers if number is not None)] if name else []
    return one_line(":".join([*place, f" {as_text(one.get('message')) or 'no cause was given'}"]).strip(), 2000)


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [one_line(as_text(one.get("name")), 100), one_line(as_text(one.get("type")), 100), _need(one)]
        for one in sorted(inputs, key=lambda one: one.get("optional") is True)
    ]
    return ["", *columns([["INPUT", "TYPE", "DEFAULT"], *rows]), ""] if rows else []


def _need(one: Mapping[str, Any]) -> str:
    if one.get("optional") is not True:
        return "(needed)"
    default = one.get("default")
    return one_line(default if isinstance(default, str) else "", 100) or "(optional)"


def _shown(path: Path) -> str:
    """A local file as an editor finds it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
