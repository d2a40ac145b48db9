"""What a run may ask of miniwdl: each engine parameter, in effect and at its bounds."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from uuid import uuid4

import pytest

from tests.doubles.site import Site, failed
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import FAIL, HELLO
from wesgate.core.states import State
from wesgate.engines.miniwdl.config import MiniwdlSettings, engine_parameters

PARAMETERS = {parameter.name: parameter for parameter in engine_parameters(MiniwdlSettings())}
# One task fails when the other has begun, which waits at the gate. What is written to a pipe waits for who reads it.
# Nothing tells that no cancel will come: so behind the gate there is time for one.
TWO = """version 1.0
task fail { input { String began }  command <<< cat ~{began}; exit 7 >>> }
task wait { input { String began  String gate }  command <<< echo > ~{began}; cat ~{gate}; sleep 1 >>> }
workflow w {
  input { String began  String gate }
  call fail { input: began = began }
  call wait { input: began = began, gate = gate }
}
"""
ALONE = """version 1.0
task alone { input { String lock  Int n }  command <<< mkdir ~{lock} && sleep 0.1 && rmdir ~{lock} >>> }
workflow w { input { String lock }  scatter (n in range(3)) { call alone { input: lock = lock, n = n } } }
"""
NAMED = HELLO.replace("command", 'runtime { container: "ubuntu:latest" }\n  command', 1)


@pytest.fixture
def pipes(tmp_path: Path) -> dict[str, str]:
    """The parameters of TWO."""
    for name in ("began", "gate"):
        os.mkfifo(tmp_path / name)
    return {f"w.{name}": str(tmp_path / name) for name in ("began", "gate")}


def image(tes: TesDouble) -> str:
    (task,) = tes.tasks.values()
    return str(task.document["executors"][0]["image"])


async def test_a_task_that_names_no_retries_gets_those_of_the_run(site: Site, tes: TesDouble) -> None:
    failed(await site.run(FAIL, engine_parameters={"max_retries": "2"}), State.EXECUTOR_ERROR)
    assert len(tes.tasks) == 3


async def test_a_task_that_names_its_retries_keeps_them(site: Site, tes: TesDouble) -> None:
    source = FAIL.replace("command", "runtime { maxRetries: 0 }\n  command", 1)
    failed(await site.run(source, engine_parameters={"max_retries": "2"}), State.EXECUTOR_ERROR)
    assert len(tes.tasks) == 1


async def test_what_a_task_does_not_say_of_its_runtime_the_run_may_say(site: Site, tes: TesDouble) -> None:
    defaults = {"docker": "debian:12", "cpu": 2, "memory": "3 GB", "disks": "local-disk 10 SSD", "preemptible": 1}
    await site.run(HELLO, engine_parameters={"runtime_defaults": json.dumps(defaults)})
    (task,) = tes.tasks.values()
    asked = task.document["resources"]
    assert (image(tes), asked["cpu_cores"], asked["ram_gb"], asked["preemptible"]) == ("debian:12", 2, 3.0, True)
    assert asked["disk_gb"] == pytest.approx(10.737, abs=0.001)


@pytest.mark.parametrize("name", ["docker", "container"])
async def test_an_image_that_a_task_names_is_no_default(site: Site, tes: TesDouble, name: str) -> None:
    await site.run(NAMED, engine_parameters={"runtime_defaults": json.dumps({name: "debian:12"})})
    assert image(tes) == "ubuntu:latest"


async def test_a_default_is_text_and_no_variable(site: Site, tes: TesDouble) -> None:
    await site.run(HELLO, engine_parameters={"runtime_defaults": '{"docker": "$HOME:${PATH}"}'})
    assert image(tes) == "$HOME:${PATH}"


async def test_images_are_replaced_by_the_site_and_then_by_the_run(site: Site, tes: TesDouble) -> None:
    site = site.with_settings(images={"ubuntu:latest": "site/ubuntu:22"})
    await site.run(NAMED, engine_parameters={"image_map": '{"site/ubuntu:22": "mine:1", "ubuntu": "other:1"}'})
    assert image(tes) == "mine:1"


async def test_the_first_failure_ends_what_runs(site: Site, tes: TesDouble, pipes: dict[str, str]) -> None:
    assert "call-fail" in failed(await site.run(TWO, pipes), State.EXECUTOR_ERROR)
    assert sorted(task.state for task in tes.tasks.values()) == ["CANCELED", "EXECUTOR_ERROR"]


async def test_a_run_may_let_end_what_runs_when_a_task_fails(site: Site, tes: TesDouble, pipes: dict[str, str]) -> None:
    handle = await site.begin(site.spec(TWO, pipes, {"fail_fast": "false"}))
    await asyncio.to_thread(tes.wait_for, "EXECUTOR_ERROR")
    await asyncio.to_thread(Path(pipes["w.gate"]).write_text, "open")
    assert "call-fail" in failed(await site.finish(handle), State.EXECUTOR_ERROR)
    assert sorted(task.state for task in tes.tasks.values()) == ["COMPLETE", "EXECUTOR_ERROR"]


async def test_a_run_has_as_many_tasks_at_a_time_as_it_asks_for(site: Site, tmp_path: Path) -> None:
    seen = await site.run(ALONE, {"w.lock": str(tmp_path / "lock")}, {"max_tasks": "1"})
    assert seen.state is State.COMPLETE, seen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", "-1"),
        ("max_retries", "many"),
        ("max_tasks", "0"),
        ("runtime_defaults", "[]"),
        ("runtime_defaults", "{"),
        ("runtime_defaults", '{"privileged": true}'),
        ("runtime_defaults", '{"env": {"A": "b"}}'),
        ("runtime_defaults", '{"docker_network": "host"}'),
        ("runtime_defaults", '{"docker": 5}'),
        ("runtime_defaults", '{"docker": "a b"}'),
        ("runtime_defaults", '{"container": []}'),
        ("runtime_defaults", '{"container": ["a", ""]}'),
        ("runtime_defaults", '{"cpu": "abc"}'),
        ("runtime_defaults", '{"cpu": 1e300}'),
        ("runtime_defaults", '{"cpu": 1e999}'),
        ("runtime_defaults", '{"cpu": true}'),
        ("runtime_defaults", '{"cpu": 0}'),
        ("runtime_defaults", '{"memory": "lots"}'),
        ("runtime_defaults", '{"memory": "1 gb"}'),
        ("runtime_defaults", '{"memory": "9999999 TB"}'),
        ("runtime_defaults", '{"memory": 1.5}'),
        ("runtime_defaults", '{"disks": "much"}'),
        ("runtime_defaults", '{"disks": -1}'),
        ("runtime_defaults", '{"maxRetries": -1}'),
        ("runtime_defaults", '{"maxRetries": "x"}'),
        ("runtime_defaults", '{"preemptible": 1.5}'),
        ("runtime_defaults", '{"preemptible": null}'),
        ("image_map", '{"a": ["b"]}'),
        ("image_map", '{"a": 5}'),
        ("image_map", '{"a": "b c"}'),
        ("image_map", '{"a": ""}'),
        ("image_map", "NaN"),
    ],
)
def test_a_value_that_a_parameter_cannot_have_is_told(name: str, value: str) -> None:
    assert PARAMETERS[name].complaint(value).startswith("m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", "0"),
        ("runtime_defaults", '{"cpu": 2, "memory": "1 GB", "disks": 7, "docker": "a", "preemptible": 3}'),
        ("runtime_defaults", '{"cpu": "0.5", "memory": 4000000000, "disks": "/x 1 GB, local-disk 10 SSD"}'),
        ("runtime_defaults", '{"container": ["a", "b"], "cpu": 1.5, "maxRetries": 0}'),
        ("image_map", '{"a": "b"}'),
    ],
)
def test_a_value_that_a_parameter_can_have_is_taken(name: str, value: str) -> None:
    assert not PARAMETERS[name].complaint(value)


def test_what_is_wrong_with_a_member_is_told_with_its_name() -> None:
    assert PARAMETERS["runtime_defaults"].complaint('{"cpu": "abc"}') == (
        "must have as cpu a number of cores, more than 0 and at most 1000000"
    )
    assert PARAMETERS["image_map"].complaint(json.dumps({"x" * 5000: 5})) == (
        f"must have as {'x' * 200} the name of an image, without blanks"
    )


async def test_every_kind_of_value_that_is_taken_reaches_the_task(site: Site, tes: TesDouble) -> None:
    defaults = {"container": ["debian:12", "x"], "cpu": "0.5", "memory": 3000000000, "disks": 10}
    await site.run(HELLO, engine_parameters={"runtime_defaults": json.dumps(defaults)})
    (task,) = tes.tasks.values()
    asked = task.document["resources"]
    assert (image(tes), asked["cpu_cores"], asked["ram_gb"]) == ("debian:12", 1, 3.0)
    assert asked["disk_gb"] == pytest.approx(10.737, abs=0.001)


def test_a_site_without_a_call_cache_resumes_nothing() -> None:
    (resume,) = (one for one in engine_parameters(MiniwdlSettings(call_cache=False)) if one.name == "resume")
    assert "this site has no call cache" in resume.complaint(str(uuid4()))
    assert not resume.complaint("")
    assert "resume" not in PARAMETERS


@pytest.mark.parametrize("name", ["dir", "env", "as_user", "allow_any_input", "container_backend", "host_credentials"])
def test_nothing_that_widens_what_a_run_may_do_is_a_parameter(name: str) -> None:
    assert name not in PARAMETERS
