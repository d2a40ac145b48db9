"""`wesgate run --resume`: the form of an earlier run, filled in anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.client import Form
from wesgate.cli.people.replies import Run
from wesgate.cli.people.submit.params import Signature, parameters
from wesgate.cli.people.submit.terms import with_name
from wesgate.cli.remote.reading import as_object, as_text, as_texts
from wesgate.cli.text import one_line

LATEST = "last"
_PAIR = re.compile(r"[A-Za-z_][\w.-]*=")
_TEXTS = ("workflow_type", "workflow_type_version", "workflow_url", "workflow_engine", "workflow_engine_version")


def is_pair(word: str) -> bool:
    """Whether the first word after `--resume RUN` is a parameter, since the workflow may be left out."""
    return _PAIR.match(word) is not None and not Path(word).exists()


def form_again(
    run: Run, pairs: Sequence[str], inputs: Sequence[Path], tags: Mapping[str, str], engine: Mapping[str, str]
) -> Form:
    """The form that this run was made of, with what is given now over what was given then. Its attachments are not
    sent again: the server has them."""
    told = {name: as_text(run.request.get(name)) for name in _TEXTS}
    if not told["workflow_url"]:
        raise UsageProblem(f"the server does not tell what run {one_line(run.id)} was made of: name the WORKFLOW too")
    before = as_object(run.request.get("workflow_params"))
    params = {**before, **parameters(pairs, inputs, Signature(_workflow_name(before)))}
    objects = {
        "workflow_params": params,
        "tags": with_name(as_texts(run.request.get("tags")) | dict(tags), told["workflow_url"]),
        "workflow_engine_parameters": as_texts(run.request.get("workflow_engine_parameters")) | dict(engine),
    }
    fields = [(name, value) for name, value in told.items() if value]
    fields += [(name, json.dumps(value)) for name, value in objects.items() if value or name == "workflow_params"]
    return Form(tuple(fields))


def _workflow_name(params: Mapping[str, Any]) -> str:
    """The name that all keys are under; empty if there is none."""
    names = {key.partition(".")[0] if "." in key else "" for key in params}
    return names.pop() if len(names) == 1 else ""
