"""The `backend_parameters` that this service knows: what a task may ask of the site beyond TES's own resources.

Keys are case-insensitive. A task may ask for less than the site allows; what is more is cut to that. TES 1.1: what is
not supported is warned about and neither stored nor returned, or refused if the task says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import MissingOutputs, Policy
from wesgate.ga4gh.dialects import Dialect


@dataclass(frozen=True, slots=True)
class Terms:
    """How a task is run and tried: `policy` for the worker, the rest for the loop. Of `max_attempts` tries some may be
    lost to a fault of the infrastructure; losses to preemption are counted apart, up to `max_preemptions`."""

    policy: Policy = field(default_factory=Policy)
    max_attempts: int = 1
    max_preemptions: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """The most that this site gives to any task."""

    max_attempts: int = 3
    max_preemptions: int = 5
    timeout_s: float | None = None
    gpus: int = 0


TIMEOUT, ATTEMPTS, PREEMPTIONS = "timeout_s", "max_attempts", "max_preemptions"
MISSING, ENTRYPOINT, GPUS = "missing_outputs", "image_entrypoint", "gpus"
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def _seconds(text: str) -> float | None:
    return float(text) if _SECONDS.fullmatch(text) and float(text) > 0 else None


def _number(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None


# Each parameter with what reads its value (None for one that nobody can read), and how a value must look.
_FORMS: dict[str, tuple[Callable[[str], Any], str]] = {
    TIMEOUT: (_seconds, "is a number of seconds above zero, as in 3600"),
    ATTEMPTS: (lambda text: _number(text) or None, "is a whole number from 1 on"),
    PREEMPTIONS: (_number, "is a whole number"),
    MISSING: ({str(choice): choice for choice in MissingOutputs}.get, f"is {' or '.join(MissingOutputs)}"),
    ENTRYPOINT: ({"true": True, "false": False}.get, "is true or false"),
    GPUS: (_number, "is a whole number"),
}
KNOWN = tuple(_FORMS)
"""As service-info spells them (`tesResources_backend_parameters`)."""

_SHOWN_KEYS = 10


@dataclass(frozen=True, slots=True)
class Agreed:
    """What came of a task's parameters: those to keep, the terms, and what it must be told."""

    kept: Mapping[str, str]
    terms: Terms
    warnings: tuple[str, ...] = ()


def agree(sent: Mapping[str, str], strict: bool, site: Site, dialect: Dialect) -> Agreed:
    """The terms of a task with these parameters. With `strict`, InvalidRequest for any that is not supported."""
    read = {key: (key.lower(), _value(key.lower(), value)) for key, value in sent.items()}
    values = {name: value for name, value in read.values() if value is not None}
    kept = {key: sent[key] for key, (_, value) in read.items() if value is not None}
    if len(values) != len(kept):
        raise InvalidRequest("resources.backend_parameters: a key is there twice in different case")
    if values.get(GPUS, 0) > site.gpus:
        there = f"only {site.gpus}" if site.gpus else "none"
        raise InvalidRequest(f"resources.backend_parameters.{GPUS}: this service has {there}")
    warnings = [*_left_out(sorted(set(sent) - set(kept))), *_cut_down(values, site)]
    if strict and warnings:
        raise InvalidRequest(f"resources.backend_parameters_strict: {warnings[0]}; known are {', '.join(KNOWN)}")
    return Agreed(kept, _terms(values, site, dialect), tuple(warnings))


def _left_out(keys: Sequence[str]) -> list[str]:
    unknown = [key[:64] for key in keys if key.lower() not in _FORMS]
    lines = [
        f"backend_parameters.{key} was left out: it {_FORMS[key.lower()][1]}" for key in keys if key.lower() in _FORMS
    ]
    if unknown:
        named = ", ".join(unknown[:_SHOWN_KEYS]) + (", …" if len(unknown) > _SHOWN_KEYS else "")
        lines.append(f"backend_parameters that this service does not know were left out: {named}")
    return lines


def _cut_down(values: Mapping[str, Any], site: Site) -> list[str]:
    return [
        f"backend_parameters.{key} is more than this site allows and counts as {most:g}"
        for key, most in _most(site).items()
        if values.get(key, 0) > most
    ]


def _terms(values: Mapping[str, Any], site: Site, dialect: Dialect) -> Terms:
    least = {key: min(values.get(key, most), most) for key, most in _most(site).items()}
    policy = Policy(
        missing_outputs=values.get(MISSING, dialect.missing_outputs),
        timeout_s=None if math.isinf(least[TIMEOUT]) else least[TIMEOUT],
        image_entrypoint=values.get(ENTRYPOINT, dialect.image_entrypoint),
        gpus=values.get(GPUS, 0),
    )
    return Terms(policy, int(least[ATTEMPTS]), int(least[PREEMPTIONS]))


def _most(site: Site) -> dict[str, float]:
    timeout = math.inf if site.timeout_s is None else site.timeout_s
    return {TIMEOUT: timeout, ATTEMPTS: site.max_attempts, PREEMPTIONS: site.max_preemptions}


def _value(key: str, text: str) -> Any:
    """What a known parameter says; None for one that is not known, or that nobody can read."""
    return _FORMS[key][0](text.lower()) if key in _FORMS else None
