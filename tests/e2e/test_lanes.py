"""More runs than the machine has slots: each of them ends well."""

from __future__ import annotations

from itertools import pairwise

from tests.e2e.documents import HELLO
from tests.e2e.service import Service

WES, TES = "/ga4gh/wes/v1", "/ga4gh/tes/v1"
RUNS = 12


def test_more_runs_than_slots_all_end_well(service: Service) -> None:
    """Three heads at a time, one core for all of their tasks: most wait for one slot or the other."""
    service.start(executors__local__slots__heads="3", executors__local__slots__cpu_cores="1")
    for number in range(RUNS):
        assert service.submit(HELLO, f'{{"hello.name": "{number}"}}').status_code == 200
    most = 0

    def all_ended(info: dict[str, dict[str, int]]) -> bool:
        nonlocal most
        counts = info["system_state_counts"]
        most = max(most, counts.get("RUNNING", 0))
        return counts.get("COMPLETE", 0) == RUNS

    service.until(f"{WES}/service-info", all_ended)
    assert 1 <= most < RUNS, "heads must wait for a slot of theirs"
    tasks = service.get(f"{TES}/tasks?view=FULL&page_size=100")["tasks"]
    assert [task["state"] for task in tasks] == ["COMPLETE"] * RUNS
    spans = sorted((task["logs"][0]["start_time"], task["logs"][0]["end_time"]) for task in tasks)
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans)), "one core, one task"
