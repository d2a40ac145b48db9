"""WES submit, status and list, beside a bare ASGI app on the same database, and beside Sapporo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from bench import bare, sapporo
from bench.load import encode, encode_form, rate_of
from bench.measure import Row, by_turns
from bench.running import dsn_of, migrate, started
from bench.workflows import HELLO

ROUNDS = 5
RUNS = 64
FIELDS = {
    "workflow_type": "WDL",
    "workflow_type_version": "1.0",
    "workflow_url": "hello.wdl",
    "workflow_params": json.dumps({"hello.who": "you"}),
    "tags": json.dumps({"from": "bench"}),
}


@dataclass(frozen=True, slots=True)
class Server:
    """A WES: where it listens, where its routes begin, and what a submit names as its engine."""

    url: str
    base: str
    engine: str

    def submit(self) -> str:
        return encode_form(f"{self.base}/runs", {**FIELDS, "workflow_engine": self.engine}, {"hello.wdl": HELLO})

    def make(self, count: int) -> list[str]:
        """Runs with these ids."""
        files = {"workflow_attachment": ("hello.wdl", HELLO)}
        with httpx.Client(base_url=self.url + self.base, timeout=30) as client:
            made = [
                client.post("/runs", data={**FIELDS, "workflow_engine": self.engine}, files=files) for _ in range(count)
            ]
        return [str(answer.raise_for_status().json()["run_id"]) for answer in made]

    def statuses(self, run_ids: Sequence[str]) -> list[str]:
        return [encode("GET", f"{self.base}/runs/{run_id}/status") for run_id in run_ids]

    def lists(self) -> list[str]:
        return [encode("GET", f"{self.base}/runs?page_size=100")]


def rows(scratch: Path) -> list[Row]:
    """One API process without loops, one of the bare app, one of Sapporo. Status and lists are asked for first, while
    both have the same few runs."""
    data = scratch / "wes"
    migrate(data)
    with started("api", data) as wesgate, bare.serving(dsn_of(data)) as least, sapporo.serving(scratch) as other:
        ours, theirs = Server(wesgate.url, "/ga4gh/wes/v1", "miniwdl"), Server(other, "", "cromwell")
        run_ids = ours.make(RUNS)
        their_ids = theirs.make(RUNS) if other else []
        own_status = partial(rate_of, wesgate.url, ours.statuses(run_ids))
        bare_status = partial(rate_of, least, [encode("GET", f"/runs/{run_id}") for run_id in run_ids])
        by_turns(1, own_status, bare_status)  # fills caches and pools
        own, floor = by_turns(ROUNDS, own_status, bare_status)
        found = [Row("WES status, rate", own / floor, 0.7, "x bare", "≥", f"{own:.0f}/s, bare app {floor:.0f}/s")]
        if other:
            found.append(_beside("status", ours, theirs, ours.statuses(run_ids), theirs.statuses(their_ids)))
            found.append(_beside("list of 64", ours, theirs, ours.lists(), theirs.lists()))
        (submitted,) = by_turns(ROUNDS, partial(rate_of, wesgate.url, [ours.submit()]))
        found.append(Row("WES submit, rate", submitted, 300.0, "/s", "≥", "a multipart form with one attachment"))
        if other:
            found.append(_beside("submit", ours, theirs, [ours.submit()], [theirs.submit()]))
        return found


def _beside(name: str, ours: Server, theirs: Server, asked: Sequence[str], asked_there: Sequence[str]) -> Row:
    own, other = by_turns(ROUNDS, partial(rate_of, ours.url, asked), partial(rate_of, theirs.url, asked_there))
    detail = f"{own:.0f}/s, Sapporo {sapporo.VERSION} {other:.0f}/s"
    return Row(f"WES {name}, rate", own / other, 1.0, "x Sapporo", "≥", detail)
