"""The reference tables of a worker: broadcast topics into the catalog, and word of every change."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from agents.connections import RECORDS
from schemas.codec import Codec
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId
from schemas.records import Channel, Company, Location, Rule, Suppression
from schemas.registry import Registry
from streams.domain.catalog import Catalog, Reference, ReferenceType, suppression_id
from streams.domain.ids import split_key
from streams.kafka.broadcast import BroadcastReader, BroadcastRecord

log = logging.getLogger(__name__)

Changed = list[tuple[str, str]]
"""(company, rule id) of a rule that changed; (company, "") when the company or a location did."""


class ReferenceTables:
    """Keeps ``catalog`` as the reference topics say; ``on_change`` is told on the event loop. ``records``:
    the topics to be read, without prefix."""

    def __init__(
        self,
        bootstrap: str,
        security: Mapping[str, str],
        prefix: str,
        codec: Codec,
        registry: Registry,
        catalog: Catalog,
        on_change: Callable[[Changed], None],
        records: Mapping[str, ReferenceType] = RECORDS,
    ) -> None:
        self._types = {prefix + name: record for name, record in records.items()}
        self._codec = codec
        self._registry = registry
        self._catalog = catalog
        self._on_change = on_change
        self._queue: deque[BroadcastRecord] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self.positions: dict[str, dict[int, int]] = {}
        """Next offset by topic and partition: what lies below is in the catalog."""
        self.reader = BroadcastReader(bootstrap, security, list(self._types), self._apply)

    async def start(self) -> None:
        """Fetches the schemas of the reference topics, then begins to read."""
        await self._registry.preload(self._types)
        await self.reader.start()

    async def caught_up(self, timeout: float) -> None:
        """Returns once the catalog has everything that the topics held when the reader started."""
        await self.reader.caught_up(timeout)
        await self.applied()

    async def applied(self) -> None:
        """Returns once everything that was read is in the catalog: a schema may have to be fetched."""
        while self._fetching is not None:
            await asyncio.wait((self._fetching,))

    def _apply(self, batch: list[BroadcastRecord]) -> None:
        self._queue += batch
        if self._fetching is None:
            self._work()

    def _work(self) -> None:
        """In the order of the log: a record that waits for its schema keeps back those that follow, or it
        would bring back what one of them removed."""
        changed: Changed = []
        while self._queue:
            record = self._queue[0]
            try:
                self._one(record, changed)
            except UnknownSchemaId as unknown:
                self._fetching = asyncio.create_task(self._fetch(record, unknown.ids))
                break
            except (DecodeError, ValueError) as error:
                # Nobody can be sent a wrong text by a rule that could not be read; the one before it stays.
                log.error("%s offset %d was left out: %s", record.topic, record.offset, error)  # noqa: TRY400 - no traceback: it is the publisher's record that is wrong
            self._done(record)
        if changed:
            self._on_change(list(dict.fromkeys(changed)))

    async def _fetch(self, record: BroadcastRecord, ids: Iterable[int]) -> None:
        """A schema that was registered after the start."""
        try:
            await self._registry.fetch(ids)
        except RegistryError as error:
            log.error("%s offset %d was left out: %s", record.topic, record.offset, error)  # noqa: TRY400 - the message says it all
            self._done(record)
        self._fetching = None
        self._work()

    def _done(self, record: BroadcastRecord) -> None:
        self._queue.popleft()
        self.positions.setdefault(record.topic, {})[record.partition] = record.offset + 1

    def _one(self, record: BroadcastRecord, changed: Changed) -> None:
        kind = self._types[record.topic]
        if record.value is None:
            parts = split_key(record.key)
            company = parts[0]
            if kind is Company:
                id_ = company
            elif kind is Suppression:
                id_ = suppression_id(Channel(parts[1]), parts[2])
            else:
                id_ = parts[-1]
            if not self._catalog.remove(kind, company, id_):
                return
        else:
            decoded: Reference = self._codec.decode(kind, record.value)
            if not self._catalog.apply(decoded):
                return
            company = decoded.id if isinstance(decoded, Company) else decoded.company
            id_ = "" if isinstance(decoded, Suppression) else decoded.id
        if kind is Rule:
            changed.append((company, id_))
        elif kind is Company or kind is Location:
            changed.append((company, ""))
