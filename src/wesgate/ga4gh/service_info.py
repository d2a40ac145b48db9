"""GA4GH service-info 1.0.0 with what TES 1.1 and WES 1.1 add. https://github.com/ga4gh-discovery/ga4gh-service-info"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, assert_never

from wesgate.core.errors import InvalidRequest
from wesgate.ga4gh import strict

SHOWN = 200
"""Of what a caller named, in characters: it may be long."""


@dataclass(frozen=True, slots=True)
class About:
    """What service-info says of this service, besides what it can do."""

    id: str
    name: str
    description: str
    organization: str
    organization_url: str
    contact_url: str
    documentation_url: str
    environment: str
    version: str
    started: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """What a member of a JSON object may be, in words and as a check."""

    means: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class EngineParameter:
    """A `workflow_engine_parameters` member that runs may carry. Its values are text, as typed clients want them: of
    `choices`, if there are any. An integer is at least `least`; a text that must be of a `pattern` is `means`. JSON is
    an object that may have these `members`, and, where there is a kind of `others`, any else of that kind."""

    name: str
    type: Literal["string", "integer", "boolean", "json"]
    default: str
    choices: tuple[str, ...] = ()
    least: int = 1
    pattern: str = ""
    means: str = ""
    members: Mapping[str, Member] = field(default_factory=dict)
    others: Member | None = None

    def complaint(self, value: str) -> str:
        """What is wrong with a value; empty if nothing is."""
        match self.type:
            case "string":
                return self._of_text(value)
            case "integer":
                fits = re.fullmatch("[0-9]{1,9}", value) and int(value) >= self.least
                return "" if fits else f"must be a whole number from {self.least} on"
            case "boolean":
                return "" if value in ("true", "false") else "must be true or false"
            case "json":
                return self._of_json(value)
        assert_never(self.type)

    def _of_text(self, value: str) -> str:
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        return "" if not self.pattern or re.fullmatch(self.pattern, value) else f"must be {self.means}"

    def _of_json(self, value: str) -> str:
        try:
            given = strict.parse(value.encode(), self.name)
        except InvalidRequest:
            given = None
        if not isinstance(given, dict):
            return "must be a JSON object"
        return next((complaint for name, each in given.items() if (complaint := self._of_member(name, each))), "")

    def _of_member(self, name: str, value: Any) -> str:
        member = self.members.get(name, self.others)
        if member is None:
            return f"may have the members {', '.join(self.members)}"
        return "" if member.fits(value) else f"must have as {name[:SHOWN]} {member.means}"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One engine: the backend's name, its version, the workflow types with their versions that it runs, and the
    parameters that it takes."""

    name: str
    version: str
    types: Mapping[str, Sequence[str]]
    parameters: Sequence[EngineParameter] = ()


def tes(about: About, storage: Sequence[str], parameters: Sequence[str]) -> dict[str, Any]:
    """`tesServiceInfo`."""
    return {
        **_service(about, "tes", "1.1.0"),
        "storage": list(storage),
        "tesResources_backend_parameters": list(parameters),
    }


def wes(
    about: About,
    engines: Sequence[EngineInfo],
    parameters: Sequence[EngineParameter],
    counts: Mapping[str, int],
    protocols: Sequence[str],
) -> dict[str, Any]:
    """`ServiceInfo` of WES. `parameters` are those of every engine."""
    types: dict[str, list[str]] = {}
    for engine in engines:
        for name, versions in engine.types.items():
            types.setdefault(name, []).extend(version for version in versions if version not in types.get(name, ()))
    told = (*parameters, *(one for engine in engines for one in engine.parameters))
    return {
        **_service(about, "wes", "1.1.0"),
        "workflow_type_versions": {name: {"workflow_type_version": found} for name, found in types.items()},
        "supported_wes_versions": ["1.1.0"],
        "supported_filesystem_protocols": list(protocols),
        "workflow_engine_versions": {one.name: {"workflow_engine_version": [one.version]} for one in engines},
        "default_workflow_engine_parameters": [
            {"name": name, "type": kind, "default_value": default} for name, kind, default in _distinct(told)
        ],
        "system_state_counts": dict(counts),
        "auth_instructions_url": about.documentation_url,
        "tags": {},
    }


def _distinct(parameters: Sequence[EngineParameter]) -> list[tuple[str, str, str]]:
    """Parameters as clients are told of them; an engine may take one that is every run's, for other values."""
    return list(dict.fromkeys((one.name, one.type, one.default) for one in parameters))


def as_1_0(info: Mapping[str, Any]) -> dict[str, Any]:
    """The same as WES 1.0 has it, for clients that cannot read 1.1: one version of each engine, as text.
    https://github.com/ga4gh/workflow-execution-service-schemas/blob/1.0.0/openapi/workflow_execution_service.swagger.yaml"""
    engines = info["workflow_engine_versions"]
    kept = ("workflow_type_versions", "supported_filesystem_protocols", "default_workflow_engine_parameters",
            "system_state_counts", "auth_instructions_url", "tags")  # fmt: skip
    return {
        **{name: info[name] for name in kept},
        "supported_wes_versions": ["1.0.0", *info["supported_wes_versions"]],
        "workflow_engine_versions": {name: told["workflow_engine_version"][0] for name, told in engines.items()},
        "contact_info_url": info.get("contactUrl", info["documentationUrl"]),
    }


def _service(about: About, artifact: str, version: str) -> dict[str, Any]:
    started = about.started.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": f"{about.id}.{artifact}",
        "name": about.name,
        "type": {"group": "org.ga4gh", "artifact": artifact, "version": version},
        "description": about.description,
        "organization": {"name": about.organization, "url": about.organization_url},
        **({"contactUrl": about.contact_url} if about.contact_url else {}),
        "documentationUrl": about.documentation_url,
        "createdAt": started,
        "updatedAt": started,
        "environment": about.environment,
        "version": about.version,
    }
