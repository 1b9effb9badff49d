"""A simulated worker: the real ``Host``, partitions, outputs and reference tables over simulated ports, and
the group that hands partitions out. What Faust does between the two is told here in short: eager
rebalances, batches of one partition one after the other, commits that come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from agents.consents import rekey
from agents.gate import Gate
from agents.host import Host, Place
from agents.outputs import Outputs
from agents.partition import Shared
from agents.patience import PatientRegistry
from agents.reference import ReferenceTables
from schemas.codec import Codec
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId
from schemas.records import Channel, Rule
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog
from streams.kafka.batches import PartitionFlow, RecordBatch
from streams.kafka.broadcast import BroadcastRecord
from streams.kafka.topics import REFERENCE_TOPICS
from streams.metrics import Metrics
from streams.stages.firing import Options
from streams.state.errors import StoreClosed
from tests.simulation.broker import Broker, SimProducer, Stored
from tests.simulation.disk import SimDisk
from tests.simulation.loop import Process
from tests.simulation.provider import SimSender

if TYPE_CHECKING:
    from tests.simulation.world import World

SESSION = 10.0
"""Seconds after which the group gives a silent worker's partitions to others."""
HEARTBEAT = 3.0
DRAIN = 8.0
CHANNELS = (Channel.SMS, Channel.EMAIL)
_METRICS = Metrics()
_CONTRACTS = EmbeddedRegistry()
CODEC = Codec(_CONTRACTS)
"""The publishers', and the one that the checks read with."""


class SimClock:
    """``streams.clock.Clock`` over the loop's time."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def now(self) -> int:
        return self._broker.now()

    def seconds_until(self, moment: int) -> float:
        return max(0.0, (moment - self._broker.now()) / 1000)

    def disagreement(self) -> int:
        return 0


class SimRegistry:
    """A registry that knows each schema only once it was asked; sometimes it is away when asked."""

    def __init__(self, broker: Broker) -> None:
        self.ids = _CONTRACTS.ids
        self._broker = broker
        self._known: set[int] = set()

    def schema(self, schema_id: int) -> str:
        if schema_id not in self._known:
            if schema_id in self.ids.values():
                raise UnknownSchemaId((schema_id,))
            raise DecodeError("unknown_schema", "no such id")
        return _CONTRACTS.schema(schema_id)

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        await asyncio.sleep(self._broker.delay())
        if self._broker.chance(self._broker.trouble):
            raise RegistryError("away")
        self._known.update(schema_ids)

    async def register_all(self, topics: object = None) -> None:
        await asyncio.sleep(self._broker.delay())

    async def preload(self, topics: Iterable[str]) -> None:
        await asyncio.sleep(self._broker.delay())


@dataclass(slots=True)
class Machine:
    """Where workers run, one after the other: what stays is the disk."""

    name: str
    disk: SimDisk
    worker: SimWorker | None = None


class SimWorker(Process):
    def __init__(self, world: World, machine: Machine, number: int) -> None:
        super().__init__(f"{machine.name}.{number}")
        self._world = world
        broker = self._broker = world.broker
        self.machine = machine
        self.producer = SimProducer(broker)
        registry = PatientRegistry(SimRegistry(broker))
        codec = Codec(registry)
        self.catalog = Catalog()
        clock = SimClock(broker)
        outputs = Outputs(self.producer, codec, "")  # type: ignore[arg-type]  # what Outputs uses of it is send
        self.shared = Shared(
            disk=machine.disk,
            read_log=broker.read_log,
            topic_id=self._topic_id,
            name=self.name,
            outputs=outputs,
            codec=codec,
            registry=registry,
            catalog=self.catalog,
            clock=clock,
            metrics=_METRICS,
            formats={"orders": "auto", "leads": "avro", "appointments": "avro"},
        )
        senders = {
            channel: SimSender(world.providers[channel], self, world.setting.rate) for channel in CHANNELS
        }
        gate = Gate(
            unread=self.unread,
            membership_age=self._membership_age,
            tables_age=lambda: broker.loop.seconds - self._tables_confirmed,
            disagreement=clock.disagreement,
            session_timeout=SESSION,
            longest_hold=60.0,
            monotonic=broker.loop.time,
        )
        self.gate = gate
        options = Options(email_domain="mail.example", consent_wait=60_000, inherited_after=20_000)
        limits = dict.fromkeys(CHANNELS, world.setting.in_flight)
        self.host = Host(self.shared, senders, limits, options, gate)
        self.tables = ReferenceTables("", {}, "", codec, registry, self.catalog, self.host.reference_changed)
        self.flows: dict[Place, PartitionFlow] = {}
        self.error: BaseException | None = None
        self.expired = False
        """The group has given its partitions to others while it slept."""
        self.lapsed: float | None = None
        """When the last heartbeat left, of a worker that sends none any more."""
        self.tables_slow = 0.0
        """Seconds by which the reference tables lag."""
        self._tables_confirmed = float("-inf")
        self._orders: asyncio.Queue[tuple[str, int, frozenset[Place]]] = asyncio.Queue()
        self._ordered = 0.0
        self._first_read = asyncio.Event()
        self._rules: list[tuple[float, tuple[str, str], bool]] = []
        self._versions: dict[tuple[str, str], int] = {}
        self._assigned: frozenset[Place] = frozenset()

    async def _topic_id(self, topic: str) -> str:
        return topic

    # --- life

    async def run(self) -> None:
        """Until the process dies. What goes wrong ends it, as in a real worker."""
        try:
            await self.tables._registry.preload(REFERENCE_TOPICS)
            self.start(self._guard(self._read_tables()), "tables")
            self._world.group.join(self)
            while True:
                order, generation, places = await self._orders.get()
                if order == "leave":
                    await self._stop_flows()
                    await self.host.close()
                    self._world.group.left(self)
                    return
                if order == "revoke":
                    await self._stop_flows()
                    await self.host.pause()
                    self._world.group.revoked(self, generation)
                elif order == "assign":
                    await self._first_read.wait()
                    await self.tables.applied()
                    await self.host.resume(places)
                    self._start_flows(places)
        except Exception as error:  # noqa: BLE001 - the simulation judges it
            self._fail(error)

    def order(self, what: str, generation: int, places: frozenset[Place] = frozenset()) -> None:
        """Word from the group's coordinator; in order, as on one connection."""
        self._ordered = max(self._ordered + 1e-6, self._broker.loop.seconds + self._broker.delay())
        self._broker.loop.at(self._ordered, self._orders.put_nowait, (what, generation, places))

    @property
    def idle(self) -> bool:
        """Everything that the topics hold has been worked on, and nothing is under way."""
        host = self.host
        if self.frozen or not host.ready or not self.tables_read or self.unread(all_of_it=True):
            return False
        return not any(part.sweeping for part in host.entities.values()) and not any(
            part.sweeping or part.in_flight for part in host.timers.values()
        )

    @property
    def tables_read(self) -> bool:
        return all(
            self.tables.positions.get(name, {}).get(0, 0) >= self._broker.topics[name][0].end
            for name in REFERENCE_TOPICS
        )

    def unread(self, *, all_of_it: bool = False) -> bool:
        if len(self.flows) < len(self._assigned):
            return True
        return any(
            flow.acked_offset
            < (self._broker.topics[flow.topic][flow.partition].end if all_of_it else flow.end_at_start)
            for flow in self.flows.values()
        )

    def _membership_age(self) -> float:
        now = self._broker.loop.seconds
        return now - self.lapsed if self.lapsed is not None else now % HEARTBEAT

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self._world.died(self)

    async def _guard(self, work: asyncio.Future[None] | object) -> None:
        try:
            await work  # type: ignore[misc]  # a coroutine of ours
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def rules_at(self, seconds: float, company: str, rule_id: str) -> bool | None:
        """Was the rule on as this worker had read it before that moment? None: it had not."""
        state = None
        for at, key, on in self._rules:
            if at < seconds and key == (company, rule_id):
                state = on
        return state

    # --- what Faust does

    def _start_flows(self, places: frozenset[Place]) -> None:
        self._assigned = places
        for place in sorted(places):
            log = self._broker.topics[place.topic][place.partition]
            committed = self._broker.committed.get(place)
            start = self.host.start_offset(place)
            if start is None:
                start = committed or 0
            flow = PartitionFlow(
                place.topic,
                place.partition,
                min(start, log.end),
                committed_offset=committed,
                end_at_start=log.end,
                on_settled=self._settled,
            )
            self.flows[place] = flow
            self.start(self._guard(self._consume(flow, self._handler(place))), f"consume {place}")

    async def _stop_flows(self) -> None:
        """No further batch; those in work are waited for, some seconds; then what is done is committed."""
        flows, self.flows = self.flows, {}
        self._assigned = frozenset()
        for flow in flows.values():
            flow.next_offset = 1 << 60  # nothing more is handed out
        deadline = self._broker.loop.seconds + DRAIN
        while (  # noqa: ASYNC110 - an event for each flow would say it at more length
            any(flow.in_flight for flow in flows.values()) and self._broker.loop.seconds < deadline
        ):
            await asyncio.sleep(0.05)
        for place, flow in flows.items():
            self._commit(place, flow)
            flow.retire()

    def _settled(self, flow: PartitionFlow) -> None:
        place = Place(flow.topic, flow.partition)
        self._broker.loop.call_later(1.0, self._commit, place, flow)

    def _commit(self, place: Place, flow: PartitionFlow) -> None:
        if flow.commit_due is not None and self in self._world.group.members:
            flow.committed_offset = self._broker.committed[place] = flow.acked_offset

    async def _consume(self, flow: PartitionFlow, handle: Callable[[RecordBatch], object]) -> None:
        log = self._broker.topics[flow.topic][flow.partition]
        random = self._world.random
        while True:
            if flow.next_offset >= log.end:
                more = asyncio.Event()
                log.waiting.append(more)
                await more.wait()
            await asyncio.sleep(self._broker.delay(0.1))
            if not flow.live:
                return
            if flow.next_offset >= log.end:
                continue
            records, position = log.read(flow.next_offset, random.choice((1, 2, 10, 100)))
            batch = flow.take(records, position)
            if batch is not None:
                try:
                    await handle(batch)  # type: ignore[misc]  # every handler is a coroutine
                except StoreClosed:
                    if batch.live:
                        raise
                    # It took longer than a revoke waits, and the partition is gone: ends the worker.
                    self._world.ended(self)
                    return
                if batch.live:
                    self._note(batch)
                batch.ack()

    def _handler(self, place: Place) -> Callable[[RecordBatch], object]:
        if place.topic == "timers":
            return self.host.timers[place.partition].timers
        if place.topic == "consents":
            return self.host.timers[place.partition].consents
        if place.topic == "customer-consents":
            return lambda batch: rekey(self.shared, batch)
        return self.host.entities[place].batch

    def _note(self, batch: RecordBatch) -> None:
        """What has been processed, for the checks."""
        self._world.processed(batch)

    def _note_rules(self, records: list[Stored]) -> None:
        if self.tables._fetching is not None:
            return  # they are applied later
        for record in records:
            company, rule_id = (record.key or b"").decode().split("/")
            key = company, rule_id
            rule = CODEC.decode(Rule, record.value) if record.value is not None else None
            if rule is not None and rule.version <= self._versions.get(key, -1):
                continue  # overtaken by a newer one
            self._versions[key] = rule.version if rule is not None else -1
            self._rules.append((self._broker.loop.seconds, key, rule is not None and rule.enabled))

    async def _read_tables(self) -> None:
        """Reads the reference topics from their beginning and follows them."""
        positions = dict.fromkeys(REFERENCE_TOPICS, 0)
        broker = self._broker
        while True:
            wake = asyncio.Event()
            await asyncio.sleep(broker.delay(0.2) + self.tables_slow)
            for name in REFERENCE_TOPICS:
                log = broker.topics[name][0]
                records, position = log.read(positions[name], 1_000) if log.end > positions[name] else ([], 0)
                if records:
                    positions[name] = position
                    if name == "rules":
                        self._note_rules(records)
                    self.tables._apply(
                        [BroadcastRecord(name, r.key or b"", r.value, 0, r.offset) for r in records]
                    )
                log.waiting.append(wake)
            self._first_read.set()
            self._tables_confirmed = float("inf")  # confirmed as long as nothing more is written
            await wake.wait()
            self._tables_confirmed = broker.loop.seconds


class Group:
    """The group's coordinator: eager rebalances, sticky assignment, session time-outs."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self.members: list[SimWorker] = []
        self.generation = 0
        self._waiting: set[SimWorker] = set()
        self._held: dict[Place, str] = {}

    def join(self, worker: SimWorker) -> None:
        self.members.append(worker)
        self._rebalance()

    def leave(self, worker: SimWorker) -> None:
        """A graceful stop: the worker finishes and says goodbye."""
        worker.order("leave", self.generation)

    def left(self, worker: SimWorker) -> None:
        self.remove(worker)
        self._world.stopped(worker)

    def remove(self, worker: SimWorker) -> None:
        if worker in self.members:
            self.members.remove(worker)
            self._rebalance()

    def revoked(self, worker: SimWorker, generation: int) -> None:
        """The worker has stopped working on its partitions."""
        if generation == self.generation:
            self._waiting.discard(worker)
            if not self._waiting:
                self._assign()

    def _rebalance(self) -> None:
        self.generation += 1
        self._waiting = set(self.members)
        for worker in self.members:
            worker.order("revoke", self.generation)

    def _assign(self) -> None:
        """Sticky where it can be, ``timers`` and ``consents`` together."""
        members = list(self.members)
        if not members:
            return
        names = [worker.machine.name for worker in members]
        places = [
            Place(topic, partition)
            for topic in ("orders", "leads", "appointments", "customer-consents", "timers")
            for partition in range(len(self._world.broker.topics[topic]))
        ]
        most = -(-len(places) // len(members))
        given: dict[str, list[Place]] = {name: [] for name in names}
        left: list[Place] = []
        for place in places:
            owner = self._held.get(place)
            if owner in given and len(given[owner]) < most:
                given[owner].append(place)
            else:
                left.append(place)
        for place in left:
            name = min(names, key=lambda name: (len(given[name]), name))
            given[name].append(place)
        self._held = {place: name for name, some in given.items() for place in some}
        for worker in members:
            some = given[worker.machine.name]
            some += [Place("consents", place.partition) for place in some if place.topic == "timers"]
            worker.order("assign", self.generation, frozenset(some))
