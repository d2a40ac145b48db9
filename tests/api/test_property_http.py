"""No request is a fault, and every answer is as our OpenAPI document has it: requests made from it, good and broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as told
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.api.conftest import TES
from tests.api.served import serving
from tests.builders import HELLO
from wesgate.api.dependencies import Context
from wesgate.app import create_app

ENDLESS = {"/events"}
"""Streams, which do not end by themselves: tests/api/test_streams.py has them."""

DOCUMENT = create_app(None).openapi()
OPERATIONS = {
    f"{found.ok().method.upper()} {found.ok().path.removeprefix(TES)}": found.ok()
    for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(found, Ok) and found.ok().path.startswith(TES)
}
TRIED = [
    pytest.param(operation, mode, id=f"{name} {mode.value}")
    for name, operation in OPERATIONS.items()
    if name.partition(" ")[2] not in ENDLESS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.query or operation.body  # in a path every text is one
]
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.fixture
async def url(context: Context) -> AsyncIterator[str]:
    async with serving(context) as url:
        yield url


def probe(operation: Any, mode: GenerationMode, url: str, task: str) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @told(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def holds(case: Case[Any]) -> None:
        for wanted in {case.path_parameters.get("task_id"), task} if case.path_parameters else {None}:
            if wanted is not None:
                case.path_parameters["task_id"] = wanted  # else nearly all would be of tasks that do not exist
            case.validate_response(case.call(base_url=url), checks=CHECKS)

    holds()


@pytest.mark.parametrize(("operation", "mode"), TRIED)
async def test_no_request_is_a_fault_and_every_answer_is_as_described(
    url: str, operation: Any, mode: GenerationMode
) -> None:
    async with httpx.AsyncClient(base_url=url + TES) as client:
        task = (await client.post("/tasks", json=HELLO)).json()["id"]
    await asyncio.to_thread(probe, operation, mode, url, task)


def test_every_route_of_tes_is_described() -> None:
    assert len(OPERATIONS) == 11
    for name, operation in OPERATIONS.items():
        described = DOCUMENT["paths"][operation.path][operation.method]
        streams = name.endswith("/{stream}") or name.partition(" ")[2] in ENDLESS
        assert streams or described["responses"]["200"]["content"]["application/json"]["schema"]
        assert operation.method == "get" or "cancel" in name or described["requestBody"]
