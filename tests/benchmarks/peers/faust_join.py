"""The order join as Faust's documentation shows it: agents, tables (in memory, with changelogs), JSON. A
program of its own: ``BENCH_BROKER``, ``BENCH_PREFIX`` and ``BENCH_FOLDER`` (with rules.csv) say where."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import faust

PREFIX, FOLDER = os.environ["BENCH_PREFIX"], Path(os.environ["BENCH_FOLDER"])
PARTITIONS = int(os.environ.get("BENCH_PARTITIONS", "4"))

rules = {
    (company, status): rule
    for company, status, rule in (line.split(",") for line in (FOLDER / "rules.csv").read_text().split())
}
app = faust.App(
    f"{PREFIX}join",
    broker=f"kafka://{os.environ['BENCH_BROKER']}",
    topic_allow_declare=True,
    topic_disable_leader=True,
    topic_partitions=PARTITIONS,
    web_enabled=False,
    store="memory://",
    datadir=str(FOLDER / "faust"),
    consumer_auto_offset_reset="earliest",
)
orders = app.topic(f"{PREFIX}orders", key_serializer="raw", value_serializer="json")
timers = app.topic(f"{PREFIX}timers", key_serializer="raw", value_serializer="json")
consents = app.topic(f"{PREFIX}customer-consents", key_serializer="raw", value_serializer="json")
sends = app.topic(f"{PREFIX}sends", key_serializer="raw", value_serializer="json")
entities = app.Table(f"{PREFIX}entities", partitions=PARTITIONS)
customers = app.Table(f"{PREFIX}customers", partitions=PARTITIONS)


async def match(stream: Any) -> None:
    async for key, order in stream.items():
        name = key.decode()
        known = entities.get(name)
        if known is not None and known["version"] >= order["version"]:
            continue
        before = order.get("before") or (known["after"] if known is not None else None)
        entities[name] = order
        after = order["after"]
        rule = rules.get((order["company"], after["status_id"]))
        if rule is None or before is None or before["status_id"] == after["status_id"]:
            continue
        timer = {
            "company": order["company"],
            "customer_id": after["customer_id"],
            "entity_id": order["entity_id"],
            "rule_id": rule,
            "event_id": order["event_id"],
            "change": order,
        }
        await timers.send(key=f"{order['company']}/{after['customer_id']}".encode(), value=timer)


async def keep(stream: Any) -> None:
    async for key, customer in stream.items():
        customers[key.decode()] = customer


async def join(stream: Any) -> None:
    async for key, timer in stream.items():
        customer = customers.get(key.decode())
        if customer is not None and customer.get("sms_consent"):
            names = ("company", "customer_id", "entity_id", "rule_id", "event_id")
            send = {name: timer[name] for name in names} | {"phone": customer["phone"]}
            await sends.send(key=key, value=send)


app.agent(orders, name="match")(match)
app.agent(consents, name="keep")(keep)
app.agent(timers, name="join")(join)

if __name__ == "__main__":
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    sys.exit(worker.execute_from_commandline())
