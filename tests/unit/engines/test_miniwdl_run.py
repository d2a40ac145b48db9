"""Whole runs: a real head against a TES that runs tasks as processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import FAIL, HELLO, INNER, OUTER, SCATTER
from wesgate.core.states import State


async def test_a_workflow_runs_and_gives_its_outputs(site: Site) -> None:
    seen = await site.run(HELLO, {"greet.name": "wesgate"})
    assert outputs(seen) == {"greet.said": "hello wesgate"}
    assert seen.report
    assert (site.root / seen.report.stderr).exists()


async def test_every_call_is_one_task_with_tags_and_the_run_token(site: Site, tes: TesDouble) -> None:
    spec = site.spec(HELLO)
    handle = await site.begin(spec)
    await site.finish(handle)
    (task,) = tes.tasks.values()
    token = (Path(spec.directory) / "token").read_text()
    assert tes.tokens == {f"Bearer {token}"}
    assert task.document["tags"]["wesgate-run"] == str(spec.id)
    assert task.document["tags"]["wesgate-call"] == "call-hello"


@pytest.mark.parametrize("host_paths", [False, True], ids=["mounts", "host"])
async def test_a_scatter_is_gathered(site: Site, host_paths: bool) -> None:
    site.host_paths = host_paths
    found = outputs(await site.run(SCATTER))
    assert found["squares.sum"] == 5
    assert [Path(part).read_text() for part in found["squares.parts"]] == ["0\n", "1\n", "4\n"]


async def test_a_task_alone_runs(site: Site) -> None:
    source = HELLO.split("workflow", maxsplit=1)[0]
    assert outputs(await site.run(source, {"hello.name": "you"})) == {"hello.said": "hello you"}


async def test_a_failing_command_is_the_workflows_fault_and_its_stderr_is_told(site: Site) -> None:
    text = failed(await site.run(FAIL), State.EXECUTOR_ERROR)
    assert "call-fail: task command failed with exit status 7" in text
    assert "the reference is missing" in text


async def test_a_task_that_could_not_be_carried_out_tells_why(site: Site) -> None:
    source = FAIL.replace("command", 'runtime { docker: "missing:1" }\n  command', 1)
    text = failed(await site.run(source), State.SYSTEM_ERROR)
    assert "image missing:1 cannot be pulled" in text


@pytest.mark.parametrize("host_paths", [False, True], ids=["mounts", "host"])
async def test_a_failing_task_is_retried_as_often_as_it_asks(site: Site, tes: TesDouble, host_paths: bool) -> None:
    site.host_paths = host_paths
    source = FAIL.replace("exit 7", "echo try >> ~{log}; [ $(wc -l < ~{log}) -eq 2 ] && echo ok || exit 7")
    source = source.replace("task fail {", "task fail {\n  input { String log }\n  runtime { maxRetries: 1 }")
    wiring = "output { String x = fail.x }\n  input { String log }\n  call fail { input: log = log }"
    source = source.replace("call fail", wiring)
    assert outputs(await site.run(source, {"w.log": str(site.root / "tries")})) == {"w.x": "ok"}
    assert [task.document["tags"]["wesgate-attempt"] for task in tes.tasks.values()] == ["1", "2"]


async def test_a_lost_machine_is_tried_again_where_the_task_allows_it(site: Site, tes: TesDouble) -> None:
    tes.preempt = 1
    source = HELLO.replace("command", "runtime { preemptible: 1 }\n  command", 1)
    assert outputs(await site.run(source)) == {"greet.said": "hello world"}
    asked = [task.document["resources"].get("preemptible") for task in tes.tasks.values()]
    assert asked == [True, None]


async def test_resources_are_asked_for(site: Site, tes: TesDouble) -> None:
    runtime = 'runtime { cpu: 3 memory: "2 GB" disks: "local-disk 10 SSD" docker: "debian:12" }'
    await site.run(HELLO.replace("command", runtime + "\n  command", 1))
    (task,) = tes.tasks.values()
    assert task.document["executors"][0]["image"] == "debian:12"
    asked = {key: task.document["resources"][key] for key in ("cpu_cores", "ram_gb", "disk_gb")}
    assert asked == {"cpu_cores": 3, "ram_gb": 2.0, "disk_gb": pytest.approx(10.737, abs=0.001)}


async def test_a_long_command_travels_as_a_file(site: Site, tes: TesDouble) -> None:
    source = HELLO.replace("echo noise", "true " + "x" * 110_000 + "\n echo noise")
    assert outputs(await site.run(source)) == {"greet.said": "hello world"}
    (task,) = tes.tasks.values()
    script = task.document["inputs"][0]
    assert "content" not in script
    assert script["url"].startswith("file:///")


async def test_the_second_run_of_an_owner_finds_the_results_of_the_first(site: Site, tes: TesDouble) -> None:
    await site.run(SCATTER)
    assert outputs(await site.run(SCATTER, {"squares.shards": 4}))["squares.sum"] == 14
    assert len(tes.tasks) == 4 + 2  # three squares of the first run serve the second


async def test_a_run_may_do_without_the_call_cache(site: Site, tes: TesDouble) -> None:
    await site.run(HELLO)
    await site.run(HELLO, engine_parameters={"call_cache": "false"})
    assert len(tes.tasks) == 2


@pytest.mark.parametrize("copy", ["false", "true"])
@pytest.mark.parametrize("host_paths", [False, True], ids=["mounts", "host"])
async def test_directories_structs_and_subworkflows_reach_their_tasks(
    site: Site, tes: TesDouble, host_paths: bool, copy: str
) -> None:
    site.host_paths = host_paths
    files = {"main.wdl": OUTER, "sub/inner.wdl": INNER, "d/1": "", "d/2": "", "a/x": "one\n", "b/x": "two\n"}
    samples = [{"name": name, "reads": f"{name}/x"} for name in ("a", "b")]
    seen = await site.run(files, {"outer.folder": "d", "outer.samples": samples}, {"copy_input_files": copy})
    found = outputs(seen)
    assert found["outer.lines"] == [["2", "one", "2"], ["2", "two", "2"]]
    assert [Path(same).read_text() for same in found["outer.same"]] == ["one\n", "two\n"]
    calls = sorted(task.document["tags"]["wesgate-call"] for task in tes.tasks.values())
    assert [call.count("call-count") for call in calls] == [1, 1]
    assert all(call.startswith("call-inner-") for call in calls)
