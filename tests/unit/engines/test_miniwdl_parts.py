"""The pure parts: verdicts, fingerprints, sizes, events."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import WDL

from tests.doubles.tes import TesDouble
from wesgate.core.backend import QueuedTask
from wesgate.core.errors import Misconfigured
from wesgate.core.report import TaskReport
from wesgate.core.states import State
from wesgate.engines.miniwdl import addresses
from wesgate.engines.miniwdl.config import (
    HeadPlan,
    MiniwdlSettings,
    miniwdl_options,
    run_options,
)
from wesgate.engines.miniwdl.engine import MiniwdlEngine
from wesgate.engines.miniwdl.head.container import TesContainer
from wesgate.engines.miniwdl.head.runtime import disk_gb
from wesgate.engines.miniwdl.head.session import Session
from wesgate.engines.miniwdl.head.tes.adopt import Adoptable, Left, left_tasks
from wesgate.engines.miniwdl.head.tes.client import Document, Refused, TesClient, Unreachable, parse_events, read_answer
from wesgate.engines.miniwdl.head.tes.outcome import Ended, read_end
from wesgate.engines.miniwdl.head.tes.request import Asked, CallFacts, create_key, fingerprint, task_document
from wesgate.engines.miniwdl.head.tes.watch import FEW, Watch
from wesgate.engines.miniwdl.verdict import Fault, Result, conclude, parse_result, read_result, write_result


def a_head(state: State, detail: str = "", logs: tuple[str, ...] = ()) -> QueuedTask:
    return QueuedTask(uuid4(), state, detail, TaskReport(system_logs=logs), 0)


def a_plan(**engine_parameters: str) -> HeadPlan:
    settings = MiniwdlSettings(default_image="debian:12")
    return HeadPlan("r", "http://127.0.0.1:1", "main.wdl", "/files/o", False, settings, engine_parameters)


def a_call(folder: Path, **changes: object) -> CallFacts:
    call = CallFacts(
        run_id="r",
        head_attempt="attempt-1",
        name="call-x",
        call="call-x",
        attempt=1,
        command="true",
        host_dir=f"{folder}/attempt-1/call-x",
        container_dir="/mnt/c",
        work="/w",
        stdout="/o",
        stderr="/e",
        asked=Asked(image="i"),
    )
    return dataclasses.replace(call, **changes)  # type: ignore[arg-type]  # each test changes fields of its own


@pytest.mark.parametrize(
    ("head", "fault", "state"),
    [
        (State.COMPLETE, Fault.NONE, State.COMPLETE),
        (State.CANCELED, Fault.NONE, State.COMPLETE),
        (State.SYSTEM_ERROR, Fault.NONE, State.COMPLETE),
        (State.EXECUTOR_ERROR, Fault.WORKFLOW, State.EXECUTOR_ERROR),
        (State.COMPLETE, Fault.WORKFLOW, State.EXECUTOR_ERROR),
        (State.EXECUTOR_ERROR, Fault.SYSTEM, State.SYSTEM_ERROR),
        (State.EXECUTOR_ERROR, Fault.TERMINATED, State.SYSTEM_ERROR),
        (State.CANCELED, Fault.TERMINATED, State.CANCELED),
        (State.CANCELED, Fault.SYSTEM, State.CANCELED),
        (State.CANCELED, None, State.CANCELED),
        (State.COMPLETE, None, State.SYSTEM_ERROR),
        (State.EXECUTOR_ERROR, None, State.SYSTEM_ERROR),
    ],
)
def test_a_verdict_comes_from_what_the_head_left(head: State, fault: Fault | None, state: State) -> None:
    assert conclude(a_head(head), None if fault is None else Result(fault)).state is state


def test_a_head_without_a_result_is_explained_by_its_task() -> None:
    verdict = conclude(a_head(State.SYSTEM_ERROR, logs=("the disk is full",)), None)
    assert verdict.messages[0] == "the head job ended as SYSTEM_ERROR without a result: the disk is full"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"fault": "none"}', b"[" * 100_000, b"\xff"])
def test_a_result_that_no_head_wrote_is_a_system_fault(content: bytes) -> None:
    assert parse_result(content).fault is Fault.SYSTEM


def test_a_result_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    write_result(tmp_path, Result(Fault.NONE))
    (tmp_path / "result.json").rename(tmp_path / "other.json")
    (tmp_path / "result.json").symlink_to(tmp_path / "other.json")
    found = read_result(tmp_path)
    assert found
    assert found.fault is Fault.SYSTEM


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = Result(Fault.WORKFLOW, ("a", "b"), {"w.x": [1, None]}, "/d", {"error": "E"})
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result


def test_the_plan_of_a_head_is_read_as_it_was_written() -> None:
    plan = a_plan(task="x")
    assert HeadPlan.read(plan.write()) == plan


def test_a_run_cannot_have_more_tasks_at_a_time_than_the_site_allows() -> None:
    assert run_options(a_plan(max_tasks="5000")).max_tasks == 100


def test_only_our_own_plugins_and_no_files_by_guess() -> None:
    options = miniwdl_options(a_plan(), run_options(a_plan(call_cache="false")))
    assert options["plugins"]["enable_patterns"][0].startswith("wesgate.")
    assert options["file_io"]["allow_any_input"] is False
    assert (options["call_cache"]["get"], options["call_cache"]["put"]) == (False, True)


def test_a_files_root_that_miniwdl_would_expand_is_refused() -> None:
    with pytest.raises(Misconfigured, match="may not hold"):
        MiniwdlEngine(MiniwdlSettings(), None, Path("/files/$HOME"), bool)  # type: ignore[arg-type]  # no queue yet


def test_a_fingerprint_does_not_know_which_head_asks(tmp_path: Path) -> None:
    first, second = a_call(tmp_path), a_call(tmp_path, head_attempt="attempt-2")
    assert fingerprint(first) == fingerprint(second)
    assert create_key(first, "d") != create_key(second, "d")


@pytest.mark.parametrize(
    "change",
    [{"command": "false"}, {"asked": Asked("j")}, {"asked": Asked("i", {"a": "b"})}, {"inputs": {"/a": "/mnt/c/a"}}],
)
def test_a_fingerprint_knows_all_that_decides_what_a_task_does(tmp_path: Path, change: dict[str, object]) -> None:
    assert fingerprint(a_call(tmp_path)) != fingerprint(a_call(tmp_path, **change))


def test_a_fingerprint_knows_the_content_of_written_files_and_not_their_names(tmp_path: Path) -> None:
    digests = []
    for name, content in (("tmp1", "same"), ("tmp2", "same"), ("tmp3", "other")):
        path = tmp_path / name
        path.write_text(content)
        inputs = {str(path): f"/mnt/c/{name}"}
        call = a_call(tmp_path, command=f"cat /mnt/c/{name}", inputs=inputs, written=frozenset(inputs))
        digests.append(fingerprint(call))
    assert digests[0] == digests[1] != digests[2]


def test_a_fingerprint_does_not_know_where_the_head_works(tmp_path: Path) -> None:
    digests = set()
    for attempt in ("attempt-1", "attempt-2"):
        home = f"{tmp_path}/{attempt}/call-x"
        inputs = {"/data/a": f"{home}/work/_miniwdl_inputs/0/a"}
        command = f"cat {inputs['/data/a']}"
        call = a_call(tmp_path, host_dir=home, container_dir=home, command=command, inputs=inputs)
        digests.add(fingerprint(call))
    assert len(digests) == 1


def test_files_of_equal_names_get_the_same_places_in_each_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a/x", tmp_path / "b/x"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    session = Session(TesClient(list, ""), Watch(TesClient(list, ""), ("", "")), Adoptable(), "r", tmp_path, "h", False)
    monkeypatch.setattr(TesContainer, "session", session)
    maps = []
    for number, order in enumerate((paths, paths[::-1])):
        container = TesContainer(None, "call", f"{tmp_path}/{number}")  # type: ignore[arg-type]  # reads no options
        container.add_paths(map(str, order))
        maps.append(container.input_path_map)
    assert maps[0] == maps[1]


def test_a_document_asks_only_for_what_the_task_asks_for(tmp_path: Path) -> None:
    call = a_call(tmp_path, inputs={"/data/dir/": "/mnt/c/work/_miniwdl_inputs/0/dir/"})
    document = task_document(call, "d")
    assert document["resources"] == {"backend_parameters": {"image_entrypoint": "false"}}
    directory = {"url": "file:///data/dir", "path": "/mnt/c/work/_miniwdl_inputs/0/dir", "type": "DIRECTORY"}
    assert document["inputs"][1] == directory


def test_an_input_that_is_a_link_is_asked_for_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real.txt").touch()
    (tmp_path / "link.txt").symlink_to("real.txt")
    call = a_call(tmp_path, inputs={str(tmp_path / "link.txt"): "/mnt/c/link.txt", str(tmp_path / "real.txt"): "/r"})
    urls = [(one["url"], one["path"]) for one in task_document(call, "d")["inputs"][1:]]
    real = f"file://{os.path.realpath(tmp_path)}/real.txt"
    assert urls == [(real, "/mnt/c/link.txt"), (real, "/r")]


def test_of_two_tasks_alike_the_one_that_did_not_fail_is_adopted() -> None:
    tags = {"wesgate-call": "c", "wesgate-attempt": "1", "wesgate-command": "d", "wesgate-head": "attempt-1"}
    states = {"a": "COMPLETE", "b": "EXECUTOR_ERROR", "c": "CANCELED"}
    left = left_tasks([{"id": name, "state": state, "tags": tags} for name, state in states.items()])
    assert left == {("c", "1", "d"): Left("a", "attempt-1")}


@pytest.mark.parametrize("head", ["../../other", "attempt-", "true", "", None])
def test_tags_that_no_head_wrote_are_not_followed(head: str | None) -> None:
    assert left_tasks([{"id": "a", "state": "COMPLETE", "tags": {"wesgate-head": head}}, {"id": "b"}]) == {}


@pytest.mark.parametrize(
    ("text", "gb"),
    [
        ("10", 10.737),
        ("10 GB", 10.0),
        ("local-disk 10 SSD", 10.737),
        ("/mnt/data 1.5 TiB", 1649.267),
        ("local-disk 1 HDD, /x 1 GB", 2.074),
        ("512 MiB", 0.537),
    ],
)
def test_disks_are_read_in_every_form_of_wdl(text: str, gb: float) -> None:
    assert disk_gb(text) == pytest.approx(gb, abs=0.001)


@pytest.mark.parametrize("text", ["", "much", "10 XB", "local-disk", "1e9", "-5 GB"])
def test_disks_that_are_no_size_are_refused(text: str) -> None:
    with pytest.raises(WDL.Error.RuntimeError, match="invalid setting"):
        disk_gb(text)


def test_events_are_read_however_they_are_cut() -> None:
    text = b'event: ready\ndata: {}\n\n:\n\ndata: {"id": "1",\ndata: "state": "RUNNING"}\r\n\r\ndata: no json\n\n'
    expected = [("ready", {}), ("", {}), ("message", {"id": "1", "state": "RUNNING"}), ("message", {})]
    for size in (1, 7, len(text)):
        chunks = iter([text[at : at + size] for at in range(0, len(text), size)])
        assert list(parse_events(chunks)) == expected


@pytest.mark.parametrize(("status", "content"), [(503, b""), (429, b"{}"), (200, b"<html>"), (200, b"[]")])
def test_an_answer_that_may_be_better_next_time_is_no_refusal(status: int, content: bytes) -> None:
    with pytest.raises(Unreachable):
        read_answer(status, content)


def test_a_refusal_tells_what_tes_said() -> None:
    with pytest.raises(Refused, match="TES answered 400: inputs"):
        read_answer(400, json.dumps({"msg": "inputs.0.path must begin with '/'"}).encode())


def test_the_end_of_a_task_is_its_last_attempts() -> None:
    logs = [{"logs": [{"exit_code": 1}], "system_logs": ["lost"]}, {"logs": [{"exit_code": 0}, {"exit_code": 5}]}]
    assert read_end({"id": "t", "state": "EXECUTOR_ERROR", "logs": logs}) == Ended("t", "EXECUTOR_ERROR", 5)


@pytest.mark.parametrize("state", ["SYSTEM_ERROR", "CANCELED", "PREEMPTED", "EXECUTOR_ERROR", "SOMETHING"])
def test_the_end_of_a_task_is_never_without_a_sentence(state: str) -> None:
    assert "no reason was given" in Ended("t", state, None).sentence


def test_an_event_may_overtake_the_reply_to_the_create(tmp_path: Path) -> None:
    with TesDouble(tmp_path).serving() as tes:
        watch = Watch(TesClient(lambda: [tes.url], "t"), ("k", "v"))
        watch.tell("early", "COMPLETE")
        assert watch.end("early", 5) == "COMPLETE"


def test_a_task_that_tes_does_not_know_is_gone(tmp_path: Path) -> None:
    with TesDouble(tmp_path).serving() as tes:
        assert Watch(TesClient(lambda: [tes.url], "t"), ("k", "v")).end("no-such-task", 5) == "GONE"


def test_a_client_gives_up_when_it_is_told_to_stop() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Unreachable, match="did not answer"):
        TesClient(lambda: ["http://127.0.0.1:9"], "t").create({}, "k", stop.is_set)


def test_of_several_apis_the_one_that_answers_is_asked(tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    with TesDouble(tmp_path).serving() as tes:
        client = TesClient(lambda: [dead, tes.url], "t", patience_s=0)
        task = client.create(task_document(a_call(tmp_path), "d"), "k")
        assert client.get(task, "MINIMAL", patience_s=0)["id"] == task
        assert next(client.events()) == ("ready", {})


def test_a_stranger_at_an_address_that_was_left_is_not_believed(tmp_path: Path) -> None:
    with TesDouble(tmp_path / "a").serving() as stranger, TesDouble(tmp_path / "b").serving() as tes:
        task = tes.create(task_document(a_call(tmp_path), "d"), None)
        client = TesClient(lambda: [stranger.url, tes.url], "t", patience_s=0)
        assert client.get(task, "MINIMAL")["id"] == task
        with pytest.raises(Refused, match="404"):
            client.get("no-such-task", "MINIMAL")


def test_where_no_api_is_announced_is_a_service_that_is_away(tmp_path: Path) -> None:
    for directory, reason in ((tmp_path, "no process says"), (tmp_path / "none", "none")):
        with pytest.raises(Unreachable, match=reason):
            TesClient(lambda at=directory: addresses.read(at), "t").get("x", "MINIMAL", patience_s=0)  # type: ignore[misc]


def test_an_api_is_announced_for_as_long_as_it_is_there(tmp_path: Path) -> None:
    directory = tmp_path / addresses.API_DIRECTORY
    with addresses.announced(tmp_path, "http://127.0.0.1:1/"):
        with addresses.announced(tmp_path, "http://127.0.0.1:2"):
            (directory / "killed").write_text("http://127.0.0.1:3")  # nobody holds it, and a stranger may listen there
            assert sorted(addresses.read(directory)) == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
        assert addresses.read(directory) == ["http://127.0.0.1:1"]
    assert [path.name for path in directory.iterdir()] == ["killed"]
    with addresses.announced(tmp_path, "http://127.0.0.1:1") as own:
        assert list(directory.iterdir()) == [own]


def test_a_task_that_is_in_no_list_is_asked_for_alone(tmp_path: Path) -> None:
    names = [f"no-such-task-{number}" for number in range(FEW + 2)]
    with TesDouble(tmp_path).serving() as tes:
        watch = Watch(TesClient(lambda: [tes.url], "t"), ("k", "v"))
        assert watch._ask(names) == dict.fromkeys(names, "GONE")


def test_nothing_that_tes_says_ends_the_watch(tmp_path: Path) -> None:
    class Odd(TesClient):
        failures: ClassVar[list[Exception]] = [KeyError("state"), TypeError("a list"), RuntimeError("of any kind")]

        def get(self, *args: Any, **kwargs: Any) -> Document:
            if self.failures:
                raise self.failures.pop()
            return super().get(*args, **kwargs)

        def events(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
            if self.failures:
                raise ValueError("no stream")
            return super().events()

    with TesDouble(tmp_path).serving() as tes:
        assert Watch(Odd(lambda: [tes.url], "t"), ("k", "v"), 0.01).end("no-such-task", 5) == "GONE"
        assert not Odd.failures


def test_heads_that_are_forked_have_the_grammar_of_every_version() -> None:
    code = """
from WDL import _parser, parse_document
from wesgate.engines.miniwdl.head import main
from wesgate.wiring import WDL_VERSIONS
main.warm()
warm = set(_parser._lark_cache)
for version in WDL_VERSIONS:
    parse_document("task t { command { } }", version=version)
assert set(_parser._lark_cache) == warm
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
