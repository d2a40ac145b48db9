"""What a server said, read leniently: they leave out fields and disagree on their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wesgate.core.states import TERMINAL, State

NOT_YET = -1
"""The exit code that wesgate shows of a step that has none yet."""


def is_over(state: str) -> bool:
    """Whether waiting longer is of no use. A word that the specs do not know counts as an end."""
    return state in TERMINAL or state not in State.__members__


def error_text(data: Any) -> str:
    """What an error document says, under any of the names that servers use for it."""
    names = ("msg", "message", "detail", "err_msg", "title", "error")
    return next((as_text(as_object(data)[name]) for name in names if as_text(as_object(data).get(name))), "")


def as_object(value: Any) -> Mapping[str, Any]:
    """The JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str:
    """The text, or the digits of a number (some servers number their runs)."""
    if isinstance(value, bool):
        return ""
    return str(value) if isinstance(value, str | int) else ""


def as_texts(value: Any) -> dict[str, str]:
    """The object with its values as texts."""
    return {key: as_text(item) for key, item in as_object(value).items()}


def as_list(value: Any) -> list[Any]:
    """The JSON list, or an empty one."""
    return value if isinstance(value, list) else []


def as_whole(value: Any) -> int | None:
    """The whole number; anything else is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def has_ended(step: Mapping[str, Any]) -> bool:
    """Whether a step of a task has ended. Some servers list a step when it begins, with an exit code of 0 or -1 since
    TES requires one, and some when it has ended, with or without its times."""
    if step.get("end_time"):
        return True
    return not step.get("start_time") and step.get("exit_code") not in (None, NOT_YET)
