"""Timers in a store: ``python -m tests.benchmarks.timers``.

Schedules, reschedules, cancels and fires at several numbers of pending timers, by the calls of a store alone:

- ``store``: ``streams.state.rocks`` with the layout of ``streams.stages.slots``: the reads and writes that a
  partition makes. The payload of 300 bytes is the entity's facts.
- ``slots``: the same through ``SlotTable``, which decodes, decides what is written, and encodes.
- ``batch``: puts of the same rows by plain WriteBatch (RocksDB's own pace), nothing read.
- ``redis``: a sorted set by due time and a hash, append-only file synced every second; Debian's redis-server.
- ``postgres``: a table with an index on the due time, fired by DELETE ... SKIP LOCKED; Debian's PostgreSQL.
- ``apscheduler``: APScheduler 3 with its job store in memory.

What is not there (redis-server, PostgreSQL, the package index) is left out, and the table says so. Rates are
per second of the CPU that store, server and driver used together: "one core". That of ``store`` and ``batch``
is the calls' own, without the making of keys and rows; that of all others includes it.

examples:
  python -m tests.benchmarks.timers --pending 0,100000                    a look, in a minute
  python -m tests.benchmarks.timers --pending 0,1000000,5000000,10000000  the whole; some 20 GB of disk
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from schemas.records import EntityKind
from streams.stages.ports import Write
from streams.stages.slots import (
    EXPIRY_STEP,
    FAMILIES,
    EntityFacts,
    Head,
    Row,
    Slot,
    SlotName,
    SlotTable,
    due_key,
    expiry_writes,
    name_of,
    prefix_of,
    slot_key,
)
from streams.state.rocks import RocksStore, SharedMemory
from tests.benchmarks import ending
from tests.benchmarks.builds import peer_python
from tests.benchmarks.measure import (
    MIB,
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
from tests.benchmarks.peers.timers_peer import Run

PEERS = ("redis", "postgres", "apscheduler")
STORES = 8
"""Databases, as a worker with eight partitions has."""
BATCH = 1_000
BEGIN = 1_700_000_000_000
DAY = 24 * 3600 * 1000
_PEER_LIMIT = {"redis": 10_000_000, "postgres": 10_000_000, "apscheduler": 100_000}
"""Pending timers beyond which a peer is not asked: APScheduler needs 1 KB of memory and 50 us for each."""

_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Pace:
    """Rates per CPU second, by operation, with so many pending."""

    who: str
    pending: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    """One of each round."""
    memory: float = 0.0
    disk: float = 0.0
    """Bytes for each pending timer."""
    load: float = field(default_factory=load_now)


def key_of(place: int) -> bytes:
    return slot_key(
        SlotName(f"c{place % 100}", EntityKind.ORDER, f"order-{place}", f"cust-{place % 50_000}", "r1", "")
    )


def due_of(place: int) -> int:
    """Spread over 30 days, in no order."""
    return BEGIN + place * 2_654_435_761 % (30 * DAY)


def _placed(due: int, key: bytes, raw: bytes | None) -> list[Write]:
    place = due_key(due, key)
    return [("slots", key, place[:8]), ("due", place, raw)]


def row_of(place: int, due: int) -> Row:
    return Row(
        delivery_id=f"{place:032x}",
        entity_version=1,
        rule_version=1,
        anchor=str(due),
        occurred_at=BEGIN,
        status_id="s1",
        state="scheduled",
        due=due,
        target=due,
        allowed=due,
    )


class Chosen:
    """Payloads of 300 bytes that compress as changes do: some text, some ids."""

    def __init__(self) -> None:
        dice = random.Random(1)
        words = [f"{dice.getrandbits(64):016x}" for _ in range(1_000)]
        self._texts = [
            json.dumps(
                {"status_id": "s1", "title": "Chain, cassette and brakes", "refs": dice.sample(words, 11)}
            )
            for _ in range(1_000)
        ]

    def payload(self, place: int) -> bytes:
        """Neighbours in a store, which has them by company, are no copies of one another."""
        return self._texts[(place * 2_654_435_761 >> 7) % 1_000].encode()


class TimedStore(RocksStore):
    """Knows how much CPU its calls have used, RocksDB's own threads among it."""

    spent = 0.0

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        began = time.process_time()
        found = super().get_many(family, keys)
        self.spent += time.process_time() - began
        return found

    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        began = time.process_time()
        found = super().scan(family, low, high, limit)
        self.spent += time.process_time() - began
        return found

    def write(self, writes: Sequence[Write]) -> None:
        began = time.process_time()
        super().write(writes)
        self.spent += time.process_time() - began


class OwnStore:
    """The store's calls alone; ``slots`` True: through SlotTable."""

    def __init__(self, folder: Path, *, slots: bool) -> None:
        memory = SharedMemory()
        self._stores = [TimedStore(folder / f"p{n}", FAMILIES, cache=memory) for n in range(STORES)]
        self._slots = slots
        self._payload = Chosen().payload

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def spent(self) -> float:
        """CPU seconds so far."""
        return time.process_time() if self._slots else sum(store.spent for store in self._stores)

    def schedule(self, places: Sequence[int]) -> None:
        """New timers, with the facts of their entities."""
        for store, mine in self._split(places):
            keys = [key_of(place) for place in mine]
            facts: list[Write] = [
                ("entities", prefix_of(key), _encode(EntityFacts(1, -1, self._payload(place), BEGIN)))
                for place, key in zip(mine, keys, strict=True)
            ]
            if self._slots:
                table = SlotTable(store)
                table.load(keys)
                for place, key in zip(mine, keys, strict=True):
                    slot = table.change(key)
                    slot.head = Head(1, 1, 1, [], -1, -1)
                    slot.row = row_of(place, due_of(place))
                store.write([*table.flush().writes, *facts])
                continue
            store.get_many("slots", keys)
            writes = facts
            for place, key in zip(mine, keys, strict=True):
                due = due_of(place)
                writes += _placed(due, key, _encode(Slot(Head(1, 1, 1, [], -1, due), row_of(place, due))))
            store.write(writes)

    def move(self, places: Sequence[int]) -> None:
        """An hour later."""
        for store, mine in self._split(places):
            keys = [key_of(place) for place in mine]
            if self._slots:
                table = SlotTable(store)
                table.load(keys)
                for key in keys:
                    slot = table.change(key)
                    assert slot.row is not None
                    slot.row.due += 3_600_000
                    slot.row.target = slot.row.allowed = slot.row.due
                store.write(table.flush().writes)
                continue
            writes: list[Write] = []
            for key, due, raw in self._rows(store, keys):
                writes.append(("due", due_key(due, key), None))
                writes += _placed(due + 3_600_000, key, raw)
            store.write(writes)

    def cancel(self, places: Sequence[int]) -> None:
        """Gone, but for the memory of it."""
        for store, mine in self._split(places):
            keys = [key_of(place) for place in mine]
            if self._slots:
                table = SlotTable(store)
                table.load(keys)
                self._end(store, table, keys)
                continue
            writes: list[Write] = []
            writes += self._remembered([(due, key) for key, due, _ in self._rows(store, keys)])
            store.write(writes)

    def fire(self, count: int) -> list[bytes]:
        """The next ``count``, in the order of their due times within each database; their keys."""
        fired: list[bytes] = []
        for store in self._stores:
            cursor, left = b"", count // STORES
            while left > 0:
                rows = store.scan("due", cursor, None, min(BATCH, left))
                if not rows:
                    break
                cursor = rows[-1][0] + b"\0"
                keys = [key[8:] for key, _ in rows]
                names = [(int.from_bytes(key[:8], "big"), key[8:]) for key, _ in rows]
                if self._slots:
                    table = SlotTable(store)
                    table.load_due(names)
                    self._end(store, table, keys)
                else:
                    # First to know what is due, and then with its rows, as SlotTable does.
                    store.scan("due", rows[0][0], cursor, 2 * len(rows))
                    store.write(self._remembered(names))
                left -= len(rows)
                fired += keys
        return fired

    def _end(self, store: RocksStore, table: SlotTable, keys: list[bytes]) -> None:
        for key in keys:
            slot: Slot = table.change(key)
            slot.row = None
            slot.head.until = BEGIN + 70 * DAY
        store.write(table.flush().writes)

    def _remembered(self, names: Sequence[tuple[int, bytes]]) -> list[Write]:
        until = BEGIN + 70 * DAY
        slot = _encode(Slot(Head(1, 1, 2, [], until, -1)))
        writes: list[Write] = [("due", due_key(*name), None) for name in names]
        writes += [("slots", key, slot) for _, key in names]
        return [*writes, *expiry_writes(until // EXPIRY_STEP, [key for _, key in names])]

    def _rows(self, store: RocksStore, keys: list[bytes]) -> Iterator[tuple[bytes, int, bytes | None]]:
        places = [raw for raw in store.get_many("slots", keys) if raw is not None]
        rows = store.get_many("due", [place + key for place, key in zip(places, keys, strict=True)])
        for key, place, raw in zip(keys, places, rows, strict=True):
            yield key, int.from_bytes(place, "big"), raw

    def _split(self, places: Sequence[int]) -> Iterator[tuple[TimedStore, Sequence[int]]]:
        """In batches, each of one database."""
        for begin in range(0, len(places), BATCH * STORES):
            block = places[begin : begin + BATCH * STORES]
            for mark, store in enumerate(self._stores):
                mine = [one for one in block if one % STORES == mark]
                if mine:
                    yield store, mine

    def flush(self) -> None:
        for store in self._stores:
            store.flush()


def own(who: str, folder: Path, pendings: Sequence[int], count: int, rounds: int = 1) -> list[Pace]:
    """In this process. ``count``: timers of each operation in each round."""
    store = OwnStore(folder, slots=who == "slots")
    run = Run(store, store.spent, lambda key: int(name_of(key).entity_id.removeprefix("order-")))
    found = []
    try:
        for pending in pendings:
            say(f"{who}: {pending:,} pending")
            run.fill(pending)
            pace = Pace(who, pending, run.measure(count, rounds))
            store.flush()
            pace.memory = peak_memory_here()
            pace.disk = folder_size(folder) / len(run.alive) if len(run.alive) > count else 0.0
            found.append(pace)
    finally:
        store.close()
    return found


def batch(folder: Path, pendings: Sequence[int], count: int, rounds: int = 1) -> list[Pace]:
    """RocksDB's pace for the rows of a new timer: one WriteBatch of a thousand, nothing read or decided."""
    memory = SharedMemory()
    stores = [RocksStore(folder / f"p{n}", FAMILIES, cache=memory) for n in range(STORES)]
    payload = Chosen().payload
    row = _encode(Slot(Head(1, 1, 1, [], -1, BEGIN), row_of(0, BEGIN)))
    found, there = [], 0

    def put(places: range) -> float:
        spent = 0.0
        for begin in range(places.start, places.stop, BATCH):
            block = range(begin, min(begin + BATCH, places.stop))
            writes: list[Write] = []
            for place in block:
                key = key_of(place)
                writes += _placed(due_of(place), key, row)
                writes.append(("entities", key, payload(place)))
            began = time.process_time()
            stores[begin // BATCH % STORES].write(writes)
            spent += time.process_time() - began
        return spent

    for pending in pendings:
        say(f"batch: {pending:,} pending")
        put(range(there, max(there, pending)))
        there = max(there, pending)
        paces = []
        for _ in range(rounds):
            paces.append(count / put(range(there, there + count)))
            there += count
        found.append(Pace("batch", pending, {"new": paces}, peak_memory_here()))
    for store in stores:
        store.close()
    return found


def payload_alone(folder: Path, count: int = 100_000) -> float:
    """Bytes on disk for each payload when nothing but payloads is kept: what they are when compressed."""
    store = RocksStore(folder / "payloads", ("entities",), cache=SharedMemory())
    payload = Chosen().payload
    for begin in range(0, count, BATCH):
        block = range(begin, begin + BATCH)
        store.write([("entities", place.to_bytes(8, "big"), payload(place)) for place in block])
    store.close()
    return folder_size(folder) / count


def peak_memory_here() -> float:
    import os  # noqa: PLC0415

    return peak_memory(os.getpid()) / MIB


def peer(who: str, folder: Path, pendings: Sequence[int], count: int, rounds: int) -> list[Pace]:
    """In a process of its own, with a server of its own where it needs one. Raises LookupError with the
    reason why it can't be had."""
    limit = _PEER_LIMIT[who]
    program = Path(__file__).parent / "peers" / "timers_peer.py"
    asked = ",".join(str(pending) for pending in pendings if pending <= limit)
    command = [str(peer_python()), str(program), who, str(folder), asked, str(count), str(rounds)]
    say(f"{who}: {asked} pending")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LookupError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return [Pace(**json.loads(line)) for line in done.stdout.splitlines()]


@contextmanager
def place(base: Path | None) -> Iterator[Path]:
    """A folder on a real disk (not a memory file system), removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", dir=base) as name:
        yield Path(name)


def in_process_of_its_own(
    who: str, pendings: Sequence[int], count: int, rounds: int, base: Path | None
) -> list[Pace]:
    """So that its peak of memory is its own."""
    with place(base) as folder:
        command = [sys.executable, "-m", "tests.benchmarks.timers", "--only", who, "--folder", str(folder)]
        command += ["--pending", ",".join(map(str, pendings)), "--count", str(count)]
        command += ["--runs", str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return [Pace(**json.loads(line)) for line in done.stdout.splitlines()]


def table(paces: Sequence[Pace], missing: Sequence[str], count: int, payload: float = 0.0) -> Table:
    made = Table(
        "timers-store",
        "Timers by the store alone, per CPU second",
        ("", "pending", "new/s", "moved/s", "cancelled/s", "fired/s", "RSS MB", "bytes each on disk", "load"),
    )
    for pace in paces:
        rates = [str(Spread.of(pace.rates[what])) if what in pace.rates else "" for what in OPERATIONS]
        memory = number(pace.memory) if pace.memory else ""
        disk = number(pace.disk) if pace.disk else ""
        made.rows.append((pace.who, f"{pace.pending:,}", *rates, memory, disk, number(pace.load)))
        for what, values in pace.rates.items():
            made.values[f"{pace.who} {pace.pending} {what}"] = Spread.of(values).middle
        made.values[f"{pace.who} {pace.pending} disk"] = pace.disk
        made.values[f"{pace.who} {pace.pending} memory"] = pace.memory
    alone = f", {payload:.0f} of them on disk when nothing else is kept" if payload else ""
    rounds = max((len(rates) for pace in paces for rates in pace.rates.values()), default=1)
    made.notes = [
        f"{count:,} of each operation, {rounds} times: median (least-greatest)",
        f"payload of 300 bytes{alone}",
        *missing,
    ]
    made.values["payload disk"] = payload
    return made


OPERATIONS = ("new", "moved", "cancelled", "fired")


def measure(
    pendings: Sequence[int],
    count: int,
    rounds: int,
    who: Sequence[str],
    peers_up_to: int,
    base: Path | None = None,
) -> Iterator[Table]:
    """Gives the table after each of them. ``peers_up_to``: pending timers of all but our store."""
    paces: list[Pace] = []
    missing: list[str] = []
    with place(base) as folder:
        payload = payload_alone(folder)
    for one in who:
        some = [pending for pending in pendings if one == "store" or pending <= peers_up_to]
        if one not in PEERS:
            paces += in_process_of_its_own(one, some, count, rounds, base)
        else:
            with place(base) as folder:
                try:
                    paces += peer(one, folder, some, count, rounds)
                except LookupError as error:
                    missing.append(f"{one} was not there: {error}")
        yield table(paces, missing, count, payload)


def main(given: Sequence[str] | None = None) -> None:
    everyone = ("store", "slots", "batch", *PEERS)
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.timers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pending", default="0,1000000", help="numbers of pending timers, growing")
    parser.add_argument("--count", type=int, default=100_000, help="timers of each operation")
    parser.add_argument("--runs", type=int, default=3, help="rounds of the operations")
    parser.add_argument(
        "--peers-up-to", type=int, default=10_000_000, help="pending timers in all but our own store"
    )
    parser.add_argument("--who", default=",".join(everyone), help="of " + ", ".join(everyone))
    parser.add_argument("--base", type=Path, help="where the databases lie (default: the temporary folder)")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    pendings = [int(text) for text in options.pending.split(",")]
    if options.only:
        found = (
            batch(options.folder, pendings, options.count, options.runs)
            if options.only == "batch"
            else own(options.only, options.folder, pendings, options.count, options.runs)
        )
        for pace in found:
            sys.stdout.write(json.dumps(msgspec.to_builtins(pace)) + "\n")
        return
    who = options.who.split(",")
    if unknown := set(who) - set(everyone):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(everyone)}")
    for made in measure(pendings, options.count, options.runs, who, options.peers_up_to, options.base):
        save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
