"""A worker for the transport's tests: appends every record it gets to one file per partition.

The file is output and state at once: a line is ``offset value pid``, and the source offset is the last
complete line's offset plus one. So "exactly once" can be read off the file, whatever killed the worker.
Run as ``python -m tests.streams.kafka.batch_worker JSON``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP

from streams.kafka.app import batch_app, batch_topic, run_worker
from streams.kafka.batches import RecordBatch, each_partition
from streams.kafka.transport import BatchSettings, TakenAway


class Options(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    brokers: list[str]
    topics: list[str]
    folder: str
    stored: bool = True
    """False: no start offset from the file, what was committed decides."""
    start: dict[str, int] = {}
    """``topic/partition`` to a start offset that goes before the file's."""
    stuck: list[str] = []
    """``topic/partition`` whose batches are never done."""
    hold_for: str | None = None
    """A file name in the folder: nothing is done before it exists."""
    taken_until: str | None = None
    """A file name in the folder: before it exists every assignment is over before it is read."""
    raise_on: str | None = None
    """A value at which the agent raises."""
    fetches: bool = False
    """What each fetch asks for is noted."""
    plain: bool = False
    """An agent that iterates over the stream itself, instead of ``each_partition``."""
    max_records: int = 1000
    max_in_flight: int = 2
    session_timeout: float = 2.0
    drain_timeout: float = 1.0
    instance_id: str | None = None


def store(folder: Path, topic: str, partition: int) -> Path:
    return folder / f"{topic}-{partition}.log"


def stored_offset(path: Path) -> int | None:
    """The next offset after the file's last complete line; a torn line is cut off."""
    if not path.exists():
        return None
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        os.truncate(path, len(whole))
    lines = whole.splitlines()
    return int(lines[-1].split()[0]) + 1 if lines else None


def main(options: Options) -> None:
    logging.basicConfig(level=logging.WARNING)
    folder = Path(options.folder)
    app = batch_app(
        options.group,
        options.brokers,
        session_timeout=options.session_timeout,
        instance_id=options.instance_id,
        commit_interval=0.2,
        batching=BatchSettings(
            max_records=options.max_records,
            max_in_flight=options.max_in_flight,
            drain_timeout=options.drain_timeout,
            leader_delay=0.1,
        ),
    )

    def note(event: str, **fields: Any) -> None:
        with (folder / "events.jsonl").open("a") as file:
            file.write(json.dumps({"event": event, "pid": os.getpid(), **fields}) + "\n")

    if options.fetches:
        send = AIOKafkaClient.send

        async def noted(self: AIOKafkaClient, node: int, request: Any, **options: Any) -> Any:
            if isinstance(request, FetchRequest):
                asked = sorted(place[0] for _, places in request.topics for place in places)
                note("fetch", at=time.monotonic(), partitions=asked)
            return await send(self, node, request, **options)

        AIOKafkaClient.send = noted

    def start_offset(tp: TP) -> int | None:
        if options.taken_until is not None and not (folder / options.taken_until).exists():
            note("taken", topic=tp.topic, partition=tp.partition)
            raise TakenAway
        name = f"{tp.topic}/{tp.partition}"
        if name in options.start:
            return options.start[name]
        return stored_offset(store(folder, tp.topic, tp.partition)) if options.stored else None

    app.start_offset = start_offset
    app.on_offset_gap = lambda tp, wanted, low, high: note(
        "gap", topic=tp.topic, partition=tp.partition, wanted=wanted, low=low, high=high
    )

    async def handle(batch: RecordBatch) -> None:
        if f"{batch.topic}/{batch.partition}" in options.stuck:
            while True:
                progress = app.progress().get(TP(batch.topic, batch.partition))
                if progress is not None:  # else it has just been taken away
                    note("stuck", first=batch.first_offset, read=progress.read, in_flight=progress.in_flight)
                await asyncio.sleep(0.1)
        while options.hold_for is not None and not (folder / options.hold_for).exists():
            note("holding", first=batch.first_offset)
            await asyncio.sleep(0.05)
        lines = []
        for record in batch.records:
            value = (record.value or b"-").decode()
            if value == options.raise_on:
                raise RuntimeError(f"told to raise at {value}")
            lines.append(f"{record.offset} {value} {os.getpid()}\n")
        with store(folder, batch.topic, batch.partition).open("ab", buffering=0) as file:
            file.write("".join(lines).encode())
        await asyncio.sleep(0)  # like a produce: somebody else runs in between

    async def consume(stream: Any) -> None:
        if not options.plain:
            await each_partition(stream, handle)
            return
        async for batch in stream:
            await handle(batch)
            batch.ack()

    app.agent(batch_topic(app, *options.topics), name="consume")(consume)

    @app.on_rebalance_complete.connect(weak=False)
    async def ready(sender: Any, **_: Any) -> None:
        assigned = app.consumer.assignment()
        note("ready", assigned=sorted(f"{tp.topic}/{tp.partition}" for tp in assigned))

    run_worker(app)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Options))
