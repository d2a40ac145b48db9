"""What each client sends, byte for byte, against a real server; and that the answers hold what it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.served import serving
from tests.api.specs import faults
from tests.builders import an_attempt, put
from tests.wes_clients.conftest import a_task_of
from tests.wes_clients.wire import CLIENTS, Answer, requests, send
from wesgate.api.dependencies import Context
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db.session import Database

SCHEMAS = {"service-info": "ServiceInfo", "submit": "RunId", "status": "RunStatus", "log": "RunLog",
           "list": "RunListResponse", "tasks": "TaskListResponse", "cancel": "RunId"}  # fmt: skip
OF_1_0 = ("agc", "dockstore")
OUTPUTS = {"w.n": 3, "w.file": "/files/a.txt", "w.many": ["a"]}


class Wire:
    """One client's requests, and its run."""

    def __init__(self, client: str, url: str, run: str) -> None:
        self._client, self._url, self.run = client, url, run

    @property
    def names(self) -> list[str]:
        return list(requests(self._client, ""))

    async def ask(self, name: str) -> Answer:
        return await send(self._url, requests(self._client, self._url.removeprefix("http://"), self.run)[name])

    async def told(self, name: str) -> Any:
        """The document that is the answer to one of its requests."""
        answer = await self.ask(name)
        assert (answer.status, answer.kind) == (200, "application/json"), answer
        return answer.json


async def wire(client: str, url: str) -> Wire:
    """A client that submitted its run; one that submits none has another's."""
    submitter = client if "submit" in requests(client, "") else "gxy-wes"
    run = (await Wire(submitter, url, "").told("submit"))["run_id"]
    return Wire(client, url, str(run))


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_request_of_a_client_is_answered_as_the_spec_has_it(client: str, url: str) -> None:
    wired = await wire(client, url)
    for name in wired.names:
        answer = await wired.ask(name)
        assert answer.status == 200, (name, answer)
        schema = SCHEMAS.get(name.partition(" ")[0])
        if schema and not (schema == "ServiceInfo" and client in OF_1_0):
            assert not faults("wes", schema, answer.json), name


@pytest.mark.parametrize("client", OF_1_0)
async def test_a_client_of_1_0_gets_service_info_as_it_was(client: str, url: str) -> None:
    info = await (await wire(client, url)).told("service-info")
    assert info["workflow_engine_versions"] == {"miniwdl": "1.16"}
    assert info["supported_wes_versions"] == ["1.0.0", "1.1.0"]
    assert info["workflow_type_versions"]["WDL"]["workflow_type_version"]
    assert set(info) == {
        "workflow_type_versions", "supported_wes_versions", "supported_filesystem_protocols", "tags",
        "workflow_engine_versions", "default_workflow_engine_parameters", "system_state_counts",
        "auth_instructions_url", "contact_info_url",
    }  # fmt: skip


@pytest.mark.parametrize("client", ["agc", "dockstore", "toil"])
async def test_a_client_of_1_0_is_told_no_state_that_it_does_not_know(
    client: str, url: str, database: Database
) -> None:
    wired = await wire(client, url)
    await put(database, Kind.RUN, wired.run, "PREEMPTED")
    assert (await wired.told("status"))["state"] == "SYSTEM_ERROR"
    assert (await wired.told("log"))["state"] == "SYSTEM_ERROR"
    if "list" in wired.names:
        assert [run["state"] for run in (await wired.told("list"))["runs"]] == ["SYSTEM_ERROR"]


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in ("agc", "dockstore", "toil", "cbas")])
async def test_everybody_else_is_told_the_state_as_it_is(client: str, url: str, database: Database) -> None:
    wired = await wire(client, url)
    await put(database, Kind.RUN, wired.run, "PREEMPTED")
    assert (await wired.told("status"))["state"] == "PREEMPTED"
    assert (await wired.told("log"))["state"] == "PREEMPTED"


async def test_a_site_may_take_everybody_for_one_client(context: Context) -> None:
    async with serving(replace(context, wes_client="wes-1.0")) as url:
        info = (await send(url, _get(f"{url}/ga4gh/wes/v1/service-info"))).json
    assert info["workflow_engine_versions"] == {"miniwdl": "1.16"}


async def test_agc_finds_the_job_in_the_name_of_a_task(url: str, database: Database, caller: Caller) -> None:
    wired = await wire("agc", url)
    task = await a_task_of(database, caller, wired.run, "call-a|b")
    log = await wired.told("log")
    assert [one["name"].split("|") for one in log["task_logs"]] == [["call-a_b", task]]
    assert log["request"]["workflow_params"] == {"workflowInputs": "hello.inputs.json_4077123"}
    assert (log["request"]["tags"], log["request"]["workflow_engine_parameters"]) == ({}, {})


async def test_agc_reads_logs_as_text(url: str) -> None:
    wired = await wire("agc", url)
    assert (await wired.told("log"))["run_log"]["stderr"] == f"{url}/ga4gh/wes/v1/runs/{wired.run}/logs/stderr"
    assert await wired.ask("stderr") == Answer(200, "text/plain", b"")


async def test_dockstore_attaches_files_in_folders(url: str) -> None:
    log = await (await wire("dockstore", url)).told("log")
    assert (log["request"]["workflow_url"], log["request"]["tags"]) == ("wf/main.wdl", {"Client": "Dockstore"})


async def test_wes_client_finds_a_log_of_a_run_that_never_began(url: str) -> None:
    wired = await wire("wes-client", url)
    run_log = (await wired.told("log"))["run_log"]
    assert (await send(url, _get(run_log["stderr"]))).status == 200


async def test_wes_client_submits_a_workflow_that_is_a_url_as_a_plain_form(url: str) -> None:
    wired = await wire("wes-client", url)
    wired.run = (await wired.told("submit of a URL"))["run_id"]
    request = (await wired.told("log"))["request"]
    assert (request["workflow_url"], request["workflow_params"]) == ("https://1.1.1.1/hello.wdl", {"hello.name": "Adé"})


async def test_toil_may_give_flags_without_values(url: str) -> None:
    request = (await (await wire("toil", url)).told("log"))["request"]
    assert (request["workflow_type"], request["workflow_engine_parameters"]) == ("wdl", {})


async def test_dnastack_gets_outputs_as_text(url: str, database: Database) -> None:
    wired = await wire("dnastack", url)
    await an_attempt(database, Kind.RUN, wired.run, {"outputs": OUTPUTS})
    log = await wired.told("log")
    assert log["outputs"] == {"w.n": "3", "w.file": "/files/a.txt", "w.many": '["a"]'}
    assert log["task_logs"] == []


@pytest.mark.parametrize("client", ["cbas", "ai4gh", "irida-next", "python-sdk", "gxy-wes"])
async def test_everybody_else_gets_outputs_as_they_are(client: str, url: str, database: Database) -> None:
    wired = await wire(client, url)
    await an_attempt(database, Kind.RUN, wired.run, {"outputs": OUTPUTS})
    assert (await wired.told("log"))["outputs"] == OUTPUTS


def _get(url: str) -> bytes:
    return f"GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
