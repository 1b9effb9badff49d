"""What an entity partition and a sender partition have in common: a store that follows a changelog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from agents.outputs import Outputs
from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import DeadLetter
from schemas.registry import Registry
from streams.clock import WorkerClock
from streams.domain.catalog import Catalog
from streams.kafka.batches import Record, RecordBatch
from streams.kafka.changelog import PositionAheadOfLog, PositionGone
from streams.kafka.topics import TOMBSTONES
from streams.metrics import Metrics
from streams.stages import slots
from streams.stages.fencing import (
    CLAIM,
    Fence,
    Fenced,
    LogRecord,
    StateTooNew,
    claim_record,
)
from streams.stages.ports import KeyValue, Write
from streams.state.errors import StoreDamaged
from streams.state.rocks import RocksStore, destroy

log = logging.getLogger(__name__)

POSITION = b"\x01position"
"""Key in ``meta``: the next offset of the changelog that this store has not seen."""
FOLLOWED = b"\x01followed"
"""Key in ``meta``: which changelog that was, and when."""
_SOURCE_TOPIC = b"\x00source topic "
"""Key in ``meta`` and in the changelog, with a topic's name: the broker's id of the topic that was read."""
ANOTHER_TOPIC = "it followed another topic of this name"
LONGEST_AWAY = TOMBSTONES // 2
"""Milliseconds after which a store that did not follow its changelog may have missed deletions in it."""
_NOTED_EVERY = 3_600_000
"""Milliseconds between notes of how far a store that nothing happens to has come."""

SAVED_EVERY = 20_000
"""Changelog records after which a store is saved. A worker that was killed reads again what was not, some
80,000 records a second; saved by itself alone it would be as much as fits into memory, half a million."""

StageT = TypeVar("StageT")
MayClaim = Callable[[], Awaitable[None]]
Restorer = Callable[[KeyValue, Sequence[tuple[bytes, bytes | None]]], list[Write]]
Snapshot = Callable[[KeyValue, Sequence[bytes]], list[tuple[bytes, bytes | None]]]


class Followed(msgspec.Struct, array_like=True):
    """What a store knows of the changelog that it follows. Milliseconds."""

    layout: int
    """Of the store's families, as the stage has them."""
    topic_id: str
    """Of the broker, so that a topic made anew under the same name is told from it; empty: not known."""
    caught_up: int
    epoch: int
    stale: list[bytes]
    """See ``Fence``."""
    begun: bool = True
    """See ``Fence``. An earlier release did not ask."""
    whole: bool = False
    """The store has been at the end of the changelog, and its owner, since it was opened last."""


_encode = msgspec.msgpack.Encoder().encode
_decode_int = msgspec.msgpack.Decoder(int).decode
_decode_followed = msgspec.msgpack.Decoder(Followed).decode


class MadeAnew(Exception):  # noqa: N818 - says what is the matter
    """The changelog was deleted and made anew, and what it held has not been put back."""


class Left(Exception):  # noqa: N818 - says what is the matter
    """The partition was taken away while it was being opened."""


async def at_once() -> None:
    """Whoever opens this partition may claim it."""


def source_of(changelog: str) -> str:
    """The topic of whose records a changelog keeps what came of them."""
    return "timers" if changelog == "timers-changelog" else changelog.removesuffix("-state")


class Disk(Protocol):
    """Where the stores of a worker's partitions lie."""

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        """Opens the store, or makes it. StoreDamaged: ``destroy`` it first."""

    def destroy(self, name: str) -> None: ...

    def names(self) -> Sequence[str]:
        """Of what may be stores."""


class RocksDisk:
    """One RocksDB directory for each store, under ``data``. Where the layout is not the first, its number is
    part of the directory's name: a release that does not know it (an update may be taken back) finds nothing,
    and rebuilds, instead of a store that it can't read."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        path = self.folder(name)
        if path.name != name:
            destroy(self._data / name)  # of the layout before
        return RocksStore(path, families)

    def destroy(self, name: str) -> None:
        destroy(self.folder(name))

    def names(self) -> Sequence[str]:
        """Of this release's stores alone."""
        found = (path.name for path in self._data.glob("*") if path.is_dir())
        names = {name: name.partition(".")[0] for name in found}
        return sorted(name for folder, name in names.items() if self.folder(name).name == folder)

    def folder(self, name: str) -> Path:
        """Where the store of this name lies."""
        timers = name.startswith("timers-changelog-")
        return self._data / (f"{name}.{slots.LAYOUT}" if timers else name)


class ReadLog(Protocol):
    """``streams.kafka.changelog.ChangelogReader.read``."""

    async def __call__(
        self,
        topic: str,
        partition: int,
        start: int | None,
        on_records: Callable[[list[LogRecord]], None],
        /,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all partitions of one worker share."""

    disk: Disk
    read_log: ReadLog
    outputs: Outputs
    codec: Codec
    registry: Registry
    catalog: Catalog
    clock: WorkerClock
    metrics: Metrics
    formats: Mapping[str, str]
    """By entity topic: ``avro``, ``json``, or ``auto``."""
    topic_id: Callable[[str], Awaitable[str]]
    """The broker's id of a topic, empty where it does not say."""
    committed: Callable[[str, int], Awaitable[int]]
    """What the group has committed of a topic's partition; 0: nothing."""
    name: str
    """Of this worker process, unlike any other's."""


class PartitionStore:
    """One partition's store on disk: opened, brought up to its changelog or thrown away and rebuilt, and
    claimed (``streams.stages.fencing``). Between ``restore`` and ``close`` it is this worker's alone."""

    def __init__(
        self,
        shared: Shared,
        changelog: str,
        partition: int,
        families: Sequence[str],
        restorer: Restorer,
        snapshot: Snapshot,
        layout: int,
    ) -> None:
        self._shared = shared
        self.changelog = changelog
        self.partition = partition
        self._topic = shared.outputs.topic(changelog)
        self._families = families
        self._restorer = restorer
        self._snapshot = snapshot
        self._layout = layout
        self._name = f"{changelog}-{partition}"
        self._topic_id = ""
        self._caught_up = 0
        self._position: int | None = None
        self._saved = 0
        """The position when the store was saved last."""
        self._fence = Fence()
        self._epoch = 0
        self._whole = False
        self.store: KeyValue = self._open()
        self.renewed: Callable[[], None] = lambda: None
        """Told when ``store`` is another one; the one before is closed."""

    def __str__(self) -> str:
        return f"{self._topic}[{self.partition}]"

    async def restore(self, may_claim: MayClaim = at_once) -> None:
        """Reads the changelog from the store's position to its end and claims it when ``may_claim`` returns;
        rebuilds a store that is damaged or can't be one of this changelog, and says why. Raises StateTooNew,
        MadeAnew, and what ``may_claim`` raises."""
        try:
            await self._restore(may_claim)
        except StoreDamaged as error:
            self._rebuild(str(error))
            await self._restore(may_claim)

    async def _restore(self, may_claim: MayClaim) -> None:
        self._topic_id = await self._shared.topic_id(self._topic)
        unfit = self._load()
        if unfit == ANOTHER_TOPIC:
            await self._survey()
            await self._must_be_begun()  # the store may be all that is left of what it held
        if unfit:
            self._rebuild(unfit)
        try:
            await self._read()
        except (PositionAheadOfLog, PositionGone) as error:
            self._rebuild(str(error))
            await self._read()
        await self._must_be_begun()
        await self._claim(may_claim)

    @property
    def position(self) -> int:
        """The next offset of the changelog that this store has not seen."""
        return self._position or 0

    async def commit(self, changelog: Sequence[tuple[bytes, bytes | None]], writes: Sequence[Write]) -> None:
        """Changelog, every ack, then one batch in the store with the position that goes with it.

        Raises Fenced if another owner has claimed the changelog before these records: then nothing is
        written to the store, and nothing that was to follow may be done.
        """
        if self._fence.epoch != self._epoch:
            raise Fenced(f"{self} was taken over")
        foreign: list[bytes] = []
        noted: list[Write] = []
        if changelog:
            end = await self._shared.outputs.changelog(self.changelog, self.partition, changelog, self._epoch)
            if end is not None and end == self.position + len(changelog):
                self._position = end
            else:
                foreign = await self._look_back()
            noted = self._noted()
        self.store.write([*writes, *noted])
        self._save()
        await self._write_over(foreign)

    @staticmethod
    def tie(topic: str) -> bytes:
        """The key of the id of ``topic`` in ``meta``."""
        return _SOURCE_TOPIC + topic.encode()

    async def bind(self, source: bytes, topic: str) -> None:
        """Ties the source offset that is stored under ``source`` to the topic that it counts in. Made anew
        since, ``topic`` is read from its beginning: an old offset may be there again, with records before it
        that nobody has worked on."""
        key = self.tie(topic)
        now = (await self._shared.topic_id(self._shared.outputs.topic(topic))).encode()
        known = self.store.get("meta", key)
        if not now or now == known:
            return
        records = [(key, now)]
        if known is not None:
            log.warning(
                "%s was deleted and made anew: partition %d is read from its beginning",
                *(self._shared.outputs.topic(topic), self.partition),
            )
            # First: if only this gets through, the other is found wanting and both are written again.
            records.insert(0, (source, _encode(0)))
        await self.commit(records, [("meta", name, value) for name, value in records])

    async def follow(self, topic: str, forget: Callable[[], None]) -> None:
        """Ties what the store copies from ``topic`` to the topic that it was copied from; ``forget`` empties
        it if the topic was made anew since."""
        key = self.tie(topic)
        now = (await self._shared.topic_id(self._shared.outputs.topic(topic))).encode()
        known = self.store.get("meta", key)
        if not now or now == known:
            return
        if known is not None:
            log.warning(
                "%s was deleted and made anew: partition %d is read from its beginning",
                *(self._shared.outputs.topic(topic), self.partition),
            )
            forget()
        self.store.write([("meta", key, now)])

    def built(self, build: Callable[[], StageT]) -> StageT:
        """What ``build`` makes of the store, which is emptied if it turns out to be damaged: to be restored
        afterwards."""
        try:
            return build()
        except StoreDamaged as error:
            self._rebuild(str(error))
            return build()

    async def look(self, end: int) -> None:
        """The changelog ends at ``end``: was it us? To be asked now and then when nothing is committed.
        Raises Fenced, and MadeAnew."""
        if end < self.position and await self._shared.topic_id(self._topic) not in ("", self._topic_id):
            raise MadeAnew(f"{self} was deleted and made anew while this worker used it")
        if end > self.position:
            foreign = await self._look_back()
            self.store.write(self._noted())
            await self._write_over(foreign)
        elif self._shared.clock.now() - self._caught_up > _NOTED_EVERY:
            self.store.write(self._noted())  # nothing happens to it: only its age is noted

    def close(self) -> None:
        self.store.close()

    # --- the way up

    def _load(self) -> str:
        """Takes over what the store says of itself; why it must be rebuilt, or nothing."""
        raw = self.store.get("meta", POSITION)
        self._position = _decode_int(raw) if raw is not None else None
        self._saved = self.position
        self._fence = Fence()
        if self._position is None:
            return ""
        if strange := self._strange(self.store):
            return strange
        followed = _decode_followed(self.store.get("meta", FOLLOWED) or b"")
        self._caught_up = followed.caught_up
        self._fence = Fence(followed.epoch, followed.stale, begun=followed.begun)
        if followed.topic_id and self._topic_id and followed.topic_id != self._topic_id:
            return ANOTHER_TOPIC
        away = self._shared.clock.now() - followed.caught_up
        if away > LONGEST_AWAY:
            return f"it was away for {away / 86_400_000:.1f} days and may have missed deletions"
        return ""

    async def _survey(self) -> list[bytes]:
        """Reads the changelog for its owners alone, and leaves the store as it is; the keys in it."""
        keys: dict[bytes, None] = {}
        self._fence = Fence()

        def look(records: Sequence[LogRecord]) -> None:
            keys.update(dict.fromkeys(key for key, _ in self._fence.admit(records)))

        self._position = await self._shared.read_log(self._topic, self.partition, None, look)
        return list(keys)

    async def _must_be_begun(self) -> None:
        """Raises MadeAnew when the changelog has had no owner, although its input has been worked on."""
        if self._fence.begun or not self._topic_id:
            return
        source = source_of(self.changelog)
        if await self._shared.committed(self._shared.outputs.topic(source), self.partition):
            raise MadeAnew(
                f"{self} was deleted and made anew, and what it held is not back: start the worker that had "
                f"this partition last, with its CARILLON_DATA; or `carillon topics give-up {self.changelog} "
                f"{self.partition}`, and what it held is lost"
            )

    async def _read(self) -> None:
        """From the position to the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = 0
        self._whole = False
        if self._position is None:
            # A record that is still there has its deletion, if any, before it for as long again.
            self._caught_up = self._shared.clock.now()

        def apply(records: Sequence[LogRecord]) -> None:
            nonlocal seen
            seen += len(records)
            writes = self._restorer(self.store, self._fence.admit(records))
            self._position = records[-1][0] + 1
            self.store.write([*writes, *self._noted(anew=True)])

        try:
            self._position = await self._shared.read_log(self._topic, self.partition, self._position, apply)
        except StateTooNew as error:
            raise StateTooNew(f"{self}: {error}") from None
        self._save()
        if seen:
            log.info("restored %s: %d records in %.1f s", self, seen, loop.time() - began)

    async def _claim(self, may_claim: MayClaim, *, putting_back: bool = False) -> None:
        """A compare-and-swap on the end of the log, again until it holds."""
        by = self._shared.name
        while True:
            await may_claim()
            epoch = self._fence.epoch + 1
            record = claim_record(epoch, self.position, by, putting_back=putting_back)
            end = await self._shared.outputs.changelog(self.changelog, self.partition, [record], epoch)
            if end == self.position + 1:
                self._fence.epoch, self._position = epoch, end
                self._fence.begun = not putting_back
                break
            # Somebody wrote in between, or the acknowledgement was lost: the log knows whose claim holds.
            await self._read()
            if (self._fence.epoch, self._fence.owner) == (epoch, by):
                break
        self._epoch = epoch
        await self._write_over(list(self._fence.stale))
        self._fence.stale.clear()
        self._caught_up, self._whole = self._shared.clock.now(), True
        self.store.write(self._noted(anew=True))

    async def _look_back(self) -> list[bytes]:
        """Reads what lies between our position and the end; the keys that somebody else wrote last."""
        found: list[LogRecord] = []

        def keep(records: Sequence[LogRecord]) -> None:
            found.extend((o, key, value if key == CLAIM else None, e) for o, key, value, e in records)

        position = await self._shared.read_log(self._topic, self.partition, self._position, keep)
        foreign = self._fence.foreign(found, self._epoch)
        self._position = position
        return foreign

    async def _write_over(self, keys: Sequence[bytes]) -> None:
        """A former owner's records came late: what this store holds is said once more."""
        if keys:
            log.warning("%s: %d records of a former owner came late and are written over", self, len(keys))
            await self.commit(self._snapshot(self.store, keys), [])

    def _save(self) -> None:
        if self.position - self._saved >= SAVED_EVERY:
            self._saved = self.position
            self.store.save()

    def _noted(self, *, anew: bool = False) -> list[Write]:
        """The writes that say how far the store has come; ``anew``: also what else it knows of its log."""
        noted: list[Write] = [("meta", POSITION, _encode(self.position))]
        now = self._shared.clock.now()
        if not anew and now - self._caught_up > _NOTED_EVERY:
            self._caught_up, anew = now, True
        if anew:
            fence = self._fence
            followed = Followed(
                *(self._layout, self._topic_id, self._caught_up, fence.epoch, list(fence.stale)),
                *(fence.begun, self._whole),
            )
            noted.append(("meta", FOLLOWED, _encode(followed)))
        return noted

    def _open(self) -> KeyValue:
        """The store, emptied if this release can't read it."""
        try:
            store = self._shared.disk.open(self._name, self._families)
        except StoreDamaged as error:
            return self._emptied(str(error))
        try:
            strange = self._strange(store)
        except StoreDamaged as error:
            strange = str(error)
        if not strange:
            return store
        store.close()
        return self._emptied(strange)

    def _strange(self, store: KeyValue) -> str:
        """Why nothing in it can be read; empty: it can."""
        noted = store.get("meta", FOLLOWED)
        if noted is None:
            began = store.get("meta", POSITION) is not None
            return "an earlier release wrote it, and it does not say when" if began else ""
        layout = _decode_followed(noted).layout
        return "" if layout == self._layout else f"it has layout {layout}, this release writes {self._layout}"

    def _emptied(self, why: str) -> KeyValue:
        log.warning("store %s is rebuilt from the beginning: %s", self._name, why)
        self._shared.disk.destroy(self._name)
        return self._shared.disk.open(self._name, self._families)

    def _rebuild(self, why: str) -> None:
        self.store.close()
        self.store = self._emptied(why)
        self._position, self._fence, self._caught_up, self._saved = None, Fence(), 0, 0
        self.renewed()


def dead_letter(batch: RecordBatch, record: Record, error: DecodeError, now: int) -> DeadLetter:
    """The record as it came, with why it could not be worked on."""
    return DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        error=str(error.reason),
        detail=str(error),
        key=record.key or b"",
        value=record.value or b"",
        at=now,
    )
