"""``carillon capacity``: the partitions, workers and bytes that a number of messages a day needs, and what
they cost. docs/capacity.md explains the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

import click

from console.options import json_option
from console.output import print_json, print_table

EXAMPLES = """\b
Examples:
  carillon capacity                              1,000, 100,000 and 10 million messages a day
  carillon capacity 250000                       of your own
  carillon capacity 250000 --peak 0.3            three messages of ten fall into the busiest hour
  carillon capacity --cpu 0.5                    your machines' cores take half as long as those measured
"""

KB, GB = 1_000, 1e9
_PER = 100_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What one core of the machine in docs/performance.md took. CPU seconds for 100,000, and bytes."""

    change: float = 2.56
    """A change of an entity: matched, state kept, commands written (``carillon-entities``, JSON)."""
    arm: float = 15.3
    """A timer armed anew, or moved (``worker_timers``, armed)."""
    send: float = 38.0
    """A message armed and sent: looked at, rendered, intent, outcome (``worker_timers``, sent)."""
    provider_call: float = 49.0
    """What the SMS provider's HTTP client takes besides (``senders_bench``)."""
    rebuild: float = 55_400
    """Changelog records a second when a store is rebuilt (``recovery``)."""
    base_memory: float = 140e6
    """Bytes that a worker takes with nothing to do."""
    timer_disk: float = 359
    """Bytes of a pending timer with its facts of 300 bytes (``timers``, ten million in the store; before any
    was moved it is less: 206, ``worker_timers``)."""
    memory_disk: float = 280
    """Bytes of the memory of a message that went, which stays 35 days."""
    entity_disk: float = 129
    """Bytes of the newest state of an entity in the store, compressed."""
    change_wire: float = 280
    """Bytes of a change on the wire, compressed by its publisher. An estimate: the benchmark's changes
    resemble one another more than a business's do, and take 61."""
    state_wire: float = 200
    """Bytes written to the state's changelog for a change, compressed. An estimate likewise (70)."""
    message_wire: float = 1_060
    """Bytes written for a message: timers, changelog of timers, delivery log, compressed."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """The business, the operator's margins, and prices. US dollars."""

    messages: float
    """A day: customers who are messaged once."""
    peak: float = 0.15
    """Share of a day's messages that falls into the busiest hour."""
    changes: float = 4.0
    """Changes of entities for each message."""
    moves: float = 0.3
    """How often a message is moved before it goes."""
    days_ahead: float = 7.0
    """For how long a message waits, on average."""
    busy: float = 0.5
    """Share of a core that is in use at the peak: the rest is for catching up after a failure."""
    replication: int = 3
    cpu: float = 1.0
    """CPU time of your cores, relative to those measured."""
    broker_cores: int = 2
    """Of each broker; there are as many brokers as copies."""
    core_hour: float = 0.04
    disk_gb_month: float = 0.10
    traffic_gb: float = 0.02
    """Between zones: replication, and what consumers read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes. Rates at the peak are per second."""

    messages: float
    peak_messages: float
    peak_changes: float
    peak_cpu: float
    """Cores' worth of work at the peak, all workers together."""
    workers: int
    partitions: int
    pending: float
    rebuild_seconds: float
    """To rebuild one partition's timers from the changelog."""
    worker_memory: float
    store_bytes: float
    """RocksDB, all workers together."""
    broker_in: float
    """Bytes a second at the peak, written by publishers and workers, copies among brokers included."""
    broker_out: float
    broker_disk: float
    cost_month: float
    cost_million: float
    """Dollars for a million messages, without the provider's price."""


REMEMBERED_DAYS = 35
LEAST_WORKERS = 2
"""So that one may fail."""
_REBUILD = 60.0
"""Seconds in which a partition is rebuilt: others go on meanwhile."""
_STATE_CACHE = 256e6
"""Bytes of block cache and buffers, bounded for all stores of a worker (``streams.state.rocks``)."""
_RETENTION = {"changes": 7, "commands": 14, "log": 400}
"""Days for which topics keep what they hold (``streams.kafka.topics``)."""


def plan(assumed: Assumed, measured: Measured | None = None) -> Plan:
    """Raises ValueError when an assumption is no positive number."""
    for item in fields(assumed):
        if getattr(assumed, item.name) <= 0:
            raise ValueError(f"{item.name}: must be more than 0")
    m = measured or Measured()
    peak_messages = assumed.messages * assumed.peak / 3600
    peak_changes = peak_messages * assumed.changes
    cpu_message = message_cpu(assumed, m)
    peak_cpu = peak_messages * cpu_message
    workers = max(LEAST_WORKERS, math.ceil(peak_cpu / assumed.busy))
    pending = assumed.messages * assumed.days_ahead
    by_rebuild = pending / (m.rebuild * _REBUILD)
    partitions = max(8, _power_of_two(max(4 * workers, by_rebuild)))
    entities = assumed.messages * REMEMBERED_DAYS
    store = pending * m.timer_disk + entities * (m.memory_disk + m.entity_disk)
    copies = assumed.replication
    written = assumed.changes * (m.change_wire + m.state_wire) + m.message_wire
    read = assumed.changes * m.change_wire + m.message_wire / 2
    kept = (
        assumed.changes * m.change_wire * _RETENTION["changes"]
        + m.message_wire / 3 * (_RETENTION["commands"] + _RETENTION["log"])
    ) * assumed.messages + store
    traffic_day = assumed.messages * (written * copies + read)
    cost_month = (
        (workers + copies * assumed.broker_cores) * assumed.core_hour * 24 * 30
        + (kept * copies + store) / GB * assumed.disk_gb_month
        + traffic_day * 30 / GB * assumed.traffic_gb
    )
    return Plan(
        messages=assumed.messages,
        peak_messages=peak_messages,
        peak_changes=peak_changes,
        peak_cpu=peak_cpu,
        workers=workers,
        partitions=partitions,
        pending=pending,
        rebuild_seconds=pending / partitions / m.rebuild,
        worker_memory=m.base_memory + _STATE_CACHE,
        store_bytes=store,
        broker_in=peak_messages * written * copies,
        broker_out=peak_messages * read,
        broker_disk=kept * copies,
        cost_month=cost_month,
        cost_million=cost_month / (assumed.messages * 30) * 1e6,
    )


def message_cpu(assumed: Assumed, measured: Measured) -> float:
    """CPU seconds of a message's whole life, its entity's changes among it."""
    m = measured
    each = assumed.changes * m.change + assumed.moves * m.arm + m.send + m.provider_call
    return each / _PER * assumed.cpu


def _power_of_two(number: float) -> int:
    return 1 << max(0, math.ceil(math.log2(number)))


def _size(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < KB:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
        number /= KB
    return f"{number:.1f} TB"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


ROWS: tuple[tuple[str, Callable[[Plan], str]], ...] = (
    ("messages a second at the peak", lambda p: _number(p.peak_messages)),
    ("changes a second at the peak", lambda p: _number(p.peak_changes)),
    ("cores in use at the peak", lambda p: f"{p.peak_cpu:.2f}"),
    ("workers (one core each)", lambda p: str(p.workers)),
    ("partitions", lambda p: str(p.partitions)),
    ("memory of a worker", lambda p: _size(p.worker_memory)),
    ("messages pending", lambda p: _number(p.pending)),
    ("RocksDB, all workers", lambda p: _size(p.store_bytes)),
    ("a partition rebuilt in", lambda p: f"{p.rebuild_seconds:.1f} s"),
    ("written to brokers at the peak, copies included", lambda p: f"{_size(p.broker_in)}/s"),
    ("read from brokers at the peak", lambda p: f"{_size(p.broker_out)}/s"),
    ("brokers' disk, copies included", lambda p: _size(p.broker_disk)),
    ("dollars a month", lambda p: f"{p.cost_month:,.0f}"),
    ("dollars for a million messages", lambda p: f"{p.cost_million:,.2f}"),
)


@click.command(epilog=EXAMPLES)
@click.argument("messages", type=click.FloatRange(min=1), nargs=-1)
@click.option("--peak", type=float, default=0.15, help="Share of a day that falls into the busiest hour.")
@click.option("--changes", type=float, default=4.0, help="Changes of entities for each message.")
@click.option("--days-ahead", type=float, default=7.0, help="For how long a message waits, on average.")
@click.option("--replication", type=click.IntRange(min=1), default=3, help="Copies of each partition.")
@click.option("--cpu", type=float, default=1.0, help="CPU time of your cores, relative to those measured.")
@click.option("--core-hour", type=float, default=0.04, help="Dollars for a core for an hour.")
@click.option("--disk-gb-month", type=float, default=0.10, help="Dollars for a GB of disk for a month.")
@click.option("--traffic-gb", type=float, default=0.02, help="Dollars for a GB between zones.")
@json_option
def capacity(messages: tuple[float, ...], as_json: bool, **assumptions: float) -> None:
    """Say what so many MESSAGES a day need: workers, partitions, memory, disk, traffic and money.

    From what was measured on one machine (docs/performance.md), with margins; the provider's own price is
    not in it. A first idea to start from, and no promise: measure your own.
    """
    try:
        base = Assumed(messages=1.0)
        plans = [
            plan(replace(base, messages=count, **assumptions))  # type: ignore[arg-type]  # click made an int of replication
            for count in messages or (1_000.0, 100_000.0, 10_000_000.0)
        ]
    except ValueError as error:
        raise click.UsageError(f"--{str(error).replace('_', '-')}") from None
    if as_json:
        for one in plans:
            print_json(asdict(one))
        return
    print_table(
        ["messages a day", *(f"{one.messages:,.0f}" for one in plans)],
        [[name, *(show(one) for one in plans)] for name, show in ROWS],
    )
