"""Runs that go on with what others finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.doubles.site import Site, failed, outputs
from tests.doubles.tes import TesDouble
from tests.doubles.workflows import SCATTER
from wesgate.core.paths import CACHE, CACHE_ENTRIES
from wesgate.core.spec import RunSpec, RunTerms
from wesgate.core.states import State
from wesgate.engines.miniwdl.engine import head_task

THREE = """version 1.0
task first {
  input { File file  File index }
  command <<< cat ~{file} ~{index} | sort -r >>>
  output { File sorted = stdout() }
}
task second {
  input { File file }
  command <<< wc -l < ~{file} >>>
  output { Int lines = read_int(stdout()) }
}
task last {
  input { Int lines  Int code }
  command <<< echo ~{lines}; exit ~{code} >>>
  output { Int lines_seen = read_int(stdout()) }
}
workflow w {
  input { File file  File index  Int code }
  call first { input: file = file, index = index }
  call second { input: file = first.sorted }
  call last { input: lines = second.lines, code = code }
  output { Int lines = last.lines_seen }
}
"""


def three(site: Site, code: int, text: str = "a\nb\n", **engine_parameters: str) -> RunSpec:
    params = {"w.file": "data/x", "w.index": "data/x.idx", "w.code": code}
    return site.spec({"main.wdl": THREE, "data/x": text, "data/x.idx": "i\n"}, params, engine_parameters)


def resuming(spec: RunSpec, earlier: RunSpec) -> RunSpec:
    return replace(spec, terms=RunTerms(resume=earlier.id.hex))


def calls(tes: TesDouble) -> list[str]:
    return [task.document["tags"]["wesgate-call"] for task in tes.tasks.values()]


async def test_a_resumed_run_does_not_run_again_what_went_well(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 3)
    failed(await site.finish(await site.begin(earlier)), State.EXECUTOR_ERROR)
    seen = await site.finish(await site.begin(resuming(three(site, 0), earlier)))
    assert outputs(seen) == {"w.lines": 3}
    assert calls(tes) == ["call-first", "call-second", "call-last", "call-last"]


async def test_an_attachment_that_changed_is_another_input(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 0)
    await site.finish(await site.begin(earlier))
    seen = await site.finish(await site.begin(resuming(three(site, 0, "a\nb\nc\n"), earlier)))
    assert outputs(seen) == {"w.lines": 4}
    assert len(calls(tes)) == 6


async def test_a_run_that_reads_no_cache_can_be_resumed(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 3, call_cache="false")
    await site.finish(await site.begin(earlier))
    await site.finish(await site.begin(resuming(three(site, 0, call_cache="false"), earlier)))
    assert calls(tes) == ["call-first", "call-second", "call-last", "call-last"]


async def test_what_a_task_read_beside_its_document_is_read_again(site: Site, tes: TesDouble) -> None:
    source = """version 1.2
task read {
  input { File file = "note.txt" }
  command <<< cat ~{file} >>>
  output { String text = read_string(stdout()) }
}
workflow w { call read  output { String text = read.text } }
"""
    for text in ("one", "two"):
        seen = await site.run({"main.wdl": source, "note.txt": text})
        assert outputs(seen) == {"w.text": text}


async def test_files_of_an_earlier_run_that_are_gone_are_made_again(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 0)
    await site.finish(await site.begin(earlier))
    for path in Path(earlier.directory).glob("attempt-1/call-first/stdout.txt"):
        path.unlink()
    assert outputs(await site.finish(await site.begin(three(site, 0)))) == {"w.lines": 3}
    assert "call-first" in calls(tes)[3:]


async def test_calls_that_were_not_run_are_told_with_the_task_that_did_the_work(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 3)
    await site.finish(await site.begin(earlier))
    assert tes.cached == []
    await site.finish(await site.begin(resuming(three(site, 0), earlier)))
    assert tes.cached == [
        {"call": "call-first", "name": "call-first", "task": "task-1", "run": str(earlier.id)},
        {"call": "call-second", "name": "call-second", "task": "task-2", "run": str(earlier.id)},
    ]


async def test_every_call_of_a_run_that_was_done_before_is_told(site: Site, tes: TesDouble) -> None:
    for _ in range(2):
        await site.run(SCATTER)
    assert len(tes.tasks) == 4
    told = sorted(call["call"] for call in tes.cached)
    assert told == ["call-add", "call-square-0", "call-square-1", "call-square-2"]


async def test_a_head_that_is_started_again_does_not_tell_of_its_own_tasks(site: Site, tes: TesDouble) -> None:
    spec = three(site, 0)
    handle = await site.begin(spec)
    await site.finish(handle)
    (Path(spec.directory) / "result.json").unlink()
    await site.queue.start(head_task(handle))
    assert outputs(await site.finish(handle)) == {"w.lines": 3}
    assert tes.cached == []


async def test_what_a_task_put_in_place_of_its_id_is_not_told(site: Site, tes: TesDouble) -> None:
    earlier = three(site, 3)
    await site.finish(await site.begin(earlier))
    for call in ("call-first", "call-second"):
        told = Path(earlier.directory) / "attempt-1" / call / "task-id"
        told.unlink()
        told.symlink_to("/etc/passwd")
    await site.finish(await site.begin(three(site, 0)))
    assert [call["task"] for call in tes.cached] == ["", ""]


async def test_a_run_writes_down_what_it_put_into_the_cache(site: Site, tes: TesDouble) -> None:
    earlier, later = three(site, 3), three(site, 0)
    made = []
    for spec in (earlier, later):
        await site.finish(await site.begin(spec))
        made.append(set((Path(spec.directory) / CACHE_ENTRIES).read_text().splitlines()))
    cache = Path(earlier.directory).parent / CACHE
    assert [len(names) for names in made] == [2, 1]
    assert {str(entry.relative_to(cache).with_suffix("")) for entry in cache.rglob("*.json")} == made[0] | made[1]


SAYS = """version 1.1
task t {
  input { String image = "ubuntu:24.04" }
  command <<< echo hi >>>
  output { String s = read_string(stdout()) }
  IMAGE
}
workflow w { input { String image = "ubuntu:24.04" }  call t { input: image = image }  output { String s = t.s } }
"""
NONE = SAYS.replace("IMAGE", "")
PLAIN = SAYS.replace("IMAGE", 'runtime { container: ["ubuntu:24.04", "other"] }')
COMPUTED = SAYS.replace("IMAGE", "runtime { docker: image }")


def images(tes: TesDouble) -> list[str]:
    return [task.document["executors"][0]["image"] for task in tes.tasks.values()]


def mapped(named: str, image: str) -> dict[str, str]:
    return {"image_map": json.dumps({named: image})}


async def test_a_task_that_names_no_image_is_answered_for_its_own_image_only(site: Site, tes: TesDouble) -> None:
    for asked in ("a:1", "b:2", "a:1"):
        await site.run(NONE, engine_parameters={"runtime_defaults": json.dumps({"docker": asked})})
    await site.run(NONE, engine_parameters=mapped("ubuntu:22.04", "c:3"))
    await site.with_settings(default_image="d:4").run(NONE)
    await site.with_settings(default_image="a:1").run(NONE)
    assert images(tes) == ["a:1", "b:2", "c:3", "d:4"]


@pytest.mark.parametrize("source", [PLAIN, COMPUTED], ids=["plain", "computed"])
async def test_a_task_is_answered_for_the_image_that_replaces_its_own_only(
    site: Site, tes: TesDouble, source: str
) -> None:
    for parameters in ({}, mapped("ubuntu:24.04", "a:1"), mapped("ubuntu:24.04", "b:2"), {}):
        await site.run(source, engine_parameters=parameters)
    await site.with_settings(images={"ubuntu:24.04": "a:1"}).run(source)
    await site.with_settings(images={"ubuntu:24.04": "c:3"}).run(source)
    assert images(tes) == ["ubuntu:24.04", "a:1", "b:2", "c:3"]


async def test_an_image_among_the_inputs_is_replaced_like_one_of_the_task(site: Site, tes: TesDouble) -> None:
    for parameters in ({}, mapped("e:1", "f:1")):
        await site.run(PLAIN, {"w.t.runtime.container": "e:1"}, parameters)
    assert images(tes) == ["e:1", "f:1"]


async def test_what_is_said_of_other_images_and_of_resources_costs_no_hit(site: Site, tes: TesDouble) -> None:
    more = {"runtime_defaults": '{"docker": "a:1", "cpu": 2, "memory": "3 GB"}', "max_retries": "2"}
    for parameters in ({}, more, mapped("other:1", "a:1")):
        await site.with_settings(default_image=f"x:{len(parameters)}").run(PLAIN, engine_parameters=parameters)
    assert images(tes) == ["ubuntu:24.04"]
