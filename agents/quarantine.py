"""Records at which a worker dies (P7): tried three times in their batch, then one by one, then set aside.

Which batch is under way is noted in a small file for each partition, which outlives the process (not the
machine: then counting begins again). A record that kills every worker it meets therefore costs each of them
four lives, and not all of them for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from schemas.records import DeadLetter
from streams.kafka.batches import Record, RecordBatch
from streams.state.errors import unavailable

log = logging.getLogger(__name__)

TRIES = 3
"""Deaths at one batch after which its records are worked on one by one."""

CRASHED = "crashed"
"""The dead letter's error code."""


class Mark(NamedTuple):
    """What was under way: the offset that it began at, how often, and whether that was one record alone."""

    offset: int
    tries: int
    alone: bool


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
            return Mark(*json.loads(self._path(topic, partition).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, topic: str, partition: int, mark: Mark) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # No sync: it has to outlive the process only, and a torn file counts as none.
            self._path(topic, partition).write_text(json.dumps(mark))
        except OSError as error:
            raise unavailable(self._folder, error) or error from None

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
        self._turn = asyncio.Lock()

    def guarded(
        self, handle: Callable[[RecordBatch], Awaitable[None]]
    ) -> Callable[[RecordBatch], Awaitable[None]]:
        """``handle``, for whole batches as long as nothing dies at them."""

        async def careful(batch: RecordBatch) -> None:
            before = self._marks.read(batch.topic, batch.partition)
            if before is not None and before.alone and batch.next_offset <= before.offset:
                await handle(batch)  # read again: the record that it died at alone is yet to come
                return
            known = before if before is not None and _within(before, batch) else None
            tries = known.tries if known is not None else 0
            if tries < TRIES:
                self._marks.write(batch.topic, batch.partition, Mark(batch.first_offset, tries + 1, False))
                await handle(batch)
            else:
                async with self._turn:  # or two records would be under way alone when one of them kills
                    await self._one_by_one(batch, known, handle)
                    self._marks.write(batch.topic, batch.partition, Mark(batch.next_offset, 0, False))
                return
            self._marks.write(batch.topic, batch.partition, Mark(batch.next_offset, 0, False))

        return careful

    async def _one_by_one(
        self, batch: RecordBatch, known: Mark | None, handle: Callable[[RecordBatch], Awaitable[None]]
    ) -> None:
        for record, following in zip(
            batch.records, [*(r.offset for r in batch.records[1:]), batch.next_offset], strict=True
        ):
            if known is not None and known.alone and known.offset == record.offset:
                await self._set_aside([self._letter(batch, record)])
                log.error("%s[%d] offset %d is set aside", batch.topic, batch.partition, record.offset)
                # Handled as an empty batch, so that the store's source offset passes it.
                await handle(RecordBatch(batch.topic, batch.partition, (), record.offset, following))
                continue
            self._marks.write(batch.topic, batch.partition, Mark(record.offset, TRIES, True))
            await handle(RecordBatch(batch.topic, batch.partition, (record,), record.offset, following))

    def _letter(self, batch: RecordBatch, record: Record) -> DeadLetter:
        return DeadLetter(
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            error=CRASHED,
            detail=f"the worker died at this record {TRIES + 1} times",
            key=record.key or b"",
            value=record.value or b"",
            at=self._now(),
        )


def _within(mark: Mark, batch: RecordBatch) -> bool:
    """The death was at this batch, or at one record in it: not all inputs have their offset stored with
    every record, and what lay before that record comes again."""
    if mark.alone:
        return batch.first_offset <= mark.offset < batch.next_offset
    return mark.offset == batch.first_offset
