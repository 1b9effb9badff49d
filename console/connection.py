"""A command's connection to Kafka: reads topics to their ends without a consumer group, and publishes.

Every failure is a ``click.ClickException`` with a sentence that says what to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import click

from agents.connections import RECORDS, BrokerError, broker_errors, registry_config
from schemas.codec import Codec
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId
from schemas.records import Company, Record
from schemas.registry import open_registry
from streams.domain.catalog import Catalog
from streams.domain.ids import split_key
from streams.kafka.offsets import Offsets
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer, ProduceError
from streams.kafka.security import librdkafka_config
from streams.kafka.tail import Tail, TailError, TailRecord
from streams.settings import Settings

# What librdkafka says while it retries ("coordinator load in progress") is no news to a person who waits
# for one command; what it gives up on comes as a ProduceError.
logging.getLogger("streams.kafka.producer").setLevel(logging.ERROR)

R = TypeVar("R", bound=Record)
T = TypeVar("T")

SHOP_TOPICS = ("companies", "locations", "statuses", "mailboxes", "templates", "rules")
"""What a shop file is made of. Suppressions are not: there may be millions."""


class RawPublication(NamedTuple):
    """A record as it is to lie in its partition. ``name``: the topic without prefix."""

    name: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


Publication = tuple[str, bytes, Record | None]
"""Topic without prefix, key, and the record; None is a tombstone."""


class Connection:
    """Topics are named without the settings' prefix. Made by ``connected``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._security = librdkafka_config(settings)
        self._registry = open_registry(registry_config(settings))
        self._codec = Codec(self._registry)
        self._offsets = Offsets(settings.broker, self._security)

    def partition_counts(self, names: Sequence[str]) -> dict[str, int]:
        """Raises click's exception where a topic does not exist."""
        prefix = self.settings.topic_prefix
        ends = self._offsets.ends([prefix + name for name in names])
        missing = [prefix + name for name in names if prefix + name not in ends]
        if missing:
            raise click.ClickException(
                f"no topic {', '.join(missing)} at {self.settings.broker}; carillon topics create makes them"
            )
        return {name: len(ends[prefix + name]) for name in names}

    def records(self, name: str, *, key: bytes | None = None) -> list[TailRecord]:
        """Everything in the topic; with ``key``, what has this key in the partition that it belongs to (the
        topic must be one of ours: other producers choose partitions otherwise)."""
        count = self.partition_counts([name])[name]
        partitions = None if key is None else {partition_for(key, count)}
        tail = Tail(
            self.settings.broker, self._security, self.settings.topic_prefix + name, partitions=partitions
        )
        try:
            found = tail.read_to_end(deadline=120)
        finally:
            tail.close()
        return found if key is None else [record for record in found if record.key == key]

    def each(
        self,
        name: str,
        *,
        since: int | None = None,
        partitions: Collection[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[TailRecord]:
        """The same one by one, from what the broker got at ``since`` (milliseconds) on; nothing is kept."""
        self.partition_counts([name])
        tail = self.tail(name, since=since, partitions=partitions)
        try:
            yield from tail.to_end(progress=progress)
        finally:
            tail.close()

    def tail(self, name: str, *, since: int | None = None, partitions: Collection[int] | None = None) -> Tail:
        """For those who read on later. To be closed."""
        topic = self.settings.topic_prefix + name
        return Tail(self.settings.broker, self._security, topic, partitions=partitions, since=since)

    def with_codec(self, use: Callable[[Codec], T]) -> T:
        """What ``use`` makes of the codec; schemas that it lacks are fetched. Raises what ``use`` raises."""
        while True:
            try:
                return use(self._codec)
            except UnknownSchemaId as unknown:
                asyncio.run(self._registry.fetch(unknown.ids))

    def register(self) -> None:
        """Makes our own contracts known to the registry, before anything is encoded."""
        asyncio.run(self._registry.register_all())

    def decode(self, name: str, kind: type[R], record: TailRecord) -> R | None:
        """None, and a line on standard error, for what is no such record: one bad record hides no others."""
        try:
            return self.with_codec(lambda codec: codec.decode(kind, record.value))
        except DecodeError as error:
            click.echo(f"{name}[{record.partition}] offset {record.offset} left out: {error}", err=True)
            return None

    def catalog(self, names: Iterable[str] = SHOP_TOPICS) -> Catalog:
        """What the reference topics say now."""
        catalog = Catalog()
        wanted = list(names)
        self.partition_counts(wanted)  # names all that are missing at once
        # A new reader's first fetch takes half a second of librdkafka's own: they wait together.
        with ThreadPoolExecutor(len(wanted)) as pool:
            read = list(pool.map(self.records, wanted))
        for name, records in zip(wanted, read, strict=True):
            kind = RECORDS[name]
            for record in records:
                if not record.value:
                    parts = split_key(record.key)
                    catalog.remove(kind, parts[0], parts[0] if kind is Company else parts[-1])
                    continue
                decoded = self.decode(name, kind, record)
                if decoded is not None:
                    catalog.apply(decoded)
        return catalog

    def publish(self, records: Sequence[Publication]) -> None:
        """In order; returns when the brokers have acknowledged every record."""
        with self.writer() as writer:
            writer.publish(records)

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """For those who write several times: a new producer's first record takes half a second."""
        with asyncio.Runner() as runner:
            counts: dict[str, int] = {}
            producer = BatchProducer(self.settings.broker, self._security, partitions=counts.__getitem__)
            runner.run(self._registry.register_all())
            runner.run(producer.start())
            try:
                yield Writer(self, self._codec, runner, producer, counts)
            finally:
                runner.run(producer.stop())


class Writer:
    """Made by ``Connection.writer``."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        runner: asyncio.Runner,
        producer: BatchProducer,
        counts: dict[str, int],
    ) -> None:
        self._connection = connection
        self._prefix = connection.settings.topic_prefix
        self._codec = codec
        self._runner = runner
        self._producer = producer
        self._counts = counts

    def publish(self, records: Sequence[Publication]) -> None:
        """In order; returns when the brokers have acknowledged every record."""
        found = self._connection.partition_counts(list(dict.fromkeys(name for name, _, _ in records)))
        self._counts |= {self._prefix + name: count for name, count in found.items()}
        self._runner.run(self._publish(records))

    async def _publish(self, records: Sequence[Publication]) -> None:
        # One topic after the other, as they come: nothing may refer to what is not there yet.
        for name, batch in _runs(records):
            values = [(key, None if record is None else self._codec.encode(record)) for key, record in batch]
            await self._producer.send(self._prefix + name, values)

    def put(self, records: Sequence[RawPublication]) -> list[int | ProduceError | None]:
        """Writes records as they are, those of a partition in their order. Of each its offset, None where the
        broker does not say, or why it was not written."""
        return self._runner.run(self._put(records))

    async def _put(self, records: Sequence[RawPublication]) -> list[int | ProduceError | None]:
        async def send(record: RawPublication) -> int | ProduceError | None:
            topic, values = self._prefix + record.name, [(record.key, record.value)]
            try:
                sent = await self._producer.send(
                    topic, values, partition=record.partition, headers=record.headers
                )
            except ProduceError as error:
                return error
            return sent.last_offsets.get(record.partition)

        return await asyncio.gather(*(send(record) for record in records))


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """A connection whose failures are sentences."""
    with explained(settings):
        yield Connection(settings)


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Failures of brokers and registry as click's exceptions."""
    try:
        with broker_errors(settings):
            yield
    except (BrokerError, RegistryError) as error:
        raise click.ClickException(str(error)) from None
    except TailError as error:
        raise click.ClickException(f"{settings.broker} stopped answering while reading: {error}") from None
    except ProduceError as error:
        again = "Try again: what was published already is not published twice." if error.retriable else ""
        raise click.ClickException(f"not everything was published: {error}. {again}".strip()) from None


def _runs(
    records: Sequence[Publication],
) -> Iterator[tuple[str, list[tuple[bytes, Record | None]]]]:
    """Neighbours of one topic together."""
    batch: list[tuple[bytes, Record | None]] = []
    for number, (name, key, record) in enumerate(records):
        batch.append((key, record))
        if number + 1 == len(records) or records[number + 1][0] != name:
            yield name, batch
            batch = []
