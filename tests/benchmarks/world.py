"""One broker's topics, one worker whose providers answer at once, and what was sent to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from schemas.records import (
    Delivery,
    DeliveryState,
    Timer,
)
from streams.domain.ids import customer_key, reference_key
from streams.kafka.partitioner import partition_for
from tests.benchmarks.commands import Commands, reminders
from tests.benchmarks.fill import fill
from tests.benchmarks.load import Feeder, Load
from tests.benchmarks.measure import BenchError, say
from tests.benchmarks.systems import DEADLINE, Carillon, Place

SLOWEST_REBUILD = 5_000
"""Timers a second."""


class World:
    """Ten companies with a rule for messages at once and one for reminders on each channel."""

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        partitions: int,
        in_flight: int,
        worker: Carillon | None = None,
    ) -> None:
        self.load = Load(changes=0, rules=100, companies=10, customers=20_000, refusing=False)
        self.place = Place(bootstrap, "timers.", folder / "worker", partitions, "json", 1, in_flight)
        self.worker = worker or Carillon(settings={"instance_id": "bench-1"})
        self.feeder = Feeder(bootstrap)
        self.commands = Commands(self.load)
        self.next = 0
        """Number of the next order."""
        self.arming = 1.0
        """Milliseconds that a timer took to be armed, by the clock."""

    def set_up(self, pending: int = 0) -> None:
        """Starts the worker with so many reminders that are due in ten days."""
        asyncio.run(self.worker.set_up(self.place, self.load))
        prefix = self.place.prefix
        self.feeder.references(prefix, self.load)
        rules = list(reminders(self.load))
        encode = self.feeder.codec.encode
        self.feeder.send(f"{prefix}rules", [(reference_key(r.company, r.id), encode(r)) for r in rules])
        self.feeder.send(f"{prefix}customer-consents", self.feeder.consents(self.load))
        if pending:
            say(f"{pending:,} timers go into the changelog")
            fill(self.place.bootstrap, f"{prefix}timers-changelog", self.place.partitions, self.load, pending)
            self.commands, self.next = Commands(self.load, pending), pending
            self.worker.patience += pending / SLOWEST_REBUILD
        say("the worker reads its customers and its changelog")
        self.worker.go()
        self.settled(pending)

    def send(self, commands: Iterable[Timer]) -> None:
        encode = self.feeder.codec.encode
        records = ((customer_key(one.company, one.customer_id), encode(one)) for one in commands)
        self.feeder.send(f"{self.place.prefix}timers", records)

    def fresh(self, count: int) -> range:
        """Orders that nobody has heard of."""
        begin, self.next = self.next, self.next + count
        return range(begin, self.next)

    def settled(self, pending: int) -> None:
        """Waits until the worker has done everything, and so many timers are pending."""
        worker = self.worker
        worker.pending = pending
        last, moved = -1.0, time.monotonic()
        while not worker.settled(0, 0):
            worker.check()
            progress = worker.progress()
            if progress != last:
                last, moved = progress, time.monotonic()
            if time.monotonic() - moved > worker.patience:
                raise BenchError(f"the worker has stood still for {worker.patience:.0f} s: {worker.status()}")
            time.sleep(0.25)

    def beside(self, name: str) -> Carillon:
        """Another worker of the same group, not started, with a disk of its own."""
        other = Carillon(settings={"instance_id": f"bench-{name}"})
        other.patience = self.worker.patience
        other.join(self.worker, replace(self.place, folder=self.place.folder.with_name(name)))
        return other

    def mark(self) -> dict[int, int]:
        """Where the delivery log ends now."""
        return self.worker.ends("delivery-log")

    def log(self, since: Mapping[int, int] = {}) -> list[Delivery]:
        decode = self.feeder.codec.decode
        return [decode(Delivery, raw) for raw in self.worker.read("delivery-log", since)]

    def partition(self, order: int) -> int:
        """Of the timers topic, where the order's customer is."""
        company, customer = self.load.place_of(order)
        return partition_for(customer_key(f"c{company}", f"cust-{customer}"), self.place.partitions)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def sent_at(log: Iterable[Delivery], dues: Mapping[int, int], lost: int = 0) -> dict[int, int]:
    """When each of these orders' messages went. Raises BenchError when one went twice or before its moment,
    or when more than ``lost`` did not (a kill leaves those unknown that were on their way)."""
    went: dict[int, set[int]] = {}
    found: dict[int, int] = {}
    became: Counter[str] = Counter()
    for record in log:
        name = int(record.entity_id.removeprefix("order-"))
        if name in dues:
            became[f"{record.state} {record.reason}".strip()] += 1
            if record.state == DeliveryState.SENT:
                # A record may come again after a crash; then it has the same number.
                went.setdefault(name, set()).add(record.transition)
                found.setdefault(name, record.at)
    if twice := sum(len(transitions) > 1 for transitions in went.values()):
        raise BenchError(f"{twice} messages went twice")
    if len(dues) - len(found) > lost:
        raise BenchError(f"{len(found)} of {len(dues)} were sent; {dict(became)}")
    if any(at < dues[name] for name, at in found.items()):
        raise BenchError("a message went before its moment")
    return found


def until_sent(last: int, *workers: Carillon) -> None:
    """Waits for the moment of the last, and until nothing due is left with any of these workers."""
    end = time.monotonic() + DEADLINE + max(0, last - now_ms()) / 1000
    while True:
        statuses = [worker.status() for worker in workers]
        if now_ms() > last and all(map(_idle, statuses)):
            return
        for worker in workers:
            worker.check()
        if time.monotonic() > end:
            raise BenchError(f"not everything was sent: {statuses}")
        time.sleep(0.25)


def _idle(status: Mapping[str, Any]) -> bool:
    due = status.get("next_due")
    busy = not status.get("ready") or status["in_flight"] or status["queued"]
    return not busy and (due is None or due > now_ms())
