"""One run: workers, log, disks, providers and what happens to them, from a story; and what it left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from types import ModuleType

import agents.entity_partition
import agents.gate
import agents.sender_partition
from agents import lookout
from schemas.errors import DecodeError
from schemas.records import Change, Channel, Customer, DeadLetter, Delivery, ProviderEvent, Timer
from streams.domain.ids import customer_key
from streams.kafka.batches import RecordBatch
from streams.kafka.topics import REFERENCE_TOPICS
from streams.stages.fencing import Fenced
from tests.simulation.broker import Broker, Stored
from tests.simulation.disk import SimDisk
from tests.simulation.group import Group
from tests.simulation.harm import Harm
from tests.simulation.items import EPOCH, KINDS, PARTITIONS, POISON, Publish, Story
from tests.simulation.loop import Deadlock, SimLoop
from tests.simulation.ports import CODEC, Machine
from tests.simulation.provider import Provider
from tests.simulation.reports import Reports
from tests.simulation.worker import CHANNELS, SESSION, SimWorker

REST = 1_800.0
"""Seconds within which a healed system must come to rest."""
MONTHS = 36 * 86_400.0
IDLE_LOOK = 7_200.0
"""In the place of the runtime's sleeps of a minute, which a simulation of days need not go through. A wake-up
that is missing shows all the more."""
GATE_LOOK = 0.5
"""Seconds, in the place of the runtime's: clocks are wrong for minutes here."""

_LOOKS: tuple[tuple[ModuleType, str, float], ...] = (
    (agents.sender_partition, "_LONGEST_SLEEP", IDLE_LOOK),
    (agents.entity_partition, "_TIDY_LOOK", IDLE_LOOK),
    (agents.sender_partition, "_GATE_LOOK", GATE_LOOK),
    (agents.gate, "_LOOK", GATE_LOOK),
)

_COUNTS = {
    **PARTITIONS,
    **dict.fromkeys(REFERENCE_TOPICS, 1),
    "consents": PARTITIONS["timers"],
    "provider-events": PARTITIONS["timers"],
    "timers-changelog": PARTITIONS["timers"],
    **{f"{topic}-state": PARTITIONS[topic] for topic in KINDS},
    "delivery-log": 1,
    "dead-letters": 1,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What waits in a store when everything has come to rest."""

    company: str
    kind: str
    entity_id: str
    customer_id: str
    rule_id: str
    event_id: str
    anchor: str
    state: str
    target: int
    delivery_id: str


@dataclass
class Outcome:
    """Everything that the checks look at."""

    story: Story
    published: list[Publish] = field(default_factory=list)
    places: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    """Where the records published by number lie: topic, partition, offset."""
    log: list[Delivery] = field(default_factory=list)
    raw_log: list[bytes] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    providers: dict[Channel, Provider] = field(default_factory=dict)
    timers: list[tuple[float, Timer, int]] = field(default_factory=list)
    """Commands that a sender partition has worked on: when, which, and the version of the change in it."""
    customers: list[tuple[float, Customer]] = field(default_factory=list)
    stepped: list[tuple[SimWorker, float, float]] = field(default_factory=list)
    """Whose machine's clock was wrong, from when to when."""
    recreated: set[str] = field(default_factory=set)
    """Topics that were deleted and made anew."""
    reports: list[tuple[float, ProviderEvent]] = field(default_factory=list)
    """What the providers have reported of messages, and when."""
    rest_at: float = -1.0
    pending: list[Row] = field(default_factory=list)
    left: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kills: int = 0
    frozen: int = 0
    hit: set[str] = field(default_factory=set)
    """Awaits at which a worker died."""
    froze: set[str] = field(default_factory=set)
    later: list[str] = field(default_factory=list)
    """What should not be there 36 days later."""
    steps: int = 0
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """The same for the same seed and program, on any machine."""
        hashed = blake2b(digest_size=8)
        for raw in self.raw_log:
            hashed.update(raw)
        for provider in self.providers.values():
            for call in provider.calls:
                hashed.update(f"{call.seconds:.6f}{call.worker.name}{call.message}".encode())
        return hashed.hexdigest()


class World:
    def __init__(self, story: Story) -> None:
        self.story = story
        self.setting = story.setting
        self.random = Random(story.seed * 2 + 1)
        self.loop = SimLoop()
        self.broker = Broker(self.loop, self.random, _COUNTS, EPOCH)
        self.providers = {channel: Provider(channel, self.loop, self.random, EPOCH) for channel in CHANNELS}
        self.reports = Reports(self.broker, Random(story.seed * 2 + 5), self._report)
        for provider in self.providers.values():
            provider.on_taken = self.reports.taken
        self.group = Group(self, self.random)
        self.harm = Harm(self)
        self.machines = {
            f"m{number}": Machine(f"m{number}", SimDisk(self.random))
            for number in range(story.setting.machines)
        }
        self.out = Outcome(story, providers=self.providers)
        self._number = 0
        self._consents_noted: set[tuple[int, int]] = set()
        self.healed = False
        self._over = False
        self.workers: list[SimWorker] = []

    def run(self) -> Outcome:
        wanted = (*_LOOKS, (lookout, "_EVERY", self.setting.lookout))
        looks = [(module, name, getattr(module, name)) for module, name, _ in wanted]
        for module, name, seconds in wanted:
            setattr(module, name, seconds)
        try:
            self.loop.run_until_complete(self._play())
        except Deadlock:
            self.out.errors.append("deadlock: nobody has anything left to do")
        finally:
            for module, name, seconds in looks:
                setattr(module, name, seconds)
        self._read_logs()
        self.out.steps, self.out.seconds = self.loop.steps, self.loop.seconds
        self._bury()
        self.loop.close()
        return self.out

    def _bury(self) -> None:
        """Ends the coroutines of all workers here and now: their ``finally`` must not run within another
        run, whenever the collector finds them."""
        self._over = True
        for worker in self.workers:
            for task in list(worker.tasks):
                with contextlib.suppress(RuntimeError):
                    if not task.done():
                        task.get_coro().close()

    # --- the play

    async def _play(self) -> None:
        for item in self.story.reference:
            self._publish(item)
        for machine in self.machines.values():
            self._start(machine)
        for happening in self.story.items:
            if happening.at > self.loop.seconds:
                await asyncio.sleep(happening.at - self.loop.seconds)
            if isinstance(happening, Publish):
                self._publish(happening)
            else:
                self.harm.happen(happening)
        await asyncio.sleep(max(0.0, self.setting.length - self.loop.seconds))
        self._heal()
        if not await self._rest(REST):
            self.out.errors.append("it never came to rest")
            return
        self.out.rest_at = self.loop.seconds
        self.out.pending = list(self._rows())
        await self._to_the_end()
        await asyncio.sleep(max(0.0, self.reports.last - self.loop.seconds) + 1.0)
        await self._rest(60.0)
        self.out.left = list(self._rows())
        if self.setting.later:
            await self._later()

    def _heal(self) -> None:
        self.healed = True
        lookout._EVERY = IDLE_LOOK
        self.harm.heal()
        for machine in self.machines.values():
            if machine.worker is None:
                self.loop.at(self.loop.seconds + 1.0, self.start_again, machine)

    def _publish(self, item: Publish) -> None:
        value = item.value
        if isinstance(value, Change):
            raw: bytes | None = CODEC.encode_change(KINDS[item.topic], value)
        elif isinstance(value, bytes) or value is None:
            raw = value
        else:
            raw = CODEC.encode(value)
        partition, offset = self.broker.publish(item.topic, item.key, raw)
        self.out.places[len(self.out.published)] = (item.topic, partition, offset)
        self.out.published.append(item)

    def _report(self, event: ProviderEvent) -> None:
        key = customer_key(event.company, event.customer_id)
        self.broker.publish("provider-events", key, CODEC.encode(event))
        self.out.reports.append((self.loop.seconds, event))

    async def _later(self) -> None:
        """36 days go by, then all disks are lost: what is over is forgotten, nothing is told or sent."""
        before = self._told()
        await asyncio.sleep(MONTHS)
        self.broker.compact()
        for machine in self.machines.values():
            if machine.worker is not None:
                self.kill(machine.worker, "lose", 1.0)
        if not await self._rest(REST):
            self.out.errors.append("it did not come to rest after 36 days")
        if self._told() != before:
            self.out.later.append(f"told and sent {before}, later {self._told()}")
        for machine in self.machines.values():
            if machine.worker is not None:
                self.out.later += machine.worker.remembered()

    def _told(self) -> tuple[int, ...]:
        return (
            len({record.value for record in self.broker.topics["delivery-log"][0].records}),
            *(len(provider.calls) for provider in self.providers.values()),
        )

    async def _rest(self, longest: float) -> bool:
        """True once everybody has been idle for some looks."""
        deadline = self.loop.seconds + longest
        idle = 0
        while self.loop.seconds < deadline and len(self.out.errors) < 4:
            await asyncio.sleep(0.7)
            self._look()
            workers = [machine.worker for machine in self.machines.values()]
            calm = all(worker is not None and worker.alive and worker.idle for worker in workers)
            calm = calm and not any(w is not None and w.gate.closed() for w in workers)
            idle = idle + 1 if calm else 0
            if idle >= 3:
                return True
        return False

    def _look(self) -> None:
        for machine in self.machines.values():
            if machine.worker is not None:
                machine.worker.look()

    async def _to_the_end(self) -> None:
        """From one due time to the next, until nothing waits, two days have gone by, or what is due is not
        looked at any more."""
        stuck = 0
        deadline = self.loop.seconds + 2 * 86_400
        while self.loop.seconds < deadline:
            self._look()
            parts = [
                part for m in self.machines.values() if m.worker for part in m.worker.host.timers.values()
            ]
            dues = [due for due in (part.next_due() for part in parts) if due is not None]
            if not dues:
                stuck += 1
                if stuck > 1_000 or not any(part.pending or part.in_flight for part in parts):
                    return
                await asyncio.sleep(1.0)
            else:
                wait = (min(dues) - self.broker.now()) / 1000
                stuck = stuck + 1 if wait <= 0 else 0
                if stuck > 1_000:
                    return
                await asyncio.sleep(max(0.3, wait + 0.3))
        await self._rest(60.0)

    def _rows(self) -> Iterator[Row]:
        for machine in self.machines.values():
            if machine.worker is None:
                continue
            for part in machine.worker.host.timers.values():
                yield from rows(part)

    # --- workers

    def _start(self, machine: Machine) -> None:
        if machine.worker is not None:
            return
        self._number += 1
        worker = machine.worker = SimWorker(self, machine, self._number)
        self.workers.append(worker)
        worker.start(worker.run(), "run")
        self.harm.began(worker)

    def start_again(self, machine: Machine) -> None:
        if machine.worker is not None:  # it has not finished leaving
            self.loop.at(self.loop.seconds + 1.0, self.start_again, machine)
        else:
            self._start(machine)

    def died(self, worker: SimWorker) -> None:
        """The worker ended itself by an error; somebody starts it again."""
        if self._ousted(worker):
            self.ended(worker)
        elif worker.alive and not self._over:
            self.out.errors.append(f"{worker.name} ended: {worker.error!r}")
            self.kill(worker, "keep", 1.0 if len(self.out.errors) < 4 else 1e9)  # not for ever

    def _ousted(self, worker: SimWorker) -> bool:
        """Fenced, and one of the two had slept for too long. A worker that wakes in the middle of opening a
        partition may claim it before it hears that it has gone to another."""
        fenced = _fenced(worker.error)
        slept = {worker.name for worker in self.workers if worker.expired}
        return bool(fenced) and all(
            worker.expired or any(f"({name})" in str(error) for name in slept) for error in fenced
        )

    def ended(self, worker: SimWorker) -> None:
        """The worker ended as it may; somebody starts it again."""
        self.kill(worker, "keep", 1.0)

    def crashed(self, worker: SimWorker) -> None:
        """The worker has met a record that kills it."""
        self.kill(worker, "keep", 1.0)

    def stopped(self, worker: SimWorker) -> None:
        """The worker has left in order."""
        worker.alive = False
        if worker.machine.worker is worker:
            worker.machine.worker = None

    def kill(self, worker: SimWorker, disk: str, down: float) -> None:
        if not worker.alive:
            return
        worker.alive = False
        worker.watch = None
        self.out.kills += 1
        worker.producer.die()
        for provider in self.providers.values():
            provider.die(worker)
        worker.machine.worker = None
        worker.machine.disk.crash(disk)
        now = self.loop.seconds
        self.loop.at(now + SESSION, self.group.remove, worker)
        if down < 1e6:
            self.loop.at(now + (1.0 if self.healed else down), self._start, worker.machine)

    # --- what the checks are told

    def processed(self, batch: RecordBatch) -> None:
        """A worker has finished a batch while the partition was its own."""
        now = self.loop.seconds
        if batch.topic == "timers":
            for record in batch.records:
                try:
                    timer = CODEC.decode(Timer, record.value or b"")
                except DecodeError:
                    continue
                version = timer.entity_version if timer.change else -1
                self.out.timers.append((now, timer, version))
        elif batch.topic == "consents":
            # Those before the batch too: a store that was rebuilt has them from the log itself.
            for stored in self.broker.topics["consents"][batch.partition].records:
                place = batch.partition, stored.offset
                if stored.offset >= batch.next_offset or place in self._consents_noted:
                    continue
                self._consents_noted.add(place)
                if stored.value is not None and stored.value not in POISON:
                    self.out.customers.append((now, CODEC.decode(Customer, stored.value)))

    def _read_logs(self) -> None:
        records: list[Stored] = self.broker.topics["delivery-log"][0].records
        self.out.raw_log = [record.value or b"" for record in records]
        self.out.log = [CODEC.decode(Delivery, raw) for raw in self.out.raw_log]
        self.out.dead = [
            CODEC.decode(DeadLetter, record.value or b"")
            for record in self.broker.topics["dead-letters"][0].records
        ]
        for context in self.loop.errors:
            error = context.get("exception")
            if _fenced(error) and any(worker.expired for worker in self.workers):
                continue  # a step that was left alone when its partition was paused
            self.out.errors.append(f"{context.get('message')}: {error!r}")


def _fenced(error: BaseException | None) -> list[BaseException]:
    """The errors that are one, if all of them say that another owner has taken over."""
    if isinstance(error, BaseExceptionGroup):
        found = [_fenced(one) for one in error.exceptions]
        return [one for some in found for one in some] if all(found) else []
    return [error] if isinstance(error, Fenced) else []


def rows(part: agents.sender_partition.SenderPartition) -> Iterator[Row]:
    """What waits in a partition's store."""
    from streams.stages.slots import SlotTable, name_of  # noqa: PLC0415 - the oracle's module imports none

    table = SlotTable(part._state.store)
    for key, _ in part._state.store.scan("slots", b"", None, 1_000_000):
        slot = table.get(key)
        if slot is not None:
            name = name_of(key)
            for row in (slot.row, slot.successor):
                if row is not None:
                    yield Row(
                        name.company,
                        str(name.kind),
                        name.entity_id,
                        name.customer_id,
                        name.rule_id,
                        name.event_id,
                        row.anchor,
                        row.state,
                        row.target,
                        row.delivery_id,
                    )
