"""`POST /runs?dry_run=true`, and runs that go on with others: what a submit checks of them."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import WES
from tests.builders import become
from tests.doubles.workflows import HELLO
from wesgate.core.spec import Kind
from wesgate.db.session import Database

RESUME = "workflow_engine_parameters.resume"


async def submit(
    client: httpx.AsyncClient, query: str = "", attached: str | None = HELLO, **fields: str
) -> httpx.Response:
    form = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl"} | fields
    files = [("workflow_attachment", ("main.wdl", attached.encode()))] if attached is not None else None
    return await client.post(f"{WES}/runs{query}", data=form, files=files)


def resuming(run_id: str) -> dict[str, str]:
    return {"workflow_engine_parameters": json.dumps({"resume": run_id})}


async def end(database: Database, run_id: str) -> None:
    for state in ("INITIALIZING", "RUNNING", "EXECUTOR_ERROR"):
        await become(database, Kind.RUN, run_id, state)


async def test_a_dry_run_tells_the_inputs_and_keeps_nothing(client: httpx.AsyncClient, files: Path) -> None:
    answer = await submit(client, "?dry_run=true")
    assert answer.status_code == 200, answer.text
    assert answer.json()["valid"]
    assert [needed["name"] for needed in answer.json()["inputs"]] == ["greet.name"]
    assert (await client.get(f"{WES}/runs")).json()["runs"] == []
    assert not list(files.glob("*/run-*"))


async def test_a_mistake_is_an_answer_not_an_error(client: httpx.AsyncClient) -> None:
    answer = await submit(client, "?dry_run=true", "version 1.0\nworkflow w { call nothing }")
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error == {"message": "No such task/workflow: nothing", "file": "main.wdl", "line": 2, "column": 14}


@pytest.mark.parametrize("query", ["?dry_run=yes", "?dry_run=true&dry_run=true"])
async def test_dry_run_is_true_or_false(client: httpx.AsyncClient, query: str) -> None:
    assert (await submit(client, query)).status_code == 400


async def test_a_resumed_run_has_the_attachments_of_the_earlier_one(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    earlier = (await submit(client)).json()["run_id"]
    await end(database, earlier)
    answer = await submit(client, attached=None, **resuming(earlier))
    assert answer.status_code == 200, answer.text
    made = answer.json()["run_id"].replace("-", "")
    (attached,) = files.glob(f"*/run-{made}/attachments/main.wdl")
    assert attached.samefile(next(files.glob(f"*/run-{earlier.replace('-', '')}/attachments/main.wdl")))


async def test_only_a_run_that_has_ended_can_be_resumed(client: httpx.AsyncClient) -> None:
    earlier = (await submit(client)).json()["run_id"]
    answer = await submit(client, **resuming(earlier))
    assert (answer.status_code, answer.json()["msg"]) == (400, f"{RESUME}: that run has not ended; cancel it, or wait")


@pytest.mark.parametrize("given", ["x", "00000000-0000-0000-0000-000000000000", "../x"])
async def test_only_a_run_of_ones_own_can_be_resumed(client: httpx.AsyncClient, given: str) -> None:
    answer = await submit(client, **resuming(given))
    assert answer.status_code == 400
    assert answer.json()["msg"].startswith(f"{RESUME} must be the id of a run")


async def test_only_a_run_of_the_same_engine_can_be_resumed_whatever_its_version_was(
    client: httpx.AsyncClient, database: Database
) -> None:
    earlier = (await submit(client, workflow_engine="miniwdl", workflow_engine_version="1.16")).json()["run_id"]
    await end(database, earlier)
    older = """UPDATE runs SET document = jsonb_set(document::jsonb, '{workflow_engine_version}', '"1.15"')"""
    await database.fetch(older)
    assert (await submit(client, **resuming(earlier))).status_code == 200
    await database.fetch("UPDATE runs SET backend = 'cromwell'")
    answer = await submit(client, **resuming(earlier))
    told = f"{RESUME}: that run was of another engine than miniwdl"
    assert (answer.status_code, answer.json()["msg"]) == (400, told)


async def test_a_resumed_run_whose_files_are_gone_needs_its_workflow(
    client: httpx.AsyncClient, database: Database, files: Path
) -> None:
    earlier = (await submit(client)).json()["run_id"]
    await end(database, earlier)
    next(files.glob("*/run-*/attachments/main.wdl")).unlink()
    answer = await submit(client, attached=None, **resuming(earlier))
    assert answer.status_code == 400
    assert answer.json()["msg"].endswith("the run to resume still has: send the workflow again")


@pytest.mark.parametrize("name", ["--dir", "backend", "aws_batch_job_role_arn", "user_service_account_json", "env"])
async def test_an_option_that_would_widen_rights_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await submit(client, workflow_engine_parameters=json.dumps({name: "/etc/secret"}))
    assert answer.status_code == 400
    assert "/etc/secret" not in answer.text
