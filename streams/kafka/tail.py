"""Reading a topic from its beginning, without a consumer group: what the demo, ``carillon feed`` and
tests see of the delivery log.

Nothing is committed and nobody is disturbed: partitions are assigned by hand. Records come in the order of
each partition; across partitions there is no order. A reader sees repeats after a crash of a writer: drop
them by what makes a record unique (``Deliveries`` does it for the delivery log).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.records import Delivery
from streams.kafka.offsets import SILENT, Ends, Offsets, client_config

_CHUNK = 1000


class TailError(RuntimeError):
    """The end was not reached in time: the broker does not answer, or records stopped coming."""


@dataclass(frozen=True, slots=True)
class TailRecord:
    partition: int
    offset: int
    timestamp: int
    """Milliseconds; 0 where the broker says nothing."""
    key: bytes
    value: bytes
    """Empty for a tombstone."""


class Tail:
    """One topic, every partition (or only ``partitions``), from the beginning on, or from the records that
    the broker got at ``since`` (milliseconds), or from the offsets in ``start``. Blocking; not for use within
    an event loop."""

    def __init__(
        self,
        bootstrap: str,
        security: Mapping[str, str],
        topic: str,
        *,
        partitions: Collection[int] | None = None,
        since: int | None = None,
        start: Mapping[int, int] | None = None,
    ) -> None:
        self._topic = topic
        self._only = partitions
        self._since = since
        self._start = start or {}
        self._offsets = Offsets(bootstrap, security)
        self._next: dict[int, int] = {}
        self._consumer = Consumer(
            client_config(bootstrap, security)
            | {
                # Required by the client, never used: nothing subscribes and nothing is committed.
                "group.id": "carillon-tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                # librdkafka's default of 500 ms is what an empty partition keeps a fetch waiting.
                "fetch.wait.max.ms": 20,
            },
            logger=SILENT,
        )

    def read_to_end(self, *, deadline: float = 30.0) -> list[TailRecord]:
        """Everything new up to the ends of the partitions at the time of the call.

        Raises TailError when that takes longer than ``deadline`` seconds.
        """
        ends = self._offsets.ends([self._topic])
        self._assign(ends)
        goal = {number: end for number, end in ends.get(self._topic, {}).items() if number in self._next}
        found: list[TailRecord] = []
        until = time.monotonic() + deadline
        while any(self._next[number] < end for number, end in goal.items()):
            if time.monotonic() > until:
                raise TailError(f"{self._topic}: at {self._next}, its ends are {goal}")
            found += self._fetch(0.005)
        return found

    def to_end(
        self, *, stall: float = 60.0, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[TailRecord]:
        """The same one by one, however many they are: nothing is kept. ``progress`` is given (read so far,
        all) after each fetch.

        Raises TailError when nothing comes for ``stall`` seconds.
        """
        ends = self._offsets.ends([self._topic])
        self._assign(ends)
        goal = {number: end for number, end in ends.get(self._topic, {}).items() if number in self._next}
        begun = dict(self._next)
        whole = sum(max(0, end - begun[number]) for number, end in goal.items())
        heard = time.monotonic()
        while any(self._next[number] < end for number, end in goal.items()):
            records = self._fetch(0.005)
            if not records and time.monotonic() - heard > stall:
                raise TailError(f"{self._topic}: at {self._next}, its ends are {goal}")
            yield from records
            if records:
                heard = time.monotonic()  # the reader's own time does not count
            if progress is not None and records:
                # What was deleted before it was read counts as read; what came meanwhile does not count.
                done = sum(min(self._next[number], end) - begun[number] for number, end in goal.items())
                progress(min(done, whole), whole)

    def follow(self, *, idle: float = 0.2) -> Iterator[TailRecord | None]:
        """Records as they come, for ever; None after ``idle`` seconds without one."""
        while not self._next:
            self._assign(self._offsets.ends([self._topic]))
            if not self._next:
                time.sleep(idle)
                yield None
        while True:
            records = self._fetch(idle)
            yield from records
            if not records:
                yield None

    @property
    def positions(self) -> Mapping[int, int]:
        """By partition, the offset of the next record to be given out by a fetch."""
        return self._next

    def fetch(self, timeout: float) -> list[TailRecord]:
        """What has come, at the latest after ``timeout`` seconds; nothing while there is no such topic."""
        if not self._next:
            self._assign(self._offsets.ends([self._topic]))
        return self._fetch(timeout) if self._next else []

    def ends(self) -> Mapping[int, int]:
        """Where the partitions end now. Raises KafkaException."""
        return self._offsets.ends([self._topic]).get(self._topic, {})

    def close(self) -> None:
        self._consumer.close()

    def _assign(self, ends: Ends) -> None:
        if self._next or self._topic not in ends:
            return
        wanted = [n for n in ends[self._topic] if self._only is None or n in self._only]
        self._next = {number: self._start.get(number, 0) for number in wanted}
        if self._since is not None:
            self._next |= self._offsets_at(self._since, wanted)
        # Offset 0 by its number, not as OFFSET_BEGINNING: asking where the log begins costs a new reader half
        # a second of librdkafka's own. Where 0 has been deleted, auto.offset.reset finds the beginning.
        self._consumer.assign([TopicPartition(self._topic, n, self._next[n]) for n in wanted])

    def _offsets_at(self, moment: int, wanted: Collection[int]) -> dict[int, int]:
        """Where the records of ``moment`` and later begin; nothing of partitions that have to be read from
        the beginning."""

        def ask(at: int, numbers: Collection[int]) -> dict[int, int]:
            asked = [TopicPartition(self._topic, number, at) for number in numbers]
            return {
                each.partition: each.offset for each in self._consumer.offsets_for_times(asked, timeout=10)
            }

        found = ask(moment, wanted)
        none = [number for number, offset in found.items() if offset < 0]
        # Either nothing is as new as that, or this broker knows no times (librdkafka's mock broker answers so
        # whatever it is asked): then it does not know the oldest record either.
        oldest = ask(0, none) if none else {}
        for number in none:
            del found[number]
            if oldest[number] >= 0:
                place = TopicPartition(self._topic, number)
                found[number] = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        return found

    def _fetch(self, timeout: float) -> list[TailRecord]:
        found = []
        for message in self._consumer.consume(_CHUNK, timeout):
            error = message.error()
            if error is not None:
                if error.fatal():
                    raise KafkaException(error)
                if error.code() == KafkaError._PARTITION_EOF:
                    # What lay before it may all have been deleted or compacted away.
                    number, end = message.partition(), message.offset()
                    assert number is not None
                    assert end is not None
                    self._next[number] = max(self._next[number], end)
                continue  # the client reports what it is already repairing: a lost connection, a new leader
            partition, offset = message.partition(), message.offset()
            assert partition is not None  # a fetched record has both
            assert offset is not None
            self._next[partition] = offset + 1
            stamp = message.timestamp()[1]
            found.append(
                TailRecord(partition, offset, max(0, stamp), _bytes(message.key()), _bytes(message.value()))
            )
        return found


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


class Deliveries:
    """The delivery log without repeats.

    ``decode`` makes a Delivery of the bytes of a record (``schemas.codec``) and raises ValueError where
    they are none.
    """

    def __init__(self, tail: Tail, decode: Callable[[bytes], Delivery]) -> None:
        self._tail = tail
        self._decode = decode
        self._seen: set[tuple[str, int]] = set()
        self.repeats = 0
        """Records that said again what an earlier one had said."""

    def read_to_end(self, *, deadline: float = 30.0) -> list[Delivery]:
        """New transitions, in the order of each partition. Raises TailError as ``Tail`` does."""
        fresh = []
        for record in self._tail.read_to_end(deadline=deadline):
            delivery = self._decode(record.value)
            mark = (delivery.delivery_id, delivery.transition)
            if mark in self._seen:
                self.repeats += 1
                continue
            self._seen.add(mark)
            fresh.append(delivery)
        return fresh

    def close(self) -> None:
        self._tail.close()
