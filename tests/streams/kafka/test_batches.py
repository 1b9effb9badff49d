"""The books of a partition: what is handed out, what counts as done, what an agent's helper promises."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.batches import PartitionFlow, RecordBatch, each_partition


@dataclass(frozen=True)
class FakeRecord:
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def records(*offsets: int) -> list[FakeRecord]:
    return [FakeRecord(offset) for offset in offsets]


def flow(start: int = 0, committed: int | None = None) -> PartitionFlow:
    return PartitionFlow(
        *("t", 0, start), committed_offset=committed, end_at_start=0, on_settled=lambda _: None
    )


def taken(books: PartitionFlow, offsets: Sequence[int], position: int) -> RecordBatch:
    batch = books.take(records(*offsets), position)
    assert batch is not None
    return batch


def test_acks_out_of_order_commit_only_the_prefix() -> None:
    books = flow()
    first, second, third = taken(books, [0, 1], 2), taken(books, [2], 3), taken(books, [5, 9], 10)
    third.ack()
    second.ack()
    assert (books.acked_offset, books.in_flight) == (0, 3)
    first.ack()
    assert (books.acked_offset, books.in_flight) == (10, 0)


def test_records_below_the_start_are_not_handed_out_and_gaps_are_tolerated() -> None:
    books = flow(start=7)
    batch = taken(books, [5, 6, 9, 12], 14)
    assert [record.offset for record in batch.records] == [9, 12]
    assert (batch.first_offset, batch.next_offset) == (9, 14)
    assert books.take(records(9, 12), 14) is None  # the same fetch again


def test_offsets_without_records_are_passed_over_in_order() -> None:
    books = flow()
    batch = taken(books, [0], 1)
    assert books.take([], 4) is None  # markers of a transaction
    assert books.acked_offset == 0
    batch.ack()
    assert books.acked_offset == 4


def test_an_ack_after_the_revoke_or_a_second_one_says_nothing() -> None:
    books = flow()
    first, second = taken(books, [0], 1), taken(books, [1], 2)
    first.ack()
    first.ack()
    assert books.acked_offset == 1
    books.retire()
    second.ack()
    assert not second.live
    assert (books.acked_offset, books.commit_due) == (1, None)


@pytest.mark.parametrize(
    ("start", "committed", "due"), [(5, None, 5), (5, 3, 5), (5, 5, None), (5, 9, None), (0, None, 0)]
)
def test_a_commit_never_goes_back(start: int, committed: int | None, due: int | None) -> None:
    assert flow(start, committed).commit_due == due


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_in_any_order_of_acks_the_acked_offset_is_the_end_of_the_done_prefix(
    sizes: list[int], order: random.Random
) -> None:
    books, batches, at = flow(), [], 0
    for size in sizes:
        batches.append(taken(books, range(at, at + size), at + size))
        at += size
    done: set[int] = set()
    for number in order.sample(range(len(batches)), len(batches)):
        batches[number].ack()
        done.add(number)
        prefix = next((n for n in range(len(batches)) if n not in done), len(batches))
        assert books.acked_offset == (batches[prefix - 1].next_offset if prefix else 0)
    assert books.acked_offset == at


async def stream(*batches: RecordBatch) -> AsyncIterator[RecordBatch]:
    for batch in batches:
        yield batch


class Message:
    """As Faust's: it carries the batch, and the transport notes it in the batch's span."""

    def __init__(self, batch: RecordBatch) -> None:
        self.value = batch
        assert batch._span is not None
        batch._span.message = self


@pytest.mark.parametrize("end", ["acked", "revoked", "acked after the revoke"])
def test_a_batch_that_is_done_with_is_freed_without_the_collector(end: str) -> None:
    books = flow()
    message = Message(taken(books, [0], 1))
    gone = weakref.ref(message)
    gc.disable()
    try:
        if end != "acked":
            books.retire()
        if end != "revoked":
            message.value.ack()
        del message
        assert gone() is None
    finally:
        gc.enable()


async def test_partitions_run_side_by_side_and_each_in_order() -> None:
    log: list[tuple[int, int]] = []
    go = asyncio.Event()

    async def handle(batch: RecordBatch) -> None:
        if batch.partition == 0:
            await go.wait()
        log.append((batch.partition, batch.first_offset))
        if log[-2:] == [(1, 0), (1, 1)]:
            go.set()

    batches = [RecordBatch("t", partition, records(n), n, n + 1) for n in (0, 1) for partition in (0, 1)]
    async with asyncio.timeout(10):
        await each_partition(stream(*batches), handle)
    assert log == [(1, 0), (1, 1), (0, 0), (0, 1)]


async def test_a_handler_that_raises_acks_nothing_and_its_error_goes_up() -> None:
    books = flow()
    first, second = taken(books, [0], 1), taken(books, [1], 2)

    async def handle(batch: RecordBatch) -> None:
        raise ValueError(batch.first_offset)

    with pytest.raises(ExceptionGroup) as raised:
        await each_partition(stream(first, second), handle)
    assert [str(error) for error in raised.value.exceptions] == ["0"] * len(raised.value.exceptions)
    assert books.acked_offset == 0


async def test_a_batch_of_a_revoked_partition_is_not_handled() -> None:
    books = flow()
    batch = taken(books, [0], 1)
    books.retire()
    handled: list[RecordBatch] = []

    async def handle(batch: RecordBatch) -> None:
        handled.append(batch)

    await each_partition(stream(batch), handle)
    assert handled == []
