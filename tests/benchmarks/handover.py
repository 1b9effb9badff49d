"""Lateness by the store alone: ``python -m tests.benchmarks.handover``.

One process hands over what is due, batch by batch, while new timers come and pending ones move. Counted is
how much later than its moment a timer is handed over, its payload read and the timer taken out of the store.
Three scenes (``tests.benchmarks.peers.handover``, the same program for all): a steady load, a burst spread
over one second, and as many due in one instant; and beside each burst the timers of another company and of
another channel, which it must not delay.

- ``slots``: eight of our stores with ``SlotTable`` and ``ReadyRows``, as a worker with eight partitions has.
- ``redis``: a sorted set and a hash, append-only file; ``postgres``: DELETE ... SKIP LOCKED. Both hand over
  in the order of due times; what isn't there is left out, and the table says so.

examples:
  python -m tests.benchmarks.handover --pending 100000 --burst 20000 --who slots         a look: two minutes
  python -m tests.benchmarks.handover --pending 10000000 --burst 100000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from schemas.records import Channel, EntityKind
from streams.domain.catalog import Catalog
from streams.stages.ports import Write
from streams.stages.ready import ReadyRows, Room
from streams.stages.slots import (
    FAMILIES,
    EntityFacts,
    Head,
    Slot,
    SlotName,
    SlotTable,
    due_key,
    name_of,
    prefix_of,
    slot_key,
)
from streams.state.rocks import RocksStore, SharedMemory
from tests.benchmarks import ending
from tests.benchmarks.builds import peer_python
from tests.benchmarks.measure import Spread, Table, machine, save, say
from tests.benchmarks.peers.handover import CHANNEL, COMPANY, CROWD, Played, Timer, far_timers, play
from tests.benchmarks.timers import DAY, STORES, Chosen, place, row_of
from tests.support.shop import reminder

ROOT = Path(__file__).parents[2]
PEERS = ("redis", "postgres")
ROOMS = {Channel.SMS: Room(250), Channel.EMAIL: Room(250)}
"""Of each round: half of what a worker looks at in one, so that both channels fit in."""
LIMIT = 500
_COMPANY = {CROWD: "c0", CHANNEL: "c0", COMPANY: "c1"}

_encode = msgspec.msgpack.Encoder().encode


class Slots:
    """Our stores, and the rows of each that are ready."""

    def __init__(self, folder: Path, marks: Iterable[int] = range(STORES)) -> None:
        """``marks``: only these of them."""
        memory, catalog = SharedMemory(), Catalog()
        for company in ("c0", "c1", "c2"):
            catalog.apply(reminder(1, id_="sms", company=company, channel=Channel.SMS))
            catalog.apply(reminder(1, id_="mail", company=company, channel=Channel.EMAIL))
        self._stores = {n: RocksStore(folder / f"p{n}", FAMILIES, cache=memory) for n in marks}
        self._ready = {n: ReadyRows(store, catalog) for n, store in self._stores.items()}
        self._payload = Chosen().payload

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    def put(self, timers: Sequence[Timer]) -> None:
        for mark, mine in self._split(timers):
            self._stores[mark].get_many("slots", [key for key, _ in mine])
            writes: list[Write] = []
            for at, (key, due) in enumerate(mine):
                facts = EntityFacts(1, -1, self._payload(at), 0)
                writes.append(("entities", prefix_of(key), _encode(facts)))
                place = due_key(due, key)
                writes.append(("slots", key, place[:8]))
                writes.append(("due", place, _encode(Slot(Head(1, 1, 1, [], -1, due), row_of(at, due)))))
            self._stores[mark].write(writes)
            self._ready[mark].moved([(due, key) for key, due in mine])

    def reschedule(self, timers: Sequence[Timer]) -> None:
        for mark, mine in self._split(timers):
            table = SlotTable(self._stores[mark])
            table.load([key for key, _ in mine])
            for key, due in mine:
                row = table.change(key).row
                assert row is not None
                row.due = row.target = row.allowed = due
            done = table.flush()
            self._stores[mark].write(done.writes)
            self._ready[mark].moved(done.moved)

    def due(self, now: int) -> Iterator[list[Timer]]:
        for mark, store in self._stores.items():
            names = self._ready[mark].take(now, ROOMS, LIMIT)
            if not names:
                continue
            keys = [key for _, key in names]
            store.get_many("entities", [prefix_of(key) for key in keys])
            table = SlotTable(store)
            table.load_due(names)
            for key in keys:
                slot = table.change(key)
                slot.row = None
                slot.head.until = now + 35 * DAY
            store.write(table.flush().writes)
            yield [(name_of(key).entity_id, due) for due, key in names]

    def _split(self, timers: Sequence[Timer]) -> Iterator[tuple[int, list[tuple[bytes, int]]]]:
        """By store, with their keys."""
        found: dict[int, list[tuple[bytes, int]]] = {}
        for name, due in timers:
            line, _, text = name.partition("-")
            rule = "mail" if line == CHANNEL else "sms"
            slot = SlotName(_COMPANY.get(line, "c2"), EntityKind.ORDER, name, f"cust-{text}", rule, "")
            found.setdefault(int(text) % STORES, []).append((slot_key(slot), due))
        yield from found.items()


def fill(folder: Path, count: int) -> None:
    """The same as ``peers.handover.fill``, by two processes, each of which has half of the stores."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        halves = [pool.submit(_fill, folder, range(first, STORES, 2), count) for first in range(2)]
        for half in halves:
            half.result()


def _fill(folder: Path, marks: range, count: int) -> None:
    store = Slots(folder, marks)
    for block in far_timers(count):
        store.put([timer for place, timer in enumerate(block) if place % STORES in marks])
    store.close()


def measure(
    pending: int, scenes: Sequence[int], who: Sequence[str], peers_up_to: int, base: Path | None
) -> Iterator[Table]:
    """Gives the table after each of them. ``scenes``: timers of the steady scene and of each burst, runs.
    ``peers_up_to``: pending timers of peers."""
    played: list[Played] = []
    missing: list[str] = []
    for one in who:
        there = min(pending, peers_up_to) if one in PEERS else pending
        say(f"{one}: {there:,} pending")
        with place(base) as folder:
            if one in PEERS:
                try:
                    command = [str(peer_python()), "-m", "tests.benchmarks.peers.handover_peer", one]
                    played += apart([*command, str(folder)], there, *scenes)
                except LookupError as error:
                    missing.append(f"{one} was left out: {error}")
            else:
                command = [sys.executable, "-m", "tests.benchmarks.handover", "--folder", str(folder)]
                played += apart([*command, "--numbers"], there, *scenes)
        if played:
            yield table(played, missing)


def apart(command: Sequence[str], *numbers: int) -> list[Played]:
    """In a process of its own. Raises LookupError with what it said last."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    full = [*command, *map(str, numbers)]
    done = subprocess.run(full, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise LookupError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return [Played(**json.loads(line)) for line in done.stdout.splitlines()]


def table(played: Sequence[Played], missing: Sequence[str]) -> Table:
    made = Table(
        "lateness-store",
        "Lateness by the store alone: hand-over, in milliseconds",
        (
            "",
            "pending",
            "scene",
            "due",
            "p50",
            "p99",
            "most",
            "another company's most",
            "another channel's",
            "load",
        ),
    )
    runs: dict[tuple[str, int, str], list[Sequence[float]]] = {}
    for one in played:
        beside = [one.late[line][3] for line in (COMPANY, CHANNEL)]
        runs.setdefault((one.who, one.pending, one.scene), []).append((*one.late[CROWD], *beside, one.load))
    for (who, pending, scene), found in runs.items():
        columns = [Spread.of(column) for column in zip(*found, strict=True)]
        made.rows.append((who, f"{pending:,}", scene, *map(str, columns)))
        made.values[f"{who} {scene} p99"] = columns[2].middle
        made.values[f"{who} {scene} beside"] = max(column.middle for column in columns[4:6])
    made.notes = [
        f"{max(map(len, runs.values()))} times: median (least-greatest)",
        "a thousand new timers and a thousand moves a second, in the same process, all the while",
        "every timer was handed over once, and none before its moment",
        *missing,
    ]
    return made


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.handover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    everyone = ("slots", *PEERS)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--peers-up-to", type=int, default=10_000_000, help="pending timers of peers")
    parser.add_argument("--steady", type=int, default=30_000, help="due within 15 seconds")
    parser.add_argument("--burst", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3, help="rounds of the scenes, on one filled store")
    parser.add_argument("--who", default=",".join(everyone), help="of " + ", ".join(everyone))
    parser.add_argument("--base", type=Path, help="where the databases lie (default: the temporary folder)")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--numbers", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.folder is not None:
        fill(options.folder, options.numbers[0])
        store = Slots(options.folder)
        try:
            for line in play("slots", store, *options.numbers, filled=True):
                sys.stdout.write(line + "\n")
        finally:
            store.close()
        return
    who = options.who.split(",")
    if unknown := set(who) - set(everyone):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(everyone)}")
    scenes = (options.steady, options.burst, options.runs)
    for made in measure(options.pending, scenes, who, options.peers_up_to, options.base):
        save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
