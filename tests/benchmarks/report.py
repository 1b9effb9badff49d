"""Puts the tables of the last runs into docs/performance.md: ``python -m tests.benchmarks.report``.

Everything between the two marks there is replaced; what a person has written around them stays.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Table

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ORDER = (
    "order-join-json",
    "order-join-avro",
    "timers-store",
    "timers-worker",
    "lateness",
    "end-to-end",
    "recovery",
    "growth",
    "senders",
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
