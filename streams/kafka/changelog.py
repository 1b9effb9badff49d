"""Reading partitions from a position to their end: how stores are restored.

No consumer group: the position is the store's own. However many partitions are read at once, one consumer
and one thread do it: connections, threads and queued records cost time and memory, and what is done with the
records holds the interpreter's lock anyway.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka.offsets import SILENT
from streams.stages.fencing import LogRecord, epoch_of

Progress = Callable[[int, int], None]
"""Given (next position, end) after each batch, on the reading thread."""

_Place = tuple[str, int]

_BATCH = 5_000
_POLL = 0.02
"""Seconds that a batch which is not full waits for more; also how soon a new or a cancelled call is seen."""
_IDLE = 5.0
"""Seconds without a call after which the consumer is closed: a restore is several calls."""
_ASK = 2.0
"""Seconds for an answer about the ends; other partitions are not read meanwhile."""
_NO_ANSWER = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
    | {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
)


class ChangelogError(Exception):
    """The partition could not be read to its end; trying again later may help."""


class PositionAheadOfLog(ChangelogError):  # noqa: N818 - says what is the matter
    """The store remembers a position that the log does not have (yet): it belongs to another topic of this
    name, or acknowledged records were lost. The store must be rebuilt from the beginning."""


class PositionGone(ChangelogError):  # noqa: N818 - says what is the matter
    """Records after the position were deleted from the log before they were read. Rebuild likewise."""


class _Job:
    def __init__(
        self,
        place: _Place,
        start: int | None,
        on_records: Callable[[list[LogRecord]], None],
        progress: Progress | None,
        stall_timeout: float,
    ) -> None:
        self.place = place
        self.position = start
        self.end = 0
        self._on_records = on_records
        self._progress = progress
        self._stall_timeout = stall_timeout
        self._waited = 0.0
        self.cancelled = False
        self.done: Future[int] = Future()

    def __str__(self) -> str:
        return f"{self.place[0]}[{self.place[1]}]"

    def begin(self, low: int, end: int) -> bool:
        """Given the bounds of the log; is there anything to read?"""
        position = low if self.position is None else self.position
        if position > end:
            raise PositionAheadOfLog(f"{self}: the position is {position}, the log ends at {end}")
        if position < low:
            raise PositionGone(f"{self}: the position is {position}, the log begins at {low}")
        self.position, self.end = position, end
        return position < end

    def take(self, messages: Sequence[Any]) -> bool:
        """Whether the end is reached."""
        records: list[LogRecord] = []
        assert self.position is not None
        for message in messages:
            error = message.error()
            if error is None:
                offset = message.offset()
                records.append((offset, message.key() or b"", message.value(), epoch_of(message.headers())))
                self.position = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # The end is reached although its last offsets were compacted away.
                self.position = max(self.position, message.offset())
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # deleted after the bounds were asked for
                raise PositionGone(f"{self}: {error.str()}")
            else:
                raise ChangelogError(f"{self}: {error.str()}")
        self._waited = 0.0
        if records:
            self._on_records(records)
        if self._progress is not None:
            self._progress(self.position, self.end)
        return self.position >= self.end

    def wait(self, seconds: float) -> None:
        """So long nothing came, others' work not counted."""
        self._waited += seconds
        if self._waited > self._stall_timeout:
            raise ChangelogError(
                f"{self}: nothing at {self.position} of {self.end} for {self._stall_timeout} s"
            )


class ChangelogReader:
    """Connects when it is asked to read, and lets go of its connections when it is not any more."""

    def __init__(self, bootstrap: str, security: Mapping[str, str], *, idle: float = _IDLE) -> None:
        self._config = {
            **security,
            "bootstrap.servers": bootstrap,
            "group.id": "carillon-restore",  # the client insists on one; nothing is joined or committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # a position out of range is for the caller to decide
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # a partition that is added has to wait for the fetch under way
            "fetch.queue.backoff.ms": 5,  # default 1 s: how long fetching pauses after the queue was full
            "queued.max.messages.kbytes": 4 * 1024,  # default 64 MB, of each partition
            "reconnect.backoff.max.ms": 1_000,
        }
        self._idle = idle
        self._changed = threading.Condition()
        self._asked: list[_Job] = []
        self._running = False

    async def read(
        self,
        topic: str,
        partition: int,
        start: int | None,
        on_records: Callable[[list[LogRecord]], None],
        *,
        progress: Progress | None = None,
        stall_timeout: float = 60.0,
    ) -> int:
        """Reads from offset ``start`` (None: the oldest) to the end that the partition had when the call
        began.

        ``on_records`` is called with non-empty lists in offset order **on the reading thread**, one call at
        a time for all partitions; it sets the pace, and what it raises ends the read and is raised here.
        Offsets may have gaps (compaction), keys are never None (an empty key is ``b""``). Records written
        meanwhile may be included. Returns the next position to read. When the call returns, raises or is
        cancelled, ``on_records`` does not run and will not be called again.

        Raises PositionAheadOfLog, PositionGone, or ChangelogError (nothing came for ``stall_timeout``
        seconds).
        """
        job = _Job((topic, partition), start, on_records, progress, stall_timeout)
        with self._changed:
            self._asked.append(job)
            self._changed.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="restore", daemon=True).start()
        reading = asyncio.wrap_future(job.done)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            job.cancelled = True
            await asyncio.wait([reading])  # until then on_records may be running
            raise

    # --- on the thread

    def _run(self) -> None:
        consumer: Any = None
        jobs: dict[_Place, _Job] = {}
        try:
            consumer = Consumer(self._config, logger=SILENT)
            while self._wanted(jobs):
                self._begin(consumer, jobs)
                began = time.monotonic()
                messages = consumer.consume(_BATCH, timeout=_POLL) if jobs else []
                self._work(consumer, jobs, messages, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach those who wait
            with self._changed:
                self._running = False
                left = [*jobs.values(), *self._asked]
                self._asked.clear()
            for job in left:
                job.done.set_exception(_told(job, error))
        finally:
            if consumer is not None:
                consumer.close()

    def _wanted(self, jobs: Mapping[_Place, _Job]) -> bool:
        with self._changed:
            if not jobs and not self._asked:
                self._changed.wait_for(lambda: self._asked, self._idle)
            if not jobs and not self._asked:
                self._running = False
            return self._running

    def _begin(self, consumer: Any, jobs: dict[_Place, _Job]) -> None:
        """Asks where the logs of new jobs begin and end; those of whom there is no answer stay in line."""
        with self._changed:
            asked = {job.place: job for job in reversed(self._asked) if job.place not in jobs}
        if not asked:
            return
        began = time.monotonic()
        lows, ends = _bounds(consumer, asked, OFFSET_BEGINNING), _bounds(consumer, asked, OFFSET_END)
        waited = time.monotonic() - began
        for place, job in asked.items():
            try:
                if job.cancelled:
                    more = False
                elif (low := lows[place]) is None or (end := ends[place]) is None:
                    job.wait(waited)
                    continue
                else:
                    more = job.begin(_offset(low), _offset(end))
            except Exception as error:  # noqa: BLE001 - told to whoever asked
                self._leave(job)
                job.done.set_exception(_told(job, error))
                continue
            self._leave(job)
            if more:
                jobs[place] = job
                consumer.incremental_assign([TopicPartition(*place, job.position or 0)])
            else:
                job.done.set_result(job.position or 0)

    def _leave(self, job: _Job) -> None:
        with self._changed:
            self._asked.remove(job)

    def _work(self, consumer: Any, jobs: dict[_Place, _Job], messages: list[Any], seconds: float) -> None:
        came: dict[_Place, list[Any]] = {}
        for message in messages:
            place = (message.topic(), message.partition())
            if place in jobs:
                came.setdefault(place, []).append(message)
            elif (error := message.error()) is not None and message.topic() is None:
                raise KafkaException(error)  # of none of the partitions
        for place, job in list(jobs.items()):
            try:
                if job.cancelled:
                    done = True
                elif found := came.get(place):
                    done = job.take(found)
                else:
                    job.wait(seconds)
                    continue
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for whoever asked
                self._end(consumer, jobs, place)
                job.done.set_exception(_told(job, error))
                continue
            if done:
                self._end(consumer, jobs, place)
                job.done.set_result(job.position or 0)

    def _end(self, consumer: Any, jobs: dict[_Place, _Job], place: _Place) -> None:
        del jobs[place]
        consumer.incremental_unassign([TopicPartition(*place)])


def _told(job: _Job, error: BaseException) -> BaseException:
    if isinstance(error, KafkaException):
        told = ChangelogError(f"{job}: {error.args[0].str()}")
        told.__cause__ = error
        return told
    return error


def _bounds(consumer: Any, places: Iterable[_Place], which: int) -> dict[_Place, Any]:
    """What is known of each, with its error; None: there was no answer."""
    asked = [TopicPartition(*place, which) for place in places]
    try:
        found = consumer.offsets_for_times(asked, timeout=_ASK)
    except KafkaException as error:
        if error.args[0].code() not in _NO_ANSWER:
            raise
        found = []
    known = dict.fromkeys(places)
    for each in found:
        if each.error is None or each.error.code() not in _NO_ANSWER:
            known[each.topic, each.partition] = each
    return known


def _offset(found: Any) -> int:
    if found.error is not None:
        raise KafkaException(found.error)
    offset: int = found.offset
    return offset


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
    """One partition, by a reader of its own. See ``ChangelogReader.read``."""
    reader = ChangelogReader(bootstrap, security, idle=0.0)
    return await reader.read(
        topic, partition, start, on_records, progress=progress, stall_timeout=stall_timeout
    )
