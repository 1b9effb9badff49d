"""One run: workers, log, disks, providers and what happens to them, from a story; and what it left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random

import agents.entity_partition
import agents.sender_partition
from schemas.errors import DecodeError
from schemas.records import Change, Channel, Customer, DeadLetter, Delivery, Timer
from streams.kafka.batches import RecordBatch
from streams.kafka.topics import REFERENCE_TOPICS
from streams.stages.fencing import Fenced
from tests.simulation import awaits
from tests.simulation.broker import Broker, Stored
from tests.simulation.disk import SimDisk
from tests.simulation.loop import Deadlock, SimLoop
from tests.simulation.provider import Provider
from tests.simulation.story import EPOCH, KINDS, LENGTH, PARTITIONS, POISON, Fault, Item, Publish, Story
from tests.simulation.worker import CHANNELS, CODEC, SESSION, Group, Machine, SimWorker

REST = 1_800.0
"""Seconds within which a healed system must come to rest."""
IDLE_LOOK = 3_600.0
"""In the place of the runtime's sleeps of a minute, which a simulation of days need not go through. A wake-up
that is missing shows all the more."""

_COUNTS = {
    **PARTITIONS,
    **dict.fromkeys(REFERENCE_TOPICS, 1),
    "consents": PARTITIONS["timers"],
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
    rules_seen: dict[int, dict[tuple[str, str], tuple[bool, str]]] = field(default_factory=dict)
    rest_at: float = -1.0
    pending: list[Row] = field(default_factory=list)
    left: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kills: int = 0
    hit: set[str] = field(default_factory=set)
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
        self.group = Group(self, self.random)
        self.machines = {
            f"m{number}": Machine(f"m{number}", SimDisk(self.random))
            for number in range(story.setting.machines)
        }
        self.out = Outcome(story, providers=self.providers)
        self._number = 0
        self._consents_noted: set[tuple[int, int]] = set()
        self._healed = False
        self._over = False
        self._graves: list[SimWorker] = []

    def run(self) -> Outcome:
        looks = agents.sender_partition._LONGEST_SLEEP, agents.entity_partition._TIDY_LOOK
        agents.sender_partition._LONGEST_SLEEP = agents.entity_partition._TIDY_LOOK = IDLE_LOOK
        try:
            self.loop.run_until_complete(self._play())
        except Deadlock:
            self.out.errors.append("deadlock: nobody has anything left to do")
        finally:
            agents.sender_partition._LONGEST_SLEEP, agents.entity_partition._TIDY_LOOK = looks
        self._read_logs()
        self.out.steps, self.out.seconds = self.loop.steps, self.loop.seconds
        self._bury()
        self.loop.close()
        return self.out

    def _bury(self) -> None:
        """Ends the coroutines of all workers here and now: their ``finally`` must not run within another
        run, whenever the collector finds them."""
        self._over = True
        workers = [machine.worker for machine in self.machines.values() if machine.worker is not None]
        for worker in [*self._graves, *workers]:
            for task in list(worker.tasks):
                with contextlib.suppress(RuntimeError):
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
            self._happen(happening)
        await asyncio.sleep(max(0.0, LENGTH - self.loop.seconds))
        self._heal()
        if not await self._rest(REST):
            self.out.errors.append("it never came to rest")
            return
        self.out.rest_at = self.loop.seconds
        self.out.pending = list(self._rows())
        await self._to_the_end()
        self.out.left = list(self._rows())

    def _happen(self, item: Item) -> None:
        if isinstance(item, Publish):
            self._publish(item)
        else:
            self._fault(item)

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

    async def _rest(self, longest: float) -> bool:
        """True once everybody has been idle for some looks."""
        deadline = self.loop.seconds + longest
        idle = 0
        while self.loop.seconds < deadline and len(self.out.errors) < 4:
            await asyncio.sleep(0.7)
            workers = [machine.worker for machine in self.machines.values()]
            for worker in workers:
                if worker is not None and (failure := worker.host.failure()) is not None:
                    worker._fail(failure)
            calm = all(worker is not None and worker.alive and worker.idle for worker in workers)
            calm = calm and not any(w is not None and w.gate.closed() for w in workers)
            idle = idle + 1 if calm else 0
            if idle >= 3:
                return True
        return False

    async def _to_the_end(self) -> None:
        """From one due time to the next, until nothing waits, two days have gone by, or what is due is not
        looked at any more."""
        stuck = 0
        deadline = self.loop.seconds + 2 * 86_400
        while self.loop.seconds < deadline:
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
        worker.start(worker.run(), "run")

    def died(self, worker: SimWorker) -> None:
        """The worker ended itself by an error; somebody starts it again."""
        if isinstance(worker.error, Fenced) and worker.expired:
            self.ended(worker)
        elif worker.alive and not self._over:
            self.out.errors.append(f"{worker.name} ended: {worker.error!r}")
            self._kill(worker, "keep", 1.0 if len(self.out.errors) < 4 else 1e9)  # not for ever

    def ended(self, worker: SimWorker) -> None:
        """The worker ended as it may; somebody starts it again."""
        self._kill(worker, "keep", 1.0)

    def stopped(self, worker: SimWorker) -> None:
        """The worker has left in order."""
        worker.alive = False
        self._graves.append(worker)
        if worker.machine.worker is worker:
            worker.machine.worker = None

    def _kill(self, worker: SimWorker, disk: str, down: float) -> None:
        if not worker.alive:
            return
        worker.alive = False
        worker.watch = None
        self._graves.append(worker)
        self.out.kills += 1
        worker.producer.die()
        for provider in self.providers.values():
            provider.die(worker)
        worker.machine.worker = None
        worker.machine.disk.crash(disk)
        now = self.loop.seconds
        self.loop.at(now + SESSION, self.group.remove, worker)
        if down < 1e6:
            self.loop.at(now + (1.0 if self._healed else down), self._start, worker.machine)

    # --- faults

    def _fault(self, fault: Fault) -> None:
        machine = self.machines.get(fault.to)
        worker = machine.worker if machine is not None else None
        end = self.loop.seconds + fault.seconds
        if fault.what == "kill" and worker is not None:
            disk, _, site = fault.how.partition("@")
            self._arm(worker, site, fault.skip, disk, fault.seconds)
        elif fault.what == "stop" and worker is not None:
            self.group.leave(worker)
            self.loop.at(end, self._start_again, machine)
        elif fault.what == "provider":
            provider = self.providers[Channel(fault.to)]
            provider.mode = fault.how
            self.loop.at(end, self._set_mode, provider, fault.how)
        elif fault.what == "broker" and fault.to == "trouble":
            self.broker.trouble = 0.3
            self.loop.at(end, self._calm_broker)
        elif fault.what == "broker":
            self.broker.slow = 50.0
            self.loop.at(end, self._calm_broker)
        elif fault.what == "compact":
            self.broker.compact()
        elif fault.what == "tables" and worker is not None:
            worker.tables_slow = fault.seconds
            self.loop.at(end, self._fast_tables, worker)
        elif fault.what == "silent" and worker is not None:
            worker.lapsed = self.loop.seconds
            self.loop.at(end, self._heard, worker)
        elif fault.what == "rewind":
            self.broker.committed.clear()
        elif fault.what == "freeze" and worker is not None:
            worker.frozen = True
            worker.lapsed = self.loop.seconds
            self.loop.at(self.loop.seconds + SESSION, self._expire, worker)
            self.loop.at(end, self._thaw, worker)

    def _arm(self, worker: SimWorker, site: str, skip: int, disk: str, down: float) -> None:
        """Kills the worker when a task of its reaches the await (any, if none is named)."""
        left = skip

        def watch(task: asyncio.Task[object]) -> None:
            nonlocal left
            at = list(awaits.where(task))
            if (site in at) if site else at:
                left -= 1
                if left < 0:
                    self.out.hit.update(at)
                    self._kill(worker, disk, down)

        worker.watch = watch

    def _set_mode(self, provider: Provider, mode: str) -> None:
        if provider.mode == mode:
            provider.mode = "ok"

    def _calm_broker(self) -> None:
        self.broker.trouble, self.broker.slow = 0.0, 1.0

    def _fast_tables(self, worker: SimWorker) -> None:
        worker.tables_slow = 0.0

    def _heard(self, worker: SimWorker) -> None:
        worker.lapsed = None

    def _start_again(self, machine: Machine) -> None:
        if machine.worker is not None:  # it has not finished leaving
            self.loop.at(self.loop.seconds + 1.0, self._start_again, machine)
        else:
            self._start(machine)

    def _expire(self, worker: SimWorker) -> None:
        if worker.frozen:
            worker.expired = True
            self.group.remove(worker)

    def _thaw(self, worker: SimWorker) -> None:
        if not worker.frozen or not worker.alive:
            return
        self.loop.thaw(worker)
        self.loop.at(self.loop.seconds + self.random.random(), self._confirm, worker)

    def _confirm(self, worker: SimWorker) -> None:
        """The first heartbeat after waking: still a member, or told to join again."""
        if not worker.alive:
            return
        if worker not in self.group.members:
            worker.order("revoke", -1)
            self.group.join(worker)
        worker.lapsed = None

    def _heal(self) -> None:
        self._healed = True
        self._calm_broker()
        for provider in self.providers.values():
            provider.mode = "ok"
        for machine in self.machines.values():
            if machine.worker is not None:
                machine.worker.watch = None
                machine.worker.tables_slow = 0.0
                self._thaw(machine.worker)
            else:
                self.loop.at(self.loop.seconds + 1.0, self._start_again, machine)

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
            self.out.errors.append(f"{context.get('message')}: {error!r}")


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
