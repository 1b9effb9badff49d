"""A simulated worker: the real ``Host``, partitions, outputs, quarantine and reference tables over simulated
ports. What Faust does between them is told here in short: batches of one partition one after the other,
commits that come late, positions that the log does not have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from agents.consents import rekey
from agents.gate import Gate
from agents.host import Host, Place
from agents.lookout import Lookout
from agents.outputs import Outputs
from agents.partition import Shared
from agents.patience import PatientRegistry
from agents.progress import RestoreProgress
from agents.quarantine import Quarantine
from agents.unread import Spot, Unread, Want
from schemas.codec import Codec
from schemas.records import Channel
from streams.domain.catalog import Catalog
from streams.kafka.batches import PartitionFlow, RecordBatch
from streams.kafka.topics import ENTITY_TOPICS, INPUT_TOPICS, REFERENCE_TOPICS
from streams.metrics import Metrics
from streams.stages.entity_state import EntityState
from streams.stages.fencing import Fenced
from streams.stages.firing import Options
from streams.state.errors import StoreClosed
from tests.simulation.broker import Broker, SimProducer
from tests.simulation.items import DEADLY
from tests.simulation.loop import Process
from tests.simulation.ports import Machine, SimClock, SimRegistry
from tests.simulation.provider import SimSender
from tests.simulation.tables import SimTables

if TYPE_CHECKING:
    from tests.simulation.world import World

SESSION = 10.0
"""Seconds after which the group gives a silent worker's partitions to others."""
HEARTBEAT = 3.0
DRAIN = 8.0
WATCH = 30.0
SLOWEST = 60.0
"""Seconds between an intent and its final check, in stories in which messages queue."""
HOLD = 60.0
CHANNELS = (Channel.SMS, Channel.EMAIL)
_METRICS = Metrics()
_decode_state = msgspec.msgpack.Decoder(EntityState).decode


class SlowGate(Gate):
    """Where messages queue they also queue behind what else the worker has to do: between the intent and the
    final check something may be withdrawn."""

    broker: Broker

    async def until_owned(self) -> None:
        await asyncio.sleep(self.broker.delay(SLOWEST))
        await super().until_owned()


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
        self.clock = clock = SimClock(broker)
        outputs = Outputs(self.producer, codec, "")  # type: ignore[arg-type]  # what Outputs uses of it is send
        self.shared = Shared(
            disk=machine.disk,
            read_log=RestoreProgress().watching(broker.read_log),
            topic_id=self._topic_id,
            committed=self._committed,
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
            channel: [SimSender(world.providers[channel], self, world.setting.rate)] for channel in CHANNELS
        }
        gate = (SlowGate if world.setting.rate and world.story.seed % 3 else Gate)(
            unread=self.unread,
            membership_age=self._membership_age,
            tables_age=self._tables_age,
            disagreement=clock.disagreement,
            session_timeout=SESSION,
            longest_hold=HOLD,
            monotonic=broker.loop.time,
        )
        if isinstance(gate, SlowGate):
            gate.broker = broker
        self.gate = gate
        options = Options(email_domain="mail.example", consent_wait=60_000, inherited_after=20_000)
        limits = dict.fromkeys(CHANNELS, world.setting.in_flight)
        ahead = dict.fromkeys(CHANNELS, world.setting.in_flight // 2)
        self.host = Host(self.shared, senders, limits, options, gate, ahead=ahead)
        self.tables = SimTables(broker, codec, registry, self.catalog, self.host.reference_changed)
        self.lookout = Lookout(
            self.host, ends=self._changelog_ends, topic=str, disagreement=clock.disagreement
        )
        self._quarantine = Quarantine(machine.marks, outputs.dead_letters, clock.now)
        self.flows: dict[Place, PartitionFlow] = {}
        self.error: BaseException | None = None
        self.expired = False
        """The group has given its partitions to others while it slept."""
        self.lapsed: float | None = None
        """When the last heartbeat left, of a worker that sends none any more."""
        self._orders: asyncio.Queue[tuple[str, int, frozenset[Place]]] = asyncio.Queue()
        self._ordered = 0.0
        self._revoked = 0
        self._leaving = False
        self._opening: asyncio.Task[None] | None = None
        self.assigned_at: list[float] = []
        self._assigned: frozenset[Place] = frozenset()
        self._unread = Unread()

    async def _topic_id(self, topic: str) -> str:
        await asyncio.sleep(self._broker.delay())
        return f"{topic}-{self._broker.topic_ids.get(topic, 0)}"

    async def _committed(self, topic: str, partition: int) -> int:
        await asyncio.sleep(self._broker.delay())
        return self._broker.committed.get(Place(topic, partition), 0)

    # --- life

    async def run(self) -> None:
        """Until the process dies. What goes wrong ends it, as in a real worker."""
        try:
            await self.shared.registry.preload(REFERENCE_TOPICS)
            self.start(self._guard(self.tables.follow), "tables")
            self.start(self._guard(self._watch), "watch")
            self.lookout.start()
            self._world.group.join(self)
            while True:
                order, generation, places = await self._orders.get()
                if order == "revoke":
                    self._revoked += 1
                    await self._stop_flows()
                    await self.host.pause()
                    self._world.group.revoked(self, generation)
                elif not self._leaving:
                    self._opening = self.start(
                        self._guard(partial(self._resume, places, self._revoked)), "resume"
                    )
        except Exception as error:  # noqa: BLE001 - the simulation judges it
            self._fail(error)

    async def _resume(self, places: frozenset[Place], revoked: int) -> None:
        """Beside the next orders: partitions may be taken away while they are being opened."""
        await self.tables.first_read.wait()
        await self.tables.real.applied()
        if self._revoked != revoked:
            return
        if not self.frozen:
            self.lapsed = None
        self._assigned, self._unread = places, Unread()
        self.assigned_at.append(self._broker.loop.seconds)
        await self.host.resume(places)
        if self._revoked == revoked:
            self._start_flows(places)

    async def leave(self) -> None:
        """Told to stop, perhaps in the middle of a rebalance."""
        await asyncio.sleep(self._broker.delay())
        self._leaving = True
        self._revoked += 1
        self.lookout.stop()
        await self._stop_flows()
        await self.host.close()
        self._world.group.left(self)

    async def _watch(self) -> None:
        """Ends the worker when a task that nobody awaits has failed."""
        while not self._world.healed:  # then the world looks itself
            await asyncio.sleep(WATCH)
            self.look()

    def look(self) -> None:
        failure = self.host.failure() or self.lookout.failure
        if failure is not None:
            self._fail(failure)

    async def _changelog_ends(self, topics: Iterable[str]) -> dict[Spot, int]:
        await asyncio.sleep(self._broker.delay())
        if self._broker.chance(self._broker.trouble / 4):
            raise TimeoutError
        return {Spot(t, n): log.end for t in topics for n, log in enumerate(self._broker.topics[t])}

    def order(self, what: str, generation: int, places: frozenset[Place] = frozenset()) -> None:
        """Word from the group's coordinator; in order, as on one connection."""
        self._ordered = max(self._ordered + 1e-6, self._broker.loop.seconds + self._broker.delay())
        self._broker.loop.at(self._ordered, self._orders.put_nowait, (what, generation, places))

    @property
    def idle(self) -> bool:
        """Everything that the topics hold has been worked on, and nothing is under way."""
        host = self.host
        if self.frozen or not host.ready or not self.tables.read or self._behind():
            return False
        return not any(part.sweeping for part in host.entities.values()) and not any(
            part.sweeping or part.in_flight for part in host.timers.values()
        )

    def _behind(self) -> bool:
        return len(self.flows) < len(self._assigned) or any(
            flow.acked_offset < self._broker.topics[flow.topic][flow.partition].end
            for flow in self.flows.values()
        )

    def unread(self) -> bool:
        """``agents.hold.Hold`` whose questions are answered at once."""
        unread, broker = self._unread, self._broker
        asked = None
        while not unread.done and unread.want is not asked:
            asked = unread.want
            acked = {Spot(*place): flow.acked_offset for place, flow in self.flows.items()}
            if asked is Want.INPUT_ENDS:
                inputs = ((name, len(broker.topics[name])) for name in INPUT_TOPICS)
                unread.input_ends(self._ends(Place(t, n) for t, count in inputs for n in range(count)))
            elif asked is Want.INPUTS:
                others = {Spot(*place): offset for place, offset in broker.committed.items()}
                unread.inputs(others | acked)
            elif asked is Want.OWN_ENDS:
                unread.own_ends(self._ends(p for p in self._assigned if p.topic in ("timers", "consents")))
            else:
                unread.own(acked)
        return not unread.done

    def _ends(self, places: Iterable[Place]) -> dict[Spot, int]:
        return {Spot(*place): self._broker.topics[place.topic][place.partition].end for place in places}

    def remembered(self) -> list[str]:
        """What its stores hold of messages and of entities that are over."""
        stores = [(name, part._state.store) for name, part in self.host.timers.items()]
        found = [
            f"{family} {key!r}"
            for _, store in stores
            for family in ("slots", "entities")
            for key, _ in store.scan(family, b"", None, 100)
        ]
        for place, part in self.host.entities.items():
            for key, raw in part._state.store.scan("entities", b"", None, 100):
                if not _decode_state(raw).raw:
                    found.append(f"{place.topic} {key!r}")
        return found

    def _tables_age(self) -> float:
        return self.tables.age()

    def _membership_age(self) -> float:
        now = self._broker.loop.seconds
        return now - self.lapsed if self.lapsed is not None else now % HEARTBEAT

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self._world.died(self)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """``work`` begins with the task: one that dies before its first step leaves nothing behind."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    # --- what Faust does

    def _start_flows(self, places: frozenset[Place]) -> None:
        for place in sorted(places):
            committed = self._broker.committed.get(place)
            start = self.host.start_offset(place)
            if start is None:
                start = committed or 0
            if start > self._broker.topics[place.topic][place.partition].end:
                self.host.restart_at(place, 0)
                start = 0
            self._read(place, start, committed)

    def _read(self, place: Place, start: int, committed: int | None) -> None:
        end = self._broker.topics[place.topic][place.partition].end
        flow = self.flows[place] = PartitionFlow(
            *(place.topic, place.partition, start),
            committed_offset=committed if committed is not None and committed <= end else None,
            end_at_start=end,
            on_settled=self._settled,
        )
        self.start(self._guard(partial(self._consume, flow)), f"consume {place}")

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

    async def _consume(self, flow: PartitionFlow) -> None:
        place = Place(flow.topic, flow.partition)
        handle = self._quarantine.guarded(self._handler(place))
        if place.topic == "timers":
            handle = self.gate.timely(handle)
        if place.topic != "customer-consents":
            topic = place.topic if place.topic in ENTITY_TOPICS else "timers"
            handle = self.host.when_open(topic, handle)
        random = self._world.random
        while True:
            log = self._broker.topics[flow.topic][flow.partition]
            if flow.next_offset == log.end:
                more = asyncio.Event()
                log.waiting.append(more)
                await more.wait()
            await asyncio.sleep(self._broker.delay(0.1))
            log = self._broker.topics[flow.topic][flow.partition]
            if not flow.live:
                return
            if flow.next_offset == log.end:
                continue
            if flow.next_offset > log.end:
                if self.flows.get(place) is flow:  # the topic was made anew
                    flow.retire()
                    self.host.restart_at(place, 0)
                    self._read(place, 0, None)
                return
            records, position = log.read(flow.next_offset, random.choice((1, 2, 10, 100)))
            batch = flow.take(records, position)
            if batch is not None:
                try:
                    await handle(batch)
                except (StoreClosed, Fenced):
                    if batch.live and not self.expired:
                        raise
                    # It took longer than a revoke waits, and the partition is gone: ends the worker.
                    self._world.ended(self)
                    return
                if batch.live:
                    self._world.processed(batch)
                batch.ack()

    def _handler(self, place: Place) -> Callable[[RecordBatch], Awaitable[None]]:
        real = self._real_handler(place)

        async def handle(batch: RecordBatch) -> None:
            if any(record.value == DEADLY for record in batch.records):
                self._world.crashed(self)
                await asyncio.Event().wait()
            await real(batch)

        return handle

    def _real_handler(self, place: Place) -> Callable[[RecordBatch], Awaitable[None]]:
        if place.topic == "timers":
            return self.host.timers[place.partition].timers
        if place.topic == "consents":
            return self.host.timers[place.partition].consents
        if place.topic == "provider-events":
            return self.host.timers[place.partition].events
        if place.topic == "customer-consents":
            return lambda batch: rekey(self.shared, batch)
        return self.host.entities[place].batch
