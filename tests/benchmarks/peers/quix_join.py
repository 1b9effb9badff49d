"""The order join on Quix Streams: state in RocksDB with changelog topics, JSON. A program of its own, run by
a Python that has ``quixstreams``: ``BENCH_BROKER``, ``BENCH_PREFIX`` and ``BENCH_FOLDER`` (with rules.csv)
say where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from quixstreams import Application, State

PREFIX, FOLDER = os.environ["BENCH_PREFIX"], Path(os.environ["BENCH_FOLDER"])

rules = {
    (company, status): rule
    for company, status, rule in (line.split(",") for line in (FOLDER / "rules.csv").read_text().split())
}
app = Application(
    broker_address=os.environ["BENCH_BROKER"],
    consumer_group=f"{PREFIX}join",
    auto_offset_reset="earliest",
    auto_create_topics=True,
    state_dir=FOLDER / "quix",
    loglevel="WARNING",
    producer_extra_config={"compression.type": "lz4", "partitioner": "murmur2_random"},
)
orders = app.topic(f"{PREFIX}orders", key_deserializer="str", value_deserializer="json")
timers = app.topic(f"{PREFIX}timers", key_serializer="str", key_deserializer="str", value_deserializer="json")
consents = app.topic(f"{PREFIX}customer-consents", key_deserializer="str", value_deserializer="json")
sends = app.topic(f"{PREFIX}sends", key_serializer="str")


def match(order: dict[str, Any], state: State) -> dict[str, Any] | None:
    known = state.get("newest")
    if known is not None and known["version"] >= order["version"]:
        return None
    before = order.get("before") or (known["after"] if known is not None else None)
    state.set("newest", order)
    after = order["after"]
    rule = rules.get((order["company"], after["status_id"]))
    if rule is None or before is None or before["status_id"] == after["status_id"]:
        return None
    return {
        "company": order["company"],
        "customer_id": after["customer_id"],
        "entity_id": order["entity_id"],
        "rule_id": rule,
        "event_id": order["event_id"],
        "change": order,
    }


def hit(timer: dict[str, Any] | None) -> bool:
    return timer is not None


def agreed(timer: dict[str, Any]) -> bool:
    return bool(timer["agreed"])


def joined(timer: dict[str, Any], customer: dict[str, Any]) -> dict[str, Any]:
    names = ("company", "customer_id", "entity_id", "rule_id", "event_id")
    found = {name: timer[name] for name in names}
    return found | {"phone": customer["phone"], "agreed": customer.get("sms_consent", False)}


matched = app.dataframe(orders).apply(match, stateful=True).filter(hit)
matched.to_topic(timers, key=lambda timer: f"{timer['company']}/{timer['customer_id']}")
found = app.dataframe(timers).join_asof(
    app.dataframe(consents), how="inner", on_merge=joined, name="consents"
)
found.filter(agreed).to_topic(sends)

if __name__ == "__main__":
    print(json.dumps({"rules": len(rules)}), flush=True)  # noqa: T201
    app.run()
