"""Finding runs: what each filter finds of many, whoever's they are, whatever is typed, and however they change."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from tests.builders import a_run, an_attempt, execute
from wesgate.core.errors import InvalidRequest
from wesgate.core.owner import Caller, Owner
from wesgate.core.spec import Kind
from wesgate.core.states import State
from wesgate.db import owners, runs
from wesgate.db.counts import Counts
from wesgate.db.lists.filters import Filter
from wesgate.db.lists.pages import NEWEST
from wesgate.db.rows import Place
from wesgate.db.session import Database
from wesgate.ga4gh.finding import searched

SOME = NEWEST + 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS = [
    Filter(), Filter(state=State.COMPLETE), Filter(state=State.RUNNING), Filter("even"), Filter("first"),
    Filter("first", State.COMPLETE), Filter(tags=(("half", "0"),)), Filter(tags=(("early", ""),)),
    Filter(tags=(("early", "yes"), ("half", "1"))), Filter(tags=(("half", "0"), ("half", "1"))),
    Filter(since=START + timedelta(seconds=100), until=START + timedelta(seconds=200)),
    Filter(words=searched("common")), Filter(words=searched("rare")), Filter(words=searched("rare common n1")),
    Filter(words=searched("c r")), Filter(words=searched("even odd")), Filter("even", words=searched("rare")),
    Filter("od", State.COMPLETE, (("early", ""),), START, START + timedelta(seconds=9), searched("com")),
]  # fmt: skip

MANY = """
    INSERT INTO runs (id, owner_id, backend, document, directory, name, tags, words, state, created_at)
    SELECT gen_random_uuid(), :owner, 'fake', '{}', 'somewhere', parity || n,
           jsonb_build_object('half', (n % 2)::text) || CASE WHEN n < 50 THEN '{"early": "yes"}' ELSE '{}' END::jsonb,
           array_to_tsvector(ARRAY['common', parity, 'n' || n] || CASE WHEN n < 50 THEN ARRAY['rare'] END),
           CASE WHEN n % 3 = 0 THEN 'RUNNING' ELSE 'COMPLETE' END, CAST(:start AS timestamptz) + n * interval '1 s'
    FROM generate_series(0, :some - 1) n,
         LATERAL (SELECT CASE WHEN n = 7 THEN 'first' WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END AS parity) _
"""


def fits(wanted: Filter, n: int) -> bool:
    """What MANY means, in Python."""
    name = ("first" if n == 7 else "odd" if n % 2 else "even") + str(n)
    tags = {"half": str(n % 2)} | ({"early": "yes"} if n < 50 else {})
    words = ["common", name.rstrip("0123456789"), f"n{n}", *(["rare"] if n < 50 else [])]
    at = START + timedelta(seconds=n)
    return (
        name.startswith(wanted.name_prefix)
        and wanted.state in (None, State.COMPLETE if n % 3 else State.RUNNING)
        and all(tags.get(key) == (value or tags.get(key, "none")) for key, value in wanted.tags)
        and (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and all(any(known.startswith(word) for known in words) for word in wanted.words)
    )


async def make_many(database: Database, owner: Owner) -> None:
    await execute(database, "ALTER TABLE runs DISABLE TRIGGER USER")
    await execute(database, MANY, owner=owner.id, start=START, some=SOME)
    await execute(database, "ALTER TABLE runs ENABLE TRIGGER USER")


@pytest.fixture
async def mine(database: Database) -> Owner:
    """Somebody with many runs, among as many of somebody else's with the same names, tags and words."""
    for subject in ("other", "somebody"):
        await make_many(database, await owners.ensure(database, "test", subject))
    await execute(database, "ANALYZE runs")
    return await owners.ensure(database, "test", "somebody")


def number(run: runs.Run) -> int:
    return int((run.created_at - START).total_seconds())


async def walked(database: Database, owner: Owner, wanted: Filter, size: int) -> list[int]:
    """The pages of a list, with a new run that fits (if it may be new) before each of them."""
    found: list[runs.Run] = []
    place = None
    while page := await runs.page(database, owner, wanted, place, size):
        found += page
        place = Place(page[-1].created_at, page[-1].id)
        await execute(database, MANY, owner=owner.id, start=START + timedelta(days=300), some=8)
    return [number(run) for run in found]


async def test_every_filter_finds_what_fits_and_nothing_of_others(database: Database, mine: Owner) -> None:
    for wanted in FILTERS:
        right = [n for n in reversed(range(SOME)) if fits(wanted, n)]
        page = await runs.page(database, mine, wanted, None, 30)
        assert [number(run) for run in page] == right[:30], wanted
        assert sum((await runs.counts(database, mine, wanted)).values()) == len(right), wanted


async def test_walking_the_pages_gives_every_run_once_though_runs_are_added(database: Database, mine: Owner) -> None:
    for wanted in FILTERS:
        before = await runs.page(database, mine, wanted, None, SOME + 1000)
        walk = await walked(database, mine, wanted, 701)
        assert walk == [number(run) for run in before], wanted


async def test_runs_in_a_state_are_counted_by_state(database: Database, mine: Owner) -> None:
    assert await runs.counts(database, mine) == {"RUNNING": 2000, "COMPLETE": 4000}
    assert await runs.counts(database, mine, Filter(words=("rare",))) == {"RUNNING": 17, "COMPLETE": 33}


async def test_whatever_is_typed_is_searched_for_or_refused(database: Database, caller: Caller) -> None:
    await a_run(database, caller)
    loop = asyncio.get_running_loop()

    @given(st.text() | st.text("aA1'\"\\&|!():*<-> \0\ud800\u0301ß", max_size=60))
    @tried(max_examples=100, deadline=None, derandomize=True, database=None)
    def holds(text: str) -> None:
        with contextlib.suppress(InvalidRequest):
            page = runs.page(database, caller.owner, Filter(words=searched(text)), None, 10)
            asyncio.run_coroutine_threadsafe(page, loop).result(30)

    await asyncio.to_thread(holds)


async def document_of(database: Database, caller: Caller, **changes: Any) -> UUID:
    document = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "main.wdl", **changes}
    return await a_run(database, caller, document=document)


async def found(database: Database, caller: Caller, text: str) -> list[UUID]:
    page = await runs.page(database, caller.owner, Filter(words=searched(text)), None, 10)
    return [run.id for run in page]


@pytest.mark.parametrize(
    "text", ["sample", "12", "BAM", "sample_12.bam", "Align", "x-1", "project", "align sam", "example.org", "2"]
)
async def test_a_run_is_found_by_the_beginnings_of_its_words(database: Database, caller: Caller, text: str) -> None:
    run = await document_of(
        database, caller, workflow_url="https://example.org/Align.wdl", tags={"project": "X-1"},
        workflow_params={"w.reads": ["/data/sample_12.bam"]}, workflow_engine_parameters={"retries": "2"},
    )  # fmt: skip
    await document_of(database, caller)
    assert await found(database, caller, text) == [run]


async def test_a_run_that_ended_is_found_by_its_outputs_and_not_by_where_they_are(
    database: Database, caller: Caller
) -> None:
    run = await a_run(database, caller, directory="0123/run-4567")
    home = "/srv/0123/run-4567/outputs"
    report = {"outputs": {"w.bam": [f"{home}/w.bam/Final_1.bam", f"file://{home}/w.bam/Final_1.bai"], "w.n": 42}}
    for number, left in ((1, {}), (2, report)):
        await an_attempt(database, Kind.RUN, run, left, number)
    await runs.add_words(database, [run, uuid4()])
    assert not await found(database, caller, "final")  # the first attempt told nothing
    await execute(database, "UPDATE runs SET attempt = 2")
    for _ in range(2):
        await runs.add_words(database, [run, await a_run(database, caller)])
        assert await found(database, caller, "final bai 42 main") == [run]
    for word in ("4567", "0123", "srv", "outputs", "file"):
        assert not await found(database, caller, word), word


async def test_a_run_that_failed_is_found_by_inputs_that_came_from_elsewhere(
    database: Database, caller: Caller
) -> None:
    run = await a_run(database, caller)
    await an_attempt(database, Kind.RUN, run, {"words": ["sample", "7", "x') | ('y"]})
    await execute(database, "UPDATE runs SET attempt = 1")
    await runs.add_words(database, [run])
    assert await found(database, caller, "sample 7 main x y") == [run]


async def test_many_are_counted_anew_when_their_counts_are_old(database: Database, caller: Caller) -> None:
    now = [0.0]
    counts = Counts(lambda: now[0])
    await make_many(database, caller.owner)
    assert (await counts.of(database, caller.owner))["RUNNING"] == 2000
    await make_many(database, caller.owner)
    assert (await counts.of(database, caller.owner))["RUNNING"] == 4000  # few enough to be counted every time
    await make_many(database, caller.owner)
    assert (await counts.of(database, caller.owner))["RUNNING"] == 4000
    assert await counts.of(database, caller.owner, Filter("first")) == {"COMPLETE": 3}
    now[0] = 1.0
    assert (await counts.of(database, caller.owner))["RUNNING"] == 6000


class _Freed(Database):
    """Frees a key of its owner's before the first rows are read."""

    owner: Owner | None = None

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        if self.owner is not None:
            owner, self.owner = self.owner, None
            await runs.cancel_or_free(self, owner, "k")
        return await super().fetch(statement, *arguments)


async def test_a_key_that_is_freed_while_it_is_looked_for_is_taken(database: Database, caller: Caller) -> None:
    first = await a_run(database, caller, key="k", digest="d")
    await execute(database, "UPDATE runs SET state = 'COMPLETE'")
    freed = _Freed(database.url.render_as_string(hide_password=False))
    freed.owner = caller.owner
    second = await a_run(freed, caller, key="k", digest="d")
    assert second != first
    assert (await runs.with_key(freed, caller.owner, "k")).id == second
    await freed.close()
