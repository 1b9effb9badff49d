"""A changelog that was deleted and made anew gets back what it held, from the disks of the workers that had
its partitions (design decision 13).

Done before a worker joins its group, for every store on its disk whose changelog is another topic by now,
whoever gets the partition. Another worker may have a newer store, so two witnesses are heard: the group must
not have committed more than this store has worked on, and the delivery log must not tell of anything that it
does not know (no provider is called before that is in the delivery log).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path

import msgspec

from agents.partition import FOLLOWED, LONGEST_AWAY, Followed, PartitionStore, Shared, at_once, source_of
from schemas.records import Delivery
from streams.kafka.topics import CHANGELOGS
from streams.stages import entity_state, slots
from streams.stages.fencing import Fenced
from streams.stages.ports import KeyValue, Write
from streams.stages.round import EVENTS_SOURCE, SOURCE
from streams.state.errors import StoreDamaged

log = logging.getLogger(__name__)

_CHUNK = 500
"""Records written at once."""
_AGAIN = 5.0
"""Seconds for another worker that puts back the same."""
_MARGIN = 3_600_000
"""Milliseconds by which the delivery log is read from before the store was last known to be complete."""
_TIMERS = "timers-changelog"

Told = Callable[[int], Iterable[Delivery]]
"""The delivery log since a moment. Blocks."""

_decode_int = msgspec.msgpack.Decoder(int).decode
_decode_followed = msgspec.msgpack.Decoder(Followed).decode


class OldStore(PartitionStore):
    """A store on this disk, whose changelog may be another topic by now. Until that has everything, the store
    notes nothing of it: what was begun is begun again."""

    def __init__(self, shared: Shared, changelog: str, partition: int) -> None:
        timers = changelog == _TIMERS
        self._contents: Callable[[KeyValue], Iterator[bytes]] = (slots if timers else entity_state).contents
        self._done = False
        super().__init__(
            *(shared, changelog, partition, slots.FAMILIES if timers else entity_state.FAMILIES),
            slots.restored if timers else lambda _, records: entity_state.restored(records),
            slots.snapshot if timers else entity_state.snapshot,
            layout=slots.LAYOUT if timers else entity_state.LAYOUT,
        )
        raw = self.store.get("meta", FOLLOWED)
        self.followed = _decode_followed(raw) if raw is not None else None

    async def is_old(self) -> bool:
        """Did it follow another topic than the one of this name?"""
        self._topic_id = await self._shared.topic_id(self._topic)
        return self.followed is not None and self.followed.topic_id not in ("", self._topic_id)

    async def unfit(self) -> str:
        """Why it can't be what the changelog held last; empty: nothing is known against it."""
        followed = self.followed
        assert followed is not None
        if not followed.whole:
            return "it is not complete"
        if self._shared.clock.now() - followed.caught_up > LONGEST_AWAY:
            return "it was not used for days"
        sources = [(SOURCE, source_of(self.changelog))]
        if self.changelog == _TIMERS:
            sources.append((EVENTS_SOURCE, "provider-events"))
        for key, topic in sources:
            raw = self.store.get("meta", key)
            committed = await self._shared.committed(self._shared.outputs.topic(topic), self.partition)
            if committed > (_decode_int(raw) if raw is not None else 0):
                return f"there was work on {topic} after it"
        return ""

    async def put_back(self) -> int:
        """Writes all that it holds into the changelog, unless that has an owner; how many records. Raises
        Fenced when somebody else does the same."""
        there = dict.fromkeys(await self._survey())  # of workers that did not know yet: written over
        if self._fence.begun:
            return 0
        assert self.followed is not None
        self._fence.epoch = max(self._fence.epoch, self.followed.epoch)
        await self._claim(at_once, putting_back=True)
        # Which consents the store copies is known to itself alone: no other store has the copy.
        held = (key for key in self._contents(self.store) if key not in there and key != self.tie("consents"))
        keys, count = chain(there, held), 0
        while chunk := list(islice(keys, _CHUNK)):
            await self.commit(self._snapshot(self.store, chunk), [])
            count += len(chunk)
        self._done = True
        await self._claim(at_once)
        return count

    async def _read(self) -> None:
        raise Fenced(f"{self}: somebody else writes it too")

    def _noted(self, *, anew: bool = False) -> list[Write]:
        return super()._noted(anew=anew) if self._done else []


async def put_back(shared: Shared, told: Told, partition_of: Callable[[Delivery], int], note: Path) -> None:
    """``told``: the delivery log. ``partition_of``: the partition of ``timers`` that has a record's customer.
    ``note``: a file that remembers which topics the changelogs are, so that stores are only looked at when
    one of them is another."""
    topics = [shared.outputs.topic(name) for name in CHANGELOGS]
    ids = {topic: await shared.topic_id(topic) for topic in topics}
    if not all(ids.values()) or _noted(note) == ids:
        return
    with ExitStack() as stack:
        stores = []
        for changelog, partition in _on_disk(shared.disk.names()):
            store = OldStore(shared, changelog, partition)
            stack.callback(store.close)
            if await store.is_old():
                stores.append(store)
        for store, why in (await _judged(stores, told, partition_of)).items():
            if why:
                log.error("%s was made anew, and can't have back what the store here holds: %s", store, why)
            else:
                await _put_back(store)
    _write_note(note, ids)


async def _put_back(store: OldStore) -> None:
    while True:
        try:
            count = await store.put_back()
        except Fenced as error:
            log.info("%s", error)
            await asyncio.sleep(_AGAIN)
        except StoreDamaged as error:
            log.error(  # noqa: TRY400 - for people, who need no traceback
                "%s was made anew, and the store here is damaged: %s", store, error
            )
            return
        else:
            if count:
                log.warning("%s was made anew: %d records were put back from the store", store, count)
            return


async def _judged(
    stores: Sequence[OldStore], told: Told, partition_of: Callable[[Delivery], int]
) -> Mapping[OldStore, str]:
    """Why the store can't be the last one; empty: it is as good as that."""
    found = {store: await store.unfit() for store in stores}
    good = [store for store, why in found.items() if not why]
    timers = {store.partition: store for store in good if store.changelog == _TIMERS}
    if timers:
        unheard = await asyncio.to_thread(_unheard, timers, told, partition_of)
        for partition, count in unheard.items():
            found[timers[partition]] = f"the delivery log has {count} records of which it knows nothing"
    return found


def _unheard(
    stores: Mapping[int, OldStore], told: Told, partition_of: Callable[[Delivery], int]
) -> Counter[int]:
    since = min(store.followed.caught_up for store in stores.values() if store.followed is not None)
    counts: Counter[int] = Counter()
    for record in told(since - _MARGIN):
        store = stores.get(partition_of(record))
        if store is not None and slots.unheard_of(store.store, record):
            counts[store.partition] += 1
    return counts


def _on_disk(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    for name in names:
        changelog, _, partition = name.rpartition("-")
        if changelog in CHANGELOGS and partition.isdecimal():
            yield changelog, int(partition)


def _noted(note: Path) -> object:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return None


def _write_note(note: Path, ids: Mapping[str, str]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(ids))
