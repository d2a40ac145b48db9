"""`ls` and `find`: the newest runs on any server, and runs by what they are on a wesgate."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Cli
from tests.cli.double import Double, a_run
from wesgate.cli.errors import UsageProblem
from wesgate.cli.people.times import rfc3339

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2 days", "2026-11-19T12:00:00Z"),
        ("2 days ago", "2026-11-19T12:00:00Z"),
        ("3h", "2026-11-21T09:00:00Z"),
        ("90 min", "2026-11-21T10:30:00Z"),
        ("1w", "2026-11-14T12:00:00Z"),
        ("2026-11-20T08:00:00+02:00", "2026-11-20T06:00:00Z"),
        ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
    ],
)
def test_times_are_read_as_people_write_them(text: str, moment: str) -> None:
    assert rfc3339(text, "--since", NOW) == moment


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "3 fortnights", "999999 weeks", "0001-01-01", "", "\u0661 h"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(UsageProblem, match="is no time"):
        rfc3339(text, "--since", NOW)


def test_find_asks_the_server_for_what_runs_are(cli: Cli, wesgate: Double) -> None:
    wesgate.add(a_run("found", tags={"name": "mine"}))
    words = ["sample_12.bam", "qc", "--state", "queued", "--tag", "study=a:b", "--tag", "seen", "--name", "al"]
    said = cli(wesgate, "find", *words, "--since", "2026-11-20T08:00:00Z", "--until", "2026-11-21T08:00:00Z")
    assert (said.code, "found  COMPLETE" in said.out) == (0, True)
    query = [("state", "QUEUED"), ("tag", "study:a:b"), ("tag", "seen"), ("name", "al")]
    query += [("since", "2026-11-20T08:00:00Z"), ("until", "2026-11-21T08:00:00Z"), ("search", "sample_12.bam qc")]
    assert wesgate.queries == [[*query, ("page_size", "20")]]


def test_until_a_day_means_its_end(cli: Cli, wesgate: Double) -> None:
    cli(wesgate, "find", "--since", "2026-11-20", "--until", "2026-11-20")
    begin, end = (datetime.fromisoformat(value) for key, value in wesgate.queries[0] if key in ("since", "until"))
    assert (end - begin).total_seconds() == 24 * 3600


def test_find_reads_on_through_the_pages_with_its_filter(cli: Cli, wesgate: Double) -> None:
    for number in range(5):
        wesgate.add(a_run(f"run-{number}"))
    told = json.loads(cli(wesgate, "find", "x", "--limit", "3", "--json").out)
    assert [run["run_id"] for run in told["runs"]] == ["run-0", "run-1", "run-2"]
    assert all(("search", "x") in query for query in wesgate.queries)


def test_counts_are_told_by_state(cli: Cli, wesgate: Double) -> None:
    assert cli(wesgate, "find", "--counts").out == "COMPLETE  7\ntotal     7\n"
    assert json.loads(cli(wesgate, "find", "--tag", "a", "--counts", "--json").out)["total"] == 7
    assert wesgate.queries == [[], [("tag", "a")]]


def test_find_shows_nothing_of_a_server_that_would_not_filter(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("other"))
    said = cli(any_server, "find", "mine")
    assert (said.code, said.out, any_server.queries) == (3, "", [])
    assert "cannot find runs (wesgate can)" in said.err


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([], "say what to find"),
        (["--state", "walking"], "the states are"),
        (["--tag", "=x"], "--tag is KEY"),
        (["--since", "soon"], "--since 'soon' is no time"),
    ],
)
def test_what_cannot_be_found_is_said(cli: Cli, wesgate: Double, words: list[str], cause: str) -> None:
    said = cli(wesgate, "find", *words)
    assert (said.code, cause in said.err, wesgate.queries) == (2, True, [])


def test_ls_shows_only_runs_with_the_tags_asked_for(cli: Cli, server: Double) -> None:
    for run_id, tags in (("a", {"study": "x"}), ("b", {"study": "y", "n": "1"}), ("c", {"study": "x", "n": "2"})):
        server.add(a_run(run_id, tags=tags))

    def shown(*words: str) -> list[str]:
        return [run["run_id"] for run in json.loads(cli(server, "ls", *words, "--json").out)["runs"]]

    assert (shown("--tag", "study=x"), shown("--tag", "study=x", "--tag", "n")) == (["a", "c"], ["c"])


def test_ls_says_when_a_list_has_no_tags_to_look_for(cli: Cli, any_server: Double) -> None:
    any_server.add(a_run("a", tags={"study": "x"}))
    said = cli(any_server, "ls", "--tag", "study=x")
    assert ("lists of WES 1.0 leave them out" in said.err) is any_server.old
