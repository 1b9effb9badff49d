from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.quarantine import ALONE, CRASHED, TOGETHER, FileMarks, Mark, Quarantine, Suspect
from schemas.records import DeadLetter
from streams.kafka.batches import RecordBatch
from streams.kafka.changelog import ChangelogError
from streams.kafka.producer import ProduceError
from streams.stages.fencing import Fenced
from streams.state.errors import StoreDamaged, StoreUnavailable


@dataclass(frozen=True)
class Raw:
    offset: int
    value: bytes | None = b"x"
    key: bytes | None = b"k"
    timestamp: int = 7
    headers: tuple[tuple[str, bytes], ...] = ()


class DiedError(Exception):
    """The process would be gone."""


@dataclass
class Partition:
    """A partition whose worker dies at the records in ``deadly``; ``run`` is one life of a worker."""

    folder: Path
    deadly: set[int]
    offsets: list[int] = field(default_factory=lambda: [10, 11, 13, 14])
    source: int = 0
    done: list[int] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    stores: bool = True

    async def run(self) -> None:
        quarantine = Quarantine(FileMarks(self.folder), self._aside, lambda: 99)
        records = [Raw(offset) for offset in self.offsets if offset >= self.source]
        if records:
            batch = RecordBatch("orders", 3, records, records[0].offset, 15)
            await quarantine.guarded(self._handle)(batch)

    async def lives(self) -> int:
        """How many lives it took until one got to the end."""
        for life in range(1, 50):
            try:
                await self.run()
            except DiedError:
                continue
            return life
        raise AssertionError("never got past it")

    async def _handle(self, batch: RecordBatch) -> None:
        for record in batch.records:
            if record.offset in self.deadly:
                raise DiedError
        self.done += [record.offset for record in batch.records]
        if self.stores:
            self.source = batch.next_offset

    async def _aside(self, letters: list[DeadLetter]) -> None:
        self.letters += letters


@pytest.mark.parametrize("deadly", [10, 11, 14])
async def test_a_deadly_record_costs_five_lives_and_nothing_else(tmp_path: Path, deadly: int) -> None:
    partition = Partition(tmp_path, {deadly})
    assert await partition.lives() == TOGETHER + ALONE + 1
    assert partition.done == [offset for offset in (10, 11, 13, 14) if offset != deadly]
    assert partition.source == 15
    letter = partition.letters[0]
    assert (letter.topic, letter.partition, letter.offset, letter.error) == ("orders", 3, deadly, CRASHED)
    assert (letter.key, letter.value, letter.timestamp, letter.at) == (b"k", b"x", 7, 99)
    assert len(partition.letters) == 1


async def test_a_deadly_record_that_is_read_again_with_those_before_it(tmp_path: Path) -> None:
    """Consents have no offset stored with them: each life begins where the last commit was."""
    partition = Partition(tmp_path, {13}, stores=False)
    assert await partition.lives() == TOGETHER + ALONE + 1
    assert set(partition.done) == {10, 11, 14}
    assert [letter.offset for letter in partition.letters] == [13]


async def test_a_batch_that_ends_before_the_deadly_record(tmp_path: Path) -> None:
    partition = Partition(tmp_path, {13}, stores=False)
    for _ in range(TOGETHER + ALONE):
        with pytest.raises(DiedError):
            await partition.run()
    quarantine = Quarantine(FileMarks(tmp_path), partition._aside, lambda: 99)
    await quarantine.guarded(partition._handle)(RecordBatch("orders", 3, [Raw(10)], 10, 11))
    mark = FileMarks(tmp_path).read("orders", 3)
    assert mark is not None
    assert [(one.offset, one.deaths) for one in mark.suspects] == [(13, ALONE)], "not forgotten"
    await partition.run()
    assert [letter.offset for letter in partition.letters] == [13]


@pytest.mark.parametrize("stores", [True, False])
async def test_two_deadly_records_are_both_set_aside(tmp_path: Path, stores: bool) -> None:
    """What lies before the second is read again where its offset is not stored with each record."""
    partition = Partition(tmp_path, {11, 13}, stores=stores)
    assert await partition.lives() == TOGETHER + 2 * ALONE + 1
    assert [letter.offset for letter in partition.letters] == [11, 13]
    assert set(partition.done) == {10, 14}


async def test_other_deaths_set_nothing_aside(tmp_path: Path) -> None:
    partition = Partition(tmp_path, {13})
    for _ in range(TOGETHER + ALONE - 1):
        with pytest.raises(DiedError):
            await partition.run()
    partition.deadly.clear()  # it was something else after all
    await partition.lives()
    assert partition.done == [10, 11, 13, 14]
    assert partition.letters == []


async def test_batches_that_go_well_leave_no_count(tmp_path: Path) -> None:
    partition = Partition(tmp_path, set())
    await partition.lives()
    assert FileMarks(tmp_path).read("orders", 3) == Mark()


@pytest.mark.parametrize("content", ["", "[1, 2", "7", '{"a": 1}', '["1"]', "[15, 0, false]"])
def test_a_torn_mark_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "orders-3.mark").write_text(content)
    assert FileMarks(tmp_path).read("orders", 3) is None
    assert FileMarks(tmp_path / "none").read("orders", 3) is None


def test_a_note_that_finds_no_space_says_what_to_do(tmp_path: Path) -> None:
    """full(4): every write to /dev/full fails with ENOSPC."""
    (tmp_path / "orders-3.mark").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="the disk is full: free space there"):
        FileMarks(tmp_path).write("orders", 3, Mark(1, 2, 1))


async def test_what_another_partition_was_working_on_is_not_blamed(tmp_path: Path) -> None:
    """Batches of two partitions are under way at each death. One record is deadly, the other just there."""
    letters: list[DeadLetter] = []
    done: list[tuple[int, int]] = []

    async def aside(given: list[DeadLetter]) -> None:
        letters.extend(given)

    async def handle(batch: RecordBatch) -> None:
        await asyncio.sleep(0)  # the other one gets as far
        for record in batch.records:
            if (batch.partition, record.offset) == (1, 7):
                raise DiedError
        for _ in range(9):  # it takes longer than the other takes to die
            await asyncio.sleep(0)
        done.extend((batch.partition, record.offset) for record in batch.records)

    for _ in range(20):
        careful = Quarantine(FileMarks(tmp_path), aside, lambda: 99).guarded(handle)
        lives = [
            asyncio.ensure_future(careful(RecordBatch("orders", number, [Raw(7)], 7, 8)))
            for number in (0, 1)
            if (number, 7) not in done
        ]
        ended, going_on = await asyncio.wait(lives, return_when=asyncio.FIRST_EXCEPTION)
        for task in going_on:
            task.cancel()  # the process is gone
        await asyncio.gather(*going_on, return_exceptions=True)
        if not any(task.exception() for task in ended):
            break
    assert [(letter.partition, letter.offset) for letter in letters] == [(1, 7)]
    assert done == [(0, 7)]


def test_a_mark_outlives_the_process(tmp_path: Path) -> None:
    mark = Mark(3, 9, 2, (Suspect(5, "ab", 3, aside=True), Suspect(6, "cd", 1)))
    FileMarks(tmp_path).write("orders", 3, mark)
    assert FileMarks(tmp_path).read("orders", 3) == mark


async def test_a_topic_made_anew_has_another_record_there(tmp_path: Path) -> None:
    partition = Partition(tmp_path, {11}, stores=False)
    await partition.lives()
    done: list[bytes | None] = []

    async def handle(batch: RecordBatch) -> None:
        done.extend(record.value for record in batch.records)

    quarantine = Quarantine(FileMarks(tmp_path), partition._aside, lambda: 99)
    records = [Raw(offset, b"new") for offset in (10, 11, 12)]
    await quarantine.guarded(handle)(RecordBatch("orders", 3, records, 10, 13))
    assert done == [b"new"] * 3


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        StoreUnavailable("the disk is full"),
        StoreDamaged("Corruption"),
        Fenced("epoch 2 has taken over"),
        ChangelogError("nothing at 7"),
        ProduceError("timers", 0, "not allowed", retriable=False),
    ],
)
async def test_what_is_certainly_not_the_records_fault_is_not_counted(
    tmp_path: Path, error: BaseException
) -> None:
    """Restarts in the midst of a record that waits, a full disk, rights taken away by mistake: however
    often, nothing is set aside."""

    async def fails(batch: RecordBatch) -> None:
        raise error

    partition = Partition(tmp_path, set())
    for _ in range(9):
        quarantine = Quarantine(FileMarks(tmp_path), partition._aside, lambda: 99)
        with pytest.raises(type(error)):
            await quarantine.guarded(fails)(RecordBatch("orders", 3, [Raw(10)], 10, 11))
    assert FileMarks(tmp_path).read("orders", 3) == Mark()
    await partition.lives()
    assert partition.done == [10, 11, 13, 14]


async def test_what_no_topic_takes_is_the_records_fault(tmp_path: Path) -> None:
    partition = Partition(tmp_path, set())
    refused = ProduceError("timers", 0, "too large", retriable=False, of_record=True)

    async def fails(batch: RecordBatch) -> None:
        if batch.records:
            raise refused

    for _ in range(TOGETHER + ALONE):
        quarantine = Quarantine(FileMarks(tmp_path), partition._aside, lambda: 99)
        with pytest.raises(ProduceError):
            await quarantine.guarded(fails)(RecordBatch("orders", 3, [Raw(10)], 10, 11))
    quarantine = Quarantine(FileMarks(tmp_path), partition._aside, lambda: 99)
    await quarantine.guarded(fails)(RecordBatch("orders", 3, [Raw(10)], 10, 11))
    assert [letter.offset for letter in partition.letters] == [10]


async def test_a_record_that_waits_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it waits (for the schema registry, say), and the other partitions go on."""
    monkeypatch.setattr("agents.quarantine._COMPANY", 0.01)
    marks = FileMarks(tmp_path)
    marks.write("orders", 3, Mark(10, 11, TOGETHER))
    going_on, done = asyncio.Event(), asyncio.Event()

    async def handle(batch: RecordBatch) -> None:
        if batch.partition == 3:
            await going_on.wait()
        else:
            done.set()

    async def aside(_: list[DeadLetter]) -> None:
        raise AssertionError

    careful = Quarantine(marks, aside, lambda: 99).guarded(handle)
    waits = asyncio.ensure_future(careful(RecordBatch("orders", 3, [Raw(10)], 10, 11)))
    async with asyncio.timeout(60):
        await careful(RecordBatch("orders", 4, [Raw(10)], 10, 11))
        assert done.is_set()
        going_on.set()
        await waits


async def test_a_suspect_is_alone(tmp_path: Path) -> None:
    """Whatever kills the worker meanwhile is no other record."""
    marks = FileMarks(tmp_path)
    for number in (0, 1):
        marks.write("orders", number, Mark(10, 20, TOGETHER))
    inside: list[int] = []
    seen: set[tuple[int, ...]] = set()

    async def handle(batch: RecordBatch) -> None:
        inside.append(batch.partition)
        for _ in range(5):
            await asyncio.sleep(0)
            seen.add(tuple(sorted(inside)))
        inside.remove(batch.partition)

    async def aside(_: list[DeadLetter]) -> None:
        raise AssertionError

    careful = Quarantine(marks, aside, lambda: 99).guarded(handle)

    async def read(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        for first in range(10, 20, 2):
            records = [Raw(first), Raw(first + 1)]
            await careful(RecordBatch("orders", number, records, first, first + 2))

    async with asyncio.timeout(60):
        await asyncio.gather(*(read(number) for number in range(4)))
    assert {(0,), (1,), (2, 3)} <= seen, "the others go side by side"
    assert not any(len(together) > 1 and {0, 1} & {*together} for together in seen)
