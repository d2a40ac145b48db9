"""Who is taken for whom: a client of 1.0 by all that is its own, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wesgate.core.errors import Misconfigured
from wesgate.core.states import State
from wesgate.ga4gh import service_info, wes_clients
from wesgate.ga4gh.wes import FROM_CACHE
from wesgate.ga4gh.wes_clients import ANYBODY, BY_NAME, CLIENTS, FOLDED, Asking, who
from wesgate.settings import Wes, load
from wesgate.wiring import prepare

GO, JAVA, PYTHON = (f"OpenAPI-Generator/1.0.0/{language}" for language in ("go", "java", "python"))
FORM = "multipart/form-data; boundary=b"
LOWER, UPPER = {"workflow_type": "cwl"}, {"workflow_type": "CWL"}


@pytest.mark.parametrize(
    ("name", "asking", "document"),
    [
        ("agc", Asking(GO, content_type=FORM), None),
        ("dockstore", Asking(JAVA, expect="100-continue"), UPPER),
        ("dockstore", Asking("Swagger-Codegen/1.15.0/java", expect="100-Continue"), None),
        ("toil", Asking("python-requests/2.32.5"), LOWER),
        ("dnastack", Asking("dnastack-client/3.1.240 Platform/x"), None),
    ],
)
def test_a_client_is_known_by_what_is_its_own(name: str, asking: Asking, document: dict[str, Any] | None) -> None:
    assert who(asking, document).name == name


@pytest.mark.parametrize(
    ("asking", "document"),
    [
        (Asking(), LOWER),
        (Asking(GO), LOWER),  # a Go client generated from WES 1.1
        (Asking(GO, content_type="application/json", expect="100-continue"), LOWER),
        (Asking(JAVA), LOWER),
        (Asking(JAVA, content_type=FORM), LOWER),
        (Asking(PYTHON, content_type=FORM, expect="100-continue"), LOWER),
        (Asking("curl/8.5.0", content_type=FORM, expect="100-continue"), LOWER),
        (Asking("python-requests/2.32.5"), UPPER),
        (Asking("python-requests/2.32.5"), None),
        (Asking("python-httpx/0.28.1", content_type=FORM), LOWER),
        (Asking("x OpenAPI-Generator/1.0.0/go", content_type=FORM), None),
    ],
)
def test_whoever_may_know_1_1_gets_1_1(asking: Asking, document: dict[str, Any] | None) -> None:
    assert who(asking, document) is ANYBODY


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_setting_makes_everybody_this_client(client: wes_clients.Client) -> None:
    for asking in (Asking(set_to=client.name), Asking(GO, content_type=FORM, set_to=client.name)):
        assert who(asking, UPPER) is client


def test_anybody_gets_a_run_log_as_it_is() -> None:
    log = {"state": "PREEMPTED", "outputs": {"a": 1}, "task_logs": [{"id": "1", "name": "a|b"}]}
    assert wes_clients.run_log(log, ANYBODY) == log


def test_agc_is_told_that_a_task_came_from_the_cache() -> None:
    ran = {"id": "1", "name": "a", "system_logs": ["why it failed"]}
    cached = {"id": "2", "name": "b", "system_logs": [f"{FROM_CACHE}: task 1 of run 3"]}
    shown = wes_clients.run_log({"state": "COMPLETE", "outputs": {}, "task_logs": [ran, cached]}, BY_NAME["agc"])
    assert [task["name"] for task in shown["task_logs"]] == ["a|1", "b|XXXXX"]


def test_what_a_client_gets_instead_of_a_state_is_a_state_that_ends_as_that_one() -> None:
    for client in CLIENTS:
        for state, shown in client.states.items():
            assert State(state) in FOLDED
            assert State(shown) in (State.SYSTEM_ERROR,)
    assert BY_NAME[""] is ANYBODY
    assert {"PREEMPTED"} == FOLDED


def test_service_info_of_1_0_names_one_version_of_each_engine() -> None:
    info: dict[str, Any] = {name: {} for name in (
        "workflow_type_versions", "supported_filesystem_protocols", "default_workflow_engine_parameters",
        "system_state_counts", "auth_instructions_url", "tags")}  # fmt: skip
    info |= {"workflow_engine_versions": {"a": {"workflow_engine_version": ["2", "1"]}},
             "supported_wes_versions": ["1.1.0"], "documentationUrl": "https://d"}  # fmt: skip
    old = service_info.as_1_0(info)
    assert (old["workflow_engine_versions"], old["contact_info_url"]) == ({"a": "2"}, "https://d")
    assert service_info.as_1_0(info | {"contactUrl": "mailto:a@b"})["contact_info_url"] == "mailto:a@b"


def test_a_setting_that_names_nobody_is_told_with_those_there_are(tmp_path: Path) -> None:
    settings = load(data=tmp_path, wes=Wes(client="cromwell"))
    with pytest.raises(Misconfigured, match=r"wes\.client is none .* it knows agc, dockstore, toil, dnastack"):
        prepare(settings)
