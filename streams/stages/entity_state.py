"""What is kept of each entity, how it lies in store and changelog, and what one step wants done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.records import Change, DeadLetter, Delivery, Facts, Timer
from streams.domain.ids import split_key
from streams.stages.ports import KeyValue, Write, all_keys

FAMILIES = ("entities", "meta")
LAYOUT = 1
"""Of these families. A store with another one is rebuilt from the changelog."""
SOURCE = b"\x00source"
"""Key of the source offset, in the changelog (after the states of its batch) and in ``meta``. No entity
key begins with NUL."""


class EntityState(msgspec.Struct, array_like=True, gc=False):
    """What is kept of an entity. ``raw`` is the newest change as it came; empty once nothing can be armed."""

    version: int
    deleted: bool
    armed: bool
    """Something may be pending at a sender agent: changes of the facts must be told there."""
    status_id: str
    customer_id: str
    location_id: str
    scheduled_at: int | None
    occurred_at: int
    raw: bytes

    def facts(self) -> Facts:
        return Facts(
            status_id=self.status_id,
            customer_id=self.customer_id,
            location_id=self.location_id,
            scheduled_at=self.scheduled_at,
        )


@dataclass(slots=True)
class EntityRound:
    """Everything that one step wants done, in the order of the fields."""

    clears: list[Timer] = field(default_factory=list)
    """Acked before ``timers`` are produced: an entity that changed hands is cleared at the old customer."""
    timers: list[Timer] = field(default_factory=list)
    log: list[Delivery] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Records by what became of them, for the metrics."""

    def clear_after(self, change: Change, owner: str) -> None:
        """What this batch has for the former customer goes before the clear, as it happened: behind it, it
        would be dropped without a word."""
        entity = (change.company, change.entity_id, owner)
        theirs = [t for t in self.timers if (t.company, t.entity_id, t.customer_id) == entity]
        if theirs:
            self.clears += theirs
            self.timers = [t for t in self.timers if (t.company, t.entity_id, t.customer_id) != entity]

    def keep(self, states: Mapping[bytes, EntityState]) -> None:
        """The entities' states, by key: in the changelog and in the store."""
        for key, state in states.items():
            raw = _encode(state)
            self.changelog.append((key, raw))
            self.writes.append(("entities", key, raw))

    def note(self, key: bytes, raw: bytes | None) -> None:
        """What the partition knows of itself, likewise; ``key`` begins with NUL."""
        self.changelog.append((key, raw))
        self.writes.append(("meta", key, raw))


_encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(EntityState).decode


def entity_of(key: bytes, value: bytes) -> tuple[str, str, EntityState] | None:
    """Company, id and state of an entity, of one record of a state's changelog; None: it is about the log
    itself. Raises msgspec.DecodeError."""
    if key.startswith(b"\x00"):
        return None
    company, entity_id = split_key(key)
    return company, entity_id, decode_state(value)


def restored(records: Sequence[tuple[bytes, bytes | None]]) -> list[Write]:
    """The writes that bring a store up to these records of its changelog."""
    return [("meta" if key.startswith(b"\x00") else "entities", key, value) for key, value in records]


def snapshot(store: KeyValue, keys: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """The changelog records that say what ``store`` holds under these changelog keys."""
    return [(key, store.get("meta" if key.startswith(b"\x00") else "entities", key)) for key in keys]


def contents(store: KeyValue) -> Iterator[bytes]:
    """The changelog keys of all that ``store`` holds."""
    yield from all_keys(store, "entities")
    yield from (key for key in all_keys(store, "meta") if key.startswith(b"\x00"))
