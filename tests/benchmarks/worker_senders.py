"""Senders with all that is around them: ``python -m tests.benchmarks.worker_senders``.

The shipped ``carillon worker`` with its real senders and the same local servers that ``senders_bench`` has,
so that what a message costs includes looking at it, rendering, the intent and the outcome in a changelog, and
the delivery log. Timers are armed first and come due in one instant; the worker has sent some before, on both
channels, so that nothing of its start is in the figures. Beside it, in the same round, the client library's
plain use in a process that does nothing else. ``sms_in_flight`` and ``smtp_connections`` are those of the
plain use.

examples:
  python -m tests.benchmarks.worker_senders --messages 1000 --rounds 1
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from deploy.local_kafka import LocalKafka
from tests.benchmarks import ending, senders_bench
from tests.benchmarks.measure import BenchError, Spread, Table, load_now, machine, save, say
from tests.benchmarks.senders_bench import AT_ONCE, CONNECTIONS, LATENCY, Row
from tests.benchmarks.systems import Carillon
from tests.benchmarks.world import World, now_ms, sent_at

WARM_UP = 300
"""Messages on each channel before anything is measured."""

Rows = Callable[[int], AbstractAsyncContextManager[list[Row]]]


@dataclass(slots=True)
class Paces:
    """Of several rounds: messages a second by the clock, microseconds of CPU for one."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def add(self, rate: float, cost: float) -> None:
        self.rates.append(rate)
        self.costs.append(cost)
        self.loads.append(load_now())


def through(world: World, rule_id: str, count: int) -> tuple[float, float]:
    """``count`` messages of a rule by the worker, all due in one instant; (messages a second, from the first
    outcome to the last by the worker's clock; microseconds of CPU for one, from that instant on)."""
    worker = world.worker
    orders, mark = world.fresh(count), world.mark()
    due = now_ms() + 5_000 + 4 * count
    world.send(world.commands.remind(n, due, rule_id) for n in orders)
    world.settled(count)
    if now_ms() > due:
        raise BenchError("they were due before all of them were armed: this machine is too busy")
    time.sleep(max(0, due - now_ms()) / 1000)
    used = worker.cpu()
    world.settled(0)
    used = worker.cpu() - used
    went = sent_at(world.log(mark), dict.fromkeys(orders, due)).values()
    return 1000 * (count - 1) / max(1, max(went) - min(went)), used / count * 1e6


async def plain(rows: Rows, port: int, count: int) -> tuple[float, float]:
    async with rows(port) as found:
        await senders_bench.measure(found[:1], count, 1)
        return found[0].rates[0], found[0].costs[0]


async def measure(messages: int, rounds: int, partitions: int) -> Table:
    found = {name: Paces() for name in ("SMS, plain", "SMS, worker", "e-mail, plain", "e-mail, worker")}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory(prefix="carillon-bench-") as name:
        folder = Path(name)
        async with senders_bench.serve("sms", folder) as sms, senders_bench.mail_server(folder) as mail:
            settings = {"sms_api": f"http://127.0.0.1:{sms}", "smtp_host": "127.0.0.1"}
            settings |= {"smtp_port": str(mail), "smtp_tls": "none", "smtp_connections": str(CONNECTIONS)}
            worker = Carillon(settings=settings | {"instance_id": "bench-1"}, shipped=True)
            world = World(kafka.bootstrap, folder, partitions, AT_ONCE, worker)
            try:
                await asyncio.to_thread(world.set_up)
                for rule_id in ("rem", "mail"):
                    await asyncio.to_thread(through, world, rule_id, WARM_UP)
                for turn in range(rounds):
                    say(f"round {turn + 1} of {rounds}: SMS")
                    found["SMS, plain"].add(*await plain(senders_bench.sms_rows, sms, messages))
                    found["SMS, worker"].add(*await asyncio.to_thread(through, world, "rem", messages))
                    say(f"round {turn + 1} of {rounds}: e-mail")
                    found["e-mail, plain"].add(*await plain(senders_bench.email_rows, mail, messages))
                    found["e-mail, worker"].add(*await asyncio.to_thread(through, world, "mail", messages))
            finally:
                worker.end()
    return table(found, messages)


def table(found: dict[str, Paces], messages: int) -> Table:
    made = Table(
        "senders-worker",
        "Senders, rendering, changelog and delivery log included",
        ("", "messages/s", "us of CPU each", "of the plain use, by wall", "by CPU", "load"),
    )
    labels = {
        "SMS, plain": "SMS: twilio client, plain use",
        "SMS, worker": "SMS: the whole worker",
        "e-mail, plain": "e-mail: aiosmtplib, bytes made before",
        "e-mail, worker": "e-mail: the whole worker",
    }
    for name, own in found.items():
        its = found[f"{name.partition(',')[0]}, plain"]
        by_wall = Spread.of(a / b for a, b in zip(own.rates, its.rates, strict=True))
        by_cpu = Spread.of(b / a for a, b in zip(own.costs, its.costs, strict=True))
        rates, costs, busy = Spread.of(own.rates), Spread.of(own.costs), str(Spread.of(own.loads))
        made.rows.append((labels[name], str(rates), str(costs), str(by_wall), str(by_cpu), busy))
        made.values[f"{name} cpu"] = costs.middle
        made.values[f"{name} wall ratio"] = by_wall.middle
    made.notes = [
        f"{messages:,} messages in each round; SMS: {AT_ONCE} at once, {LATENCY * 1000:.0f} ms until an "
        f"answer; e-mail: {CONNECTIONS} connections",
    ]
    return made


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.worker_senders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    options = parser.parse_args(given)
    made = uvloop.run(measure(options.messages, options.rounds, options.partitions))
    save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
