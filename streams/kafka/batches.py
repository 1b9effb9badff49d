"""What an agent sees of a partition: batches of raw records, and the bookkeeping of which are done.

No Faust and no Kafka client here; the transport feeds it. All of it belongs to one event loop: ``ack``
must be called there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Record(Protocol):
    """One record as it lies in the partition (what aiokafka parses is one)."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int:
        """Milliseconds, as the topic's ``message.timestamp.type`` says."""

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None:
        """None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(slots=True, eq=False)
class Span:
    """Offsets up to ``end`` that were handed out, or passed over because no record is there."""

    end: int
    done: bool = False
    message: Any = None
    """Faust's message; its ``tracked`` turns true when an agent takes it."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Consecutive records of one partition. Offsets may have gaps (compaction, transaction markers)."""

    topic: str
    partition: int
    records: Sequence[Record] = field(repr=False)
    """At least one, by rising offset."""
    first_offset: int
    """Of the first record."""
    next_offset: int
    """Where the next batch begins: past the last record and any gap after it."""
    _flow: PartitionFlow | None = field(default=None, repr=False)
    _span: Span | None = field(default=None, repr=False)

    def ack(self) -> None:
        """Says that everything this batch causes is safe.

        The partition's committed offset moves to ``next_offset`` with the next commit once all earlier
        batches are acked too. Nothing else acks: an agent that raises, or returns, has acked nothing. Until
        it is acked it takes one of the partition's places in flight. Without effect when repeated, or after
        the partition was taken away.
        """
        if self._flow is not None and self._span is not None:
            self._flow.settle(self._span)

    @property
    def live(self) -> bool:
        """False once the partition was revoked or repositioned: whatever is not done yet, leave it."""
        return self._flow is None or self._flow.live


class PartitionFlow:
    """One assignment of one partition, from its start offset until it is revoked."""

    __slots__ = (
        "_on_settled",
        "_spans",
        "acked_offset",
        "committed_offset",
        "end_at_start",
        "live",
        "next_offset",
        "partition",
        "start_offset",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        start_offset: int,
        *,
        committed_offset: int | None,
        end_at_start: int,
        on_settled: Callable[[PartitionFlow], None],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.start_offset = start_offset
        self.end_at_start = end_at_start
        """The end of the log when this assignment began reading."""
        self.next_offset = start_offset
        """Next to be read: what lies below has been handed out, or is below the start."""
        self.acked_offset = start_offset
        """Everything below it is done; what a commit may say."""
        self.committed_offset = committed_offset
        self.live = True
        self._spans: deque[Span] = deque()
        self._on_settled = on_settled

    @property
    def in_flight(self) -> int:
        """Batches handed out whose offsets are not yet part of the acked prefix."""
        return len(self._spans)

    @property
    def commit_due(self) -> int | None:
        """The offset to commit, None when the broker knows it already. Never moves a commit backwards."""
        if not self.live or (
            self.committed_offset is not None and self.acked_offset <= self.committed_offset
        ):
            return None
        return self.acked_offset

    def take(self, records: Sequence[Record], position: int) -> RecordBatch | None:
        """A batch of what was read, ``position`` being the offset after it; None when nothing is left.

        Records below ``next_offset`` were handed out before (a fetch returns whole producer batches) and
        are dropped.
        """
        first = 0
        while first < len(records) and records[first].offset < self.next_offset:
            first += 1
        kept = records[first:] if first else records
        if position <= self.next_offset:
            return None
        span = Span(position)
        self._spans.append(span)
        self.next_offset = position
        if not kept:
            self.settle(span)  # compacted away, or markers of a transaction: nobody will ack these offsets
            return None
        return RecordBatch(self.topic, self.partition, kept, kept[0].offset, position, self, span)

    def settle(self, span: Span) -> None:
        """Marks a span done and moves the acked prefix over every done span at its head."""
        # The message has the batch, and the batch the span: in a circle, hundreds of thousands of records
        # would wait for the collector, which has few objects to count and takes its time.
        span.message = None
        if span.done or not self.live:
            return
        span.done = True
        while self._spans and self._spans[0].done:
            self.acked_offset = self._spans.popleft().end
        self._on_settled(self)

    def started(self) -> bool:
        """True while an agent works on a batch of this partition (batches still queued don't count)."""
        return any(
            not span.done and span.message is not None and span.message.tracked for span in self._spans
        )

    def retire(self) -> None:
        """The partition is no longer ours in this assignment: acks from now on say nothing."""
        self.live = False
        for span in self._spans:
            span.message = None
        self._spans.clear()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one assigned partition stands; offsets are of the next record."""

    start: int
    end_at_start: int
    read: int
    acked: int
    committed: int | None
    end: int | None
    """The log's end as of the last fetch; None before the first."""
    in_flight: int


async def each_partition(
    stream: AsyncIterable[RecordBatch], handle: Callable[[RecordBatch], Awaitable[None]]
) -> None:
    """The body of an agent: partitions side by side, the batches of one partition one after the other.

    Acks a batch when ``handle`` returns. When it raises, nothing is acked, everything else in flight is
    cancelled and the error goes up, which ends the worker (``batch_app`` restarts no agent). A batch whose
    partition has been taken away meanwhile is not handed over.
    """
    tails: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def step(before: asyncio.Task[None] | None, batch: RecordBatch) -> None:
        if before is not None:
            await before
        if batch.live:
            await handle(batch)
            batch.ack()

    async with asyncio.TaskGroup() as group:
        async for batch in stream:
            place = (batch.topic, batch.partition)
            tails[place] = group.create_task(step(tails.get(place), batch))
