"""From the change of an order to the call of the provider; a part of ``tests.benchmarks.worker_timers``.

Each change makes a message at once; by the publisher's and the worker's clock, which are the same. A few a
second, alone; then the capacity, with changes that are published one by one, more than the worker takes; then
half as many. The publisher, the broker and the worker share this machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from schemas.codec import encode_json
from schemas.records import DeliveryState
from streams.domain.ids import entity_key
from tests.benchmarks.instant_worker import called_at
from tests.benchmarks.load import Feeder
from tests.benchmarks.measure import BenchError, Spread, Table, load_now, say
from tests.benchmarks.peers.handover import summary
from tests.benchmarks.world import World, now_ms, sent_at, until_sent

_ALONE = 5.0
"""Messages a second of which each has gone before the next comes."""


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
