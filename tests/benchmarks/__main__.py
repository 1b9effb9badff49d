"""All benchmarks, one after the other: ``python -m tests.benchmarks --size small|full``, or ``make bench``.

``small`` is a look that proves the harness and compares roughly, each part in some two minutes. ``full``
is what docs/performance.md is about: 500,000 changes, ten million timers; some hours, 30 GB of disk, a JDK of
Java 17, Maven, redis-server and PostgreSQL, and a package index for Quix Streams and the peers' clients.

examples:
  python -m tests.benchmarks --size small --only order_join,timers
  make bench SIZE=full
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import (
    growth,
    handover,
    order_join,
    report,
    senders_bench,
    timers,
    worker_senders,
    worker_timers,
)
from tests.benchmarks.measure import say
from tests.benchmarks.systems import BenchError

SIZES = {
    "small": {
        "order_join": "--changes 20000 --slow-changes 5000 --customers 10000 --form json --runs 1",
        "timers": "--pending 0,100000 --count 20000",
        "handover": "--pending 50000 --steady 10000 --burst 10000",
        "worker_timers": "--pending 10000 --count 5000 --burst 5000 --runs 1",
        "growth": "--changes 10000 --rules 1000,10000 --companies 100,1000 --workers 1,2 --runs 1",
        "senders": "--messages 1000 --rounds 1",
        "worker_senders": "--messages 1000 --rounds 1",
    },
    "full": {
        "order_join": "",
        "timers": "--pending 0,1000000,5000000,10000000",
        "handover": "--pending 10000000",
        "worker_timers": "--pending 10000000 --count 200000 --burst 100000",
        "growth": "",
        "senders": "--messages 5000",
        "worker_senders": "",
    },
}
PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "order_join": order_join.main,
    "timers": timers.main,
    "handover": handover.main,
    "worker_timers": worker_timers.main,
    "growth": growth.main,
    "senders": senders_bench.main,
    "worker_senders": worker_senders.main,
}


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--only", default=",".join(PROGRAMS), help="of " + ", ".join(PROGRAMS))
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--page", type=Path, default=report.PAGE, help="where the tables are put")
    options = parser.parse_args(given)
    names = options.only.split(",")
    if unknown := set(names) - set(PROGRAMS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    failed = 0
    for name in names:
        say(f"=== {name}")
        try:
            PROGRAMS[name]([*SIZES[options.size][name].split(), "--out", str(options.out)])
        except BenchError as error:  # the others are worth having
            sys.stderr.write(f"{name}: {error}\n")
            failed = 1
    report.main(["--out", str(options.out), "--page", str(options.page)])
    return failed


if __name__ == "__main__":
    sys.exit(main())
