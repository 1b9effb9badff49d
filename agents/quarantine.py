"""Records at which a worker dies (P7): set aside when it has died three times at one of them alone.

A process that is gone can't say what it died of, so what is under way is noted beforehand in a small file for
each partition, which outlives the process (not the machine: then counting begins again), and struck out
afterwards. After two deaths at the same batches their records are worked on one by one, and nothing else
meanwhile; a record that was under way alone at three deaths in a row is a dead letter. So a deadly record
costs each worker five lives, its neighbours three each, and an innocent one is blamed only if something else
kills the worker three times running in the few milliseconds of that record.

What is noted is kept until the record can't come again: not every input has its offset stored with each
record, and after a death those before it are read once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from confluent_kafka import KafkaException

from schemas.records import DeadLetter
from streams.kafka.batches import Record, RecordBatch
from streams.kafka.changelog import ChangelogError
from streams.kafka.producer import ProduceError
from streams.stages.fencing import Fenced
from streams.state.errors import StoreError, unavailable

log = logging.getLogger(__name__)

TOGETHER = 2
"""Deaths at batches after which their records are worked on one by one. One may be a coincidence, and one by
one is slow."""
ALONE = 3
"""Deaths at one record alone after which it is set aside."""

CRASHED = "crashed"
"""The dead letter's error code."""

_COMPANY = 5.0
"""Seconds that a record waits to be alone, and a batch for such a record. What takes longer waits itself (for
the schema registry, say) and kills nobody meanwhile; well below what a revoke waits for batches."""


class Suspect(NamedTuple):
    """A record that was under way alone when the worker died."""

    offset: int
    content: str
    """Of its key and value: a topic made anew has another record at this offset."""
    deaths: int
    aside: bool = False
    """It is a dead letter, and may come again."""


class Mark(NamedTuple):
    """What a worker may have died of in one partition."""

    since: int = 0
    until: int = 0
    """Offsets between which it died; both 0: nowhere."""
    together: int = 0
    """How often, whole batches being under way, since ``until`` was last reached."""
    suspects: tuple[Suspect, ...] = ()

    def died(self, batch: RecordBatch) -> Mark:
        """If the worker dies of this batch as a whole."""
        first, end = batch.first_offset, batch.next_offset
        if first >= self.until:
            return self._replace(since=first, until=end, together=1)
        return self._replace(
            since=min(self.since, first), until=max(self.until, end), together=self.together + 1
        )

    def cleared(self) -> Mark:
        """Its end was reached."""
        return Mark(suspects=tuple(one for one in self.suspects if one.aside))

    def suspect(self, record: Record) -> Suspect:
        for one in self.suspects:
            if one.offset == record.offset and one.content == _content(record):
                return one
        return Suspect(record.offset, _content(record), 0)

    def with_suspect(self, suspect: Suspect) -> Mark:
        return self._replace(suspects=(*self.without(suspect.offset).suspects, suspect))

    def without(self, offset: int) -> Mark:
        return self._replace(suspects=tuple(one for one in self.suspects if one.offset != offset))


class Marks(Protocol):
    """Notes that outlive the process, one for each topic and partition."""

    def read(self, topic: str, partition: int) -> Mark | None: ...

    def write(self, topic: str, partition: int, mark: Mark) -> None: ...


class FileMarks:
    """One file for each partition under ``folder``; a file that can't be read counts as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, topic: str, partition: int) -> Mark | None:
        try:
            return msgspec.json.decode(self._path(topic, partition).read_bytes(), type=Mark)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, topic: str, partition: int, mark: Mark) -> None:
        """In place, and with no sync: it has to outlive the process only. Twice for each batch."""
        raw = msgspec.json.encode(mark)
        try:
            file = self._open(self._path(topic, partition))
            try:
                os.pwrite(file, raw, 0)
                os.ftruncate(file, len(raw))
            finally:
                os.close(file)
        except OSError as error:
            raise unavailable(self._folder, error) or error from None

    def _open(self, path: Path) -> int:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def _path(self, topic: str, partition: int) -> Path:
        return self._folder / f"{topic}-{partition}.mark"


class Quarantine:
    """Stands between the stream and the handler of a batch. ``set_aside`` writes dead letters and returns
    when they are acknowledged."""

    def __init__(
        self,
        marks: Marks,
        set_aside: Callable[[list[DeadLetter]], Awaitable[None]],
        now: Callable[[], int],
    ) -> None:
        self._marks = marks
        self._set_aside = set_aside
        self._now = now
        self._known: dict[tuple[str, int], Mark] = {}
        self._company = _Company()

    def guarded(
        self, handle: Callable[[RecordBatch], Awaitable[None]]
    ) -> Callable[[RecordBatch], Awaitable[None]]:
        """``handle``, for whole batches as long as nothing dies at them. What is raised is passed on."""

        async def careful(batch: RecordBatch) -> None:
            mark = self._mark(batch)
            if (
                mark.together >= TOGETHER
                and batch.first_offset < mark.until
                and mark.since < batch.next_offset
            ):
                await self._one_by_one(batch, handle)
                if batch.live and batch.next_offset >= mark.until:
                    self._note(batch, self._mark(batch).cleared())
                return
            await self._company.join()
            try:
                if batch.live:
                    after = mark if batch.next_offset < mark.until else mark.cleared()
                    work = handle(_without(batch, mark))
                    await self._under_way(batch, mark.died(batch), mark, after, work)
            finally:
                self._company.leave()

        return careful

    async def _one_by_one(self, batch: RecordBatch, handle: Callable[[RecordBatch], Awaitable[None]]) -> None:
        ends = [*(record.offset for record in batch.records[1:]), batch.next_offset]
        for record, end in zip(batch.records, ends, strict=True):
            async with self._company.door:
                await self._company.gone()
                if not batch.live:
                    return
                mark = self._mark(batch)
                suspect = mark.suspect(record)
                if suspect.deaths >= ALONE and not suspect.aside:
                    await self._set_aside([self._letter(batch, record)])
                    log.error("%s[%d] offset %d is set aside", batch.topic, batch.partition, record.offset)
                    suspect = suspect._replace(aside=True)
                    self._note(batch, mark.with_suspect(suspect))
                if suspect.aside:
                    # Handled as an empty batch, so that the store's source offset passes it.
                    await handle(RecordBatch(batch.topic, batch.partition, (), record.offset, end))
                    continue
                during = mark.with_suspect(suspect._replace(deaths=suspect.deaths + 1))
                during = during._replace(until=max(mark.until, end))
                work = handle(RecordBatch(batch.topic, batch.partition, (record,), record.offset, end))
                await self._under_way(batch, during, mark, mark.without(record.offset), work)

    async def _under_way(
        self, batch: RecordBatch, during: Mark, before: Mark, after: Mark, work: Awaitable[None]
    ) -> None:
        """What is noted if the process dies of it or raises of it, if it ends for another reason, and if all
        goes well."""
        self._note(batch, during)
        try:
            await work
        except BaseException as error:
            if _innocent(error):
                # If not even that can be noted, nothing will be begun until it can.
                with contextlib.suppress(OSError, StoreError):
                    self._note(batch, before)
            raise
        self._note(batch, after)

    def _mark(self, batch: RecordBatch) -> Mark:
        place = batch.topic, batch.partition
        if place not in self._known:
            mark = self._marks.read(*place) or Mark()
            # The first batch of this life begins where all later ones begin, at the earliest.
            known = tuple(one for one in mark.suspects if one.offset >= batch.first_offset)
            self._known[place] = mark._replace(suspects=known)
        return self._known[place]

    def _note(self, batch: RecordBatch, mark: Mark) -> None:
        self._known[batch.topic, batch.partition] = mark
        self._marks.write(batch.topic, batch.partition, mark)

    def _letter(self, batch: RecordBatch, record: Record) -> DeadLetter:
        return DeadLetter(
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            error=CRASHED,
            detail=f"the worker died {ALONE} times while this record alone was under way",
            key=record.key or b"",
            value=record.value or b"",
            at=self._now(),
        )


class _Company:
    """Batches side by side, or one record alone; whoever came first."""

    def __init__(self) -> None:
        self.door = asyncio.Lock()
        """Held by who is alone, and by who waits for that."""
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def join(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COMPANY):
                await self.door.acquire()
                self.door.release()
        self._inside += 1
        self._empty.clear()

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def gone(self) -> None:
        """Nobody is inside; with the door in hand."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COMPANY):
                await self._empty.wait()


def _without(batch: RecordBatch, mark: Mark) -> RecordBatch:
    """The batch without what is set aside."""
    if not mark.suspects:
        return batch
    records = tuple(record for record in batch.records if not mark.suspect(record).aside)
    return RecordBatch(batch.topic, batch.partition, records, batch.first_offset, batch.next_offset)


def _content(record: Record) -> str:
    hashed = blake2b(record.key or b"", digest_size=8)
    hashed.update(b"\x00" + (record.value or b""))
    return hashed.hexdigest()


def _innocent(error: BaseException) -> bool:
    """Is it certain that the records are not to blame: somebody else ended the worker, or the disk or the
    brokers refuse everything?"""
    if isinstance(error, ProduceError):
        return not error.of_record
    return isinstance(error, asyncio.CancelledError | StoreError | ChangelogError | Fenced | KafkaException)
