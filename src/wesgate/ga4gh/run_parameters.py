"""The `workflow_engine_parameters` that a run may carry whatever its engine, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from wesgate.core.spec import DeleteAfter, RunTerms
from wesgate.ga4gh.service_info import EngineParameter

KNOWN = (
    EngineParameter("inputs_url", "string", ""),
    EngineParameter("output_to", "string", ""),
    EngineParameter("delete_after", "string", DeleteAfter.NEVER.value, tuple(DeleteAfter)),
    EngineParameter(
        "resume", "string", "", pattern="([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?", means="the id of a run"
    ),
)
"""As service-info tells them; docs/reference/wes.md says what they do."""

_NAMES = frozenset(parameter.name for parameter in KNOWN)


def run_terms(given: Mapping[str, str]) -> RunTerms:
    """What a run's parameters, which its submit has checked, ask of this service."""
    return RunTerms(
        inputs_url=given.get("inputs_url", ""),
        output_to=given.get("output_to", ""),
        delete_after=DeleteAfter(given.get("delete_after", DeleteAfter.NEVER)),
        resume=UUID(given["resume"]).hex if given.get("resume") else "",
    )


def of_engine(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters that are for the engine itself."""
    return {name: value for name, value in given.items() if name not in _NAMES}
