"""Look at a run without running it: `python -m wesgate.engines.miniwdl.head.check DIRECTORY` tells of it in JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wesgate.engines.miniwdl.config import HeadPlan
from wesgate.engines.miniwdl.head import bounds
from wesgate.engines.miniwdl.head.complaints import Complaint, complaints
from wesgate.engines.miniwdl.head.documents import INPUTS_BYTES
from wesgate.engines.miniwdl.head.inputs import Exe, bind_inputs
from wesgate.engines.miniwdl.head.prepare import Prepared, prepare
from wesgate.sources import arrive


def check(directory: Path, plan: HeadPlan) -> dict[str, Any]:
    """What a dry run of this directory answers: as far as it can be read, what the workflow is and needs, and all that
    would keep it from running."""
    prepared, needed, found = None, [], []
    try:
        prepared = prepare(directory, plan, lambda: False)
        needed = inputs_needed(prepared.exe)
        _bind(prepared)
    except MemoryError:
        found = [Complaint(bounds.TOO_MUCH)]
    except Exception as error:  # what miniwdl may raise has no end
        found = complaints(error, directory)
    arrived = arrive.recorded(directory)
    return {
        "valid": not found,
        "workflow_type_version": arrived.version if arrived else "",
        "digest": f"sha256:{arrived.digest}" if arrived and arrived.digest else "",
        "inputs": needed,
        "errors": told(found),
    }


def told(found: Sequence[Complaint]) -> list[dict[str, Any]]:
    """Complaints as the API shows them."""
    return [
        {"message": each.message} | ({"file": each.file, "line": each.line, "column": each.column} if each.file else {})
        for each in found
    ]


def inputs_needed(exe: Exe) -> list[dict[str, Any]]:
    """Every input that may be given, with those that must be first; `default` is the WDL expression."""
    required = {binding.name for binding in exe.required_inputs}
    listed = [(binding.name not in required, binding.name, binding.value) for binding in exe.available_inputs]
    return [
        {"name": f"{exe.name}.{name}", "type": str(declared.type), "optional": optional}
        | ({"default": str(declared.expr)} if declared.expr else {})
        for optional, name, declared in sorted(listed, key=lambda each: each[:2])
    ]


def _bind(prepared: Prepared) -> None:
    # Whoever gives no inputs asks which there are.
    if params := prepared.params():
        bind_inputs(params, prepared.exe, prepared.places())


def main(directory: Path) -> None:
    plan = HeadPlan.read((directory / "head.json").read_text(encoding="utf-8"))
    # Whoever asked ends it sooner, and may itself have ended.
    bounds.confine(max(plan.settings.fetching.tree_bytes, INPUTS_BYTES), 2 * bounds.WALL_S)
    answer = check(directory, plan)
    json.dump(answer, sys.stdout)
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
