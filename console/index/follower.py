"""Reads one topic for ever, on a thread of its own, and hands on what is in it, batch by batch."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from agents.connections import registry_config
from schemas.codec import Codec
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.records import Record
from schemas.registry import open_registry
from streams.kafka.security import librdkafka_config
from streams.kafka.tail import Tail, TailRecord
from streams.settings import Settings

log = logging.getLogger(__name__)

R = TypeVar("R")
RecordT = TypeVar("RecordT", bound=Record)

Sink = Callable[[Sequence[R | bytes], dict[int, int]], None]
"""Given records (the key of a tombstone) and the next offsets by partition, on the follower's thread."""

Reading = Callable[[Codec, TailRecord], R | None]
"""What a record that is no tombstone says; None: nothing. Raises DecodeError, UnknownSchemaId."""


def whole(kind: type[RecordT]) -> Reading[RecordT]:
    """The value is a record of the contracts."""
    return lambda codec, record: codec.decode(kind, record.value)


_BATCH = 5_000
_WAIT = 0.05
"""Seconds: a write is read back after so long."""


class Follower(Generic[R]):
    """``sink`` must stand repeats. Where it raises, or the brokers are lost for good, the thread ends and
    ``failure`` says why: the process is to be started again."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        read: Reading[R],
        open_sink: Callable[[], Sink[R]],
        start: Mapping[int, int] | None = None,
    ) -> None:
        """``name``: the topic without prefix. ``open_sink`` is called on the thread."""
        self.name = name
        self.failure: BaseException | None = None
        self.positions: dict[int, int] = {}
        """Next offset by partition: what lies below has been through ``sink``."""
        self._settings = settings
        self._read_one = read
        self._open_sink = open_sink
        self._start = dict(start or {})
        self._stopping = threading.Event()
        self._read = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"index-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def caught_up(self) -> bool:
        """Everything that the topic held when the follower started has been through ``sink``."""
        return self._read.is_set() and self.failure is None

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:
            log.exception("the index no longer follows %s", self.name)
            self.failure = error

    def _follow(self) -> None:
        settings = self._settings
        registry = open_registry(registry_config(settings))
        codec = Codec(registry)

        def decode(record: TailRecord) -> R | None:
            while True:
                try:
                    return self._read_one(codec, record)
                except UnknownSchemaId as unknown:
                    asyncio.run(registry.fetch(unknown.ids))
                except DecodeError as error:
                    # One bad record hides no others.
                    log.error("%s offset %d was left out: %s", self.name, record.offset, error)  # noqa: TRY400 - it is the record that is wrong
                    return None

        sink = self._open_sink()
        topic = settings.topic_prefix + self.name
        tail = Tail(settings.broker, librdkafka_config(settings), topic, start=self._start)
        try:
            goal = tail.ends()
            while not self._stopping.is_set():
                records = tail.fetch(_WAIT)
                while records and len(records) < _BATCH and (more := tail.fetch(0)):
                    records += more
                reached = dict(tail.positions)
                if reached != self.positions:
                    found = [decode(each) if each.value else each.key for each in records]
                    sink([each for each in found if each is not None], reached)
                    self.positions = reached
                if not self._read.is_set() and all(reached.get(n, 0) >= end for n, end in goal.items()):
                    self._read.set()
        finally:
            tail.close()
