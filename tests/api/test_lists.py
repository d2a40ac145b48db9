"""Lists of runs over HTTP: what a query finds, counts and refuses."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from tests.api.conftest import WES
from tests.api.specs import faults, keys
from tests.builders import a_run, become, execute
from wesgate.api.wes.lists import moment
from wesgate.core.errors import InvalidRequest
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.db.session import Database

RUNS: list[dict[str, Any]] = [
    {"workflow_url": "https://example.org/Align.wdl", "tags": {"project": "x", "who": "a:b"}},
    {"workflow_url": "main.wdl", "tags": {"project": "y", "name": "Tuesday"}},
    {"workflow_url": "main.wdl", "tags": {"project": "x"}, "workflow_params": {"w.bam": "/data/sample_12.bam"}},
]
QUERIES: list[tuple[str, list[int]]] = [
    ("", [2, 1, 0]), ("state=COMPLETE", [1]), ("state=QUEUED", [2, 0]), ("state=PAUSED", []), ("state=", [2, 1, 0]),
    ("tag=project:x", [2, 0]), ("tag=project", [2, 1, 0]), ("tag=project:x&tag=who:a%3Ab", [0]), ("tag=who:", [0]),
    ("tag=project:x&tag=project:y", []), ("tag=x", []), ("name=Ali", [0]), ("name=ali", []), ("name=Tues", [1]),
    ("name=main", [2]), ("since=2026-01-02", [2, 1]), ("until=2026-01-02", [0]),
    ("since=2026-01-02&until=2026-01-03", [1]), ("since=2026-01-02T01:00:00%2B01:00", [2, 1]),
    ("until=2026-01-03T00:00:00.000001Z", [2, 1, 0]), ("search=sample_12.bam", [2]), ("search=SAM", [2]),
    ("search=main", [2, 1]), ("search=example%20x", [0]), ("search=x&state=QUEUED&tag=project:x&name=m", [2]),
]  # fmt: skip
REFUSED = [
    ("state=DONE", "state is not a state of WES 1.1"), ("state=QUEUED&state=RUNNING", "state is given more than once"),
    ("tag=:x", "tag is KEY:VALUE, or KEY for any value"),
    ("&".join(["tag=a"] * 17), "tag is given more than 16 times"),
    ("search=%20-%20", "search has no letter and no digit"),
    ("search=" + "+".join(f"w{n}" for n in range(17)), "search has more than 16 words; leave some out"),
    ("name=a%00", "name has a control character or a lone surrogate in a string"),
    ("since=yesterday", "since is a time such as 2026-11-21T09:30:00Z or a day; in a URL, + is %2B"),
    ("until=2026-13-01", "until is a time that no calendar has"),
    ("until=2026-01-01T00:00:00+01:00", "until is a time such as 2026-11-21T09:30:00Z or a day; in a URL, + is %2B"),
]  # fmt: skip


@pytest.fixture
async def made(database: Database, caller: Caller, stranger: Caller) -> list[str]:
    """Three runs, a day apart, the second of which is over; and a stranger's, which are the same."""
    ids = []
    for owner in (stranger, caller):
        for number, changes in enumerate(RUNS):
            document = {"workflow_type": "WDL", "workflow_type_version": "1.0", **changes}
            run = await a_run(database, owner, document=document)
            at = datetime(2026, 1, 1 + number, tzinfo=UTC)
            await execute(database, "UPDATE runs SET created_at = :at WHERE id = :id", at=at, id=run)
            if number == 1:
                await become(database, Kind.RUN, run, "COMPLETE")
            ids.append(str(run))
    return ids[len(RUNS) :]


async def listed(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer = await client.get(f"{WES}/runs?{query}")
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return whole


@pytest.mark.parametrize(("query", "right"), QUERIES)
async def test_a_query_lists_and_counts_what_fits(
    client: httpx.AsyncClient, made: list[str], query: str, right: list[int]
) -> None:
    whole = await listed(client, query)
    assert [run["run_id"] for run in whole["runs"]] == [made[number] for number in right]
    counted = (await client.get(f"{WES}/runs/counts?{query}")).json()
    states = ["COMPLETE" if number == 1 else "QUEUED" for number in right]
    assert counted == {"counts": {state: states.count(state) for state in set(states)}, "total": len(right)}


async def test_what_is_listed_is_as_the_spec_has_it_whatever_was_asked(
    client: httpx.AsyncClient, made: list[str]
) -> None:
    whole = await listed(client, "search=main&state=QUEUED&name=m")
    assert not faults("wes", "RunListResponse", whole)
    assert set(whole["runs"][0]) <= keys("wes", "RunSummary")
    assert whole["next_page_token"] == ""
    assert made


@pytest.mark.parametrize(("query", "sentence"), REFUSED)
@pytest.mark.parametrize("path", ["runs", "runs/counts"])
async def test_a_query_that_means_nothing_is_refused_with_a_sentence(
    client: httpx.AsyncClient, query: str, sentence: str, path: str
) -> None:
    answer = await client.get(f"{WES}/{path}?{query}")
    assert (answer.status_code, answer.json()["msg"]) == (400, sentence)


async def test_a_page_token_is_good_for_its_filter_only(client: httpx.AsyncClient, made: list[str]) -> None:
    first = await listed(client, "tag=project:x&page_size=1")
    token = first["next_page_token"]
    second = await listed(client, f"tag=project:x&page_size=1&page_token={token}")
    assert [run["run_id"] for run in (*first["runs"], *second["runs"])] == [made[2], made[0]]
    assert second["next_page_token"] == ""
    for other in ("", "tag=project", "tag=project:x&state=QUEUED", "search=x", "since=2026-01-01"):
        answer = await client.get(f"{WES}/runs?{other}&page_token={token}")
        assert answer.json()["msg"] == "page_token is not one of this list"


async def test_service_info_tells_the_same_counts(client: httpx.AsyncClient, made: list[str]) -> None:
    told = (await client.get(f"{WES}/service-info")).json()["system_state_counts"]
    assert {state: count for state, count in told.items() if count} == {"QUEUED": 2, "COMPLETE": 1}
    assert made


async def test_what_is_counted_is_no_run(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{WES}/runs/counts")).json() == {"counts": {}, "total": 0}
    assert (await client.get(f"{WES}/runs/counts/status")).status_code == 404


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{8,18}[zZ+-][0-9:]{0,5}"))
@tried(max_examples=300, deadline=None, derandomize=True, database=None)
def test_a_time_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        told = moment("since", text)
        assert told.tzinfo is UTC if told else not text


@given(st.integers(1, 10**11), st.integers(-23 * 60, 23 * 60))
@tried(max_examples=300, deadline=None, derandomize=True, database=None)
def test_a_time_with_any_offset_is_that_time(seconds: int, minutes: int) -> None:
    at = datetime(2, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    written = at.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    assert moment("since", written) == at
