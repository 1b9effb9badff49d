"""All benchmarks, one after the other: ``python -m tests.benchmarks``, or ``make bench``.

The size ``full`` measures the whole table of docs/performance.md in two hours on two quiet cores, three runs
of everything: 500,000 changes, ten million timers in our stores and through the whole worker, a million in
the peers'; it needs 20 GB of disk. ``small`` is a look that proves the harness. They need a JDK of Java 17,
Maven, redis-server and PostgreSQL, and a package index for Quix Streams and the peers' clients.

Each part leaves its tables in ``--out`` as soon as it has them; ``--only`` and ``--resume`` keep those of the
others. Ctrl-C or SIGTERM ends everything that was started. Every minute a line says what time is gone, and
about how much is left.

examples:
  make bench                                         the whole
  make bench SIZE=small ARGS="--only order_join,timers"
  make bench ARGS=--resume                           what the last one, which was stopped, did not finish
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import ending, report
from tests.benchmarks.measure import Table, machine, save, say

ROOT = Path(__file__).parents[2]
DURATIONS = "durations"
_LINE_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """A program of this package, and how it is called. ``minutes``: what it took on two quiet cores, or is
    thought to take."""

    module: str
    arguments: str
    minutes: float


SIZES: Mapping[str, Mapping[str, Part]] = {
    "small": {
        "order_join": Part(
            "order_join",
            "--changes 20000 --slow-changes 5000 --customers 10000 --form json --runs 1 --slow-runs 1",
            3,
        ),
        "timers": Part("timers", "--pending 0,100000 --count 20000 --runs 1", 2),
        "handover": Part("handover", "--pending 50000 --steady 10000 --burst 10000", 3),
        "worker_timers": Part(
            "worker_timers", "--pending 10000 --count 5000 --burst 5000 --runs 1 --seconds 30", 5
        ),
        "growth": Part(
            "growth", "--changes 10000 --rules 1000,10000 --companies 100,1000 --workers 1,2 --runs 1", 3
        ),
        "senders": Part("senders_bench", "--messages 1000 --rounds 1", 1),
        "worker_senders": Part("worker_senders", "--messages 1000 --rounds 1", 2),
    },
    "full": {
        "order_join": Part("order_join", "--own-warm-up 20000 --slow-changes 20000", 25),
        "timers": Part("timers", "--pending 0,1000000,5000000,10000000 --peers-up-to 1000000", 7),
        "handover": Part("handover", "--pending 10000000 --peers-up-to 1000000", 13),
        "worker_timers": Part("worker_timers", "--pending 10000000 --count 50000 --seconds 30", 64),
        "growth": Part("growth", "--changes 30000 --rules 1000,100,100000 --companies 100,1,10000", 10),
        "senders": Part("senders_bench", "--messages 2000", 2),
        "worker_senders": Part("worker_senders", "--messages 2000", 4),
    },
}


class Progress:
    """What is gone, and about what is left: the estimates, scaled by how far off they have been."""

    def __init__(self, parts: Mapping[str, Part], clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._began = clock()
        self._done: dict[str, float] = {}

    def done(self, name: str, seconds: float) -> None:
        self._done[name] = seconds

    def line(self, name: str, seconds: float) -> str:
        """Said of the part ``name``, at work for so many seconds."""
        expected = sum(self._parts[one].minutes for one in self._done) * 60
        scale = sum(self._done.values()) / expected if expected else 1.0
        left = sum(part.minutes for one, part in self._parts.items() if one not in self._done) * 60 * scale
        left -= min(seconds, self._parts[name].minutes * 60 * scale)
        place = list(self._parts).index(name) + 1
        gone = (self._clock() - self._began) / 60
        return f"{name} ({place} of {len(self._parts)}): {gone:.0f} min gone, about {left / 60:.0f} min left"


def measure(size: str, names: Sequence[str], out: Path, *, resume: bool) -> int:
    """1 when a part failed: the others are worth having."""
    took = durations(out)
    if resume:
        names = [name for name in names if took.get(name, ("", 0.0))[0] != size]
    parts = {name: SIZES[size][name] for name in names}
    progress = Progress(parts)
    failed = 0
    for name, part in parts.items():
        say(f"=== {progress.line(name, 0)}")
        began = time.monotonic()
        program = subprocess.Popen([sys.executable, *program_of(part), "--out", str(out)], cwd=ROOT)
        while (code := _waited(program)) is None:
            say(f"=== {progress.line(name, time.monotonic() - began)}")
        seconds = time.monotonic() - began
        progress.done(name, seconds)
        if code:
            say(f"=== {name} failed")
            failed = 1
            continue
        took[name] = (size, seconds)
        save(out, [table(took)], machine())
    return failed


def program_of(part: Part) -> list[str]:
    """Python's arguments."""
    return ["-m", f"tests.benchmarks.{part.module}", *part.arguments.split()]


def _waited(program: subprocess.Popen[bytes]) -> int | None:
    try:
        return program.wait(_LINE_EVERY)
    except subprocess.TimeoutExpired:
        return None


def durations(out: Path) -> dict[str, tuple[str, float]]:
    """(size, seconds) of the parts that have finished, from the runs before."""
    try:
        rows = json.loads((out / f"{DURATIONS}.json").read_text())["table"]["rows"]
    except OSError:
        return {}
    return {name: (size, float(minutes) * 60) for name, size, minutes in rows}


def table(took: Mapping[str, tuple[str, float]]) -> Table:
    made = Table(DURATIONS, "How long it took", ("part", "size", "minutes"))
    made.rows = [(name, size, f"{seconds / 60:.1f}") for name, (size, seconds) in took.items()]
    return made


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    everything = tuple(SIZES["full"])
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--only", default=",".join(everything), help="of " + ", ".join(everything))
    parser.add_argument("--resume", action="store_true", help="leave out what has finished in this size")
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), default=Path("bench-out").resolve())
    parser.add_argument("--page", type=Path, default=report.PAGE, help="where the tables are put")
    options = parser.parse_args(given)
    names = options.only.split(",")
    if unknown := set(names) - set(everything):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    failed = measure(options.size, names, options.out, resume=options.resume)
    if any((options.out / f"{name}.json").exists() for name in report.ORDER):
        report.main(["--out", str(options.out), "--page", str(options.page)])
    return failed


if __name__ == "__main__":
    sys.exit(ending.run(main))
