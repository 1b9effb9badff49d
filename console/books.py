"""The delivery log of a period, the commands of the same time, and what the workers' stores still hold, held
against each other."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import click
import msgspec

from console.connection import Connection
from console.findings import Finding, Found
from console.output import counted, local_time, progress_bar
from console.stores import CHANGELOG, Stores, partition_of, read_stores, slot_of
from console.stories import UNFINISHED, Stories, Story
from schemas.records import Delivery, Timer, TimerOp
from streams.domain.ids import delivery_id
from streams.kafka.changelog import ChangelogError
from streams.kafka.tail import Tail
from streams.stages.fencing import StateTooNew

_SLACK = 60_000
"""Milliseconds before the period from which on is read: the clocks of brokers and workers differ."""
_LOOKS = 10
"""How often the log is looked at again, a second apart, for an end that its worker has just written."""


@dataclass(frozen=True, slots=True)
class Period:
    """Milliseconds of the workers' clock."""

    since: int
    until: int
    now: int
    grace: int
    """What moved so recently may be under way."""
    by_wall: bool
    """Whether the brokers' clocks are those of the workers (a test may drive a clock of its own)."""

    @property
    def settled(self) -> int:
        return min(self.until, self.now - self.grace)

    @property
    def read_from(self) -> int | None:
        """From when on topics are read; None: from their beginnings."""
        return self.since - _SLACK if self.by_wall else None


@dataclass(frozen=True, slots=True)
class Arming:
    """A command to plan something of which the log of the period says nothing. About 500 bytes."""

    timer: Timer
    """Without the change's bytes."""
    delivery_id: str
    partition: int
    offset: int
    at: int
    """The broker's time."""


class Books:
    """Read them with ``open_books``; ``close`` them."""

    def __init__(self, connection: Connection, period: Period, company: str | None) -> None:
        self._connection = connection
        self._period = period
        self._company = company
        connection.partition_counts(["delivery-log", "timers", CHANGELOG])
        self._tail: Tail = connection.tail("delivery-log", since=period.read_from)
        self.stories = Stories(company, period.until)
        self.commands = 0
        """To plan something, in the period."""

    def close(self) -> None:
        self._tail.close()

    def read_log(self) -> None:
        """Reads on to the end of now."""
        with progress_bar("reading delivery-log") as told:
            for record in self._tail.to_end(progress=told):
                delivery = self._connection.decode("delivery-log", Delivery, record)
                if delivery is not None:
                    self.stories.add(delivery)

    def findings(self) -> Iterator[Found]:
        """The stores are read after the log and the commands: what the log leaves open must be in them, or
        have come to its end since."""
        period = self._period
        open_ = [
            story
            for story in self.stories.by_id.values()
            if story.state in UNFINISHED and story.last_at <= period.settled
        ]
        armings = list(self._armings())
        wanted = {key for story in open_ for key in story.slots} | {slot_of(each.timer) for each in armings}
        if not wanted:
            return
        stores = self._read_stores(wanted, {each.partition for each in armings})
        self.read_log()
        yield from self._planned(open_, stores)
        yield from _commanded(armings, stores)

    def _armings(self) -> Iterator[Arming]:
        period = self._period
        # Without a common clock the period can't be told by the brokers' times; what is under way can.
        latest = period.settled if period.by_wall else time.time_ns() // 1_000_000 - period.grace
        with progress_bar("reading timers") as told:
            for record in self._connection.each("timers", since=period.read_from, progress=told):
                if record.timestamp > latest:
                    continue
                timer = self._connection.decode("timers", Timer, record)
                if timer is None or timer.op is not TimerOp.ARM or self._company not in (None, timer.company):
                    continue
                self.commands += 1
                names = (timer.company, timer.rule_id, timer.kind, timer.entity_id)
                id_ = delivery_id(*names, timer.anchor, timer.customer_id)
                if id_ not in self.stories.by_id:
                    short = msgspec.structs.replace(timer, change=b"")
                    yield Arming(short, id_, record.partition, record.offset, record.timestamp)

    def _read_stores(self, wanted: Collection[bytes], partitions: Collection[int]) -> Stores:
        count = self._connection.partition_counts([CHANGELOG])[CHANGELOG]
        numbers = sorted({partition_of(key, count) for key in wanted} | set(partitions))
        try:
            with progress_bar("reading timers-changelog") as told:
                return read_stores(self._connection.settings, wanted, numbers, told)
        except ChangelogError as error:
            raise click.ClickException(f"{CHANGELOG} can't be read to its end: {error}") from None
        except StateTooNew as error:
            raise click.ClickException(f"{CHANGELOG}: {error}") from None

    def _planned(self, open_: list[Story], stores: Stores) -> Iterator[Found]:
        """What the log left open: it must be pending, or the log must have its end by now."""
        unwritten: list[Story] = []
        numbers = self._last_numbers({story.reminder_slot for story in open_})
        for story in open_:
            if story.state not in UNFINISHED:
                continue  # it came to its end while we were reading
            row = stores.pending(story.slots, story.delivery_id)
            if row is not None:
                if row.due < self._period.now - self._period.grace:
                    yield story.found(Finding.OVERDUE, f"{row.state}, due {local_time(row.due, 'UTC')} UTC")
            elif self._goes_on(story, stores, numbers):
                unwritten.append(story)
            else:
                yield story.found(Finding.LOST, f"last known as {story.state}")
        for _ in range(_LOOKS if self._period.grace else 0):
            if not unwritten:
                return
            time.sleep(1)
            self.read_log()
            unwritten = [story for story in unwritten if story.state in UNFINISHED]
        for story in unwritten:
            yield story.found(Finding.UNWRITTEN, f"last known as {story.state}")

    def _last_numbers(self, slots: Collection[bytes]) -> dict[bytes, int]:
        """The last number that the log has of these reminders' slots, which several deliveries may share."""
        numbers: dict[bytes, int] = {}
        for story in self.stories.by_id.values():
            slot = story.reminder_slot
            if slot in slots:
                numbers[slot] = max(numbers.get(slot, -1), story.last)
        return numbers

    def _goes_on(self, story: Story, stores: Stores, numbers: dict[bytes, int]) -> bool:
        """Whether its worker has written more than the log has."""
        reminder, notification = story.slots
        return stores.last_number(notification) > story.last or (
            reminder != notification and stores.last_number(reminder) > numbers[reminder]
        )


def _commanded(armings: Collection[Arming], stores: Stores) -> Iterator[Found]:
    """Commands of which the log says nothing: not worked on yet, a repeat of what was, or lost."""
    unread: dict[int, list[int]] = {}
    for arming in armings:
        if arming.offset >= stores.sources.get(arming.partition, 0):
            unread.setdefault(arming.partition, []).append(arming.at)
            continue
        timer = arming.timer
        slot = stores.slots.get(slot_of(timer))
        # The slot remembers the newest command that it has seen, whatever became of it: this one's delivery
        # ended before the period, or newer facts took its place.
        if slot is None or (slot.head.version, slot.head.rule_version) < (
            timer.entity_version,
            timer.rule_version,
        ):
            yield Found(
                kind=Finding.UNHEARD,
                company=timer.company,
                entity=f"{timer.kind}/{timer.entity_id}",
                delivery_id=arming.delivery_id,
                rule_id=timer.rule_id,
                at=arming.at,
                detail=f"timers[{arming.partition}] offset {arming.offset}",
            )
    for partition, times in sorted(unread.items()):
        oldest = local_time(min(times), "UTC")
        yield Found(
            kind=Finding.UNREAD,
            at=min(times),
            detail=f"timers[{partition}]: {counted(len(times), 'command')}, the oldest of {oldest} UTC",
        )
