"""Timers through the whole worker: ``python -m tests.benchmarks.worker_timers``.

The shipped ``carillon worker`` reads commands from the timers topic of a real Kafka on this machine and does
all that it does in production: consents, facts, a store and a changelog for each partition, intents, texts,
the final check, outcomes, the delivery log, every acknowledgement awaited. The SMS provider answers at once,
within the process (tests/benchmarks/instant_worker.py), so nothing of HTTP is in the figures.

- ``rates``: arms, moves, sends and cancels, each a backlog that lies there when the worker starts; per second
  of the worker's CPU ("one core"). Memory at its peak, and the disk that a pending timer takes.
- ``lateness``: tests/benchmarks/worker_lateness.py; ``end-to-end``: tests/benchmarks/end_to_end.py;
  ``recovery``: tests/benchmarks/recovery.py.

examples:
  python -m tests.benchmarks.worker_timers --pending 5000 --burst 1000                     a look: two minutes
  python -m tests.benchmarks.worker_timers --pending 10000000 --count 200000 --burst 100000      the whole
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.local_kafka import LocalKafka
from schemas.records import DeliveryState, Timer
from tests.benchmarks import ending, recovery
from tests.benchmarks.commands import DAY
from tests.benchmarks.end_to_end import end_to_end
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
from tests.benchmarks.worker_lateness import lateness
from tests.benchmarks.world import World, now_ms

END_TO_END = 20.0
"""Seconds of each load."""


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


PARTS = ("rates", "lateness", "end-to-end", "recovery")


def measure(given: argparse.Namespace) -> Iterator[Table]:
    """Gives each table as soon as it is there."""
    parts: dict[str, Callable[[World], Table]] = {
        "rates": lambda world: rates(world, given.count, given.runs),
        "lateness": lambda world: lateness(world, given.burst, given.runs),
        "end-to-end": lambda world: end_to_end(world, given.count, END_TO_END, given.runs),
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
