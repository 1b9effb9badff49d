"""The order join, side by side: ``python -m tests.benchmarks.order_join``.

Every system reads the same changes of orders from a real Kafka on this machine, keeps each order's newest
state in a store with a changelog, matches the changes with the same rules, writes the hits to a topic of
timers keyed by customer, joins them there with the customers' consents, and lets out what may be sent. What
came out is read back after every run and must be exactly what the workload says, once each.

- ``carillon`` is the shipped worker (``carillon worker``), with a provider within the process that answers at
  once. It does more than the others: it arms a timer for each hit in a store of its own with a changelog of
  its own, looks again when the moment has come (which is at once), renders the text, writes an intent before
  and an outcome after the provider call, and a delivery log of three records. All changelogs and every
  acknowledgement are awaited. Its sends are the "sent" records of the delivery log.
- ``carillon-entities`` is the same worker without its sender agents, ``streams-match`` Kafka Streams without
  the consent join: both go from the changes to the timers topic and do the same.
- ``streams`` is Kafka Streams (tests/benchmarks/peers/OrderJoin.java): warmed up on orders of its own, then
  held (``KafkaStreams.pause``) while the measured orders are published.
- ``quix`` and ``faust`` are Quix Streams and stock Faust as their documentation shows them.

CPU is that of the system's process tree (not the broker's), for 100,000 changes. Ratios carry over to other
machines, absolute figures don't.

examples:
  python -m tests.benchmarks.order_join --changes 20000 --runs 1            a look, in some two minutes
  python -m tests.benchmarks.order_join --systems carillon,streams --form avro
  python -m tests.benchmarks.order_join --systems carillon --runs 1 --profile /tmp/profiles
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka.admin import AdminClient

from deploy.local_kafka import LocalKafka
from streams.kafka.offsets import SILENT
from tests.benchmarks import ending
from tests.benchmarks.load import Feeder, Load, Records
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
from tests.benchmarks.systems import (
    DEADLINE,
    Carillon,
    KafkaStreams,
    Place,
    Quix,
    StockFaust,
    System,
)

SYSTEMS: dict[str, Callable[[], System]] = {
    "carillon": Carillon,
    "streams": KafkaStreams,
    "carillon-entities": lambda: Carillon(sends=False),
    "streams-match": lambda: KafkaStreams(sends=False),
    "quix": Quix,
    "faust": StockFaust,
}
AGAINST = {
    "carillon": "streams",
    "streams": "streams",
    "carillon-entities": "streams-match",
    "streams-match": "streams-match",
    "quix": "streams",
    "faust": "streams",
}
"""What each is compared with: the one that does the same."""
_SLOW = ("quix", "faust")
"""Read fewer changes, in fewer runs."""
_OWN = ("carillon", "carillon-entities")


@dataclass(frozen=True, slots=True)
class Result:
    """Of one run, over the measured changes."""

    changes: float
    cpu: float
    seconds: float
    memory: int
    written: dict[str, int]
    """Bytes in the broker's log by topic, compressed as they were sent, the warm-up's among them."""
    stored: dict[str, int]
    """Bytes of our stores on disk by changelog, when the worker has ended; the warm-up's among them."""
    load: float
    """Of the machine, at its end."""

    @property
    def cost(self) -> float:
        """CPU seconds for 100,000 changes."""
        return self.cpu / self.changes * 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What all runs have in common."""

    load: Load
    warm_up: int
    partitions: int
    threads: int
    in_flight: int
    profile: Path | None = None
    workers: int = 1
    own_warm_up: int | None = None
    """Of ours, which has no compiler to warm up; None: as many as the others."""

    steady: bool = False
    """The measured changes come while the system is at work, as the warm-up did: nothing is held back, or
    started anew."""

    def __post_init__(self) -> None:
        if self.workers > 1 and not self.steady:
            raise ValueError(
                "when the last of several workers is at work, the first may be done: steady=True"
            )

    def warm_up_of(self, key: str, changes: int) -> int:
        if key in _SLOW:
            return min(self.warm_up, changes)
        return self.warm_up if key not in _OWN or self.own_warm_up is None else self.own_warm_up


class Bench:
    """One broker, and runs of systems on it, each with topics of its own that are removed afterwards."""

    def __init__(self, bootstrap: str, folder: Path, plan: Plan, logs: Path | None = None) -> None:
        """``logs``: where the broker keeps what it holds."""
        self._bootstrap = bootstrap
        self._logs = logs
        self._folder = folder
        self._plan = plan
        self._feeder = Feeder(bootstrap)
        self._runs = 0
        self._records: dict[tuple[str, Load], Records] = {}

    def run(self, key: str, changes: int) -> Result:
        """Raises BenchError when the outputs are not what they must be."""
        plan = self._plan
        system = SYSTEMS[key]()
        system.version()
        self._runs += 1
        load = replace(plan.load, changes=changes)
        warm = replace(load, changes=plan.warm_up_of(key, changes), first=load.orders)
        prefix = f"{self._folder.name}.{key}.{self._runs}."
        place = Place(
            self._bootstrap,
            prefix,
            self._folder / f"{key}-{self._runs}",
            plan.partitions,
            load.form,
            plan.threads,
            plan.in_flight,
            plan.workers,
        )
        asyncio.run(system.set_up(place, load))
        try:
            return self._measured(system, prefix, load, warm)
        finally:
            system.end()
            self._remove(prefix)
            shutil.rmtree(place.folder, ignore_errors=True)

    def _measured(self, system: System, prefix: str, load: Load, warm: Load) -> Result:
        say(f"{system.name}: publishing customers, rules and {warm.changes:,} changes to warm up on")
        if isinstance(system, Carillon):
            self._feeder.references(prefix, load)
        self._feeder.send(f"{prefix}customer-consents", self._made("consents", load, self._feeder.consents))
        system.start()
        self._until(system, system.knows_customers)
        self._feeder.send(f"{prefix}orders", self._made("orders", warm, self._feeder.orders))
        early, early_sends = warm.outputs()
        self._until(system, lambda: system.settled(len(early), len(early_sends)))
        if not self._plan.steady:
            system.hold()
        say(f"{system.name}: publishing {load.changes:,} changes")
        orders = self._made("orders", load, self._feeder.orders)
        hits, sends = load.outputs()
        before = system.count("timers")
        if not self._plan.steady:
            self._feeder.send(f"{prefix}orders", orders)
            system.go()
        # Python peers are met at their first outputs; the share of the work that they stand for is left out.
        first = (system.count("timers") - before) / len(hits) if not isinstance(system, Carillon) else 0.0
        began, used = time.monotonic(), system.cpu()
        say(f"{system.name}: measuring (process {system.pid})")
        profiler = self._profile(system)
        if self._plan.steady:
            self._feeder.send(f"{prefix}orders", orders)
        self._until(system, lambda: system.settled(len(early | hits), len(early_sends | sends)))
        seconds, used = time.monotonic() - began, system.cpu() - used
        memory = peak_memory(system.pid)
        if profiler is not None:
            profiler.wait(60)
        system.end()
        self._compare(system, early | hits, early_sends | sends)
        written, stored = self._written(prefix), _stored(system.place.folder / "data", prefix)
        result = Result(load.changes * (1 - first), used, seconds, memory, written, stored, load_now())
        say(f"{system.name}: {number(result.cost)} CPU s per 100,000, {memory / MIB:.0f} MB, {seconds:.0f} s")
        return result

    def _made(self, what: str, load: Load, make: Callable[[Load], Records]) -> Records:
        """Made once for all runs."""
        if (what, load) not in self._records:
            self._records[what, load] = make(load)
        return self._records[what, load]

    def _until(self, system: System, true: Callable[[], bool]) -> None:
        """Gives up when there is no progress any more."""
        last, moved = -1.0, time.monotonic()
        while not true():
            system.check()
            now, progress = time.monotonic(), system.progress()
            if progress != last:
                last, moved = progress, now
            if now - moved > DEADLINE:
                raise BenchError(f"{system.name} has stood still for {DEADLINE:.0f} s at {progress:.0f}")
            time.sleep(1.0)  # being asked costs the system a little

    def _compare(self, system: System, hits: set[str], sends: set[str]) -> None:
        """Every output once, and nothing else."""
        found_hits, found_sends = system.outputs()
        wanted = {"timers": (found_hits, hits)} | ({"sends": (found_sends, sends)} if system.sends else {})
        for what, (found, right) in wanted.items():
            missing, strange = right - set(found), set(found) - right
            if missing or strange:
                some = sorted(missing)[:3] + sorted(strange)[:3]
                raise BenchError(
                    f"{system.name}, {what}: {len(missing)} missing, {len(strange)} strange, as {some}. "
                    f"{system.became()}"
                )
            if len(found) != len(right):
                say(
                    f"{system.name}, {what}: {len(found) - len(right)} repeats, "
                    f"all of {len(right):,} are there"
                )

    def _written(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder in self._logs.glob(f"{prefix}*") if self._logs is not None else ():
            topic = folder.name.removeprefix(prefix).rpartition("-")[0]
            found[topic] = found.get(topic, 0) + sum(log.stat().st_size for log in folder.glob("*.log"))
        return {topic: size for topic, size in found.items() if size}

    def _profile(self, system: System) -> subprocess.Popen[bytes] | None:
        """py-spy beside it, if asked for: 20 seconds of stacks that hold the interpreter's lock, as text."""
        folder, spy = self._plan.profile, shutil.which("py-spy")
        if folder is None:
            return None
        if spy is None:
            raise BenchError("--profile needs py-spy in PATH: pip install py-spy")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{system.name.replace(' ', '-').replace(',', '')}-{system.place.form}.txt"
        command = [spy, "record", "--gil", "-p", str(system.pid), "-d", "20", "-r", "200"]
        command += ["-f", "raw", "-o", str(target)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _remove(self, prefix: str) -> None:
        admin = AdminClient({"bootstrap.servers": self._bootstrap}, logger=SILENT)
        names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        for answer in admin.delete_topics(names).values() if names else ():
            answer.result(30)


def _stored(data: Path, prefix: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder in (*data.glob("*-[0-9]*"), *data.glob("worker-*/*-[0-9]*")):
        name = folder.name.removeprefix(prefix).rpartition("-")[0]
        found[name] = found.get(name, 0) + folder_size(folder)
    return found


def compare(
    systems: Sequence[str], plan: Plan, runs: int, slow_runs: int, slow_changes: int
) -> Iterator[Table]:
    """Rounds of all systems, one after the other, so that a busy hour of the machine falls on all of them.
    Gives the table after each round."""
    form = plan.load.form
    systems = [key for key in systems if form in SYSTEMS[key]().forms]
    versions = {key: SYSTEMS[key]().version() for key in systems}
    found: dict[str, list[Result]] = {key: [] for key in systems}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
        bench = Bench(kafka.bootstrap, Path(folder), plan, kafka.nodes[0].folder / "data")
        for turn in range(runs):
            for key in systems:
                slow = key in _SLOW
                if slow and turn >= slow_runs:
                    continue
                say(f"--- {form}, round {turn + 1} of {slow_runs if slow else runs}: {key}")
                changes = min(slow_changes, plan.load.changes) if slow else plan.load.changes
                found[key].append(bench.run(key, changes))
            yield table(
                form, plan, {key: runs for key, runs in found.items() if runs}, versions, slow_changes
            )


def table(
    form: str, plan: Plan, found: dict[str, list[Result]], versions: dict[str, str], slow_changes: int
) -> Table:
    load = plan.load
    made = Table(
        f"order-join-{form}",
        f"Order join, {form} on both sides",
        ("", "CPU s per 100,000 changes", "of Kafka Streams", "changes/s", "RSS MB", "load", "version"),
    )
    costs = {key: Spread.of(one.cost for one in results) for key, results in found.items()}
    for key, results in found.items():
        other = costs.get(AGAINST[key])
        ratio = f"{costs[key].middle / other.middle:.2f}" if other is not None else ""
        rate = Spread.of(one.changes / one.seconds for one in results)
        memory = Spread.of(one.memory / MIB for one in results)
        busy = str(Spread.of(one.load for one in results))
        made.rows.append((key, str(costs[key]), ratio, str(rate), str(memory), busy, versions[key]))
        made.values[f"{key} cpu"] = costs[key].middle
        made.values[f"{key} memory"] = memory.middle
    ours = found.get("carillon")
    if ours:
        warm_up = plan.warm_up_of("carillon", load.changes)
        changes = load.changes + warm_up
        for topic, size in ours[-1].written.items():
            made.values[f"bytes in {topic}"] = size / changes
        each = ", ".join(f"{topic} {number(size)}" for topic, size in topic_bytes(made))
        made.notes.append(f"carillon: bytes in the broker's log for each change, compressed: {each}")
        warm = replace(load, changes=warm_up, first=load.orders)
        hits = len(load.outputs()[0] | warm.outputs()[0])
        made.values["hits for each change"] = hits / changes
        entity = ours[-1].stored.get("orders-state", 0) / (changes / load.each)
        memory_ = ours[-1].stored.get("timers-changelog", 0) / hits
        made.values |= {"entity disk": entity, "memory disk": memory_}
        made.notes.append(
            f"carillon: bytes on disk: {number(entity)} for each order's newest state, {number(memory_)} of "
            "each message that went (its facts, its memory, and its share of the customers)"
        )
    runs = ", ".join(f"{key} {len(results)}" for key, results in found.items())
    if slow := [key for key in found if key in _SLOW]:
        made.notes.append(f"{', '.join(slow)}: {min(slow_changes, load.changes):,} changes")
    ours_after = plan.warm_up_of("carillon", load.changes)
    made.notes += [
        f"{load.changes:,} changes of {load.orders:,} orders, {load.rules:,} rules of {load.companies:,} "
        f"companies, {load.customers:,} customers; {plan.partitions} partitions, {plan.threads} thread(s) "
        f"for Kafka Streams, which had {plan.warm_up:,} changes to warm up on, ours {ours_after:,}",
        f"median (least-greatest); runs: {runs}",
        "the outputs of every run were read back: what they must be, nothing else",
    ]
    return made


def topic_bytes(made: Table) -> list[tuple[str, float]]:
    """(topic, bytes) of those that grow with the changes."""
    steady = ("orders", "orders-state", "timers", "timers-changelog", "delivery-log")
    return [
        (topic, made.values[f"bytes in {topic}"]) for topic in steady if f"bytes in {topic}" in made.values
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="of " + ", ".join(SYSTEMS))
    parser.add_argument("--form", choices=("json", "avro", "both"), default="both")
    parser.add_argument("--changes", type=int, default=500_000)
    parser.add_argument(
        "--slow-changes", type=int, default=50_000, help="Quix Streams and stock Faust read only so many"
    )
    parser.add_argument("--slow-runs", type=int, default=3, help="theirs")
    parser.add_argument("--each", type=int, default=2, help="changes of one order, its creation among them")
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--companies", type=int, default=100)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument(
        "--warm-up", type=int, help="changes that every system has seen before (as many as are measured)"
    )
    parser.add_argument("--own-warm-up", type=int, help="for ours alone: it has no compiler to warm up")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of Kafka Streams")
    parser.add_argument("--in-flight", type=int, default=1_000, help="the worker's sms_in_flight")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--profile", type=Path, help="folder for py-spy's stacks of the Python systems")


def plan_of(options: argparse.Namespace, form: str) -> Plan:
    load = Load(
        changes=options.changes,
        each=options.each,
        rules=options.rules,
        companies=options.companies,
        customers=options.customers,
        form=form,
    )
    warm_up = options.warm_up if options.warm_up is not None else options.changes
    return Plan(
        load,
        warm_up,
        options.partitions,
        options.threads,
        options.in_flight,
        options.profile,
        own_warm_up=options.own_warm_up,
    )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.order_join",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments(parser)
    options = parser.parse_args(given)
    systems = options.systems.split(",")
    if unknown := set(systems) - set(SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    for form in ("json", "avro") if options.form == "both" else (options.form,):
        plan = plan_of(options, form)
        for made in compare(systems, plan, options.runs, options.slow_runs, options.slow_changes):
            save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
