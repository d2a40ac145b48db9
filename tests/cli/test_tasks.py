"""`wesgate task`: ls, get, logs, cancel, wait, on wesgate and on a TES server that has the standard routes only."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.cli.answers import T0
from tests.cli.conftest import Cli
from tests.cli.double import Double
from tests.cli.tes_double import a_step, a_task
from wesgate.cli.remote import waiting

WAITING = {"waiting_reason": "no slot\x1b[2J is free", "waiting_since": T0, "queue_position": "4"}
USED = {"peak_memory_bytes": "1500000", "cpu_seconds": "2.5", "bytes_in": "12", "vm_price_per_hour_usd": "0.12"}


@pytest.fixture(params=["wesgate", "plain"])
def any_tes(request: pytest.FixtureRequest, server: Double) -> Double:
    server.tasks.plain = request.param == "plain"
    return server


def test_ls_reads_on_through_the_pages_up_to_its_limit(cli: Cli, any_tes: Double) -> None:
    for number in range(5):
        any_tes.tasks.add(a_task(f"task-{number}", name=f"n{number}"))
    assert cli(any_tes, "task", "ls").out.count("COMPLETE") == 5
    told = json.loads(cli(any_tes, "task", "ls", "-n", "3", "--json").out)
    assert [task["id"] for task in told["tasks"]] == ["task-0", "task-1", "task-2"]


def test_ls_holds_to_its_filters_also_where_the_server_leaves_them_out(cli: Cli, server: Double) -> None:
    server.tasks.add(a_task("a", "RUNNING", name="align-1", tags={"k": "v"}))
    server.tasks.add(a_task("b", "COMPLETE", name="align-2", tags={"k": "v"}))
    server.tasks.add(a_task("c", "RUNNING", name="align-3", tags={"k": "w"}))
    server.tasks.add(a_task("d", "RUNNING", name="sort", tags={"k": "v"}))
    filters = ["--state", "running", "--tag", "k=v", "--name", "align"]
    told = json.loads(cli(server, "task", "ls", *filters, "--json").out)
    assert [task["id"] for task in told["tasks"]] == ["a"]
    asked = [("state", "RUNNING"), ("tag_key", "k"), ("tag_value", "v"), ("name_prefix", "align")]
    assert set(asked) <= set(server.tasks.queries[0])
    assert "the states are" in cli(server, "task", "ls", "--state", "walking").err


def test_a_task_is_known_by_the_beginning_of_its_id_and_as_last(cli: Cli, any_tes: Double) -> None:
    for task_id in ("abc-1", "abd-2", "xyz-3"):
        any_tes.tasks.add(a_task(task_id))
    assert json.loads(cli(any_tes, "task", "get", "abd", "--json").out)["id"] == "abd-2"
    assert json.loads(cli(any_tes, "task", "get", "last", "--json").out)["id"] == "abc-1"
    assert "2 tasks begin with 'ab': abc-1, abd-2" in cli(any_tes, "task", "get", "ab").err
    assert cli(any_tes, "task", "get", "nope").code == 2


def test_last_is_the_youngest_also_where_the_oldest_comes_first(cli: Cli, server: Double) -> None:
    for day in range(1, 6):
        server.tasks.add(a_task(f"day-{day}", creation_time=f"2026-11-0{day}T00:00:00Z"))
    assert json.loads(cli(server, "task", "get", "last", "--json").out)["id"] == "day-5"


def test_get_says_why_a_task_waits(cli: Cli, any_tes: Double) -> None:
    any_tes.tasks.add(a_task("t", "QUEUED", {"metadata": WAITING}))
    out = cli(any_tes, "task", "get", "t").out
    assert "no slot\\x1b[2J is free, for " in out
    assert "number 4 in the queue" in out
    any_tes.tasks.add(a_task("t", "COMPLETE", {"metadata": WAITING}))
    assert "queue" not in cli(any_tes, "task", "get", "t").out


def test_get_tells_steps_outputs_system_logs_and_usage(cli: Cli, any_tes: Double) -> None:
    attempt = {
        "logs": [a_step(0), a_step(3)],
        "outputs": [{"url": "s3://b/o", "path": "/o", "size_bytes": "2500"}],
        "system_logs": ["the disk\nis full"],
        "metadata": USED,
    }
    steps = [{"image": "i", "command": ["sh", "-c", f"step {number}"]} for number in range(3)]
    any_tes.tasks.add(a_task("t", "EXECUTOR_ERROR", {}, attempt, executors=steps, tags={"k": "v"}))
    out = cli(any_tes, "task", "get", "t").out
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "3", "7", "s", "sh", "-c", "'step", "1'"] in rows
    assert ["2", "-", "sh", "-c", "'step", "2'"] in rows
    assert ["s3://b/o", "2.5", "kB"] in rows
    assert ["attempt", "2"] in rows
    assert "the disk\nis full\n" in out
    assert "2.5 s of CPU, 1.5 MB of memory at most, 12 B in, a machine at 0.12 USD per hour" in out


def test_get_json_is_what_the_server_gave(cli: Cli, any_tes: Double) -> None:
    task = a_task("t", odd={"a": [1, None]})
    any_tes.tasks.add(task)
    assert json.loads(cli(any_tes, "task", "get", "t", "--json").out) == task


def test_logs_are_whole_on_wesgate_and_of_the_document_elsewhere(cli: Cli, server: Double) -> None:
    server.tasks.add(a_task("t", "COMPLETE", {"logs": [a_step(0, "the end\n", "err\n")]}))
    server.tasks.logs[1, 0, "stdout"] = b"begin\nthe end\n"
    assert cli(server, "task", "logs", "t", "--stdout").out == "begin\nthe end\n"
    server.tasks.plain = True
    assert cli(server, "task", "logs", "t").out == "==> stdout <==\nthe end\n==> stderr <==\nerr\n"


def test_a_web_page_in_place_of_a_log_is_no_log(cli: Cli, server: Double) -> None:
    server.tasks.add(a_task("t", "COMPLETE", {"logs": [a_step(0, "text\n")]}))
    server.tasks.web_page = True
    assert cli(server, "task", "logs", "t", "--stdout").out == "text\n"


def test_logs_are_of_one_step_and_one_attempt(cli: Cli, any_tes: Double) -> None:
    first = {"logs": [a_step(1, "first try")]}
    last = {"logs": [a_step(0, "one\n"), a_step(0, "two\n")]}
    any_tes.tasks.add(a_task("t", "COMPLETE", first, last, executors=[{}, {}]))
    any_tes.tasks.logs = {(1, 0, "stdout"): b"first try", (2, 0, "stdout"): b"one\n", (2, 1, "stdout"): b"two\n"}
    assert cli(any_tes, "task", "logs", "t", "--step", "1", "--stdout").out == "two\n"
    assert cli(any_tes, "task", "logs", "t", "--attempt", "1", "--step", "0", "--stdout").out == "first try"
    both = cli(any_tes, "task", "logs", "t").out
    assert both == "==> attempt 2 step 0 stdout <==\none\n==> attempt 2 step 1 stdout <==\ntwo\n"
    told = json.loads(cli(any_tes, "task", "logs", "t", "--stdout", "--json").out)
    assert told["steps"] == [{"step": 0, "stdout": "one\n"}, {"step": 1, "stdout": "two\n"}]
    assert "the last step of the task is 1" in cli(any_tes, "task", "logs", "t", "--step", "2").err
    assert "the task has only 2" in cli(any_tes, "task", "logs", "t", "--attempt", "3").err


def test_logs_are_followed_through_steps_and_attempts_without_repeats(cli: Cli, server: Double) -> None:
    steps: list[dict[str, str]] = [{}, {}]
    running = a_task("t", "RUNNING", {"logs": [a_step(None)]}, executors=steps)
    first = {"logs": [a_step(0), a_step(1)]}
    again = a_task("t", "RUNNING", first, {"logs": [a_step(0), a_step(None)]}, executors=steps)
    ended = a_task("t", "COMPLETE", first, {"logs": [a_step(0), a_step(0)]}, executors=steps)
    server.tasks.add(running, running, running, again, again, ended)
    places = [(1, 0, "stdout"), (1, 1, "stdout"), (2, 0, "stdout"), (2, 1, "stdout")]
    server.tasks.logs = {place: f"{number}\n".encode() for number, place in enumerate(places)}
    said = cli(server, "task", "logs", "t", "-f", "--stdout")
    headings = ["step 0", "step 1", "attempt 2 step 0", "attempt 2 step 1"]
    assert said.code == 0
    assert said.out == "".join(f"==> {one} stdout <==\n{number}\n" for number, one in enumerate(headings))
    assert server.tasks.log_requests.count((2, 0, "stdout")) == 1  # it had ended at the first look


def test_logs_show_control_characters_written_out_unless_raw(cli: Cli, any_tes: Double) -> None:
    any_tes.tasks.add(a_task("t", "COMPLETE", {"logs": [a_step(0, "10%\r\x1b[31m\n")]}))
    any_tes.tasks.logs[1, 0, "stdout"] = b"10%\r\x1b[31m\n"
    assert cli(any_tes, "task", "logs", "t", "--stdout").out == "10%\n\\x1b[31m\n"
    assert cli(any_tes, "task", "logs", "t", "--stdout", "--raw").out == "10%\r\x1b[31m\n"


def test_cancel_asks_for_each_and_tells_their_states(cli: Cli, any_tes: Double) -> None:
    any_tes.tasks.add(a_task("a-1", "CANCELING"))
    any_tes.tasks.add(a_task("b-1", "CANCELED"))
    said = cli(any_tes, "task", "cancel", "a", "b", "a-1")
    assert (said.code, said.out) == (0, "task a-1 is CANCELING\ntask b-1 is CANCELED\n")
    assert any_tes.tasks.canceled == ["a-1", "b-1"]


def test_cancel_by_filters_prints_the_count(cli: Cli, server: Double) -> None:
    said = cli(server, "task", "cancel", "--tag", "k=v", "--tag", "l=w", "--state", "queued", "--name", "al")
    assert (said.code, said.out) == (0, "3 tasks canceled\n")
    assert server.tasks.queries == [
        [("state", "QUEUED"), ("tag_key", "k"), ("tag_key", "l"), ("tag_value", "v"), ("tag_value", "w"),
         ("name_prefix", "al")]
    ]  # fmt: skip
    assert json.loads(cli(server, "task", "cancel", "--state", "queued", "--json").out) == {"canceled": 3}


def test_another_server_says_that_it_cannot_cancel_by_filters(cli: Cli, server: Double) -> None:
    server.tasks.plain = True
    said = cli(server, "task", "cancel", "--state", "queued")
    assert (said.code, "cannot cancel many tasks at once (wesgate can)" in said.err) == (3, True)


@pytest.mark.parametrize("words", [[], ["t", "--state", "queued"], ["--name", ""]])
def test_cancel_never_guesses_which(cli: Cli, server: Double, words: list[str]) -> None:
    server.tasks.add(a_task("t"))
    said = cli(server, "task", "cancel", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert (server.tasks.canceled, server.tasks.queries) == ([], [])


def test_waiting_ends_with_0_only_if_all_complete(cli: Cli, any_tes: Double) -> None:
    any_tes.tasks.add(a_task("good", "QUEUED"), a_task("good", "RUNNING"), a_task("good"))
    any_tes.tasks.add(a_task("bad", "RUNNING"), a_task("bad", "EXECUTOR_ERROR", {"logs": [a_step(7, "", "no gene\n")]}))
    said = cli(any_tes, "task", "wait", "good")
    assert (said.code, said.out) == (0, "task good ended COMPLETE after 7 s\n")
    said = cli(any_tes, "task", "wait", "good", "bad")
    assert said.code == 1
    assert "task bad ended EXECUTOR_ERROR\nstep 0 failed: exit code 7\n    no gene\n" in said.out
    assert "whole log: wesgate task logs bad" in said.out


def test_a_server_that_restarts_is_waited_for_and_one_that_stays_away_is_given_up(
    cli: Cli, server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.tasks.add(a_task("t", "RUNNING"), a_task("t", "RUNNING"), a_task("t", "AWAY"), a_task("t"))
    assert cli(server, "task", "wait", "t").code == 0
    monkeypatch.setattr(waiting, "AWAY_S", 0.1)
    server.tasks.add(*[a_task("t" * 32, "RUNNING")] * 2, a_task("t" * 32, "AWAY"))
    said = cli(server, "task", "wait", "t" * 32)
    assert said.code == 3
    assert f"wesgate task wait {'t' * 32}" in said.err


def test_a_server_that_refuses_in_the_middle_is_not_waited_for(cli: Cli, server: Double) -> None:
    server.tasks.add(a_task("t" * 32, "RUNNING"), a_task("t" * 32, "REFUSED"))
    assert cli(server, "task", "wait", "t" * 32).code == 3


def test_waiting_json_is_one_document(cli: Cli, any_tes: Double) -> None:
    any_tes.tasks.add(a_task("a"))
    any_tes.tasks.add(a_task("b", "CANCELED"))
    assert json.loads(cli(any_tes, "task", "wait", "a", "--json").out)["state"] == "COMPLETE"
    said = cli(any_tes, "task", "wait", "a", "b", "--json")
    assert [task["state"] for task in json.loads(said.out)["tasks"]] == ["COMPLETE", "CANCELED"]
    assert said.code == 1


def test_ctrl_c_leaves_tasks_going_and_says_how_to_go_on(server: Double) -> None:
    server.tasks.add(a_task("t" * 32, "RUNNING", {"logs": [a_step(None)]}))
    server.tasks.logs[1, 0, "stdout"] = b"so far\n"
    server.tasks.next_tasks = [server.tasks.tasks["t" * 32]]
    words = ["task", "create", "--image", "i", "--follow", "--url", server.url, "--", "sleep", "60"]
    with subprocess.Popen(
        [sys.executable, "-m", "wesgate", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            while "so far" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"wesgate task cancel {'t' * 32} --url {server.url}" in told
    assert "Traceback" not in told
    assert server.tasks.canceled == []
