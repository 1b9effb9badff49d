"""A blast of one company on a fake clock: the real queues, lanes and buckets of eight partitions, pumped in
the order in which ``Capacity`` wakes them (who has waited longest first)."""

from __future__ import annotations

import heapq

import pytest

from schemas.records import Channel, EntityKind, Rule, RuleKind, Trigger
from senders.lanes import Call, Lane
from senders.pacing import Bucket, paced
from streams.domain.catalog import Catalog
from streams.domain.messages import Accepted
from streams.stages.ready import ReadyRows
from streams.stages.slots import SlotName, due_key, name_of, slot_key
from streams.state.memory import MemoryStore
from tests.senders.test_lanes import Way

SMS = Channel.SMS
PARTITIONS = 8
BLAST = 100_000
LATENCY = 150
"""Milliseconds of a provider's answer."""
ROUND = 20
"""Of a round of a partition: changelog, acknowledgements, store."""


def catalog() -> Catalog:
    made = Catalog()
    for company in ("big", "small"):
        made.apply(
            Rule(
                id="r",
                company=company,
                kind=RuleKind.NOTIFICATION,
                entity=EntityKind.ORDER,
                trigger=Trigger.CREATED,
                channel=SMS,
                template_id="t",
                version=1,
            )
        )
    return made


def row(company: str, number: int, due: int) -> tuple[str, bytes, bytes]:
    key = slot_key(SlotName(company, EntityKind.ORDER, f"{number:06}", "ann", "r", "e"))
    return "due", due_key(due, key), b""


class Worker:
    """Eight partitions, one SMS account. Time goes by in milliseconds."""

    def __init__(self, per_minute: int, limit: int) -> None:
        bucket = Bucket(*paced(per_minute).values()) if per_minute else None  # type: ignore[arg-type]  # rate, burst
        self.lane = Lane(SMS, [Way("a", bucket)], limit)
        self.stores = [MemoryStore(["due"]) for _ in range(PARTITIONS)]
        self.ready = [ReadyRows(store, catalog()) for store in self.stores]
        self.asking = list(range(PARTITIONS))
        """In the order in which they began to wait."""
        self.busy: dict[int, int] = {}
        self.answers: list[tuple[int, int, Call]] = []
        self.sent: list[tuple[int, str]] = []

    def run(self, begin: int, end: int) -> None:
        for now in range(begin, end, ROUND):
            while self.answers and self.answers[0][0] <= now:
                self.lane.end(heapq.heappop(self.answers)[2], Accepted("a", "1"), now)
            self.asking += sorted(part for part, until in self.busy.items() if until == now)
            for part in list(self.asking):
                names = self.ready[part].take(now, {SMS: self.lane.room(now)}, 500)
                if not names:
                    continue
                self.asking.remove(part)
                self.busy[part] = now + ROUND
                for _, key in names:
                    call = self.lane.begin("a", now)
                    heapq.heappush(self.answers, (now + ROUND + LATENCY, len(self.sent), call))
                    self.sent.append((now, name_of(key).company))


@pytest.mark.parametrize(("per_minute", "limit"), [(0, 64), (600, 64)], ids=str)
def test_a_blast_delays_another_by_less_than_two_seconds(per_minute: int, limit: int) -> None:
    """At ten a second, and bounded by the provider's answers alone."""
    worker = Worker(per_minute, limit)
    for part, store in enumerate(worker.stores):
        store.write([row("big", number, 0) for number in range(part, BLAST, PARTITIONS)])
    worker.run(0, 500)
    begun = len(worker.sent)
    assert {company for _, company in worker.sent} == {"big"}
    dues = range(500, 2_000, 300)
    for number, due in enumerate(dues):
        worker.stores[number % PARTITIONS].write([row("small", number, due)])
    worker.run(500, 3_800)
    went = [at for at, company in worker.sent if company == "small"]
    delays = [at - due for at, due in zip(went, dues, strict=True)]
    assert max(delays) < 2_000
    assert len(worker.sent) - begun > len(dues), "the blast goes on"
    assert max(ready.queued for ready in worker.ready) <= 20_001, "and does not fill the memory"
