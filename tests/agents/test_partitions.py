"""Partitions that come and go: what a rebalance, or a topic made anew, must not break."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.capacity import Capacity
from agents.entity_partition import EntityPartition
from agents.gate import Gate
from agents.host import Host, Place
from agents.outputs import Outputs
from agents.partition import FOLLOWED, LONGEST_AWAY, Followed, RocksDisk, Shared
from agents.sender_partition import SenderPartition
from schemas.codec import Codec, encode_json
from schemas.records import Customer, EntityKind
from schemas.registry import EmbeddedRegistry
from streams.clock import SystemClock
from streams.domain.catalog import Catalog
from streams.domain.ids import customer_key, entity_key
from streams.kafka.batches import RecordBatch
from streams.kafka.changelog import read_changelog
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.producer import BatchProducer
from streams.kafka.topics import partition_counts, topic_plan
from streams.kafka.transport import TakenAway
from streams.metrics import Metrics
from streams.settings import Settings
from streams.stages.customers import CONSENTS_SOURCE, consent_writes
from streams.stages.fencing import CLAIM
from streams.stages.firing import Options
from streams.state.errors import StoreDamaged
from streams.state.memory import MemoryStore
from tests.support.shop import HOUR, C, ann, change, facts, reminder, shop, status_of

pytestmark = pytest.mark.embedded

KIND = EntityKind.APPOINTMENT


class MemoryDisk:
    """Stores that stay when a partition is closed and opened again would be RocksDB's; here one life is
    enough."""

    def __init__(self) -> None:
        self.stores: dict[str, MemoryStore] = {}

    def open(self, name: str, families: Sequence[str]) -> MemoryStore:
        self.stores[name] = MemoryStore(families)
        return self.stores[name]

    def destroy(self, name: str) -> None:
        del self.stores[name]

    def names(self) -> Sequence[str]:
        return sorted(self.stores)


class World:
    """What a worker's partitions share, on a broker of its own."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.disk = MemoryDisk()
        self.ids: dict[str, str] = {}
        self.committed: dict[str, int] = {}
        """By topic; all have one partition."""
        self.machines = 1
        self.catalog = Catalog()
        for reference in shop():
            self.catalog.apply(reference)
        registry = EmbeddedRegistry()
        self.registry = registry
        self.codec = Codec(registry)
        self.producer = BatchProducer(broker.bootstrap, {}, partitions=lambda topic: 1)
        self.shared = Shared(
            disk=self.disk,
            read_log=partial(read_changelog, broker.bootstrap, {}),
            outputs=Outputs(self.producer, self.codec, ""),
            codec=self.codec,
            registry=registry,
            catalog=self.catalog,
            clock=SystemClock(),
            metrics=Metrics(),
            formats={"orders": "auto", "leads": "auto", "appointments": "auto"},
            topic_id=self.topic_id,
            committed=self.committed_of,
            name="worker",
        )
        self.unread = False
        self.membership = 0.0
        self.clocks = 0
        """By how much they disagree, in milliseconds."""
        self.gate = Gate(
            unread=lambda: self.unread,
            membership_age=lambda: self.membership,
            tables_age=lambda: 0.0,
            disagreement=lambda: self.clocks,
            session_timeout=20.0,
            longest_hold=1_000.0,
        )

    def on_another_machine(self) -> Shared:
        """The same, with an empty disk and another name."""
        self.machines += 1
        return replace(self.shared, disk=MemoryDisk(), name=f"worker {self.machines}")

    async def topic_id(self, topic: str) -> str:
        return self.ids.get(topic, "")

    async def committed_of(self, topic: str, partition: int) -> int:
        return self.committed.get(topic, 0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    plan = topic_plan(Settings(partitions=1))
    async with EmbeddedBroker(partition_counts(plan)) as broker:
        world = World(broker)
        await world.registry.register_all()
        await world.producer.start()
        yield world
        await world.producer.stop()


class Raw:
    """A record of the appointments."""

    headers: Sequence[tuple[str, bytes]] = ()

    def __init__(self, offset: int, key: bytes, value: bytes) -> None:
        self.offset, self.key, self.value, self.timestamp = offset, key, value, 0


async def test_a_partition_is_left_when_its_step_is_complete(world: World) -> None:
    """The broker hangs while a rule is being applied, and the partition is taken away: the step must not go
    on behind the back of the next owner, in a store that is closed."""
    now = world.shared.clock.now()
    part = EntityPartition(world.shared, world.gate, "appointments", 0)
    await part.open()
    booked = change(1, facts(status_of("new", KIND), now + 9 * HOUR), now)
    record = Raw(0, entity_key(C, "1"), encode_json(booked))
    await part.batch(RecordBatch("appointments", 0, [record], 0, 1))
    os.kill(world.broker.pid, signal.SIGSTOP)
    try:
        world.catalog.apply(reminder(2))
        part.reference_changed([(C, "rem")])
        async with asyncio.timeout(30):
            while not part._lock.locked():  # noqa: ASYNC110 - the step under way has no event
                await asyncio.sleep(0)
        closing = asyncio.create_task(part.close())
        done, _ = await asyncio.wait([closing], timeout=0.3)
        assert not done, "left with a step under way"
    finally:
        os.kill(world.broker.pid, signal.SIGCONT)
    async with asyncio.timeout(30):
        await closing


async def test_nothing_is_sent_between_two_assignments(world: World) -> None:
    """The first partition that is opened must not send what the last one's unread records cancel."""
    host = Host(world.shared, {}, {}, Options(), world.gate)
    await host.resume([])
    assert not world.gate.closed()
    world.unread = True
    await host.pause()
    assert world.gate.closed()


async def test_a_worker_is_told_to_stop_while_its_partitions_are_being_taken_away(world: World) -> None:
    """The broker hangs, and with it the step that the rebalance waits for: its store stays open so long."""
    host = Host(world.shared, {}, {}, Options(), world.gate)
    await host.resume([Place("timers", 0), Place("consents", 0)])
    part = host.timers[0]
    os.kill(world.broker.pid, signal.SIGSTOP)
    try:
        step = asyncio.create_task(part.timers(RecordBatch("timers", 0, [], 0, 5)))
        async with asyncio.timeout(30):
            while not part._lock.locked():  # noqa: ASYNC110 - the step under way has no event
                await asyncio.sleep(0)
        pausing = asyncio.create_task(host.pause())
        await asyncio.sleep(0)
        closing = asyncio.create_task(host.close())
        done, _ = await asyncio.wait([closing], timeout=0.3)
        assert not done, "closed under a step"
    finally:
        os.kill(world.broker.pid, signal.SIGCONT)
    async with asyncio.timeout(30):
        await asyncio.gather(step, pausing, closing)


async def test_what_is_taken_away_while_it_is_being_opened_stays_closed(world: World) -> None:
    host = Host(world.shared, {}, {}, Options(), world.gate)
    places = [Place("timers", 0), Place("consents", 0)]
    resuming = asyncio.create_task(host.resume(places))
    async with asyncio.timeout(30):
        while not host.timers:  # noqa: ASYNC110 - the restore under way has no event
            await asyncio.sleep(0)
    world.unread = True
    await host.pause()
    await resuming
    assert (host.ready, host.timers[0]._pump) == (False, None)
    with pytest.raises(TakenAway):
        host.start_offset(places[0])
    assert world.gate.closed()
    await host.resume(places)
    assert (host.ready, host.timers[0]._pump is None) == (True, False)
    assert host.start_offset(places[0]) is None
    await host.close()


async def test_consents_made_anew_replace_those_of_before(world: World) -> None:
    """The topic ends before what the store has read of it: another topic of the same name."""
    part = SenderPartition(world.shared, 0, Capacity({}, {}), Options(), world.gate)
    store = world.disk.stores["timers-changelog-0"]
    old, new = ann(customer_id="old", version=9), ann(customer_id="new")
    store.write(consent_writes(store, [(customer_key(C, "old"), old)], 50))
    value = world.codec.encode(new)
    await world.shared.outputs.send("consents", [(customer_key(C, "new"), value)], partition=0)
    await part.open()
    assert part.consents_source == 1
    assert store.get("consents", customer_key(C, "old")) is None
    assert store.get("consents", customer_key(C, "new")) is not None
    assert store.get("meta", CONSENTS_SOURCE) is not None
    await part.close()


@pytest.mark.parametrize("when", ["while it runs", "while it is away", "in one batch"])
async def test_an_older_consent_behind_a_newer_one_does_not_outlive_it(world: World, when: str) -> None:
    """``consents`` is compacted: the newest record of a key is all that is left of it one day, and a worker
    with an empty disk believes it."""
    key = customer_key(C, "ann")
    withdrawn, older = ann(version=7, sms_consent=False), ann(version=6, sms_consent=True)
    outputs, codec = world.shared.outputs, world.codec
    part = SenderPartition(world.shared, 0, Capacity({}, {}), Options(), world.gate)
    store = world.disk.stores["timers-changelog-0"]
    if when == "while it is away":
        await outputs.send("consents", [(key, codec.encode(one)) for one in (withdrawn, older)], partition=0)
        await part.open()
    else:
        await part.open()
        records = [Raw(n, key, codec.encode(one)) for n, one in enumerate((withdrawn, older))]
        await outputs.send("consents", [(key, one.value) for one in records], partition=0)
        for batch in [records] if when == "in one batch" else [records[:1], records[1:]]:
            await part.consents(RecordBatch("consents", 0, batch, batch[0].offset, batch[-1].offset + 1))
    found: list[Customer] = []
    await world.shared.read_log(
        "consents",
        0,
        None,
        lambda rows: found.extend(codec.decode(Customer, value or b"") for _, _, value, _ in rows),
    )
    assert [one.version for one in found] == [7, 6, 7]
    assert not found[-1].sms_consent
    kept = store.get("consents", key)
    assert kept is not None
    assert msgspec.msgpack.decode(kept, type=Customer).version == 7
    await part.close()


async def test_a_wrong_clock_decides_nothing(world: World) -> None:
    """By a clock that is a day ahead an appointment of tomorrow is over, and the new rule would remind nobody
    of it, also when the clock is right again."""
    world.clocks = 24 * HOUR
    now = world.shared.clock.now()
    part = EntityPartition(world.shared, world.gate, "appointments", 0)
    await part.open()
    booked = change(1, facts(status_of("new", KIND), now + 9 * HOUR), now)
    record = Raw(0, entity_key(C, "1"), encode_json(booked))
    await part.batch(RecordBatch("appointments", 0, [record], 0, 1))
    try:
        world.catalog.apply(reminder(2))
        part.reference_changed([(C, "rem")])
        swept = part.sweeping
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert part.sweeping == swept > 0
        world.clocks = 0
        async with asyncio.timeout(30):
            while part.sweeping:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
    finally:
        await part.close()


class DamagedStore(MemoryStore):
    """The disk gives back something else than was written."""

    def get(self, family: str, key: bytes) -> bytes | None:
        raise StoreDamaged("bad block")


class DamagedDisk(MemoryDisk):
    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives
        """How often a damaged store is opened before it is destroyed."""

    def open(self, name: str, families: Sequence[str]) -> MemoryStore:
        self.stores[name] = DamagedStore(families) if self.lives else MemoryStore(families)
        return self.stores[name]

    def destroy(self, name: str) -> None:
        super().destroy(name)
        self.lives = 0


@pytest.mark.parametrize("name", ["timers", "appointments"])
async def test_a_store_that_is_found_damaged_when_it_is_first_read_is_rebuilt(
    world: World, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(replace(world.shared, disk=DamagedDisk(1)), {}, {}, Options(), world.gate)
    places = [Place(name, 0), *([Place("consents", 0)] if name == "timers" else [])]
    await host.resume(places)
    assert host.ready
    assert "is rebuilt from the beginning: bad block" in caplog.text
    await host.close()


@pytest.mark.parametrize("name", ["timers", "appointments"])
async def test_a_rule_changes_while_a_store_is_rebuilt(world: World, name: str, tmp_path: Path) -> None:
    """Whoever asks the partition meanwhile must not meet the store that was thrown away."""
    host: Host | None = None
    rebuilt = False

    async def read_log(*args: Any) -> int:
        nonlocal rebuilt
        if host is not None:
            rebuilt = True
            rule = reminder(24)
            world.catalog.apply(rule)
            host.reference_changed([(C, rule.id), (C, "")])
            host.backlog()
            assert sum(part.pending + part.sweeping for part in host.timers.values()) >= 0
            assert not host.ready
        return await world.shared.read_log(*args)

    shared = replace(world.shared, disk=RocksDisk(tmp_path), read_log=read_log)
    places = [Place(name, 0), *([Place("consents", 0)] if name == "timers" else [])]
    before = Host(shared, {}, {}, Options(), world.gate)
    await before.resume(places)
    store = before._parts()[0]._state.store
    raw = store.get("meta", FOLLOWED)
    assert raw is not None
    followed = msgspec.msgpack.decode(raw, type=Followed)
    followed.caught_up -= LONGEST_AWAY + 60_000
    store.write([("meta", FOLLOWED, msgspec.msgpack.encode(followed))])
    await before.close()

    host = Host(shared, {}, {}, Options(), world.gate)
    await host.resume(places)
    assert rebuilt
    assert host.ready
    await host.close()


async def test_consents_made_anew_are_read_from_their_beginning(world: World, tmp_path: Path) -> None:
    """With more in it than before, so that the offset that was reached is there again."""
    shared = replace(world.shared, disk=RocksDisk(tmp_path))
    world.ids["consents"] = "one"
    ghost = customer_key(C, "ghost")
    places = [Place("timers", 0), Place("consents", 0)]
    for topic_id, stays in (("one", True), ("two", False)):
        world.ids["consents"] = topic_id
        host = Host(shared, {}, {}, Options(), world.gate)
        await host.resume(places)
        store = host.timers[0]._state.store
        if topic_id == "one":  # of a customer who is not in the new topic
            store.write([("consents", ghost, world.codec.encode(ann()))])
        assert (store.get("consents", ghost) is not None) is stays
        await host.close()


@pytest.mark.parametrize("then", ["confirmed", "taken away"])
async def test_a_worker_that_slept_while_it_restored_claims_nothing_before_the_group_confirms_it(
    world: World, then: str
) -> None:
    """Another may have its partitions by now, and would be ended by the claim."""
    world.membership = 30.0
    host = Host(world.shared, {}, {}, Options(), world.gate)
    resuming = asyncio.create_task(host.resume([Place("appointments", 0)]))
    done, _ = await asyncio.wait([resuming], timeout=1.0)
    assert not done
    assert await claims(world) == 0
    async with asyncio.timeout(60):
        if then == "confirmed":
            world.membership = 0.0
        else:
            await host.pause()
        await resuming
    assert host.ready is (then == "confirmed")
    assert await claims(world) == host.ready
    await host.close()


async def claims(world: World) -> int:
    found: list[bytes] = []
    await world.shared.read_log(
        "appointments-state", 0, None, lambda rows: found.extend(key for _, key, _, _ in rows)
    )
    return found.count(CLAIM)


async def test_an_assignment_that_is_over_before_its_turn_comes_opens_nothing(world: World) -> None:
    """One waits for the restore of the last, and is taken away meanwhile; the next one then opens once."""
    world.membership = 30.0
    host = Host(world.shared, {}, {}, Options(), world.gate)
    places = [Place("appointments", 0)]
    first, second = (asyncio.create_task(host.resume(places)) for _ in range(2))
    done, _ = await asyncio.wait([first, second], timeout=0.3)
    assert not done
    await host.pause()
    third = asyncio.create_task(host.resume(places))
    world.membership = 0.0
    async with asyncio.timeout(60):
        await asyncio.gather(first, second, third)
    assert host.ready
    assert await claims(world) == 1
    await host.close()
