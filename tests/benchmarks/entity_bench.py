"""The shipped entity agent beside a stock Faust agent: ``python tests/benchmarks/entity_bench.py``.

Both read the same JSON orders (some 300 bytes) from a real Kafka on this machine and match them with the
same 1,000 rules of 100 companies, a quarter with success; one process each, one after the other:

- ``stock``: a Faust agent as the documentation shows it: JSON decoded by Faust, matched by a plain dict, the
  hits sent by Faust's producer. No table, no state, nothing checked, acknowledgements not awaited.
- ``entity``: a worker without its sender agents. Contract checked, before and after compared, commands in
  Avro with every acknowledgement awaited, each entity's state in RocksDB and in its changelog.
- ``worker``: ``carillon worker`` as it is, whose sender agents arm the timers meanwhile.

CPU is the process's own, from /proc. Ratios carry over to other machines, absolute figures don't.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

COMPANIES, RULES_EACH, STATUSES = 100, 10, 40
"""An order changes to one of the statuses; the rules speak of the first ten: a quarter of the orders hit."""
PARTITIONS = 4
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=int, default=200_000)
    parser.add_argument("--stock-orders", type=int, default=40_000, help="the slow one reads only so many")
    parser.add_argument("--child", choices=("stock", "entity"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "stock":
        run_stock()
    elif options.child == "entity":
        run_entity()
    else:
        compare(options.orders, options.stock_orders)


# --- the processes under test


def run_stock() -> None:
    import faust  # noqa: PLC0415 - only this child needs it

    app = faust.App(
        "stock",
        broker=f"kafka://{os.environ['BENCH_BROKER']}",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        datadir=os.environ["BENCH_FOLDER"],
    )
    progress = Path(os.environ["BENCH_FOLDER"]) / "progress"
    rules = {(f"c{c}", f"s{r}"): f"r{r}" for c in range(COMPANIES) for r in range(RULES_EACH)}
    out = app.topic("stock.timers", value_serializer="json")
    seen = 0

    async def consume(stream: Any) -> None:
        nonlocal seen
        async for order in stream:
            after, before = order["after"], order["before"]
            rule = rules.get((order["company"], after["status_id"]))
            if rule is not None and before["status_id"] != after["status_id"]:
                key = f"{order['company']}/{after['customer_id']}"
                await out.send(key=key, value={"rule": rule, "order": order})
            seen += 1
            if seen % 500 == 0:
                progress.write_text(str(seen))

    app.agent(app.topic("stock.orders", value_serializer="json"), name="consume")(consume)
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


def run_entity() -> None:
    import uvloop  # noqa: PLC0415 - as the shipped command does

    import agents.worker  # noqa: PLC0415

    uvloop.install()
    nothing: Any = SimpleNamespace(register=lambda *_: None)
    module: Any = agents.worker
    module.timers, module.consents = nothing, nothing  # the sender agents are another benchmark's
    from streams.settings import from_process  # noqa: PLC0415

    agents.worker.run(from_process())


# --- the comparison


def compare(orders: int, stock_orders: int) -> None:
    from deploy.local_kafka import LocalKafka  # noqa: PLC0415 - the children don't need it

    rows = {}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fill(kafka.bootstrap, place / "fill", "stock.", stock_orders)
        rows["stock"] = measure_stock(kafka.bootstrap, place / "stock", stock_orders)
        for kind in ("entity", "worker"):
            fill(kafka.bootstrap, place / "fill", f"{kind}.", orders)
            rows[kind] = measure_worker(kind, kafka.bootstrap, place / kind, orders)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")  # noqa: T201
    print(f"{'':8}{'orders/s':>12}{'CPU s / 100k':>14}{'ratio':>8}{'CPU':>8}")  # noqa: T201
    speed, cost = rows["stock"]
    for kind, (rate, cpu) in rows.items():
        print(f"{kind:8}{rate:>12,.0f}{cpu:>14.2f}{rate / speed:>7.1f}x{cost / cpu:>7.1f}x")  # noqa: T201


def fill(bootstrap: str, folder: Path, prefix: str, orders: int) -> None:
    """Topics, rules and orders."""
    from schemas.records import Company, EntityKind, Status, StatusKind, Trigger, Unit  # noqa: PLC0415
    from streams.kafka.topics import create, topic_plan  # noqa: PLC0415
    from streams.settings import Settings  # noqa: PLC0415
    from tests.support.cluster import Cluster  # noqa: PLC0415
    from tests.support.shop import notification  # noqa: PLC0415

    plan = topic_plan(Settings(partitions=PARTITIONS, topic_prefix=prefix))
    asyncio.run(create(bootstrap, {}, plan))
    cluster = Cluster(bootstrap, folder, {"topic_prefix": prefix})
    names = [f"c{n}" for n in range(COMPANIES)]
    cluster.publish(
        Company(id=c, name=c, language="en", zone="Europe/Warsaw", sms_sender="Shop", version=1)
        for c in names
    )
    cluster.publish(
        Status(
            id=f"s{n}", company=c, entity=EntityKind.ORDER, names={"en": "x"}, kind=StatusKind.OPEN, version=1
        )
        for c in names
        for n in range(STATUSES)
    )
    # A day's delay: the timers are armed and none is due while we look.
    cluster.publish(
        notification(
            Trigger.STATUS_CHANGED_TO,
            id_=f"r{n}",
            company=c,
            status_id=f"s{n}",
            delay=1,
            delay_unit=Unit.DAYS,
        )
        for c in names
        for n in range(RULES_EACH)
    )
    now = time.time_ns() // 1_000_000

    def order(n: int) -> tuple[bytes, bytes]:
        company, id_ = f"c{n % COMPANIES}", f"order-{n}"
        facts = {"status_id": "before", "customer_id": f"cust-{n % 50_000}", "location_id": ""}
        change = {
            "company": company,
            "entity_id": id_,
            "operation": "update",
            "event_id": f"{id_}-2",
            "version": 2,
            "occurred_at": now,
            "before": facts,
            "after": facts | {"status_id": f"s{n // COMPANIES % STATUSES}"},
            "details": {"number": str(n), "title": "Chain, cassette and brakes"},
        }
        return f"{company}/{id_}".encode(), json.dumps(change, separators=(",", ":")).encode()

    print(f"{prefix}orders: {orders:,} orders of {len(order(orders // 2)[1])} bytes")  # noqa: T201
    cluster.send("orders", (order(n) for n in range(orders)))
    cluster.stop()


def measure_stock(bootstrap: str, folder: Path, orders: int) -> tuple[float, float]:
    folder.mkdir()
    environment = {"BENCH_BROKER": bootstrap, "BENCH_FOLDER": str(folder)}

    def seen() -> int:
        file = folder / "progress"
        return int(file.read_text() or 0) if file.exists() else 0

    with child([__file__, "--child", "stock"], environment) as pid:
        return watch(pid, seen, orders)


def measure_worker(kind: str, bootstrap: str, folder: Path, orders: int) -> tuple[float, float]:
    settings = {
        "broker": bootstrap,
        "group": kind,
        "topic_prefix": f"{kind}.",
        "data": str(folder),
        "web_port": "0",
    }
    settings |= {"partitions": str(PARTITIONS), "session_timeout": "6000", "log_level": "ERROR"}
    environment = {f"CARILLON_{name.upper()}": value for name, value in settings.items()}
    command = [__file__, "--child", "entity"] if kind == "entity" else ["-m", "console", "worker"]

    def seen() -> int:
        file = folder / "web.json"
        if not file.exists():
            return 0
        url = f"http://127.0.0.1:{json.loads(file.read_text())['port']}/status"
        with urllib.request.urlopen(url, timeout=30) as answer:
            status = json.load(answer)
        return sum(status["positions"].get(f"{kind}.orders", {}).values()) if status["ready"] else 0

    with child(command, environment) as pid:
        return watch(pid, seen, orders)


@contextmanager
def child(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, *command], env=os.environ | environment, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def watch(pid: int, seen: Callable[[], int], goal: int) -> tuple[float, float]:
    """(orders per second, CPU seconds per 100,000) from the first progress to ``goal``."""
    while (first := seen()) == 0:
        time.sleep(0.02)
    began, cpu = time.monotonic(), used(pid)
    while (last := seen()) < goal:
        time.sleep(0.1)
    done = last - first
    return done / (time.monotonic() - began), (used(pid) - cpu) / done * 100_000


def used(pid: int) -> float:
    """CPU seconds of a process, user and system (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
