"""The example day, re-dated: nothing is too old, nothing lies in the future, the order stays."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.shift_day import DAY, SOURCE, main

NOW = datetime.fromisoformat("2026-09-03T20:30:00+00:00")


def records(folder: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        pairs = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines()]
        found[path.name] = [(key, json.loads(value)) for key, value in pairs]
    return found


def test_the_day_ends_now(tmp_path: Path) -> None:
    main([str(tmp_path / "day"), "--to", NOW.isoformat()])
    before, after = records(SOURCE), records(tmp_path / "day")
    assert list(after) == ["appointments.jsonl", "customers.jsonl", "leads.jsonl", "orders.jsonl"]
    assert after["customers.jsonl"] == before["customers.jsonl"]
    now = int(NOW.timestamp() * 1000)
    moments = [r["occurred_at"] for rows in after.values() for _, r in rows if "occurred_at" in r]
    assert max(moments) == now
    assert min(moments) > now - DAY
    for name in ("orders.jsonl", "appointments.jsonl"):
        for (key, old), (new_key, new) in zip(before[name], after[name], strict=True):
            assert new_key == key
            assert (new["event_id"], new["version"]) == (old["event_id"], old["version"])
            then = old["after"].get("scheduled_at")
            if then is not None:
                assert (new["after"]["scheduled_at"] - then) % DAY == 0
                assert (new["after"]["scheduled_at"] > new["occurred_at"]) == (then > old["occurred_at"])
