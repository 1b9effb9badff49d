"""What a partition remembers of each message: slots, and how they lie in the store.

A slot is named by (company, kind, entity, customer, rule, event id); the event id is empty for a reminder,
which has one slot for its whole life. A slot has a *head* (versions, ids already sent) that outlives the
message by 35 days, and while something is pending a *row*. Rows lie in the ``due`` family in the order of
their next look, so that a burst is one sequential read; the head says where the row is. The changelog has
both in one record.

Families: ``slots`` (key: head), ``due`` (due + key: row), ``expiry`` (until + key), ``entities`` (newest
facts), ``consents``, ``meta``, ``applied``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from schemas.records import Delivery, DeliveryState, EntityKind
from streams.stages.ports import KeyValue, Write, all_keys, prefix_end

FAMILIES = ("slots", "due", "expiry", "entities", "consents", "meta", "applied")
SLOT_TAG, ENTITY_TAG, META_TAG = b"s", b"e", b"\x00"
"""First byte of a changelog key: what the rest of it names."""


class Intent(msgspec.Struct, array_like=True, gc=False):
    """Written and acknowledged before a provider is called, so that a crash leaves a trace. Addresses and
    text only as keyed hashes."""

    channel: str
    at: int
    body: str
    to: str
    sender: str
    provider: str = ""
    """Who was called; empty: written by an earlier release."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """A pending message. Times in milliseconds; -1: not known yet."""

    delivery_id: str
    entity_version: int
    rule_version: int
    anchor: str
    occurred_at: int
    status_id: str
    state: str
    due: int
    """When it is looked at next: its moment, an opening, the next try, the next question."""
    target: int
    """The moment that the rule gives; -1 while the rule is not known here."""
    allowed: int
    """From when lateness counts: the target, or the opening that it was held for."""
    held: bool = False
    waiting_since: int = -1
    attempt: int = 0
    asks: int = 0
    resent: bool = False
    cancel: str = ""
    """Reason code of a clear that came while the message was at the provider."""
    intent: Intent | None = None


class Receipt(msgspec.Struct, array_like=True, gc=False):
    """What a provider has reported of a message. Once that is in the delivery log only id and state stay."""

    delivery_id: str
    state: str
    logged: bool = False
    provider: str = ""
    provider_id: str = ""
    code: str = ""
    segments: int | None = None
    price: str = ""
    currency: str = ""


class Head(msgspec.Struct, array_like=True, gc=False):
    version: int
    """Highest entity version handled."""
    rule_version: int
    """Highest rule version handled with it."""
    transition: int
    """Number of the last delivery-log record of this slot."""
    sent: list[tuple[str, int]]
    """Delivery ids that must not go again, with the moment until which that is remembered."""
    until: int
    """When the memory may go; -1 while a row is pending."""
    due: int
    """Where the row lies; -1: nothing is pending."""
    receipts: list[Receipt] = []
    """At most one for each message; one that is not logged came before we knew that the message had gone."""

    def receipt(self, delivery_id: str) -> Receipt | None:
        return next((found for found in self.receipts if found.delivery_id == delivery_id), None)


class Slot(msgspec.Struct, array_like=True):
    """Head and rows together, as the changelog has them. ``successor`` waits while ``row`` is in flight."""

    head: Head
    row: Row | None = None
    successor: Row | None = None

    def blocks(self, delivery_id: str) -> bool:
        return any(sent == delivery_id for sent, _ in self.head.sent)


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """A ``Slot`` whose parts are left as they are."""

    head: msgspec.Raw
    row: msgspec.Raw
    successor: msgspec.Raw


class _Beginning(msgspec.Struct, array_like=True, gc=False):
    """A ``Head`` as far as ``due``."""

    version: int
    rule_version: int
    transition: int
    sent: msgspec.Raw
    until: int
    due: int


class EntityFacts(msgspec.Struct, array_like=True, gc=False):
    """The newest change of an entity, as it came; all its pending messages are rendered from it."""

    version: int
    cleared: int
    """Commands up to this version came too late: everything was cleared."""
    raw: bytes
    at: int = 0
    """When they were kept, in milliseconds; 0: by an earlier release."""


class SlotName(msgspec.Struct, frozen=True):
    company: str
    kind: EntityKind
    entity_id: str
    customer_id: str
    rule_id: str
    event_id: str


_encode = msgspec.msgpack.Encoder().encode
decode_head = msgspec.msgpack.Decoder(Head).decode
_rows = msgspec.msgpack.Decoder(tuple[Row, Row | None]).decode
_packed = msgspec.msgpack.Decoder(_Packed).decode
_beginning = msgspec.msgpack.Decoder(_Beginning).decode
_PAIR = b"\x92"
"""Begins an array of two."""
decode_facts = msgspec.msgpack.Decoder(EntityFacts).decode


def slot_key(name: SlotName) -> bytes:
    """Ids have no control characters (the contract), so NUL keeps the parts apart and in order."""
    return "\0".join(
        (name.company, name.kind, name.entity_id, name.customer_id, name.rule_id, name.event_id)
    ).encode()


# A round asks for the name of each of its slots many times over.
@lru_cache(maxsize=4_096)
def name_of(key: bytes) -> SlotName:
    company, kind, entity_id, customer_id, rule_id, event_id = key.decode().split("\0")
    return SlotName(company, EntityKind(kind), entity_id, customer_id, rule_id, event_id)


def entity_prefix(company: str, kind: str, entity_id: str, customer_id: str) -> bytes:
    """Begins the keys of all messages of an entity to a customer, and is the key of its facts. The customer
    is part of it: an entity may change hands within one partition."""
    return f"{company}\0{kind}\0{entity_id}\0{customer_id}\0".encode()


def scheduled_of(key: bytes, row: Row) -> int | None:
    """The time that the reminder is about, in milliseconds; None: it is no reminder."""
    return int(row.anchor) if row.anchor.isdecimal() and not name_of(key).event_id else None


@lru_cache(maxsize=4_096)
def prefix_of(key: bytes) -> bytes:
    """The ``entity_prefix`` of a slot's key."""
    return b"\0".join(key.split(b"\0")[:4]) + b"\0"


def due_key(due: int, key: bytes) -> bytes:
    return due.to_bytes(8, "big") + key


def read_slot(store: KeyValue, key: bytes) -> Slot | None:
    """One slot as it is in the store."""
    raw = store.get("slots", key)
    if raw is None:
        return None
    head = decode_head(raw)
    rows = store.get("due", due_key(head.due, key)) if head.due >= 0 else None
    row, successor = _rows(rows) if rows is not None else (None, None)
    return Slot(head, row, successor)


class SlotTable:
    """The slots that one round works on: read together, changed in memory, written together."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self._slots: dict[bytes, Slot | None] = {}
        self._made: dict[bytes, dict[bytes, None]] = {}  # keys of new slots, by entity prefix
        self._before: dict[bytes, tuple[int, int]] = {}  # due and until in the store
        self._dirty: dict[bytes, None] = {}

    def load(self, keys: Iterable[bytes]) -> None:
        """Reads what is not here yet: two batched reads, whatever the number."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._slots]
        heads = self._store.get_many("slots", wanted)
        found = [(key, decode_head(raw)) for key, raw in zip(wanted, heads, strict=True) if raw is not None]
        pending = [(key, head) for key, head in found if head.due >= 0]
        rows = dict(
            zip(
                [key for key, _ in pending],
                self._store.get_many("due", [due_key(head.due, key) for key, head in pending]),
                strict=True,
            )
        )
        self._slots.update(dict.fromkeys(wanted))
        for key, head in found:
            raw = rows.get(key)
            row, successor = _rows(raw) if raw is not None else (None, None)
            self._slots[key] = Slot(head, row, successor)
            self._before[key] = (head.due, head.until)

    def get(self, key: bytes) -> Slot | None:
        if key not in self._slots:
            self.load((key,))
        return self._slots[key]

    def change(self, key: bytes) -> Slot:
        """The slot, made if it is new; it will be written with the round."""
        slot = self.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(Head(-1, -1, 0, [], -1, -1))
            self._made.setdefault(prefix_of(key), {})[key] = None
        self._dirty[key] = None
        return slot

    def put(self, key: bytes, slot: Slot | None) -> None:
        """Replaces the slot, or forgets it."""
        self.get(key)
        self._slots[key] = slot
        self._dirty[key] = None

    def pending_under(self, prefix: bytes) -> list[tuple[bytes, Slot]]:
        """What is pending under ``prefix``, in key order, this round's changes included."""
        stored = self._store.scan("slots", prefix, prefix_end(prefix), 1_000_000)
        made = self._made.get(prefix_of(prefix), {})
        keys = {key for key, _ in stored} | {key for key in made if key.startswith(prefix)}
        self.load(sorted(keys))
        found = ((key, self._slots[key]) for key in sorted(keys))
        return [(key, slot) for key, slot in found if slot is not None and slot.row is not None]

    def due_at_once(self, now: int) -> list[tuple[int, bytes]]:
        """The pending messages that this round has made and whose moment has come."""
        made = (key for keys in self._made.values() for key in keys)
        rows = ((key, slot.row) for key in made if (slot := self._slots[key]) is not None)
        return [(row.due, key) for key, row in rows if row is not None and row.due <= now]

    def changed(self) -> list[bytes]:
        """The slots that ``flush`` would write."""
        return list(self._dirty)

    def flush(self) -> Flushed:
        """What the changed slots want written."""
        done = Flushed()
        for key in self._dirty:
            slot = self._slots[key]
            due, until = self._before.get(key, (-1, -1))
            if slot is None:
                done.changelog.append((SLOT_TAG + key, None))
                done.writes.append(("slots", key, None))
            else:
                slot.head.due = slot.row.due if slot.row is not None else -1
                if slot.row is not None:
                    slot.head.until = -1
                done.changelog.append((SLOT_TAG + key, _encode(slot)))
                done.writes.append(("slots", key, _encode(slot.head)))
            now_due, now_until = (slot.head.due, slot.head.until) if slot is not None else (-1, -1)
            if due >= 0 and due != now_due:
                done.writes.append(("due", due_key(due, key), None))
            if slot is not None and slot.row is not None:
                done.writes.append(("due", due_key(now_due, key), _encode((slot.row, slot.successor))))
                # Also one that stays where it was: it may have been taken from there to be looked at. What is
                # on its way to the provider is not looked at again before there is an answer.
                if slot.row.state != DeliveryState.SENDING:
                    done.moved.append((now_due, key))
            if until >= 0 and until != now_until:
                done.writes.append(("expiry", due_key(until, key), None))
            if now_until >= 0 and until != now_until:
                done.writes.append(("expiry", due_key(now_until, key), b""))
            done.pending += (now_due >= 0) - (due >= 0)
            self._before[key] = (now_due, now_until)
        self._dirty.clear()
        return done


class Flushed:
    """The writes of a round's slots. ``moved``: rows with a new place in the order of due times."""

    def __init__(self) -> None:
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.writes: list[Write] = []
        self.moved: list[tuple[int, bytes]] = []
        self.pending = 0
        """How many more rows are pending than before."""


def restored(store: KeyValue, records: Sequence[tuple[bytes, bytes | None]]) -> list[Write]:
    """The writes that bring ``store`` up to these changelog records (the newest of a key holds). Slots are
    taken apart, not read: what they say is the same in the store."""
    newest = dict(records)
    slots = [(key[1:], raw) for key, raw in newest.items() if key.startswith(SLOT_TAG)]
    writes: list[Write] = []
    pending = int.from_bytes(store.get("meta", PENDING) or b"", "big")
    for (key, raw), held in zip(slots, store.get_many("slots", [key for key, _ in slots]), strict=True):
        due = until = was_due = was_until = -1
        if held is not None:
            before = _beginning(held)
            was_due, was_until = before.due, before.until
        if raw is None:
            writes.append(("slots", key, None))
        else:
            packed = _packed(raw)
            head = bytes(packed.head)
            place = _beginning(head)
            due, until = place.due, place.until
            writes.append(("slots", key, head))
            if due >= 0:
                rows = b"".join((_PAIR, packed.row, packed.successor))
                writes.append(("due", due_key(due, key), rows))
        if was_due >= 0 and was_due != due:
            writes.append(("due", due_key(was_due, key), None))
        if until != was_until:
            if was_until >= 0:
                writes.append(("expiry", due_key(was_until, key), None))
            if until >= 0:
                writes.append(("expiry", due_key(until, key), b""))
        pending += (due >= 0) - (was_due >= 0)
    for key, raw in newest.items():
        if key.startswith(ENTITY_TAG):
            writes.append(("entities", key[1:], raw))
        elif key.startswith(META_TAG):
            writes.append(("meta", key, raw))
    writes.append(("meta", PENDING, pending.to_bytes(8, "big")))
    return writes


def snapshot(store: KeyValue, keys: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """The changelog records that say what ``store`` holds under these changelog keys."""
    table = SlotTable(store)
    table.load(key[1:] for key in keys if key.startswith(SLOT_TAG))
    found: list[tuple[bytes, bytes | None]] = []
    for key in keys:
        if key.startswith(SLOT_TAG):
            slot = table.get(key[1:])
            found.append((key, _encode(slot) if slot is not None else None))
        elif key.startswith(ENTITY_TAG):
            found.append((key, store.get("entities", key[1:])))
        else:
            found.append((key, store.get("meta", key)))
    return found


def contents(store: KeyValue) -> Iterator[bytes]:
    """The changelog keys of all that ``store`` holds."""
    yield from (SLOT_TAG + key for key in all_keys(store, "slots"))
    yield from (ENTITY_TAG + key for key in all_keys(store, "entities"))
    yield from (key for key in all_keys(store, "meta") if key.startswith(META_TAG))


def unheard_of(store: KeyValue, record: Delivery) -> bool:
    """Does the delivery log tell of something that the store of its partition does not know?"""
    if not record.transition:
        return False  # of a message that no sender ever had
    name = SlotName(
        *(record.company, record.kind, record.entity_id, record.customer_id, record.rule_id, record.anchor)
    )
    # The anchor of a notification is its event, that of a reminder its moment.
    keys = [slot_key(name), slot_key(msgspec.structs.replace(name, event_id=""))]
    heads = [decode_head(raw) for raw in store.get_many("slots", keys) if raw is not None]
    return all(head.transition < record.transition for head in heads)


PENDING = b"\x01pending"
"""Key in ``meta`` of the number of pending rows (not in the changelog: it follows from the slots)."""

IN_FLIGHT = frozenset({DeliveryState.SENDING, DeliveryState.UNKNOWN})
"""States in which the provider may have the message: only its answer moves the row on."""
