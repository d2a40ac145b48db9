"""The settings of an operator's command; whatever is wrong with them is one sentence that names the setting."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from wesgate import settings
from wesgate.cli.errors import UsageProblem
from wesgate.settings import Settings


def configured(file: Path | None, **given: Any) -> Settings:
    """What the command line, the environment and the file say. A file that is named must be there."""
    wanted = file or Path(os.environ.get("WESGATE_CONFIG", "wesgate.toml"))
    if not wanted.is_file() and (file or "WESGATE_CONFIG" in os.environ):
        raise UsageProblem(f"there is no settings file {wanted}; name another with --config or WESGATE_CONFIG")
    try:
        return settings.load(wanted, **given)
    except ValidationError as error:
        raise UsageProblem("; ".join(map(_sentence, error.errors(include_input=False)))) from error
    except SettingsError as error:  # a list or a section in the environment
        raise UsageProblem(f"{error}: lists are written as JSON, as in WESGATE_FILES__ALLOWED='[\"/data\"]'") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageProblem(f"the settings file {wanted} cannot be read: {error}") from error


def _sentence(error: ErrorDetails) -> str:
    names = [str(part) for part in error["loc"]]
    reason = "there is no such setting" if error["type"] == "extra_forbidden" else error["msg"]
    return f"setting {'.'.join(names)} (WESGATE_{'__'.join(names).upper()}): {reason}"
