"""More runs than the machine has slots: each of them ends well."""

from __future__ import annotations

from itertools import accumulate

from tests.e2e.documents import HELLO
from tests.e2e.service import Service
from wesgate.db.session import Database

WES, TES = "/ga4gh/wes/v1", "/ga4gh/tes/v1"
RUNS, HEADS = 12, 3


async def test_more_runs_than_slots_all_end_well(quick: Service, database: Database) -> None:
    """Three heads at a time, one core for all of their tasks: most wait for one slot or the other."""
    quick.start(executors__local__slots__heads=str(HEADS), executors__local__slots__cpu_cores="1")
    for number in range(RUNS):
        assert quick.submit(HELLO, f'{{"hello.name": "{number}"}}').status_code == 200
    quick.until(f"{WES}/service-info", lambda info: info["system_state_counts"].get("COMPLETE", 0) == RUNS)
    assert await most_at_once(database, "head") <= HEADS
    assert await most_at_once(database, "task") == 1, "one core, one task"
    states = [task["state"] for task in quick.get(f"{TES}/tasks?page_size=100")["tasks"]]
    assert states == ["COMPLETE"] * RUNS


async def most_at_once(database: Database, lane: str) -> int:
    """How many tasks of a lane had a worker at the same time, at the most, as their workers tell."""
    statement = """
        SELECT report ->> 'start_time' AS start_time, report ->> 'end_time' AS end_time
        FROM attempts JOIN tasks ON tasks.id = row_id WHERE lane = $1
    """
    spans = await database.fetch(statement, lane)
    assert len(spans) == RUNS
    moments = sorted((row[time], change) for row in spans for time, change in (("start_time", 1), ("end_time", -1)))
    return max(accumulate(change for _, change in moments))
