"""The parts of a WDL runtime section that miniwdl leaves to its container backends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import WDL

from wesgate.engines.miniwdl import sizes

_ONE_NAME = {"container": "docker"}


def with_defaults(runtime: Mapping[str, WDL.Value.Base], defaults: Mapping[str, Any]) -> dict[str, WDL.Value.Base]:
    """What a task says of its runtime, over what a run says of all its tasks. `container` is another name of
    `docker`."""
    said = {_ONE_NAME.get(name, name) for name in runtime}
    more = {name: value for name, value in defaults.items() if _ONE_NAME.get(name, name) not in said}
    return {**runtime, **{name: WDL.Value.from_json(WDL.Type.Any(), value) for name, value in more.items()}}


def further_runtime(runtime: Mapping[str, WDL.Value.Base]) -> dict[str, Any]:
    """`disks` (in GB) and `zones`, where the task gives them; raises with a sentence for what cannot be read."""
    values: dict[str, Any] = {}
    if "disks" in runtime:
        values["disks"] = sum(disk_gb(text) for text in _texts("disks", runtime["disks"]))
    if "zones" in runtime:
        values["zones"] = tuple(zone for text in _texts("zones", runtime["zones"]) for zone in text.split())
    return values


def disk_gb(text: str) -> float:
    """The size of what `runtime.disks` says, in GB; raises with a sentence for what is no size."""
    size = sizes.disk_gb(text)
    if size is None:
        raise WDL.Error.RuntimeError(f"invalid setting of runtime.disks, {text!r}; give a size such as '10 GiB'")
    return size


def _texts(name: str, value: WDL.Value.Base) -> list[str]:
    items = value.value if isinstance(value, WDL.Value.Array) else [value]
    try:
        return [str(item.coerce(WDL.Type.String()).value) for item in items]
    except WDL.Error.RuntimeError as error:
        raise WDL.Error.RuntimeError(f"invalid setting of runtime.{name}: {error}") from error


def call_path(attempt_directory: Path, call_directory: Path, run_id: str) -> str:
    """The name of a call in its run: its directory below the head's, or the task's name when a run is one task."""
    below = call_directory.relative_to(attempt_directory)
    return run_id if below == Path() else str(below)


def is_written(attempt_directory: Path, path: Path) -> bool:
    """Whether WDL's `write_lines` or one of its kin made this file; each makes a new name of chance every time."""
    return path.is_relative_to(attempt_directory) and path.parent.name == "write_"
