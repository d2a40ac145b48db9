"""Tells receivers of state changes of runs: CloudEvents, signed as Standard Webhooks, each at least once.

A delivery is claimed by moving its time ahead, so whoever dies with it leaves it to the next. Deliveries of one run to
one receiver go in their order. Receivers are strangers: none is waited for longer than its time, none gets more than
its share of the senders, and one that fails is left alone for a while, longer each time. A single delivery that is
never taken waits by itself.
https://www.standardwebhooks.com and https://github.com/cloudevents/spec
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import random
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from wesgate.core.errors import Unavailable
from wesgate.core.failpoints import failpoint
from wesgate.db import webhooks
from wesgate.db.session import Database
from wesgate.db.webhooks import Delivery
from wesgate.ga4gh.views import timestamp
from wesgate.storage import connections
from wesgate.storage.connections import Network
from wesgate.storage.patience import Bounds, Transfer
from wesgate.storage.target import Refused, parse

log = logging.getLogger(__name__)

TYPE = "org.wesgate.run.state"
OF_ONE, AT_ONCE = 4, 100
"""How many a receiver is sent at a time, and all together. One owner's webhooks cannot take all senders."""
FIRST_REST_S, LONGEST_REST_S = 5.0, 3600.0
LONGEST_SLEEP_S = 30.0
SHORTEST_SLEEP_S = 0.02
SWEEP_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """How deliveries are made: `public_url` is where clients reach the service, if that is known; a receiver has
    `timeout_s` to answer; what could not be told is given up after `keep`."""

    public_url: str = ""
    timeout_s: float = 10.0
    keep: timedelta = timedelta(days=3)

    @property
    def lease(self) -> timedelta:
        """Longer than an attempt takes: its time, and that of a resolver that does not answer."""
        return timedelta(seconds=2 * self.timeout_s + 10)


def event_id(delivery: Delivery) -> str:
    """The same at every attempt, and of no other delivery: by it receivers know what they have already."""
    return str(uuid5(delivery.webhook_id, str(delivery.id)))


def event(delivery: Delivery, public_url: str) -> bytes:
    """The CloudEvent (1.0, JSON format) of a state change."""
    told = {
        "specversion": "1.0",
        "id": event_id(delivery),
        "source": f"{public_url}/ga4gh/wes/v1/runs/{delivery.run_id}",
        "type": TYPE,
        "subject": str(delivery.run_id),
        "time": timestamp(delivery.at),
        "datacontenttype": "application/json",
        "data": {"run_id": str(delivery.run_id), "state": delivery.state, "detail": delivery.detail},
    }
    return json.dumps(told).encode()


def signed(delivery: Delivery, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a delivery. The signature is over its id, its time and its body, so that none of them can be
    changed or used again later."""
    sent = str(int(now.timestamp()))
    key = base64.b64decode(delivery.secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{event_id(delivery)}.{sent}.".encode() + body, "sha256")
    return {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": event_id(delivery),
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def rest_s(failures: int) -> float:
    """How long to wait after so many failures; spread, so that what failed together does not come back together."""
    return min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1)  # noqa: S311


def send(delivery: Delivery, settings: CourierSettings, network: Network, bounds: Bounds) -> int:
    """Make one attempt; the status that the receiver answers with. `Refused` with the reason if it does not."""
    target = parse(delivery.url)
    if target.scheme != "https" and not network.allow_private:
        raise Refused("its URL is not https")
    body = event(delivery, settings.public_url)
    return connections.post(target, network, Transfer(bounds), signed(delivery, body, datetime.now(UTC)), body)


class Outcome(Enum):
    """How an attempt ended: a receiver may refuse a delivery, or fail altogether."""

    TAKEN = auto()
    REFUSED = auto()
    FAILED = auto()


@dataclass(slots=True)
class Receiver:
    """How one receiver does: how many attempts are under way, of which runs it has refused something since it last took
    anything, and how often in a row it had to rest."""

    sending: int = 0
    refused: set[UUID] = field(default_factory=set)
    failures: int = 0
    rests_until: float = 0.0


@dataclass(slots=True)
class Receivers:
    """Those that are being sent to, and those that failed of late. Another process may know others."""

    known: dict[UUID, Receiver] = field(default_factory=dict)

    def busy(self, now: float) -> list[UUID]:
        """Those to send nothing more now."""
        for webhook_id, each in list(self.known.items()):
            if not each.sending and each.rests_until + LONGEST_REST_S < now:
                del self.known[webhook_id]
        return [webhook_id for webhook_id, each in self.known.items() if each.sending or each.rests_until > now]

    def sending(self) -> int:
        """How many attempts are under way."""
        return sum(each.sending for each in self.known.values())

    def next_s(self, now: float) -> float:
        """Seconds until one of them has rested."""
        rests = [each.rests_until - now for each in self.known.values() if each.rests_until > now]
        return min(rests, default=LONGEST_SLEEP_S)

    def began(self, webhook_id: UUID) -> None:
        self.known.setdefault(webhook_id, Receiver()).sending += 1

    def ended(self, delivery: Delivery, now: float, outcome: Outcome) -> None:
        """An attempt ended. Those that fail together count once. What is refused of one run alone may be the run's
        matter, and of those that were refused before nothing new is learned: they do not make the receiver rest."""
        each = self.known[delivery.webhook_id]
        each.sending -= 1
        if outcome is Outcome.TAKEN:
            self.known[delivery.webhook_id] = Receiver(each.sending)
            return
        is_news = outcome is Outcome.FAILED or (bool(each.refused) and delivery.run_id not in each.refused)
        if outcome is Outcome.REFUSED:
            each.refused.add(delivery.run_id)
        if each.rests_until <= now:
            each.failures += is_news
            each.rests_until = now + rest_s(each.failures) * is_news  # a past one keeps it from being forgotten


class Courier:
    """Delivers what is due until it is told to stop. Any number of them may share a database."""

    channel = "wesgate_deliveries"

    def __init__(self, database: Database, network: Network, settings: CourierSettings) -> None:
        self._database = database
        self._network = network
        self._settings = settings
        self._receivers = Receivers()
        self._woken = asyncio.Event()
        self._stopped = False
        self._bounds = Bounds(0, settings.timeout_s, lambda: self._stopped, attempts=1)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")  # each is started when it is needed

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    def stop(self) -> None:
        """Break off what is under way, to be told again by whoever comes next, and return from `run`."""
        self._stopped = True
        self.wake()

    async def run(self) -> None:
        """Serve until stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                sweeping = group.create_task(self._sweep())
                await self._serve(group)
                sweeping.cancel()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._stopped:
            self._woken.clear()
            try:
                rest = await self._pass(group)
                failures = 0
            except Exception as error:
                failures += 1
                rest = _told(error, failures)
                await asyncio.sleep(min(rest, 0.5))  # wake-ups must not make a storm of a fault
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken.wait()

    async def _sweep(self) -> None:
        """Delete what was removed, now and then."""
        while True:
            try:
                await webhooks.sweep(self._database)
            except Exception as error:
                _told(error, 1)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _pass(self, group: asyncio.TaskGroup) -> float:
        """Send what is due and can be sent now; how long to rest then. An attempt that ends wakes."""
        room = AT_ONCE - self._receivers.sending()
        if not room:
            return LONGEST_SLEEP_S
        now = time.monotonic()
        busy = self._receivers.busy(now)
        claimed = await webhooks.claim(self._database, busy, OF_ONE, room, self._settings.lease)
        for delivery in claimed:
            self._receivers.began(delivery.webhook_id)
            group.create_task(self._deliver(delivery))
        if claimed:
            failpoint("webhooks-claimed")
            return SHORTEST_SLEEP_S
        return await self._rest(busy, now)

    async def _rest(self, busy: Collection[UUID], now: float) -> float:
        """As of one moment: a receiver that has rested meanwhile must count as one or the other."""
        due = await webhooks.next_due(self._database, busy)
        rested = self._receivers.next_s(now)
        return min(LONGEST_SLEEP_S, max(SHORTEST_SLEEP_S, min(rested, LONGEST_SLEEP_S if due is None else due)))

    async def _deliver(self, delivery: Delivery) -> None:
        outcome = Outcome.FAILED
        try:
            outcome = await self._attempt(delivery)
        except Unavailable as error:
            log.warning("webhooks.paused", extra={"error": str(error)})  # its lease runs out, and it is told again
        except Exception:
            log.exception("webhooks.fault", extra={"webhook": delivery.webhook_id})
        finally:
            self._receivers.ended(delivery, time.monotonic(), outcome)
            self.wake()

    async def _attempt(self, delivery: Delivery) -> Outcome:
        """What the receiver did; what became of the delivery is written."""
        attempt = partial(send, delivery, self._settings, self._network, self._bounds)
        try:
            status = await asyncio.get_running_loop().run_in_executor(self._threads, attempt)
        except Refused as reason:
            await self._later(delivery, str(reason))
            return Outcome.FAILED
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            failpoint("webhooks-sent")
            await webhooks.delivered(self._database, delivery)
            return Outcome.TAKEN
        if status == HTTPStatus.GONE:
            log.info("webhooks.gone", extra=_named(delivery))
            await webhooks.remove_gone(self._database, delivery.webhook_id)
            return Outcome.TAKEN
        await self._later(delivery, f"it answered {status}")
        return Outcome.REFUSED

    async def _later(self, delivery: Delivery, reason: str) -> None:
        if self._stopped:
            await webhooks.postpone(self._database, delivery, timedelta(0), self._settings.keep, failed=False)
            return
        pause = timedelta(seconds=rest_s(delivery.failures + 1))
        given_up = await webhooks.postpone(self._database, delivery, pause, self._settings.keep)
        if not delivery.failures:
            log.info("webhooks.failed", extra={**_named(delivery), "reason": reason})
        if given_up:
            log.warning("webhooks.given_up", extra={**_named(delivery), "deliveries": given_up, "reason": reason})


def _named(delivery: Delivery) -> dict[str, object]:
    # Of the URL no more than the host: receivers have secrets in paths, too.
    return {"webhook": delivery.webhook_id, "host": urlsplit(delivery.url).hostname}


def _told(error: Exception, failures: int) -> float:
    """Tell operators of a pass that failed; how long to rest."""
    rest = min(LONGEST_SLEEP_S, 0.5 * 2.0 ** min(failures, 6))
    if isinstance(error, Unavailable | TimeoutError):
        log.warning("webhooks.paused", extra={"error": str(error), "seconds": rest})
    else:
        log.error("webhooks.fault", exc_info=error)
    return rest
