"""Everything that a console works with, in one process: the catalog, the people, the index, and the way to
write. The API and the page are given one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agents.connections import RECORDS, broker_errors, registry_config
from agents.reference import ReferenceTables
from console.index.follower import Follower, whole
from console.index.index import TOPICS as INDEXED
from console.index.index import Index
from console.service.connecting import Connecting
from console.service.edits import Edit
from console.service.errors import NotWrittenError
from console.service.pausing import Stop, follow_pauses
from console.service.people import People
from console.service.trial import Trials
from schemas.codec import Codec
from schemas.contracts import TOPICS as CONTRACTS
from schemas.errors import UnknownSchemaId
from schemas.records import AuditEntry, Change, EntityKind, User
from schemas.registry import Registry, open_registry
from senders.pauses import Pauses
from streams.clock import Clock, clock_of
from streams.domain.catalog import Catalog
from streams.kafka.offsets import Offsets
from streams.kafka.producer import BatchProducer, ProduceError
from streams.kafka.security import librdkafka_config
from streams.settings import Settings, SettingsError

_TABLES = {name: record for name, record in RECORDS.items() if name != "suppressions"}
"""Kept in memory; of suppressions there may be millions, they are in the index."""
_TABLE_AGE = 30.0
"""Seconds since the tables were last known to be read; the same as a worker's limit."""
_PRODUCE_WITHIN = 8_000
"""Milliseconds: less than people and proxies wait for an answer."""
_READ_BACK_WITHIN = 10.0
"""Seconds until what was written must have come back."""
_LOOK_EVERY = 0.01
_ANSWER_WITHIN = 5.0


_Places = dict[tuple[str, int], int]
"""Offset of the last record by topic and partition."""


class Desk:
    """Made by ``open_desk``."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        tables: ReferenceTables,
        people: People,
        users: Follower[User],
        pauses: Pauses,
        stops: Follower[Stop],
        index: Index,
        producer: BatchProducer,
        codec: Codec,
        registry: Registry,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.people = people
        self.index = index
        self.clock: Clock = clock_of(settings.clock)
        self.trials = Trials(settings, self.clock)
        self.connecting = Connecting(settings, time.monotonic)
        self._tables = tables
        self.pauses = pauses
        self._users = users
        self._stops = stops
        self._producer = producer
        self._codec = codec
        self._registry = registry
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lock(self, company: str) -> asyncio.Lock:
        """Held from reading a version to having read back the new one: nobody in this process writes in
        between."""
        return self._locks[company]

    async def write(self, edits: Sequence[Edit]) -> None:
        """In order; returns when they are acknowledged and have been read back. What the audit says is
        written first: nothing changes without it. Raises NotWrittenError."""
        if not edits:
            return
        places: _Places = {}
        try:
            await self._send_audit([each.audit for each in edits], places)
            for topic in dict.fromkeys(each.topic for each in edits):
                records = [
                    (each.key, None if each.record is None else self._codec.encode(each.record))
                    for each in edits
                    if each.topic == topic
                ]
                await self._send(topic, records, places)
        except ProduceError as error:
            raise NotWrittenError(str(error), fatal=error.fatal) from None
        await self._read_back(places)

    async def note(self, entry: AuditEntry) -> None:
        """What is done without a record being written. Raises NotWrittenError."""
        places: _Places = {}
        try:
            await self._send_audit([entry], places)
        except ProduceError as error:
            raise NotWrittenError(str(error), fatal=error.fatal) from None
        await self._read_back(places)

    async def _send_audit(self, entries: Sequence[AuditEntry], places: _Places) -> None:
        records = [(each.company.encode(), self._codec.encode(each)) for each in entries]
        await self._send("audit", records, places)

    async def _send(self, name: str, records: Sequence[tuple[bytes, bytes | None]], places: _Places) -> None:
        topic = self.settings.topic_prefix + name
        sent = await self._producer.send(topic, records)
        last = sent.last_offsets
        if not last:  # repeats that the broker recognised: they lie before the end
            offsets = Offsets(self.settings.broker, librdkafka_config(self.settings))
            ends = await asyncio.to_thread(offsets.ends, [topic])
            last = {partition: end - 1 for partition, end in ends[topic].items()}
        places |= {(name, partition): offset for partition, offset in last.items()}

    async def _read_back(self, places: _Places) -> None:
        try:
            async with asyncio.timeout(_READ_BACK_WITHIN):
                while any(  # noqa: ASYNC110 - the readers are threads and have no events
                    self._next_of(*place) <= offset for place, offset in places.items()
                ):
                    await asyncio.sleep(_LOOK_EVERY)
        except TimeoutError:
            raise NotWrittenError("it is written, but could not be read back in time") from None

    def _next_of(self, name: str, partition: int) -> int:
        if name in self.index.followers:
            return self.index.followers[name].positions.get(partition, 0)
        return self._tables.positions.get(self.settings.topic_prefix + name, {}).get(partition, 0)

    async def decode_change(self, kind: EntityKind, raw: bytes) -> Change:
        """A change as a publisher wrote it. Raises DecodeError, RegistryError."""
        while True:
            try:
                return self._codec.decode_change_value(kind, raw)
            except UnknownSchemaId as unknown:
                await self._registry.fetch(unknown.ids)

    # --- health

    def not_live(self) -> list[str]:
        """Why the process has to be started again."""
        reasons = []
        if self._tables.reader.failure is not None:
            reasons.append(f"the tables are no longer read: {self._tables.reader.failure!r}")
        for follower in self._followers():
            if follower.failure is not None:
                reasons.append(f"{follower.name} is no longer read: {follower.failure!r}")
        return reasons

    def _followers(self) -> list[Follower[Any]]:
        return [self._users, self._stops, *self.index.followers.values()]

    def not_ready(self) -> list[str]:
        """Why nothing can be asked yet, or for the moment."""
        reasons = self.not_live()
        if reasons:
            return reasons
        if self._tables.reader.last_confirmed() > _TABLE_AGE:
            reasons.append("the tables have not been read lately")
        for follower in self._followers():
            if not follower.caught_up:
                reasons.append(f"{follower.name} is being read for the first time")
        return reasons


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Begins to read; ``not_ready`` says until when. Raises BrokerError, RegistryError, SettingsError, and
    OSError where no index can be made."""
    security = librdkafka_config(settings)
    prefix = settings.topic_prefix
    topics = [prefix + name for name in (*_TABLES, *INDEXED, "users", "pauses")]
    registry = open_registry(registry_config(settings))
    with broker_errors(settings):
        ends = await asyncio.to_thread(
            Offsets(settings.broker, security, timeout=_ANSWER_WITHIN).ends, topics
        )
        missing = [topic for topic in topics if topic not in ends]
        if missing:
            raise SettingsError(
                [f"{topic}: the topic does not exist: carillon topics create" for topic in missing]
            )
        await registry.register_all({prefix + topic: contract for topic, contract in CONTRACTS.items()})
        try:
            index = await Index.open_(settings)
        except sqlite3.Error as error:
            raise OSError(f"no index can be made in {settings.data}: {error}") from None
    codec, catalog, people = Codec(registry), Catalog(), People()
    tables = ReferenceTables(
        settings.broker, security, prefix, codec, registry, catalog, lambda changed: None, _TABLES
    )
    users: Follower[User] = Follower(
        settings, "users", whole(User), lambda: lambda found, _: people.put(found)
    )
    pauses = Pauses()
    stops = follow_pauses(settings, pauses)
    producer = BatchProducer(
        settings.broker, security, partitions=lambda topic: len(ends[topic]), timeout_ms=_PRODUCE_WITHIN
    )
    await producer.start()
    try:
        await tables.start()
        users.start()
        stops.start()
        yield Desk(settings, catalog, tables, people, users, pauses, stops, index, producer, codec, registry)
    finally:
        await asyncio.to_thread(users.stop)
        await asyncio.to_thread(stops.stop)
        await index.stop()
        await tables.reader.stop()
        await producer.stop()
