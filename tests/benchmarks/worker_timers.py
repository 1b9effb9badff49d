"""Timers through the whole worker: ``python -m tests.benchmarks.worker_timers``.

The shipped ``carillon worker`` reads commands from the timers topic of a real Kafka on this machine and does
all that it does in production: consents, facts, a store and a changelog for each partition, intents, texts,
the final check, outcomes, the delivery log, every acknowledgement awaited. The SMS provider answers at once,
within the process (tests/benchmarks/instant_worker.py), so nothing of HTTP is in the figures.

- ``rates``: arms, moves, sends and cancels, each a backlog that lies there when the worker starts; per second
  of the worker's CPU ("one core"). Memory at its peak, and the disk that a pending timer takes.
- ``lateness``: how much later than its moment each message's outcome is recorded, from the delivery log:
  a steady mixed load (messages due, new timers, moves), many spread over one second, many in one instant; and
  meanwhile those of a company that is not concerned, and e-mails of those that are.
- ``end-to-end``: changes of orders, each of which makes a message at once; from the change to the call of the
  provider, by the publisher's and the worker's clock, which are the same. A few a second, alone; then the
  capacity, with changes that are published one by one, more than the worker takes; then half as many. The
  publisher, the broker and the worker share this machine.
- ``recovery``: tests/benchmarks/recovery.py.

examples:
  python -m tests.benchmarks.worker_timers --pending 5000 --burst 1000                     a look: two minutes
  python -m tests.benchmarks.worker_timers --pending 10000000 --count 200000 --burst 100000      the whole
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.local_kafka import LocalKafka
from schemas.codec import encode_json
from schemas.records import DeliveryState, Timer
from streams.domain.ids import entity_key
from tests.benchmarks import ending, recovery
from tests.benchmarks.commands import DAY, HOUR
from tests.benchmarks.instant_worker import called_at
from tests.benchmarks.load import Feeder
from tests.benchmarks.measure import (
    MIB,
    BenchError,
    Spread,
    Table,
    folder_size,
    load_now,
    machine,
    number,
    peak_memory,
    save,
    say,
)
from tests.benchmarks.peers.handover import summary
from tests.benchmarks.world import World, now_ms, sent_at, until_sent

OTHER = 7
"""Number of the company whose messages a burst of the others must not delay."""
_STEADY = 20.0
"""Seconds of the steady load."""
_ALONE = 5.0
"""Messages a second of which each has gone before the next comes."""


# --- rates


def rates(world: World, count: int, runs: int) -> Table:
    made = Table(
        "timers-worker",
        "Timers through the whole worker, per CPU second",
        ("", "timers/s", "CPU s per 100,000", "RSS MB", "bytes each on disk", "load"),
    )
    far = now_ms() + 10 * DAY
    there, said = world.next, world.commands
    found: dict[str, list[float]] = {what: [] for what in ("armed", "moved", "sent", "cancelled")}
    loads: dict[str, list[float]] = {what: [] for what in found}
    memory = disk = 0.0
    mark = world.mark()
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
            began, used = time.monotonic(), world.worker.cpu()
            world.settled(left)
            used = world.worker.cpu() - used
            found[what].append(count / used)
            loads[what].append(load_now())
            say(f"{what}: {count / used:,.0f} per CPU second")
            memory = max(memory, peak_memory(world.worker.pid) / MIB)
            if what == "armed":
                world.arming = (time.monotonic() - began) * 1000 / count
                disk = folder_size(world.place.folder / "data") / (there + count)
    sent = sum(record.state == DeliveryState.SENT for record in world.log(mark))
    if sent != count * runs:
        raise BenchError(f"{sent} messages were sent, not {count * runs}")
    for what, paces in found.items():
        spread = Spread.of(paces)
        cost = Spread.of(100_000 / pace for pace in paces)
        last = (number(memory), number(disk)) if what == "armed" else ("", "")
        made.rows.append((what, str(spread), str(cost), *last, str(Spread.of(loads[what]))))
        made.values[what] = spread.middle
    made.values |= {"memory": memory, "disk": disk}
    made.notes = [f"{there:,} pending before; {count:,} of each; {world.place.partitions} partitions"]
    return made


# --- lateness


WINDOWS = {"steady mixed load": int(_STEADY * 1000), "spread over one second": 1_000, "in one instant": 1}
"""Milliseconds over which the moments of each scene are spread."""


def lateness(world: World, burst: int, runs: int) -> Table:
    made = Table(
        "lateness",
        "Lateness of messages, through the whole worker",
        (
            "",
            "messages",
            "p50 ms",
            "p99 ms",
            "most ms",
            "another company's most ms",
            "another channel's",
            "load",
        ),
    )
    there = int(world.worker.status()["pending"])
    dice = random.Random(1)
    found: dict[str, list[Sequence[float]]] = {what: [] for what in WINDOWS}
    for turn in range(runs):
        for what in WINDOWS:
            say(f"lateness, round {turn + 1} of {runs}: {what}")
            found[what].append((*_scene(world, what, burst, dice), load_now()))
    for what, scenes in found.items():
        columns = [Spread.of(column) for column in zip(*scenes, strict=True)]
        made.rows.append((what, *map(str, columns)))
        _, middle, last, most, *beside = (column.middle for column in columns[:-1])
        made.values |= {f"{what} p50": middle, f"{what} p99": last, f"{what} most": most}
        made.values |= {f"{what} beside": max(beside)}
    made.notes = [
        f"{there:,} timers pending; from the moment to the time that the outcome bears",
        f"{runs} times: median (least-greatest)",
        "one company of ten has messages of its own all the while, and the others have e-mails: the last "
        "columns are the latest of those",
    ]
    return made


def _scene(world: World, what: str, burst: int, dice: random.Random) -> list[float]:
    """How many messages; of their lateness in milliseconds p50, p99 and the most; the most of another
    company's, and of another channel's."""
    window, steady = WINDOWS[what], what.startswith("steady")
    count = min(burst, 2_000) if steady else burst
    mine = [n for n in world.fresh(count) if not _is_other(world, n)]
    beside = [n for n in world.fresh(2_000) if _is_other(world, n)]
    mails = [n for n in world.fresh(220) if not _is_other(world, n)]
    # Time enough to have them all armed before the first is due.
    begin = now_ms() + 10_000 + int(2 * world.arming * count)
    # Those beside it come throughout the burst and the ten seconds after it.
    dues = {n: begin + dice.randrange(window) for n in mine}
    dues |= {n: begin + dice.randrange(window + 10_000) for n in (*beside, *mails)}
    rules = dict.fromkeys(mails, "mail")
    mark = world.mark()
    world.send(world.commands.remind(n, due, rules.get(n, "rem")) for n, due in sorted(dues.items()))
    if steady:
        _mixed(world, begin + window)
    else:
        time.sleep(max(0.0, (begin - now_ms()) / 1000))
    until_sent(max(dues.values()), world.worker)
    late: dict[str, list[float]] = {"crowd": [], "company": [], "channel": []}
    for name, at in sent_at(world.log(mark), dues).items():
        line = "channel" if name in rules else "company" if _is_other(world, name) else "crowd"
        late[line].append(at - dues[name])
    crowd = summary(late["crowd"])
    return [*crowd, max(late["company"]), max(late["channel"])]


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


# --- end to end


def end_to_end(world: World, backlog: int, seconds: float, runs: int) -> Table:
    """Immediate messages: from the change of an order to the call of the provider. ``backlog``: changes of
    the backlog."""
    made = Table(
        "end-to-end",
        "End to end: change of an order to the call of the provider",
        ("", "messages/s", "p50 ms", "p99 ms", "most ms", "load"),
    )
    there = int(world.worker.status()["pending"])
    stream = Stream(world, there)
    found: dict[str, list[Sequence[float]]] = {}

    def row(what: str, rate: float, late: Sequence[float] = ()) -> None:
        found.setdefault(what, []).append(
            (rate, *summary(late)[1:], load_now()) if late else (rate, load_now())
        )

    for turn in range(runs):
        turned = f"end to end, round {turn + 1} of {runs}:"
        say(f"{turned} one at a time")
        row("one at a time", _ALONE, stream.late(_ALONE, seconds))
        say(f"{turned} a backlog of {backlog:,}")
        pace = stream.backlog(backlog)
        row("a backlog, as fast as it goes", pace)
        say(f"{turned} more than it takes, {2 * pace:,.0f} a second")
        capacity = stream.saturated(2 * pace, seconds)
        row("more than it takes, one by one: the capacity", capacity)
        say(f"{turned} {capacity / 2:,.0f} changes a second for {seconds:.0f} s")
        row("half of that", capacity / 2, stream.late(capacity / 2, seconds))
    for what, values in found.items():
        rate, *late, load = (Spread.of(column) for column in zip(*values, strict=True))
        made.rows.append((what, str(rate), *(map(str, late) if late else ("", "", "")), str(load)))
        made.values[what] = rate.middle
        if late:
            made.values |= {"p50": late[0].middle, "p99": late[1].middle}
    made.notes = [
        f"{backlog:,} changes in the backlog, {seconds:.0f} s of each other load, {there:,} timers pending",
        f"{runs} times: median (least-greatest)",
        "the capacity: changes are published one by one, twice as many a second as were taken out of the "
        "backlog; it is the messages that went in the second half of that time, a second",
    ]
    return made


class Stream:
    """Changes of orders that nobody knew, each of which makes a message at once."""

    def __init__(self, world: World, pending: int) -> None:
        self._world = world
        self._pending = pending
        self._feeder = Feeder(world.place.bootstrap, linger_ms=0)
        self._topic = f"{world.place.prefix}orders"

    def late(self, rate: float, seconds: float) -> list[int]:
        """Milliseconds from the change to the provider's call, in order of size; so many changes a second,
        evenly. What is published in the first two seconds counts for nothing: the load before has gone."""
        orders, mark = self._post(rate, 2 + seconds)
        moments, calls = self._calls(orders, mark)
        begun = min(moments.values()) + 2_000
        return sorted(calls[n] - at for n, at in moments.items() if at >= begun)

    def saturated(self, rate: float, seconds: float) -> float:
        """Messages a second, while there are always more to come."""
        orders, mark = self._post(rate, seconds)
        moments, calls = self._calls(orders, mark)
        begin, end = min(moments.values()), max(moments.values())
        middle = (begin + end) / 2
        return sum(middle <= at < end for at in calls.values()) / (end - middle) * 1000

    def backlog(self, count: int) -> float:
        """Messages a second, of changes that lie there when the worker starts."""
        world = self._world
        world.worker.hold()
        orders, mark = world.fresh(count), world.mark()
        self._feeder.send(self._topic, map(self._record, orders))
        world.worker.go()
        world.settled(self._pending)
        calls = sorted(self._calls(orders, mark)[1].values())
        return 1000 * (len(calls) - 1) / (calls[-1] - calls[0])

    def _post(self, rate: float, seconds: float) -> tuple[range, dict[int, int]]:
        orders, mark = self._world.fresh(int(rate * seconds)), self._world.mark()
        began = time.monotonic()
        for place, order in enumerate(orders):
            wait = began + place / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._feeder.post(self._topic, *self._record(order))
        self._feeder.send(self._topic, [])
        return orders, mark

    def _record(self, order: int) -> tuple[bytes, bytes]:
        change = self._world.commands.changed(order)
        return entity_key(change.company, change.entity_id), encode_json(change)

    def _calls(self, orders: range, mark: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
        """When each order was changed, and when the provider was called for it."""
        until_sent(now_ms(), self._world.worker)
        self._world.settled(self._pending)
        log = self._world.log(mark)
        dues = {r.entity_id: r.due_at for r in log if r.due_at is not None}
        moments = {n: due for n in orders if (due := dues.get(f"order-{n}")) is not None}
        if len(sent_at(log, moments)) != len(orders):
            raise BenchError(f"end to end: {len(moments)} of {len(orders)} were sent")
        calls = {
            int(record.entity_id.removeprefix("order-")): called_at(record.provider_id)
            for record in log
            if record.state == DeliveryState.SENT
        }
        return moments, {n: calls[n] for n in orders}


PARTS = ("rates", "lateness", "end-to-end", "recovery")


def measure(given: argparse.Namespace) -> Iterator[Table]:
    """Gives each table as soon as it is there."""
    parts: dict[str, Callable[[World], Table]] = {
        "rates": lambda world: rates(world, given.count, given.runs),
        "lateness": lambda world: lateness(world, given.burst, given.runs),
        "end-to-end": lambda world: end_to_end(world, given.count, _STEADY, given.runs),
        "recovery": lambda world: recovery.measure(world, given.seconds, given.runs),
    }
    with LocalKafka() as kafka, tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
        world = World(kafka.bootstrap, Path(folder), given.partitions, given.in_flight)
        try:
            world.set_up(given.pending)
            yield from (parts[name](world) for name in PARTS if name in given.parts)
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
    parser.add_argument("--runs", type=int, default=3, help="rounds of each part")
    parser.add_argument("--seconds", type=int, default=60, help="of messages in each scene of the recovery")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=1_000, help="the worker's sms_in_flight")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(given)
    for made in measure(options):
        save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
