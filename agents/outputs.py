"""Where a worker's records go: topics, keys and the wire format, with every acknowledgement awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from schemas.codec import Codec
from schemas.records import DeadLetter, Delivery, Suppression, Timer
from streams.domain.ids import customer_key, log_key, suppression_key
from streams.kafka.producer import BatchProducer, Headers, ProduceError
from streams.kafka.topics import MAX_VALUE
from streams.stages.fencing import EPOCH_HEADER, header_of

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds before a batch is produced again after the brokers could not take it: they may be restarting."""

KeyedValues = Sequence[tuple[bytes, bytes | None]]


class Outputs:
    """One producer and the names of the topics. Retriable failures are tried again until they pass or the
    caller is cancelled; anything else ends the worker (nothing is acknowledged that was not done)."""

    def __init__(self, producer: BatchProducer, codec: Codec, prefix: str) -> None:
        self._producer = producer
        self._codec = codec
        self._prefix = prefix
        self._stopping = False
        self.refused = 0
        """Calls that the brokers have refused and that are tried again."""

    def stop_retrying(self) -> None:
        """The worker is ending: what the brokers don't take now is done again by its successor."""
        self._stopping = True

    def topic(self, name: str) -> str:
        return self._prefix + name

    async def send(
        self,
        name: str,
        records: KeyedValues,
        *,
        partition: int | None = None,
        headers: Headers | None = None,
    ) -> dict[int, int]:
        """The last offsets by partition. ``name`` without the prefix."""
        topic = self.topic(name)
        refused = 0
        try:
            while True:
                try:
                    sent = await self._producer.send(topic, records, partition=partition, headers=headers)
                except ProduceError as error:
                    if not error.retriable or error.fatal or self._stopping:
                        raise
                    log.warning("%s; trying again", error)
                    self.refused += 1 - refused
                    refused = 1
                    await asyncio.sleep(_PAUSE)
                else:
                    return sent.last_offsets
        finally:
            self.refused -= refused

    async def changelog(self, name: str, partition: int, records: KeyedValues, epoch: int) -> int | None:
        """Writes to one partition of a changelog as the owner of ``epoch``; the position after it, or None
        if the broker did not say where it lies (it took the records for repeats)."""
        headers = [(EPOCH_HEADER, header_of(epoch))]
        last = (await self.send(name, records, partition=partition, headers=headers)).get(partition)
        return last + 1 if last is not None else None

    async def timers(self, timers: Sequence[Timer]) -> None:
        if timers:
            encode = self._codec.encode
            await self.send("timers", [(customer_key(t.company, t.customer_id), encode(t)) for t in timers])

    async def deliveries(self, records: Sequence[Delivery]) -> None:
        if records:
            encode = self._codec.encode
            await self.send(
                "delivery-log", [(log_key(r.company, r.kind, r.entity_id), encode(r)) for r in records]
            )

    async def dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Raises when they can't be written: the partition halts rather than drop a record (P7)."""
        if letters:
            await self.send("dead-letters", [(r.key, self._codec.encode(_fitting(r))) for r in letters])
            for letter in letters[:10]:
                log.warning(
                    "dead letter: %s[%d] offset %d: %s",
                    letter.topic,
                    letter.partition,
                    letter.offset,
                    letter.error,
                )

    async def suppressions(self, records: Sequence[Suppression]) -> None:
        if records:
            await self.send(
                "suppressions",
                [(suppression_key(r.company, r.channel, r.address), self._codec.encode(r)) for r in records],
            )


def _fitting(letter: DeadLetter) -> DeadLetter:
    """What no topic of ours can hold is cut; where the whole of it lies is in the letter."""
    size = len(letter.value)
    if size <= MAX_VALUE:
        return letter
    detail = f"{letter.detail} (here: the first {MAX_VALUE})"
    return msgspec.structs.replace(letter, value=letter.value[:MAX_VALUE], detail=detail)
