"""Timers through the whole worker: ``python -m tests.benchmarks.worker_timers``.

The shipped ``carillon worker`` reads commands from the timers topic of a real Kafka on this machine and does
all that it does in production: consents, facts, a store and a changelog for each partition, intents, texts,
the final check, outcomes, the delivery log, every acknowledgement awaited. The SMS provider answers at once,
within the process (tests/benchmarks/instant_worker.py), so nothing of HTTP is in the figures.

- ``rates``: arms, moves, sends and cancels, each a backlog that lies there when the worker starts; per second
  of the worker's CPU ("one core"). Memory at its peak, and the disk that a pending timer takes.
- ``lateness``: how much later than its moment each message's outcome is recorded, from the delivery log:
  a steady mixed load (messages due, new timers, moves), many spread over one second, many in one instant; and
  meanwhile those of a company that is not concerned.
- ``end to end``: changes of orders published one by one, a quarter of a core's worth of them; from the change
  to the outcome of its message, by the publisher's and the worker's clock, which are the same.
- ``recovery``: kill -9 and start again as the same static member, until the first message goes; then the disk
  is lost and rebuilt from the changelog, beside librdkafka reading the same topic and doing nothing.

examples:
  python -m tests.benchmarks.worker_timers --pending 5000 --burst 1000                     a look: two minutes
  python -m tests.benchmarks.worker_timers --pending 10000000 --count 200000 --burst 100000      the whole
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from deploy.local_kafka import LocalKafka
from schemas.codec import encode_json
from schemas.records import (
    Change,
    ClearScope,
    Delivery,
    DeliveryState,
    Details,
    EntityKind,
    Facts,
    Operation,
    Timer,
    TimerOp,
    Unit,
)
from streams.domain.ids import customer_key, entity_key, reference_key
from streams.kafka.offsets import SILENT, Offsets
from tests.benchmarks.load import Feeder, Load
from tests.benchmarks.measure import MIB, Spread, Table, folder_size, machine, number, peak_memory, save, say
from tests.benchmarks.systems import DEADLINE, BenchError, Carillon, Place
from tests.support.shop import reminder

HOUR = 3_600_000
DAY = 24 * HOUR
OTHER = 7
"""Number of the company whose messages a burst of the others must not delay."""
_STEADY = 20.0
"""Seconds of the steady load."""


class Commands:
    """What entity agents would write to the timers topic."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._versions: dict[int, int] = {}

    def _facts(self, order: int, status: str, scheduled_at: int | None) -> Facts:
        _, customer = self._load.place_of(order)
        return Facts(status_id=status, customer_id=f"cust-{customer}", scheduled_at=scheduled_at)

    def _command(self, order: int, op: TimerOp, status: str, at: int | None, **fields: Any) -> Timer:
        company, customer = self._load.place_of(order)
        version = self._versions[order] = self._versions.get(order, 0) + 1
        now = time.time_ns() // 1_000_000
        event = f"order-{order}-{version}"
        change = Change(
            company=f"c{company}",
            entity_id=f"order-{order}",
            operation=Operation.UPDATE if version > 1 else Operation.CREATE,
            event_id=event,
            version=version,
            occurred_at=now,
            after=self._facts(order, status, at),
            details=Details(number=str(order), title="Chain, cassette and brakes", currency="PLN"),
        )
        fields = {"anchor": event, "event_id": event} | fields
        return Timer(
            op=op,
            company=f"c{company}",
            kind=EntityKind.ORDER,
            entity_id=f"order-{order}",
            customer_id=f"cust-{customer}",
            entity_version=version,
            occurred_at=now,
            status_id=status,
            change=encode_json(change),
            **fields,
        )

    def remind(self, order: int, due: int) -> Timer:
        """A reminder at ``due``, new or moved."""
        at = due + HOUR
        rule = {"rule_id": "rem", "rule_version": 1, "anchor": str(at), "event_id": ""}
        return self._command(order, TimerOp.ARM, "new", at, **rule)

    def notify(self, order: int) -> Timer:
        """A message that goes at once."""
        return self._command(order, TimerOp.ARM, "s0", None, rule_id="r0", rule_version=1)

    def changed(self, order: int) -> Change:
        """Of an order that nobody knew, to the status that a rule is about."""
        company, _ = self._load.place_of(order)
        version = self._versions[order] = self._versions.get(order, 0) + 1
        return Change(
            company=f"c{company}",
            entity_id=f"order-{order}",
            operation=Operation.UPDATE,
            event_id=f"order-{order}-{version}",
            version=version,
            occurred_at=now_ms(),
            before=self._facts(order, "new", None),
            after=self._facts(order, "s0", None),
            details=Details(number=str(order), title="Chain, cassette and brakes", currency="PLN"),
        )

    def cancel(self, order: int) -> Timer:
        scope = {"scope": ClearScope.ALL, "reason": "entity_deleted", "anchor": "", "event_id": ""}
        return self._command(order, TimerOp.CLEAR, "new", None, **scope)


class World:
    """One broker's topics, one worker, and what was sent to it."""

    def __init__(self, bootstrap: str, folder: Path, partitions: int, in_flight: int) -> None:
        self.load = Load(changes=0, rules=100, companies=10, customers=20_000, refusing=False)
        self.place = Place(bootstrap, "timers.", folder / "worker", partitions, "json", 1, in_flight)
        self.worker = Carillon(settings={"instance_id": "bench-1"})
        self.feeder = Feeder(bootstrap)
        self.commands = Commands(self.load)
        self._ends = Offsets(bootstrap, {})
        self.next = 0
        """Number of the next order."""

    def set_up(self) -> None:
        asyncio.run(self.worker.set_up(self.place, self.load))
        prefix = self.place.prefix
        self.feeder.references(prefix, self.load)
        rules = [
            reminder(1, Unit.HOURS, EntityKind.ORDER, id_="rem", company=f"c{n}", template_id="t")
            for n in range(self.load.companies)
        ]
        encode = self.feeder.codec.encode
        self.feeder.send(f"{prefix}rules", [(reference_key(r.company, r.id), encode(r)) for r in rules])
        self.feeder.send(f"{prefix}customer-consents", self.feeder.consents(self.load))
        say("the worker reads its customers")
        self.worker.start()
        self.settled(0)

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
            if time.monotonic() - moved > DEADLINE:
                raise BenchError(f"the worker has stood still for {DEADLINE:.0f} s: {worker.status()}")
            time.sleep(0.25)

    def log(self) -> list[Delivery]:
        decode = self.feeder.codec.decode
        return [decode(Delivery, raw) for raw in self.worker.read("delivery-log")]

    def ends(self, topic: str) -> dict[int, int]:
        name = self.place.prefix + topic
        return self._ends.ends([name])[name]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- rates


def rates(world: World, pending: int, count: int, runs: int) -> Table:
    """``pending`` reminders are there when the measuring begins."""
    made = Table(
        "timers-worker",
        "Timers through the whole worker, per CPU second",
        ("", "timers/s", "CPU s per 100,000", "RSS MB", "bytes each on disk"),
    )
    far = now_ms() + 10 * DAY
    while world.next < pending:
        more = world.fresh(min(100_000, pending - world.next))
        say(f"arming {world.next:,} of {pending:,}")
        world.send(world.commands.remind(n, far + n % DAY) for n in more)
        world.settled(world.next)
    there, said = world.next, world.commands
    found: dict[str, list[float]] = {what: [] for what in ("armed", "moved", "sent", "cancelled")}
    memory = disk = 0.0
    for turn in range(runs):
        say(f"rates, round {turn + 1} of {runs}")
        fresh = world.fresh(count)
        steps: list[tuple[str, Callable[[int], Timer], int]] = [
            ("armed", lambda n: said.remind(n, far + n % DAY), there + count),
            ("moved", lambda n: said.remind(n, far + DAY + n % DAY), there + count),
            ("sent", said.notify, there + count),
            ("cancelled", said.cancel, there),
        ]
        for what, command, left in steps:
            world.worker.hold()
            world.send(map(command, fresh))
            world.worker.go()
            used = world.worker.cpu()
            world.settled(left)
            used = world.worker.cpu() - used
            found[what].append(count / used)
            say(f"{what}: {count / used:,.0f} per CPU second")
            memory = max(memory, peak_memory(world.worker.pid) / MIB)
            if what == "armed":
                disk = folder_size(world.place.folder / "data") / (there + count)
    sent = sum(record.state == DeliveryState.SENT for record in world.log())
    if sent != count * runs:
        raise BenchError(f"{sent} messages were sent, not {count * runs}")
    for what, paces in found.items():
        spread = Spread.of(paces)
        cost = Spread.of(100_000 / pace for pace in paces)
        last = (number(memory), number(disk)) if what == "armed" else ("", "")
        made.rows.append((what, str(spread), str(cost), *last))
        made.values[what] = spread.middle
    made.values |= {"memory": memory, "disk": disk}
    made.notes = [f"{there:,} pending before; {count:,} of each; {world.place.partitions} partitions"]
    return made


# --- lateness


def lateness(world: World, burst: int) -> Table:
    made = Table(
        "lateness",
        "Lateness of messages, through the whole worker",
        ("", "messages", "p50 ms", "p99 ms", "most ms", "another company's most ms"),
    )
    there = int(world.worker.status()["pending"])
    dice = random.Random(1)
    for what in ("steady mixed load", "spread over one second", "in one instant"):
        say(f"lateness: {what}")
        steady = what.startswith("steady")
        count = min(burst, 2_000) if steady else burst
        mine = [n for n in world.fresh(count) if not _is_other(world, n)]
        beside = [n for n in world.fresh(2_000) if _is_other(world, n)]
        # Time enough to have them all armed before the first is due.
        begin = now_ms() + 10_000 + count
        window = {"steady mixed load": int(_STEADY * 1000), "spread over one second": 1_000}.get(what, 1)
        # The bystander's come throughout the burst and the ten seconds after it.
        dues = {n: begin + dice.randrange(window) for n in mine}
        dues |= {n: begin + dice.randrange(window + 10_000) for n in beside}
        world.send(world.commands.remind(n, due) for n, due in sorted(dues.items()))
        if steady:
            _mixed(world, begin + window)
            there = int(world.worker.status()["pending"])
        else:
            time.sleep(max(0.0, (begin - now_ms()) / 1000))
        _until_sent(world, max(dues.values()))
        late: dict[bool, list[float]] = {True: [], False: []}
        for record in world.log():
            name = int(record.entity_id.removeprefix("order-"))
            if record.state == DeliveryState.SENT and name in dues and record.due_at is not None:
                late[_is_other(world, name)].append(record.at - record.due_at)
        found = sorted(late[False])
        if len(found) != len(mine):
            became = Counter(f"{r.state} {r.reason}" for r in world.log())
            raise BenchError(f"{what}: {len(found)} of {len(mine)} were sent; {became}")
        middle, last = found[len(found) // 2], found[int(len(found) * 0.99)]
        cells = (number(middle), number(last), number(found[-1]), number(max(late[True], default=0.0)))
        made.rows.append((what, f"{len(found):,}", *cells))
        made.values |= {f"{what} p50": middle, f"{what} p99": last, f"{what} most": found[-1]}
    made.notes = [
        f"{there:,} timers pending; from the moment to the time that the outcome bears",
        "one company of ten has messages of its own all the while: the last column is its latest",
    ]
    return made


def _is_other(world: World, order: int) -> bool:
    return world.load.place_of(order)[0] == OTHER


def _mixed(world: World, until: int) -> None:
    """New timers and moves, 200 a second, while messages come due."""
    far = now_ms() + 10 * DAY
    while now_ms() < until:
        fresh = world.fresh(10)
        world.send(world.commands.remind(n, far) for n in fresh)
        world.send(world.commands.remind(n, far + HOUR) for n in fresh)
        time.sleep(0.1)


def _until_sent(world: World, last: int) -> None:
    """Waits for the moment of the last, and until nothing due is left."""
    end = time.monotonic() + DEADLINE + max(0, last - now_ms()) / 1000
    while True:
        status = world.worker.status()
        due = status.get("next_due")
        busy = not status.get("ready") or status["in_flight"] or status["queued"]
        if now_ms() > last and not busy and (due is None or due > now_ms()):
            return
        world.worker.check()
        if time.monotonic() > end:
            raise BenchError(f"not everything was sent: {status}")
        time.sleep(0.25)


# --- end to end


def end_to_end(world: World, rate: float, seconds: float) -> Table:
    """Immediate messages: from the change of an order to the outcome at the provider."""
    made = Table(
        "end-to-end",
        "End to end: change of an order to the outcome",
        ("messages/s", "p50 ms", "p99 ms", "most ms"),
    )
    say(f"end to end: {rate:,.0f} changes a second for {seconds:.0f} s")
    feeder = Feeder(world.place.bootstrap, linger_ms=0)
    topic = f"{world.place.prefix}orders"
    orders = world.fresh(int(rate * seconds))
    began = time.monotonic()
    for place, order in enumerate(orders):
        time.sleep(max(0.0, began + place / rate - time.monotonic()))
        change = world.commands.changed(order)
        feeder.post(topic, entity_key(change.company, change.entity_id), encode_json(change))
    feeder.send(topic, [])
    there = int(world.worker.status()["pending"])
    _until_sent(world, now_ms())
    world.settled(there)
    names = {f"order-{order}" for order in orders}
    sent = [r for r in world.log() if r.entity_id in names and r.state == DeliveryState.SENT]
    late = sorted(record.at - record.due_at for record in sent if record.due_at is not None)
    if len(late) != len(orders):
        raise BenchError(f"end to end: {len(late)} of {len(orders)} were sent")
    middle, last = late[len(late) // 2], late[int(len(late) * 0.99)]
    made.rows.append((number(rate), number(middle), number(last), number(late[-1])))
    made.values |= {"p50": middle, "p99": last, "rate": rate}
    made.notes = [f"{len(late):,} messages, {there:,} timers pending"]
    return made


# --- recovery


def recovery(world: World) -> Table:
    made = Table("recovery", "Recovery", ("", "value"))
    worker = world.worker
    there = int(worker.status()["pending"])
    # Something is due all the time: the first that goes after the kill is found in the log.
    fresh = world.fresh(1_200)
    begin = now_ms() + 8_000
    say("recovery: kill -9, and the same static member again")
    world.send(world.commands.remind(n, begin + place * 50) for place, n in enumerate(fresh))
    time.sleep(max(0.0, (begin + 2_000 - now_ms()) / 1000))
    worker.kill()
    killed = now_ms()
    worker.go()
    ready = now_ms()
    _until_sent(world, begin + 60_000)
    sent = [record.at for record in world.log() if record.state == DeliveryState.SENT and record.at > killed]
    made.values["ready"] = (ready - killed) / 1000
    made.values["first"] = (min(sent) - killed) / 1000
    made.rows.append(("kill -9 to at work again, the same static member", f"{made.values['ready']:.1f} s"))
    made.rows.append(("kill -9 to the first message", f"{made.values['first']:.1f} s"))
    say("recovery: the disk is lost")
    worker.end()
    shutil.rmtree(world.place.folder / "data")
    ends = world.ends("timers-changelog")
    began = time.monotonic()
    worker.go()
    seconds, used = time.monotonic() - began, worker.cpu()
    records = sum(ends.values())
    plain, plain_cpu = consumed(world.place.bootstrap, world.place.prefix + "timers-changelog", ends)
    made.values |= {
        "rebuild": there / seconds,
        "rebuild cpu": records / used,
        "consume cpu": records / plain_cpu,
    }
    made.rows += [
        ("disk lost: started and rebuilt", f"{seconds:.1f} s, {number(used)} CPU s"),
        ("changelog records", f"{records:,} ({there:,} timers pending)"),
        ("records per CPU second, start-up included", number(records / used)),
        ("librdkafka reading the same, per CPU second", number(records / plain_cpu)),
        ("and by the clock", f"{number(records / seconds)}/s to {number(records / plain)}/s"),
    ]
    return made


def consumed(bootstrap: str, topic: str, ends: dict[int, int]) -> tuple[float, float]:
    """(seconds, CPU seconds) of reading a topic whole with librdkafka, this process doing nothing else."""
    config = {"bootstrap.servers": bootstrap, "group.id": "-", "enable.auto.commit": False}
    consumer: Any = Consumer(config | {"enable.partition.eof": True}, logger=SILENT)
    wall, cpu = time.monotonic(), time.process_time()
    consumer.assign([TopicPartition(topic, number_, 0) for number_ in ends])
    left = {number_ for number_, end in ends.items() if end}
    while left:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is not None:
                left.discard(message.partition())
    consumer.close()
    return time.monotonic() - wall, time.process_time() - cpu


def measure(pending: int, count: int, burst: int, runs: int, partitions: int, in_flight: int) -> list[Table]:
    with LocalKafka() as kafka, tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
        world = World(kafka.bootstrap, Path(folder), partitions, in_flight)
        try:
            world.set_up()
            paces = rates(world, pending, count, runs)
            late = lateness(world, burst)
            through = end_to_end(world, paces.values["sent"] / 4, _STEADY)
            return [paces, late, through, recovery(world)]
        finally:
            world.worker.end()


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.worker_timers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pending", type=int, default=1_000_000, help="timers that are there all the while")
    parser.add_argument("--count", type=int, default=100_000, help="timers of each operation")
    parser.add_argument("--burst", type=int, default=100_000, help="messages in a burst")
    parser.add_argument("--runs", type=int, default=3, help="rounds of the rates")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=1_000, help="the worker's sms_in_flight")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    given_ = parser.parse_args(given)
    numbers = (given_.pending, given_.count, given_.burst, given_.runs)
    save(given_.out, measure(*numbers, given_.partitions, given_.in_flight), machine())


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"benchmark: {error}")
