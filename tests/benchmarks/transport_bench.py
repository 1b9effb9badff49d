"""A stock Faust agent against the batch transport: ``python tests/benchmarks/transport_bench.py``.

Both read the same records from the embedded broker and do nothing with them, one worker process each, one
after the other. Only the ratio carries over to another machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOPIC = "bench"
PARTITIONS = 4


def work(kind: str, bootstrap: str, total: int) -> None:
    """In the worker: reads ``total`` records, prints one JSON line, ends."""
    import asyncio  # noqa: PLC0415 - the worker's imports are no business of the parent

    import faust  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    from streams.kafka.app import batch_app, batch_topic  # noqa: PLC0415

    logging.basicConfig(level=logging.ERROR)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app: Any
    if kind == "batch":
        app = batch_app(f"bench-{kind}", [bootstrap])
        topic = batch_topic(app, TOPIC)
    else:
        app = faust.App(
            f"bench-{kind}",
            broker=f"kafka://{bootstrap}",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            store="memory://",
            datadir="/tmp/carillon-bench",  # Faust insists on a folder
        )
        topic = app.topic(TOPIC, key_type=bytes, value_type=bytes, value_serializer="raw", acks=True)
    seen, started = 0, (0.0, 0.0)

    def used() -> tuple[float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), usage.ru_utime + usage.ru_stime

    def count(more: int) -> None:
        nonlocal seen, started
        if seen == 0:
            started = used()
        seen += more
        if seen >= total:
            now = used()
            print(json.dumps({"seconds": now[0] - started[0], "cpu": now[1] - started[1]}), flush=True)  # noqa: T201

    async def consume(stream: Any) -> None:
        async for item in stream:
            if kind == "batch":
                count(len(item.records))
                item.ack()
            else:
                count(1)

    app.agent(topic, name="consume")(consume)
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--records", type=int, default=60_000, help="of 300 bytes; the embedded broker has limits"
    )
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "BOOTSTRAP"))
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.worker:
        kind, bootstrap = options.worker
        work(kind, bootstrap, options.records)
        return
    from confluent_kafka import Producer  # noqa: PLC0415

    from streams.kafka.embedded import EmbeddedBroker  # noqa: PLC0415

    found: dict[str, dict[str, float]] = {}
    with EmbeddedBroker({TOPIC: PARTITIONS}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 20})
        for number in range(options.records):
            producer.produce(TOPIC, b"x" * 300, partition=number % PARTITIONS)
            producer.poll(0)
        producer.flush()
        if any(use.dropped for use in broker.usage().values()):
            sys.exit("the embedded broker has dropped records: fewer, please")
        for kind in ("stock", "batch"):
            command = [sys.executable, __file__, "--records", str(options.records)]
            command += ["--worker", kind, broker.bootstrap]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as worker:
                assert worker.stdout is not None
                found[kind] = json.loads(worker.stdout.readline())
                worker.kill()
    print(f"{'':8}{'events/s':>12}{'CPU s / 100k':>14}")  # noqa: T201
    for kind, row in found.items():
        speed, cpu = options.records / row["seconds"], row["cpu"] / options.records * 100_000
        print(f"{kind:8}{speed:>12,.0f}{cpu:>14.2f}")  # noqa: T201
    ratios = [found["stock"][key] / found["batch"][key] for key in ("seconds", "cpu")]
    print(f"{'ratio':8}{ratios[0]:>11.0f}x{ratios[1]:>13.0f}x")  # noqa: T201


if __name__ == "__main__":
    main()
