"""What receivers are told of runs: signed, in order, at least once, whoever dies and however receivers behave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.builders import NOON, a_run, become, execute, scalar
from tests.doubles.receiver import Answer, Receiver, endless, never, receiving, status
from tests.reconcile.loops import charge, running
from wesgate.core.failpoints import arm
from wesgate.core.owner import Caller, Owner
from wesgate.core.spec import Kind
from wesgate.db import history, owners, webhooks
from wesgate.db.session import Database
from wesgate.db.webhooks import Delivery, Webhook
from wesgate.reconcile import webhooks as telling
from wesgate.reconcile.service import LONGEST_SLEEP_S, Reconciler
from wesgate.reconcile.webhooks import OF_ONE, Courier, CourierSettings, Outcome, Receivers, rest_s
from wesgate.storage.connections import Network
from wesgate.testing import FakeExecutor

SECRET = "whsec_" + "c2VjcmV0" * 4
LOCAL = Network(allow_private=True)
WAITING = "SELECT count(*) FROM deliveries"
LEASE = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch, no_proxy: None) -> None:
    """What failed is told again soon, and no proxy stands between."""
    monkeypatch.setattr(telling, "FIRST_REST_S", 0.05)
    monkeypatch.setattr(telling, "SWEEP_EVERY_S", 0.05)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def a_webhook(database: Database, owner: Owner, url: str, *states: str) -> UUID:
    webhook = Webhook(uuid4(), url, states)
    await webhooks.create(database, owner, webhook, SECRET)
    return webhook.id


async def a_backlog(database: Database, webhook: UUID, size: int) -> None:
    """So many changes that it has still to be told, each of another run."""
    await execute(
        database, "INSERT INTO deliveries (webhook_id, run_id, state, detail) "
        "SELECT :id, gen_random_uuid(), 'RUNNING', '' FROM generate_series(1, :size)", id=webhook, size=size,
    )  # fmt: skip


def a_courier(database: Database, network: Network = LOCAL, **settings: Any) -> Courier:
    return Courier(database, network, CourierSettings(**{"timeout_s": 5.0, **settings}))


@asynccontextmanager
async def delivering(*couriers: Courier) -> AsyncIterator[None]:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for each in couriers:
            group.create_task(each.run())
        yield
        for each in couriers:
            each.stop()


async def until(database: Database, statement: str, wanted: object) -> None:
    """Until a statement gives this: of what is written after a receiver was answered, nobody tells."""
    async with asyncio.timeout(15):
        while await scalar(database, statement) != wanted:
            await asyncio.sleep(0.02)


# What is told


async def test_a_state_change_is_told_as_a_signed_cloud_event(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    run = await a_run(database, caller)
    async with delivering(a_courier(database, public_url="https://wes.example.org")):
        sent = await receiver.next()
        await until(database, WAITING, 0)
    told = sent.verified(SECRET)
    assert (sent.line, sent.headers["Content-Type"]) == (
        "POST /hook?token=hunter2 HTTP/1.1",
        "application/cloudevents+json",
    )
    assert told.pop("id") == sent.headers["webhook-id"]
    assert told.pop("time").endswith("Z")
    assert told == {
        "specversion": "1.0", "type": "org.wesgate.run.state", "subject": str(run),
        "source": f"https://wes.example.org/ga4gh/wes/v1/runs/{run}", "datacontenttype": "application/json",
        "data": {"run_id": str(run), "state": "QUEUED", "detail": ""},
    }  # fmt: skip


async def test_only_what_was_asked_for_is_told_and_only_of_ones_own(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    stranger = Caller(await owners.ensure(database, "test", "stranger"))
    await a_webhook(database, caller.owner, receiver.url, "RUNNING", "COMPLETE")
    run, theirs = await a_run(database, caller), await a_run(database, stranger)
    for state in ("INITIALIZING", "RUNNING", "COMPLETE"):
        for one in (run, theirs):
            await become(database, Kind.RUN, one, state)
    async with delivering(a_courier(database)):
        sent = await receiver.several(2)
        await until(database, WAITING, 0)
    assert [(one.state, one.event["subject"]) for one in sent] == [("RUNNING", str(run)), ("COMPLETE", str(run))]
    assert len(receiver.sent) == 2


async def test_changes_of_a_run_are_told_in_their_order_though_one_of_them_fails(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    run = await a_run(database, caller)
    for state in ("INITIALIZING", "RUNNING", "COMPLETE"):
        await become(database, Kind.RUN, run, state)
    receiver.answers = [status(204), status(500), status(400)]
    async with delivering(a_courier(database), a_courier(database)):
        sent = await receiver.several(6)
    assert [one.state for one in sent] == [
        "QUEUED", "INITIALIZING", "INITIALIZING", "INITIALIZING", "RUNNING", "COMPLETE"
    ]  # fmt: skip
    assert len({one.headers["webhook-id"] for one in sent[1:4]}) == 1


async def test_several_couriers_tell_each_change_once(any_database: Database, somebody: Caller) -> None:
    async with receiving() as receiver:
        await a_webhook(any_database, somebody.owner, receiver.url)
        for _ in range(30):
            await a_run(any_database, somebody)
        async with delivering(*(a_courier(any_database) for _ in range(3))):
            sent = await receiver.several(30)
            await until(any_database, WAITING, 0)
    assert len({one.event["subject"] for one in receiver.sent}) == len(receiver.sent) == len(sent)


async def test_the_database_wakes_the_loop(database: Database, caller: Caller, receiver: Receiver) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    loops = Reconciler(database, [charge(FakeExecutor())], None, chores=[a_courier(database)])
    async with running(loops):
        for _ in range(2):  # for the second, the loop has gone to sleep before
            run = await a_run(database, caller)
            assert (await receiver.next(LONGEST_SLEEP_S / 3)).event["subject"] == str(run)


# Receivers that misbehave


@pytest.mark.parametrize(
    "answer",
    [
        status(302, "Location: http://127.0.0.1:9/\r\n"), status(500), status(404), never, endless(b"", b"nonsense"),
        endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["redirect", "error", "refusal", "silence", "no HTTP", "endless headers", "endless continues"],
)  # fmt: skip
async def test_what_is_not_taken_is_told_again(
    database: Database, caller: Caller, receiver: Receiver, answer: Answer
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    await a_run(database, caller)
    receiver.answers = [answer]
    async with delivering(a_courier(database, timeout_s=0.5)):
        first, second = await receiver.several(2)
        await until(database, WAITING, 0)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_an_answer_without_an_end_is_not_read(database: Database, caller: Caller, receiver: Receiver) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    await a_run(database, caller)
    receiver.answers = [endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)]
    async with delivering(a_courier(database)):
        await until(database, WAITING, 0)
    assert len(receiver.sent) == 1


async def test_a_silent_receiver_holds_up_no_other(database: Database, caller: Caller, receiver: Receiver) -> None:
    async with receiving() as silent:
        silent.otherwise = never
        await a_webhook(database, caller.owner, silent.url)
        await a_webhook(database, caller.owner, receiver.url)
        for _ in range(3 * OF_ONE):
            await a_run(database, caller)
        async with delivering(a_courier(database, timeout_s=30.0)):
            assert len(await receiver.several(3 * OF_ONE)) == 3 * OF_ONE
            assert len(await silent.several(OF_ONE)) == OF_ONE
    assert silent.most_open == OF_ONE
    assert await scalar(database, "SELECT max(failures) FROM deliveries") == 0


async def test_a_receiver_that_is_gone_is_told_nothing_more(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    for _ in range(2):
        await become(database, Kind.RUN, await a_run(database, caller), "RUNNING")
    receiver.otherwise = status(410)
    async with delivering(a_courier(database)):
        await until(database, "SELECT count(*) FROM webhooks", 0)
    assert await scalar(database, WAITING) == 0
    assert {one.state for one in receiver.sent} == {"QUEUED"}


async def test_what_nobody_takes_for_long_is_given_up(
    database: Database, caller: Caller, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    for _ in range(3):
        await a_run(database, caller)
    await execute(database, "UPDATE deliveries SET at = now() - interval '4 days', failures = 9")
    receiver.otherwise = status(503)
    async with delivering(a_courier(database)):
        await until(database, WAITING, 0)
    (line,) = [record for record in caplog.records if record.msg == "webhooks.given_up" and record.deliveries == 3]  # type: ignore[attr-defined]
    assert "hunter2" not in str(vars(line))


async def test_what_was_never_tried_is_not_given_up_however_old_it_is(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    for _ in range(3):
        await a_run(database, caller)
    await execute(database, "UPDATE deliveries SET at = now() - interval '4 days'")
    receiver.answers = [status(503)]
    async with delivering(a_courier(database)):
        sent = await receiver.several(4)
        await until(database, WAITING, 0)
    assert len({one.event["subject"] for one in sent}) == 3


class Flipping:
    """A name that led to a public address when its webhook was made, and now leads to this machine as well."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def resolve(self, _host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34", "127.0.0.1"]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.reached.append(address)
        raise OSError


@pytest.mark.parametrize("url", ["https://public.example/", "http://public.example/"])
async def test_nothing_is_sent_to_an_address_that_became_private(
    database: Database, caller: Caller, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    flipping = Flipping()
    await a_webhook(database, caller.owner, url)
    await a_run(database, caller)
    network = Network(allow_private=False, resolve=flipping.resolve, connect=flipping.connect)
    async with delivering(a_courier(database, network)):
        await until(database, "SELECT least(failures, 1) FROM deliveries", 1)
    assert flipping.reached == []
    (line, *_) = [record for record in caplog.records if record.msg == "webhooks.failed"]
    assert ("not public" if url.startswith("https") else "not https") in line.reason  # type: ignore[attr-defined]


# Leases, and ends in the middle


async def test_a_delivery_is_claimed_by_one_until_its_lease_runs_out(
    any_database: Database,
    somebody: Caller,
) -> None:
    await a_webhook(any_database, somebody.owner, "https://example.org")
    await a_run(any_database, somebody)
    (mine,) = await webhooks.claim(any_database, [], 5, 5, LEASE)
    assert await webhooks.claim(any_database, [], 5, 5, LEASE) == []
    assert (await webhooks.next_due(any_database, [])) == pytest.approx(30, abs=5)
    await execute(any_database, "UPDATE deliveries SET due_at = now() - interval '1 s'")
    (theirs,) = await webhooks.claim(any_database, [], 5, 5, LEASE)
    await webhooks.postpone(any_database, mine, timedelta(0), LEASE)
    assert (await webhooks.claim(any_database, [], 5, 5, LEASE), theirs.id) == ([], mine.id)


async def test_a_claim_takes_its_share_of_each_that_is_not_busy(database: Database, caller: Caller) -> None:
    busy, free = [await a_webhook(database, caller.owner, "https://example.org") for _ in range(2)]
    for _ in range(5):
        await become(database, Kind.RUN, await a_run(database, caller), "RUNNING")
    found = await webhooks.claim(database, [busy], 3, 9, LEASE)
    assert [(one.webhook_id, one.state) for one in found] == [(free, "QUEUED")] * 3
    assert len(await webhooks.claim(database, [], 3, 4, LEASE)) == 4
    assert await webhooks.next_due(database, [busy, free]) is None


async def test_a_long_backlog_is_taken_from_its_oldest_on(database: Database, caller: Caller) -> None:
    webhook = await a_webhook(database, caller.owner, "https://example.org")
    await a_backlog(database, webhook, 1005)
    first = await webhooks.claim(database, [], 2000, 2000, LEASE)
    await execute(database, "DELETE FROM deliveries WHERE due_at > now()")
    rest = await webhooks.claim(database, [], 2000, 2000, LEASE)
    assert (len(first), len(rest)) == (1000, 5)
    assert max(one.id for one in first) < min(one.id for one in rest)


async def test_what_waits_is_found_by_its_index_alone(any_database: Database, somebody: Caller) -> None:
    for waiting in (30_000, 10):
        webhook = await a_webhook(any_database, somebody.owner, "https://example.org")
        await a_backlog(any_database, webhook, waiting)
    await execute(any_database, "ANALYZE deliveries")
    plan = str(await any_database.fetch(f"EXPLAIN {webhooks._NEXT}", []))
    assert "ix_deliveries_oldest" in plan
    assert not any(other in plan for other in ("pk_deliveries", "Seq Scan on deliveries", "Bitmap"))


async def test_what_a_receiver_took_from_one_who_died_is_told_again_with_the_same_id(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    """Killed for real: tests/e2e/test_faults.py."""
    await a_webhook(database, caller.owner, receiver.url)
    await a_run(database, caller)
    arm("webhooks-sent=raise@1")
    async with delivering(a_courier(database)):
        first = await receiver.next()
        await until(database, "SELECT count(*) FROM deliveries WHERE due_at > now() + interval '9 s'", 1)
        await execute(database, "UPDATE deliveries SET due_at = now()")
    arm("")
    async with delivering(a_courier(database)):
        second = await receiver.next()
        await until(database, WAITING, 0)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_stop_breaks_off_and_whoever_comes_next_tells_at_once(
    database: Database, caller: Caller, receiver: Receiver
) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    await a_run(database, caller)
    receiver.answers = [never]
    async with delivering(a_courier(database, timeout_s=50.0)):
        await receiver.next()
    assert await scalar(database, "SELECT failures FROM deliveries WHERE due_at <= now()") == 0
    async with delivering(a_courier(database)):
        await receiver.next()


async def test_a_webhook_that_is_removed_disturbs_no_change_that_is_under_way(
    any_database: Database,
    somebody: Caller,
) -> None:
    webhook = await a_webhook(any_database, somebody.owner, "https://example.org")
    run = await a_run(any_database, somebody)
    async with any_database.transaction() as connection:
        await connection.exec_driver_sql(f"UPDATE runs SET state = 'RUNNING' WHERE id = '{run}'")
        await webhooks.remove(any_database, somebody.owner, webhook)
        await become(any_database, Kind.RUN, await a_run(any_database, somebody), "RUNNING")
        sweeping = asyncio.create_task(webhooks.sweep(any_database))
        await asyncio.sleep(0.2)
        assert not sweeping.done()
    await sweeping
    async with asyncio.timeout(60):  # others may use the same Postgres
        while await scalar(any_database, "SELECT count(*) FROM webhooks"):
            await webhooks.sweep(any_database)
    assert (await webhooks.listed(any_database, somebody.owner), await scalar(any_database, WAITING)) == ([], 0)


async def test_a_webhook_is_deleted_only_when_nobody_can_have_seen_it(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SETTLE_S", 0.05)
    await webhooks.remove(database, caller.owner, await a_webhook(database, caller.owner, "https://example.org"))
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE owners SET tenant = tenant")
        await webhooks.sweep(database)
        assert await scalar(database, "SELECT count(*) FROM webhooks") == 1
    await webhooks.sweep(database)
    assert await scalar(database, "SELECT count(*) FROM webhooks") == 0


async def test_an_outage_of_the_database_is_outlived(database: Database, caller: Caller, receiver: Receiver) -> None:
    await a_webhook(database, caller.owner, receiver.url)
    async with delivering(courier := a_courier(database)):
        await execute(database, "ALTER TABLE deliveries RENAME TO away")
        courier.wake()
        await asyncio.sleep(0.1)
        await execute(database, "ALTER TABLE away RENAME TO deliveries")
        run = await a_run(database, caller)
        courier.wake()
        assert (await receiver.next()).event["subject"] == str(run)


# Rests


def test_rests_grow_and_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "FIRST_REST_S", 5.0)
    assert all(2.5 <= rest_s(1) <= 5 and 40 <= rest_s(5) <= 80 for _ in range(50))
    assert 1800 <= rest_s(10_000) <= 3600


def a_delivery(webhook_id: UUID, run_id: UUID) -> Delivery:
    return Delivery(1, webhook_id, "https://example.org", SECRET, run_id, "RUNNING", "", NOON, 0, NOON)


def test_a_receiver_that_failed_rests_until_it_took_something() -> None:
    receivers, one = Receivers(), a_delivery(uuid4(), uuid4())
    for _ in range(OF_ONE):
        receivers.began(one.webhook_id)
    for _ in range(OF_ONE - 1):  # they failed together, and count once
        receivers.ended(one, 100.0, Outcome.FAILED)
    assert receivers.known[one.webhook_id].failures == 1
    assert 0 < receivers.next_s(100.0) <= 0.05
    receivers.ended(one, 100.0, Outcome.TAKEN)
    assert (receivers.busy(100.0), receivers.sending()) == ([], 0)


def test_a_receiver_rests_once_it_refused_several_runs_and_longer_with_each_that_is_new() -> None:
    receivers, webhook, runs = Receivers(), uuid4(), [uuid4() for _ in range(3)]
    rests = []
    for turn, run in enumerate([0, 0, 1, 0, 1, 2, 2]):
        receivers.busy(5000.0 + turn)
        receivers.began(webhook)
        receivers.ended(a_delivery(webhook, runs[run]), 5000.0 + turn, Outcome.REFUSED)
        rests.append(receivers.known[webhook].failures)
    assert rests == [0, 0, 1, 1, 1, 2, 2]


async def test_what_is_always_refused_holds_up_no_other_run(
    database: Database, caller: Caller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "FIRST_REST_S", 3600.0)
    await a_webhook(database, caller.owner, receiver.url)
    bad = await a_run(database, caller)
    receiver.answers = [status(400)]
    async with delivering(courier := a_courier(database)):
        await receiver.next()
        await until(database, "SELECT failures FROM deliveries", 1)
        run = await a_run(database, caller)
        courier.wake()
        assert (await receiver.next()).event["subject"] == str(run) != str(bad)


def test_receivers_that_did_well_are_forgotten() -> None:
    receivers = Receivers()
    for _ in range(10):
        receivers.began(one := uuid4())
        receivers.ended(a_delivery(one, uuid4()), 5000.0, Outcome.TAKEN)
    assert receivers.busy(5000.0) == []
    assert receivers.known == {}
