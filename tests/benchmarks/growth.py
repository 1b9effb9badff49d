"""Does the cost of a change stay the same as things grow? ``python -m tests.benchmarks.growth``.

The shipped worker of the order join (``tests.benchmarks.order_join``: same workload, same provider that
answers at once), with more rules, companies and workers. As many of the changes hit with all of them, and
every company has a template of its own. The workers have seen twice as many changes before, and are not
started anew. CPU seconds for 100,000 changes, of all workers.

examples:
  python -m tests.benchmarks.growth --changes 20000 --rules 100,10000 --companies 100 --workers 1
  python -m tests.benchmarks.growth                                                    the whole
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local_kafka import LocalKafka
from tests.benchmarks import ending
from tests.benchmarks.load import Load
from tests.benchmarks.measure import MIB, Spread, Table, machine, save, say
from tests.benchmarks.order_join import Bench, Plan, Result


@dataclass(frozen=True, slots=True)
class Step:
    rules: int
    companies: int
    workers: int


def steps(rules: Sequence[int], companies: Sequence[int], workers: Sequence[int]) -> list[Step]:
    """One thing grows at a time; the first of each list is what the others have meanwhile. A company has a
    rule at least."""
    base = Step(rules[0], companies[0], workers[0])
    found = [base]
    found += [replace(base, rules=max(number, base.companies)) for number in rules[1:]]
    found += [replace(base, companies=number, rules=max(base.rules, number)) for number in companies[1:]]
    found += [replace(base, workers=number) for number in workers[1:]]
    return list(dict.fromkeys(found))


def measure(wanted: Sequence[Step], changes: int, customers: int, runs: int) -> Iterator[Table]:
    """Gives the table after each run."""
    results: dict[Step, list[Result]] = {step: [] for step in wanted}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory(prefix="carillon-bench-") as folder:
        for turn in range(runs):
            for place, step in enumerate(wanted):
                say(f"--- growth, round {turn + 1} of {runs}: {step}")
                load = Load(changes, rules=step.rules, companies=step.companies, customers=customers)
                # Each company has had some messages before: what is made once is not what one of them costs.
                plan = Plan(load, 2 * changes, 4, 1, 1_000, workers=step.workers, steady=True)
                bench = Bench(kafka.bootstrap, Path(folder) / f"{turn}-{place}", plan)
                results[step].append(bench.run("carillon", changes))
                yield table({one: found for one, found in results.items() if found}, changes)


def table(results: dict[Step, list[Result]], changes: int) -> Table:
    made = Table(
        "growth",
        "Growth",
        (
            "rules",
            "companies",
            "workers",
            "CPU s per 100,000 changes",
            "of the first",
            "RSS MB of all",
            "load",
        ),
    )
    first = 0.0
    for step, found in results.items():
        cost = Spread.of(one.cost for one in found)
        first = first or cost.middle
        memory = Spread.of(one.memory / MIB for one in found)
        names = (f"{step.rules:,}", f"{step.companies:,}", str(step.workers))
        busy = str(Spread.of(one.load for one in found))
        made.rows.append((*names, str(cost), f"{cost.middle / first:.2f}", str(memory), busy))
        made.values[f"{step.rules} rules {step.companies} companies {step.workers} workers"] = cost.middle
    made.notes = [
        f"{changes:,} changes, a quarter of which hit, after {2 * changes:,} to warm up on; timers, sends "
        "and delivery log included"
    ]
    return made


def numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--rules", type=numbers, default=[1_000, 100, 10_000, 100_000])
    parser.add_argument("--companies", type=numbers, default=[100, 1, 1_000, 10_000])
    parser.add_argument("--workers", type=numbers, default=[1, 2, 4])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    options = parser.parse_args(given)
    wanted = steps(options.rules, options.companies, options.workers)
    for made in measure(wanted, options.changes, options.customers, options.runs):
        save(options.out, [made], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
