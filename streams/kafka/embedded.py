"""The embedded broker: librdkafka's mock Kafka cluster in a process of its own.

For the demo and for tests: ``python -m streams.kafka.embedded --ready-file PATH --topics orders:4,rules:1``.
It speaks the Kafka protocol (produce, fetch, consumer groups, idempotent producers) on a loopback port
chosen by the operating system, and keeps everything in memory. What it does not do: CreateTopics
(topics are created here at the start; any other appears on first use with 4 partitions), compaction,
retention by time, complete transactions. **A partition silently drops its oldest records** past 5 MB or
100,000 records (``PARTITION_MAX_BYTES``, ``PARTITION_MAX_RECORDS``): ``EmbeddedBroker.usage`` tells
how near each one is, and whether it has happened.

The mock cluster is librdkafka's own C interface (``rdkafka_mock.h``, exported by the library that
confluent-kafka carries); Python's binding has no way to create a topic with a partition count.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import confluent_kafka
import confluent_kafka.cimpl

logger = logging.getLogger(__name__)

PARTITION_MAX_BYTES = 5 * 1024 * 1024
PARTITION_MAX_RECORDS = 100_000
"""librdkafka, ``rdkafka_mock.c``: ``rd_kafka_mock_partition_init``. Not configurable."""

DEFAULT_PARTITIONS = 4
"""Of a topic that appears on first use (librdkafka, ``mcluster->defaults.partition_cnt``)."""

_NEAR = 0.8
_RECORD_OVERHEAD = 16  # bytes that a record's lengths, deltas and attributes take in a v2 batch, roughly
_RD_KAFKA_PRODUCER = 0


class MockCluster:
    """The C object, in this process. The caller keeps it alive; ``close`` frees it and its port."""

    def __init__(self, topics: Mapping[str, int], *, rebalance_delay_ms: int) -> None:
        """Raises OSError when librdkafka refuses, ValueError when a topic can't be created."""
        # dlsym on the extension module also searches the library that it was linked with.
        lib = ctypes.CDLL(confluent_kafka.cimpl.__file__)
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        self._lib = lib
        for name, result, arguments in (
            ("rd_kafka_conf_new", pointer, []),
            ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
            ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
            ("rd_kafka_destroy", None, [pointer]),
            ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
            ("rd_kafka_mock_cluster_destroy", None, [pointer]),
            ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
            ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
            ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        error = ctypes.create_string_buffer(512)
        conf = lib.rd_kafka_conf_new()
        # The handle only carries the cluster's threads: without log_level it warns of missing servers.
        lib.rd_kafka_conf_set(conf, b"log_level", b"2", error, len(error))
        self._handle = lib.rd_kafka_new(_RD_KAFKA_PRODUCER, conf, error, len(error))
        if not self._handle:
            raise OSError(f"librdkafka: {error.value.decode()}")
        self._cluster = lib.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            raise OSError("librdkafka: the mock cluster could not be started")
        # A new group waits this long for members (default 3 s), so that workers starting together share
        # one rebalance.
        lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, rebalance_delay_ms)
        for topic, partitions in topics.items():
            # The cluster's thread answers a call before it has emptied the pipe that wakes it: a call that
            # follows at once may have its wake-up thrown away and take the whole second of the next poll.
            time.sleep(0.002)
            code = lib.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
            if code:
                raise ValueError(f"topic {topic} with {partitions} partitions: librdkafka error {code}")
        self.bootstrap = str(lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def close(self) -> None:
        """Idempotent."""
        if self._cluster:
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._handle)
            self._cluster = None


@dataclass(frozen=True, slots=True)
class PartitionUsage:
    """How full one partition of the embedded broker is."""

    records: int
    """Kept now."""
    written_bytes: int
    """Ever written, as far as it could still be read; compression not considered."""
    dropped: int
    """Oldest records that the broker threw away: anything above 0 is data loss."""

    @property
    def near_limit(self) -> bool:
        return (
            self.dropped > 0
            or self.records >= _NEAR * PARTITION_MAX_RECORDS
            or self.written_bytes >= _NEAR * PARTITION_MAX_BYTES
        )


class EmbeddedBroker:
    """Starts the broker as a child process, which ends with this process however that ends.

    Use it as a context manager, plain or ``async with``. Not thread-safe.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, rebalance_delay_ms: int = 200) -> None:
        self._topics = dict(topics or {})
        self._rebalance_delay_ms = rebalance_delay_ms
        self._process: subprocess.Popen[bytes] | None = None
        self._meter: _Meter | None = None
        self.bootstrap = ""
        """``host:port`` once started."""

    @property
    def pid(self) -> int:
        """Of the running broker; RuntimeError before ``start``."""
        if self._process is None:
            raise RuntimeError("the embedded broker is not running")
        return self._process.pid

    def start(self, timeout: float = 20.0) -> str:
        """Blocks until the broker answers and returns ``bootstrap``.

        Raises RuntimeError when it ends early, TimeoutError when it takes too long.
        """
        topics = ",".join(f"{name}:{count}" for name, count in self._topics.items())
        with tempfile.TemporaryDirectory(prefix="carillon-broker-") as folder:
            ready = Path(folder) / "ready"
            command = [sys.executable, "-m", "streams.kafka.embedded", "--ready-file", str(ready)]
            command += ["--topics", topics, "--rebalance-delay-ms", str(self._rebalance_delay_ms)]
            # The pipe is never written to: its end tells the child that this process is gone. A session of
            # its own keeps a Ctrl-C at the terminal from ending the broker before its clients.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )
            deadline = time.monotonic() + timeout
            while not ready.exists():
                if self._process.poll() is not None:
                    raise RuntimeError(f"the embedded broker ended with code {self._process.returncode}")
                if time.monotonic() > deadline:
                    self.stop()
                    raise TimeoutError(f"the embedded broker was not ready within {timeout} s")
                time.sleep(0.02)
            self.bootstrap = ready.read_text()
        return self.bootstrap

    def stop(self) -> None:
        """Ends the broker and waits for it; everything it held is gone. Idempotent."""
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def usage(self) -> dict[tuple[str, int], PartitionUsage]:
        """How full each (topic, partition) is; warns in the log of those near a limit.

        Reads what was written since the last call (blocks for as long as that takes).
        """
        if self._meter is None:
            self._meter = _Meter(self.bootstrap)
        found = self._meter.read()
        for (topic, partition), use in found.items():
            if use.near_limit:
                logger.warning(
                    "embedded broker: %s/%d holds %d records, %d bytes were written, %d are lost; it keeps "
                    "%d records or %d bytes of a partition. Use a real broker for this volume",
                    *(topic, partition, use.records, use.written_bytes, use.dropped),
                    *(PARTITION_MAX_RECORDS, PARTITION_MAX_BYTES),
                )
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


_Place = tuple[str, int]


class _Meter:
    """Counts the bytes of every partition by reading each record once."""

    def __init__(self, bootstrap: str) -> None:
        # No group is joined: partitions are assigned by hand and nothing is committed.
        settings = {"bootstrap.servers": bootstrap, "group.id": "carillon-usage"}
        # earliest: records may be dropped between asking for the low watermark and reading from it.
        settings |= {"auto.offset.reset": "earliest", "enable.auto.commit": "false"}
        self._consumer: Any = confluent_kafka.Consumer(settings)
        self._positions: dict[_Place, int] = {}
        self._written: dict[_Place, int] = {}

    def close(self) -> None:
        self._consumer.close()

    def read(self) -> dict[tuple[str, int], PartitionUsage]:
        metadata = self._consumer.list_topics(timeout=10)
        ranges: dict[_Place, tuple[int, int]] = {}
        behind: dict[_Place, int] = {}
        for topic, description in metadata.topics.items():
            for partition in description.partitions:
                place = (topic, partition)
                asked = confluent_kafka.TopicPartition(topic, partition)
                low, high = ranges[place] = self._consumer.get_watermark_offsets(asked, timeout=10)
                position = max(low, self._positions.get(place, 0))
                if position < high:
                    behind[place] = position
        self._consumer.assign(
            [confluent_kafka.TopicPartition(*place, offset=offset) for place, offset in behind.items()]
        )
        while behind:
            messages = self._consumer.consume(1000, timeout=5.0)
            if not messages:
                raise TimeoutError(f"the embedded broker returns nothing of {sorted(behind)}")
            for message in messages:
                if message.error():
                    raise confluent_kafka.KafkaException(message.error())
                place = (message.topic(), message.partition())
                size = len(message.key() or b"") + len(message.value() or b"") + _RECORD_OVERHEAD
                self._written[place] = self._written.get(place, 0) + size
                self._positions[place] = message.offset() + 1
                if message.offset() + 1 >= ranges[place][1]:
                    behind.pop(place, None)
        self._consumer.unassign()
        return {
            place: PartitionUsage(high - low, self._written.get(place, 0), low)
            for place, (low, high) in sorted(ranges.items())
        }


def _topics(text: str) -> dict[str, int]:
    topics = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition(":")
        topics[name] = int(count or DEFAULT_PARTITIONS)
        if topics[name] < 1:
            raise argparse.ArgumentTypeError(f"{part!r}: a topic has at least one partition")
    return topics


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT (or until standard input closes, if asked for)."""
    parser = argparse.ArgumentParser(prog="python -m streams.kafka.embedded", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True, help="is given host:port once serving")
    parser.add_argument("--topics", type=_topics, default={}, help="name:partitions,name:partitions,...")
    parser.add_argument("--rebalance-delay-ms", type=int, default=200)
    parser.add_argument("--until-stdin-closes", action="store_true", help="ends with the parent process")
    options = parser.parse_args(arguments)
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before librdkafka's threads start: they inherit it
    cluster = MockCluster(options.topics, rebalance_delay_ms=options.rebalance_delay_ms)
    if options.until_stdin_closes:

        def watch() -> None:
            # os.read, not sys.stdin: a daemon thread inside a buffered reader aborts the interpreter's exit.
            while os.read(0, 1):
                pass
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, daemon=True).start()
    partial = options.ready_file.with_name(options.ready_file.name + ".partial")
    partial.write_text(cluster.bootstrap)
    partial.rename(options.ready_file)  # whoever sees the file sees all of it
    signal.sigwait(ends)
    cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
