"""Drives a WES client library against a service: `drive.py CLIENT URL WORKFLOW` prints as JSON what the client saw.

A program of its own: the libraries lie in folders that the tests do not have in their path.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENDED = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"}
PATIENCE_S = 60.0


def until_ended(status: Callable[[], str]) -> str:
    """The state in which a run ended."""
    give_up = time.monotonic() + PATIENCE_S
    while (state := status()) not in ENDED:
        if time.monotonic() > give_up:
            raise SystemExit(f"still {state}")
        time.sleep(0.1)
    return state


def sdk(url: str, workflow: str) -> Any:
    """All eight operations of the SDK that openapi-generator makes of the official document."""
    import wes_sdk

    client = wes_sdk.ApiClient(wes_sdk.Configuration(host=f"{url}/ga4gh/wes/v1"))
    api = wes_sdk.WorkflowRunsApi(client)
    info = wes_sdk.ServiceInfoApi(client).get_service_info()
    version = info.workflow_type_versions["WDL"].workflow_type_version[-1]
    asked = {"workflow_type": "WDL", "workflow_type_version": version, "workflow_url": "sub/hello.wdl"}
    run = api.run_workflow(
        **asked, workflow_params=json.dumps({"hello.name": "Ada"}), tags=json.dumps({"by": "sdk"}),
        workflow_engine=next(iter(info.workflow_engine_versions)), workflow_engine_parameters="{}",
        workflow_attachment=[("sub/hello.wdl", Path(workflow).read_bytes())],
    ).run_id  # fmt: skip
    state = until_ended(lambda: api.get_run_status(run).state.value)
    log = api.get_run_log(run)
    (task,) = api.list_tasks(run, page_size=1).task_logs
    again = api.run_workflow(**asked, workflow_attachment=[("sub/hello.wdl", Path(workflow).read_bytes())]).run_id
    canceled = api.cancel_run(again).run_id
    until_ended(lambda: api.get_run_status(again).state.value)
    return {
        "engines": {name: told.workflow_engine_version for name, told in info.workflow_engine_versions.items()},
        "group": info.type.group,
        "state": state,
        "outputs": log.outputs,
        "request": log.request.to_dict(),
        "inline": [one.actual_instance.name for one in log.task_logs],
        "task": task.to_dict() == api.get_task(run, task.id).to_dict() and task.name,
        "exit_code": task.exit_code,
        "listed": [one.actual_instance.run_id for one in pages(api)].index(run),
        "canceled": canceled == again,
    }


def pages(api: Any) -> list[Any]:
    """All runs, one page after another."""
    runs, token = [], None
    while True:
        page = api.list_runs(page_size=1, page_token=token)
        runs += page.runs
        token = page.next_page_token
        if token == "":  # the end, as WES says it
            return runs


def ai4gh(url: str, workflow: str) -> Any:
    """What ai4gh has of WES; it can attach nothing, so that its workflow is a URL."""
    from ai4gh.specs.wes import WESClient

    async def all_of_it() -> Any:
        client = WESClient(url)
        info = await client.get_service_info()
        run = (
            await client.submit_run(
                workflow_url=workflow, workflow_type="WDL", workflow_params={"hello.name": "Ada"}, tags={"by": "ai4gh"},
            )
        ).run_id  # fmt: skip
        state = ""
        give_up = time.monotonic() + PATIENCE_S
        while state not in ENDED and time.monotonic() < give_up:
            state = (await client.get_run_status(run)).state.value
            await asyncio.sleep(0.1)
        log = await client.get_run(run)
        canceled = await client.cancel_run(run)
        listed = [one.run_id for one in (await client.list_runs(page_size=100)).runs]
        return {"state": state, "outputs": log.outputs, "tags": log.request.tags, "artifact": info.type.artifact,
                "canceled": canceled.run_id == run, "listed": run in listed}  # fmt: skip

    return asyncio.run(all_of_it())


def gxy_wes(url: str, workflow: str) -> Any:
    """What gxy-wes has of WES; its commands know workflows of Galaxy only, its library any."""
    from gxy_wes import WesClient, WesError

    client = WesClient(url, api_key="k")
    asked = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": Path(workflow).name}
    run = client.submit_run(**asked, workflow_path=workflow, params={"hello.name": "Ada"})["run_id"]
    state = until_ended(lambda: client.get_run_status(run)["state"])
    tasks = client.get_run_tasks(run)["task_logs"]
    try:
        client.submit_run(**asked | {"workflow_type": "gx_workflow_ga"}, workflow_path=workflow)
    except WesError as error:
        refused = error.status_code
    return {
        "state": state,
        "outputs": client.get_run(run)["outputs"],
        "tasks": [task["name"] for task in tasks],
        "task": client.get_run_task(run, tasks[0]["id"]) == tasks[0],
        "listed": run in [one["run_id"] for one in client.list_runs()["runs"]],
        "canceled": client.cancel_run(run) == {"run_id": run},
        "types": list(client.service_info()["workflow_type_versions"]),
        "refused": refused,
    }


CLIENTS: dict[str, Callable[[str, str], Any]] = {"sdk": sdk, "gxy-wes": gxy_wes, "ai4gh": ai4gh}

if __name__ == "__main__":
    name, service, document = sys.argv[1:]
    print(json.dumps(CLIENTS[name](service, document)))  # noqa: T201
