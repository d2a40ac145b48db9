"""`ls`, `status`, `logs`, `cancel`, `outputs`: finding runs and telling of them."""

from __future__ import annotations

import json

import pytest
from starlette.responses import JSONResponse

from tests.cli.answers import T0
from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run, a_task
from wesgate.cli.people import find


def test_ls_reads_on_through_the_pages_up_to_its_limit(cli: Cli, any_server: Double) -> None:
    for number in range(5):
        any_server.add(a_run(f"run-{number}"))
    assert cli(any_server, "ls").out.count("COMPLETE") == 5
    told = json.loads(cli(any_server, "ls", "--limit", "3", "--json").out)
    assert [run["run_id"] for run in told["runs"]] == ["run-0", "run-1", "run-2"]


def test_ls_shows_only_the_states_asked_for(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("a", "COMPLETE"))
    any_server.add(a_run("b", "COMPLETE"))
    any_server.add(a_run("c", "RUNNING"))
    told = json.loads(cli(any_server, "ls", "--state", "running", "--json").out)
    assert [run["run_id"] for run in told["runs"]] == ["c"]
    assert "RUNNING" in cli(any_server, "ls", "--state", "walking").err


def test_names_cannot_command_the_terminal(cli: Cli, server: Double) -> None:
    server.add(a_run("a", tags={"name": "x\x1b]0;owned\x07\x9b2J\u202egnp\ud800\r\ny"}))
    out = cli(server, "ls").out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)
    assert "x\\x1b]0;owned" in out
    assert len(out.splitlines()) == 2


def test_a_run_is_known_by_the_beginning_of_its_id_and_as_last(cli: Cli, any_server: Double) -> None:
    for run_id in ("abc-1", "abd-2", "xyz-3"):
        any_server.add(a_run(run_id))
    assert json.loads(cli(any_server, "status", "abd", "--json").out)["run_id"] == "abd-2"
    assert json.loads(cli(any_server, "status", "last", "--json").out)["run_id"] == "abc-1"
    assert "2 runs begin with 'ab': abc-1, abd-2" in cli(any_server, "status", "ab").err
    assert cli(any_server, "status", "nope").code == 2


def test_last_is_the_youngest_also_where_the_oldest_comes_first(cli: Cli, server: Double) -> None:
    for day in range(1, 6):
        server.add(a_run(f"day-{day}", start_time=f"2026-11-0{day}T00:00:00Z"))
    assert json.loads(cli(server, "status", "last", "--json").out)["run_id"] == "day-5"


def test_last_is_the_youngest_of_a_wesgate_whichever_started_first(cli: Cli, wesgate: Double) -> None:
    wesgate.add(a_run("young", "RUNNING", start_time="2026-11-01T00:00:00Z"))
    wesgate.add(a_run("old", "RUNNING", start_time="2026-11-02T00:00:00Z"))
    cli(wesgate, "cancel", "last")
    assert wesgate.canceled == ["young"]


def test_the_youngest_is_looked_for_no_further_than_needed(
    cli: Cli, server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "PAGE_SIZE", 3)
    for day in range(9, 1, -1):
        server.add(a_run(f"day-{day}", start_time=f"2026-11-0{day}T00:00:00Z"))
    assert json.loads(cli(server, "status", "last", "--json").out)["run_id"] == "day-9"
    assert len(server.queries) == 2
    server.runs = dict(reversed(server.runs.items()))
    assert json.loads(cli(server, "status", "last", "--json").out)["run_id"] == "day-9"


def test_status_counts_tasks_and_shows_what_failed(cli: Cli, any_server: Double) -> None:
    tasks = [a_task("a"), a_task("b", 1), a_task("c", None)]
    any_server.add(a_run("r", "RUNNING", tasks))
    said = cli(any_server, "status", "r")
    assert said.code == 0
    assert "1 running, 1 done, 1 failed" in said.out
    assert "task b failed: exit code 1" in said.out


@pytest.mark.parametrize(("told", "shown"), [("", "wf"), ("wf.wdl", "wf"), ("its own", "its own")])
def test_a_run_without_a_name_is_called_what_the_server_calls_it(
    cli: Cli, server: Double, told: str, shown: str
) -> None:
    server.add(a_run("r", run_log={"name": told}))
    assert json.loads(cli(server, "status", "r", "--json").out)["name"] == shown


TAIL = [f"line {number}" for number in range(40)]


@pytest.mark.parametrize(
    ("text", "is_told_twice"),
    [
        ("call-t: task command failed with exit status 3", True),
        ("call-t: task command failed with exit status 137, a possible indication that it ran out of memory", False),
        ("call-u: task command failed with exit status 3", False),
        ("step 0 exited with code 3: /bin/bash", True),
        ("step 0 exited", False),
        ("long" * 101, False),
        ("the end of its stderr:\n" + "\n".join(TAIL[-20:]), True),
        ("the end of its stderr:\n" + "\n".join(["ne 37", *TAIL[-2:]]), True),
        ("the end of its stderr:\n" + "\n".join(TAIL[-21:]), False),
        ("the end of its stderr:\n" + "\n".join(["other", *TAIL[-2:]]), False),
        ("the end of its stderr:\n", False),
        ("workflow: wf.wdl, sha256:12, WDL 1.0", False),
    ],
)
@pytest.mark.parametrize("command", [["status", "r"], ["status", "r", "--wait"]])
def test_what_is_told_with_a_failed_task_is_not_told_twice(
    cli: Cli, server: Double, command: list[str], text: str, is_told_twice: bool
) -> None:
    task = a_task(
        "call-t", 3, stderr="\n".join(TAIL), system_logs=["step 0 exited with code 3: /bin/bash", "long" * 101]
    )
    server.add(a_run("r", "EXECUTOR_ERROR", [task], run_log={"system_logs": [text]}))
    said = cli(server, *command).out.splitlines()
    assert said.count(text.splitlines()[0]) == (0 if is_told_twice else 1)
    assert [said.count(line) for line in (f"    {TAIL[-20]}", f"    {TAIL[-1]}")] == [1, 1]


def test_tasks_of_a_canceled_run_were_stopped(cli: Cli, any_server: Double) -> None:
    tasks = [a_task("a"), a_task("b", 137), a_task("c", None, system_logs=["canceled"]), a_task("d", None)]
    any_server.add(a_run("r", "CANCELED", tasks))
    said = cli(any_server, "status", "r")
    assert "1 done, 3 stopped" in said.out
    assert "failed" not in said.out


def test_logs_are_fetched_by_url_path_or_taken_as_they_are(cli: Cli, any_server: Double) -> None:
    any_server.texts["out"] = b"from a path\n"
    task = a_task("t", stdout="/texts/out", stderr="as it is\n")
    any_server.add(a_run("r", tasks=[task]))
    assert cli(any_server, "logs", "r", "t").out == "==> stdout <==\nfrom a path\n==> stderr <==\nas it is\n"
    assert cli(any_server, "logs", "r", "id-t", "--stdout").out == "from a path\n"
    told = json.loads(cli(any_server, "logs", "r", "t", "--json").out)
    assert (told["stdout"], told["stderr"], told["task"]) == ("from a path\n", "as it is\n", "id-t")


def test_an_empty_stream_is_told_if_it_was_asked_for_or_all_are(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("r", tasks=[a_task("t", stderr="as it is\n"), a_task("u")]))
    assert cli(any_server, "logs", "r", "t").err == ""
    assert cli(any_server, "logs", "r", "t", "--stdout").err == "stdout: nothing there\n"
    assert cli(any_server, "logs", "r", "u").err == "stdout: nothing there\nstderr: nothing there\n"


def test_logs_are_followed_to_their_end_without_repeats(cli: Cli, any_server: Double) -> None:
    any_server.texts["out"] = b"one\ntwo \xc3"
    running = a_task("t", None, stdout=f"{any_server.url}/texts/out")
    frames = [a_run("r", "RUNNING", [running]) for _ in range(4)]
    any_server.add(*frames, a_run("r", "COMPLETE", [a_task("t", stdout=f"{any_server.url}/texts/out")]))
    said = cli(any_server, "logs", "r", "t", "--follow", "--stdout")
    assert (said.code, said.out) == (0, "one\ntwo ")


def test_logs_show_control_characters_written_out_unless_raw(cli: Cli, server: Double) -> None:
    server.add(a_run("r"))
    server.runs["r"][0]["run_log"]["stderr"] = "10%\r20%\x1b[31m\n"
    assert cli(server, "logs", "r", "--stderr").out == "10%\n20%\\x1b[31m\n"
    assert cli(server, "logs", "r", "--stderr", "--raw").out == "10%\r20%\x1b[31m\n"


def test_a_log_on_another_server_is_fetched_without_the_token(cli: Cli, server: Double, any_server: Double) -> None:
    any_server.texts["out"] = b"elsewhere\n"
    server.add(a_run("r", tasks=[a_task("t", stdout=f"{any_server.url}/texts/out")]))
    assert cli(server, "logs", "r", "t", "--stdout", "--token", "s3cret").out == "elsewhere\n"
    assert set(any_server.tokens) == {None}
    assert set(server.tokens) == {"Bearer s3cret"}


def test_a_task_that_is_not_there_is_answered_with_those_that_are(cli: Cli, server: Double) -> None:
    server.add(a_run("r", tasks=[a_task("align-0"), a_task("align-1")]))
    assert "means 2 tasks: id-align-0 (align-0)" in cli(server, "logs", "r", "align").err
    assert "its tasks are id-align-0 (align-0)" in cli(server, "logs", "r", "sort").err


def test_cancel_asks_the_server_and_tells_the_state(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("r", "CANCELING"))
    assert cli(any_server, "cancel", "r").out == "run r is CANCELING\n"
    assert any_server.canceled == ["r"]


def test_outputs_are_printed_only_of_a_run_that_completed(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("good", outputs={"w.o": {"a": [1]}}))
    any_server.add(a_run("bad", "CANCELED"))
    assert cli(any_server, "outputs", "good").out == 'w.o  {"a": [1]}\n'
    assert json.loads(cli(any_server, "outputs", "good", "--json").out) == {"w.o": {"a": [1]}}
    said = cli(any_server, "outputs", "bad")
    assert (said.code, "wesgate status bad" in said.err) == (1, True)


def test_only_an_id_that_is_unknown_leads_to_the_list(cli: Cli, server: Double) -> None:
    said = cli(server, "status", "r" * 32)
    end = "There is no such run, or it is not yours; check the id with `wesgate ls`, and --url\n"
    assert (said.code, said.err.endswith(end)) == (2, True)
    server.instead = JSONResponse({"msg": "Not Found"}, 404)
    said = cli(server, "ls")
    assert (said.code, said.err.endswith("/runs is not there: Not Found; check --url\n")) == (3, True)


def test_no_server_is_one_line_with_the_next_step(cli: Cli) -> None:
    said = cli(None, "ls")
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "start one with `wesgate serve`" in said.err


@pytest.mark.parametrize("start", [T0, "never", 7, None, "2026-11-21T10:00:00"])
def test_times_of_any_kind_are_borne(cli: Cli, server: Double, start: object) -> None:
    server.add(a_run("r", start_time=start, end_time=start))
    assert cli(server, "ls").code == 0
