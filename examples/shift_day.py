"""Re-dates the example day to now, so that its changes are not too old to tell anybody about.

    python examples/shift_day.py OUT [--to 2026-07-01T12:00Z]

Writes the files of examples/day into the folder OUT. All changes move by the same span, so that the last
one occurs at ``--to`` (now). Scheduled times move by whole days, rounded up: 13:00 stays 13:00 (an hour may
be off where clocks have changed in between). Ids and versions stay as they are, so playing the day a second
time on the same broker changes nothing.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DAY = 86_400_000
SOURCE = Path(__file__).with_name("day")


def shifted(lines: list[str], span: int) -> list[str]:
    """``KEY<TAB>JSON`` lines with their times moved by ``span`` milliseconds."""
    days = -(-span // DAY) * DAY
    moved = []
    for line in lines:
        key, value = line.split("\t", 1)
        record: dict[str, Any] = json.loads(value)
        if "occurred_at" in record:
            record["occurred_at"] += span
        for facts in (record.get("before"), record.get("after")):
            if facts and facts.get("scheduled_at") is not None:
                facts["scheduled_at"] += days
        moved.append(f"{key}\t{json.dumps(record, ensure_ascii=False)}")
    return moved


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the re-dated files; made if need be")
    parser.add_argument("--to", type=datetime.fromisoformat, help="when the last change occurs (ISO 8601)")
    options = parser.parse_args(arguments)
    to = options.to or datetime.now(UTC)
    if to.tzinfo is None:
        parser.error("--to needs an offset: 2026-07-01T12:00Z")
    files = {path.name: path.read_text("utf-8").splitlines() for path in sorted(SOURCE.glob("*.jsonl"))}
    records = [json.loads(line.split("\t", 1)[1]) for lines in files.values() for line in lines]
    last = max(record["occurred_at"] for record in records if "occurred_at" in record)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        text = "\n".join(shifted(lines, int(to.timestamp() * 1000) - last)) + "\n"
        (options.out / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
