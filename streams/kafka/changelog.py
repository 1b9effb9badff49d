"""Reading one partition from a position to its end: how a store is restored.

No consumer group: the position is the store's own. Run it for many partitions at once; each call has a
librdkafka consumer and a thread of its own, so bound the number (8 at once keeps two cores busy).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka.offsets import SILENT
from streams.stages.fencing import LogRecord, epoch_of

Progress = Callable[[int, int], None]
"""Given (next position, end) after each batch, on the reading thread."""

_BATCH = 5_000
_POLL = 0.2  # seconds; also how soon a cancelled call ends


class ChangelogError(Exception):
    """The partition could not be read to its end; trying again later may help."""


class PositionAheadOfLog(ChangelogError):  # noqa: N818 - says what is the matter
    """The store remembers a position that the log does not have (yet): it belongs to another topic of this
    name, or acknowledged records were lost. The store must be rebuilt from the beginning."""


class PositionGone(ChangelogError):  # noqa: N818 - says what is the matter
    """Records after the position were deleted from the log before they were read. Rebuild likewise."""


@dataclass(frozen=True, slots=True)
class _Job:
    config: dict[str, Any]
    place: TopicPartition
    start: int | None
    on_records: Callable[[list[LogRecord]], None]
    progress: Progress | None
    stall_timeout: float
    stop: threading.Event

    def __str__(self) -> str:
        return f"{self.place.topic}[{self.place.partition}]"


async def read_changelog(
    bootstrap: str,
    security: Mapping[str, str],
    topic: str,
    partition: int,
    start: int | None,
    on_records: Callable[[list[LogRecord]], None],
    *,
    progress: Progress | None = None,
    stall_timeout: float = 60.0,
) -> int:
    """Reads from offset ``start`` (None: the oldest) to the end that the partition had when the call began.

    ``on_records`` is called with non-empty lists in offset order **on the reading thread**, one at a time;
    it sets the pace, and what it raises ends the read and is raised here. Offsets may have gaps
    (compaction), keys are never None (an empty key is ``b""``). Records written meanwhile may be included.
    Returns the next position to read. When the call returns, raises or is cancelled, ``on_records`` does not
    run and will not be called again.

    Raises PositionAheadOfLog, PositionGone, or ChangelogError (nothing came for ``stall_timeout`` seconds).
    """
    stop = threading.Event()
    config = {
        **security,
        "bootstrap.servers": bootstrap,
        "group.id": "carillon-restore",  # the client insists on one; nothing is joined or committed
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # a position out of range is for the caller to decide
        "enable.partition.eof": True,  # the end is reached although its last offsets were compacted away
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,  # default 1 s: how long fetching pauses after the queue was full
        "queued.max.messages.kbytes": 16 * 1024,  # default 64 MB for each of the partitions
        "reconnect.backoff.max.ms": 1_000,
    }
    job = _Job(config, TopicPartition(topic, partition), start, on_records, progress, stall_timeout, stop)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"restore-{topic}-{partition}") as thread:
        reading = asyncio.get_running_loop().run_in_executor(thread, _read, job)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([reading])  # until then on_records may be running
            raise


def _read(job: _Job) -> int:
    consumer: Any = Consumer(job.config, logger=SILENT)
    try:
        low, end = consumer.get_watermark_offsets(job.place, timeout=job.stall_timeout)
        position = low if job.start is None else job.start
        if position > end:
            raise PositionAheadOfLog(f"{job}: the position is {position}, the log ends at {end}")
        if position < low:
            raise PositionGone(f"{job}: the position is {position}, the log begins at {low}")
        if position < end:
            consumer.assign([TopicPartition(job.place.topic, job.place.partition, position)])
            position = _follow(consumer, job, position, end)
        return position
    except KafkaException as error:
        raise ChangelogError(f"{job}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _follow(consumer: Any, job: _Job, position: int, end: int) -> int:
    heard = time.monotonic()
    while position < end and not job.stop.is_set():
        messages = consumer.consume(_BATCH, timeout=_POLL)
        if not messages:
            if time.monotonic() - heard > job.stall_timeout:
                raise ChangelogError(f"{job}: nothing at {position} of {end} for {job.stall_timeout} s")
            continue
        records: list[LogRecord] = []
        for message in messages:
            error = message.error()
            if error is None:
                position = message.offset() + 1
                epoch = epoch_of(message.headers())
                records.append((position - 1, message.key() or b"", message.value(), epoch))
            elif error.code() == KafkaError._PARTITION_EOF:
                position = max(position, message.offset())
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # deleted after the bounds were asked for
                raise PositionGone(f"{job}: {error.str()}")
            else:
                raise ChangelogError(f"{job}: {error.str()}")
        heard = time.monotonic()
        if records:
            job.on_records(records)
        if job.progress is not None:
            job.progress(position, end)
    return position
