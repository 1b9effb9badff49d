"""The index at work: followers that fill it, and threads that read it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from console.index.database import connect, open_index, positions
from console.index.follower import Follower, R, Reading, Sink, whole
from console.index.queries import Queries
from console.index.rows import (
    Known,
    put_audit,
    put_customers,
    put_deliveries,
    put_entities,
    put_positions,
    put_suppressions,
)
from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import AuditEntry, Channel, Customer, Delivery, EntityKind, Suppression
from streams.domain.catalog import suppression_id
from streams.domain.ids import address_hash, body_hash, split_key
from streams.kafka.offsets import Offsets
from streams.kafka.security import librdkafka_config
from streams.kafka.tail import TailRecord
from streams.kafka.topic_ids import TopicIds
from streams.settings import Settings
from streams.stages.entity_state import entity_of

T = TypeVar("T")

_STATES = {f"{kind}s-state": kind for kind in EntityKind}
"""What the workers keep of each entity, for those that were booked long before their topic begins."""

TOPICS = ("delivery-log", "suppressions", "audit", "consents", *_STATES)

_READERS = 4
"""Threads; a question takes milliseconds, and a long one must not keep the others waiting."""


class Index:
    """Made by ``open_``; ``stop`` it."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self._settings = settings
        self._path = path
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(_READERS, "index-reader")
        database = connect(path)
        start = {name: positions(database, name) for name in TOPICS}
        database.close()

        def follow(
            name: str, read: Reading[R], put: Callable[[sqlite3.Connection, Sequence[R | bytes]], None]
        ) -> Follower[R]:
            return Follower(settings, name, read, self._sink(name, put), start[name])

        self.followers: dict[str, Follower[Any]] = {
            "delivery-log": follow("delivery-log", whole(Delivery), _deliveries),
            "suppressions": follow("suppressions", whole(Suppression), self._suppressions),
            "audit": follow("audit", whole(AuditEntry), _audit),
            "consents": follow("consents", whole(Customer), put_customers),
            **{name: follow(name, _entity, _entities(kind)) for name, kind in _STATES.items()},
        }

    @classmethod
    async def open_(cls, settings: Settings) -> Index:
        """Opens or makes the file in ``settings.data``, and begins to follow. Raises KafkaException, OSError,
        sqlite3.Error."""
        path = settings.data / "console" / "index.sqlite"
        prefix, security = settings.topic_prefix, librdkafka_config(settings)
        names = [prefix + name for name in TOPICS]
        ids = TopicIds(settings.broker, security, names)
        about = {f"topic {name}": await ids.of(prefix + name) for name in TOPICS}
        about |= {"topic prefix": prefix}
        # Names are made with it.
        about |= {"hash key": body_hash(settings.hash_key.reveal().encode(), "the console's index")}

        def prepare() -> Index:
            ends = Offsets(settings.broker, security).ends(names)
            open_index(path, about, {name: ends.get(prefix + name, {}) for name in TOPICS})
            return cls(settings, path)

        index = await asyncio.to_thread(prepare)
        for follower in index.followers.values():
            follower.start()
        return index

    async def stop(self) -> None:
        for follower in self.followers.values():
            await asyncio.to_thread(follower.stop)
        self._pool.shutdown()

    async def ask(self, question: Callable[[Queries], T]) -> T:
        """The answer, found on another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)

    def _answer(self, question: Callable[[Queries], T]) -> T:
        queries: Queries | None = getattr(self._local, "queries", None)
        if queries is None:
            database = connect(self._path)
            database.execute("PRAGMA query_only = ON")
            queries = self._local.queries = Queries(database)
        return question(queries)

    def suppression_name(self, company: str, channel: Channel, address: str) -> str:
        """By which a suppression is known to those who must not see the address."""
        key = self._settings.hash_key.reveal().encode()
        return address_hash(key, company, suppression_id(channel, address))

    def _suppressions(self, database: sqlite3.Connection, found: Sequence[Suppression | bytes]) -> None:
        rows: list[tuple[str, str, Suppression | None]] = []
        for one in found:
            if isinstance(one, Suppression):
                company, channel, address = one.company, one.channel, one.address
                rows.append((company, self.suppression_name(company, channel, address), one))
            else:
                company, kind, address = split_key(one)
                rows.append((company, self.suppression_name(company, Channel(kind), address), None))
        put_suppressions(database, rows)

    def _sink(
        self, name: str, put: Callable[[sqlite3.Connection, Sequence[R | bytes]], None]
    ) -> Callable[[], Sink[R]]:
        def open_sink() -> Sink[R]:
            database = connect(self._path)

            def sink(found: Sequence[R | bytes], reached: dict[int, int]) -> None:
                with database:
                    put(database, found)
                    put_positions(database, name, reached)

            return sink

        return open_sink


def _deliveries(database: sqlite3.Connection, found: Sequence[Delivery | bytes]) -> None:
    put_deliveries(database, [one for one in found if isinstance(one, Delivery)])


def _audit(database: sqlite3.Connection, found: Sequence[AuditEntry | bytes]) -> None:
    put_audit(database, [one for one in found if isinstance(one, AuditEntry)])


def _entity(_: Codec, record: TailRecord) -> Known | None:
    try:
        found = entity_of(record.key, record.value)
    except (msgspec.DecodeError, ValueError) as error:
        raise DecodeError("undecodable", str(error)) from None
    return None if found is None else Known(*found)


def _entities(kind: EntityKind) -> Callable[[sqlite3.Connection, Sequence[Known | bytes]], None]:
    return lambda database, found: put_entities(database, kind, found)
