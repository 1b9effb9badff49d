"""Puts the tables of the last runs into docs/performance.md: ``python -m tests.benchmarks.report``.

Everything between the two marks there is replaced; what a person has written around them stays. It also says
what ``carillon capacity`` should reckon with (``Measured`` in console/capacity.py) after these runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import recovery
from tests.benchmarks.measure import Table

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ORDER = (
    "order-join-json",
    "order-join-avro",
    "timers-store",
    "lateness-store",
    "timers-worker",
    "lateness",
    "end-to-end",
    "recovery",
    "growth",
    "senders",
    "senders-worker",
    "durations",
)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.report", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("bench-out"), help="where the runs left their tables"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(given)
    found = [
        json.loads(file.read_text()) for name in ORDER if (file := options.out / f"{name}.json").exists()
    ]
    if not found:
        parser.error(f"there are no tables in {options.out}: run make bench first")
    options.page.write_text(put(options.page.read_text(), found))
    for name, value in capacity({one["table"]["name"]: one["table"]["values"] for one in found}).items():
        sys.stdout.write(f"{name}: float = {value:,.3g}\n")


def capacity(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The fields of ``console.capacity.Measured`` that these tables have measured."""
    join, timers = values.get("order-join-json", {}), values.get("timers-worker", {})
    found: dict[str, float | None] = {
        "change": join.get("carillon-entities cpu"),
        "arm": _hundred_thousand(timers.get("armed")),
        "send": _hundred_thousand(timers.get("sent")),
        "provider_call": values.get("senders", {}).get("SMS ours", 0.0) / 10,
        "rebuild": values.get("recovery", {}).get(recovery.REBUILT),
        "timer_disk": timers.get("disk"),
        "memory_disk": join.get("memory disk"),
        "entity_disk": join.get("entity disk"),
        "change_wire": join.get("bytes in orders"),
        "state_wire": join.get("bytes in orders-state"),
    }
    if "bytes in timers" in join:
        topics = ("timers", "timers-changelog", "delivery-log")
        written = sum(join[f"bytes in {topic}"] for topic in topics)
        found["message_wire"] = written / join["hits for each change"]
    return {name: value for name, value in found.items() if value}


def _hundred_thousand(rate: float | None) -> float | None:
    """CPU seconds for so many."""
    return 100_000 / rate if rate else None


def put(page: str, results: Sequence[dict[str, Any]]) -> str:
    """The page with these results between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    parts = []
    for one in results:
        facts = one["facts"]
        versions = ", ".join(
            f"{name} {facts[name]}" for name in facts if name not in ("date", "machine", "load at the end")
        )
        where = f"{facts['date']} UTC; {facts['machine']}, at the end {facts['load at the end']}; {versions}."
        parts.append(Table(**one["table"]).markdown() + f"\n{where}\n")
    return f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}"


if __name__ == "__main__":
    main()
