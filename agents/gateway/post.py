"""Writes down what came back: nobody is told that we have it before the brokers do."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from agents.gateway.events import Happening
from schemas.codec import Codec
from schemas.records import Suppression
from streams.kafka.producer import BatchProducer, ProduceError, Record

log = logging.getLogger(__name__)

_REMEMBERED = 100_000
"""Repeats come within seconds or minutes; some 30 MB."""


K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """The newest ``limit`` entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, default: V) -> V:
        return self._entries.get(key, default)

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)


class NotTakenError(Exception):
    """The brokers did not acknowledge everything: the same may be posted again. ``fatal``: this process can
    write nothing more."""

    def __init__(self, detail: str, *, fatal: bool) -> None:
        super().__init__(detail)
        self.fatal = fatal


class Post:
    """``take`` may run many times at once.

    What came before and was acknowledged is not written again; readers drop the repeats that get through
    (another process, a restart) by their event ids. The newest word about an address holds: a START that is
    posted again after a STOP frees nothing.
    """

    def __init__(self, producer: BatchProducer, codec: Codec, prefix: str) -> None:
        self._producer = producer
        self._codec = codec
        self._prefix = prefix
        self._done: Memory[str, bool] = Memory(_REMEMBERED)
        self._first: Memory[str, int] = Memory(_REMEMBERED)
        """When an event came for the first time: a repeat is not newer than what it repeats."""
        self._words: Memory[bytes, int] = Memory(_REMEMBERED)
        """When the newest word about an address came."""
        self.refused = False
        """The last call failed."""

    async def take(self, happenings: Sequence[Happening]) -> list[Happening]:
        """Returns, when all of it is acknowledged, what of it was new. Raises NotTakenError."""
        for one in happenings:
            self._first.put(one.event.event_id, self._came(one))
        new = [one for one in happenings if not self._done.get(one.event.event_id, False)]
        if not new:
            return []
        words = [one for one in new if (one.block or one.free) and self._newest(one)]
        events = [(one.key, self._codec.encode(one.event)) for one in new]
        try:
            # What keeps the next message from going comes first.
            await self._send("suppressions", [self._suppression(one) for one in words])
            await self._send("provider-events", events)
        except ProduceError as error:
            self.refused = True
            log.warning("not taken, to be posted again: %s", error)
            raise NotTakenError(str(error), fatal=error.fatal) from None
        self.refused = False
        for one in new:
            self._done.put(one.event.event_id, True)
        return new

    async def _send(self, name: str, records: Sequence[Record]) -> None:
        if records:
            await self._producer.send(self._prefix + name, records)

    def _newest(self, one: Happening) -> bool:
        """Decided before anything is awaited: requests overtake each other."""
        key, at = one.address_key, self._came(one)
        if at < self._words.get(key, at):
            return False
        self._words.put(key, at)
        return True

    def _came(self, one: Happening) -> int:
        return self._first.get(one.event.event_id, one.event.received_at)

    def _suppression(self, one: Happening) -> Record:
        if one.free:
            return one.address_key, None
        event = one.event
        at = self._came(one)
        record = Suppression(
            company=event.company,
            channel=event.channel,
            address=event.address.lower(),
            reason=one.block,
            since=at,
            version=at,
        )
        return one.address_key, self._codec.encode(record)
