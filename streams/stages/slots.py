"""What a partition remembers of each message: slots, and how they lie in the store.

A slot is named by (company, kind, entity, customer, rule, event id); the event id is empty for a reminder,
which has one slot for its whole life. A slot has a *head* (versions, ids already sent) that outlives the
message by 35 days, and while something is pending a *row*. The store has it as the changelog has it, head and
row in one record, in one place: while something is pending in the ``due`` family, in the order of the next
look, so that a burst is one sequential read with all that it needs; afterwards in ``slots``.

Families: ``slots`` (key: where in ``due`` the slot lies, 8 bytes; or the slot), ``due`` (due + key: slot),
``expiry`` (hour + hash: keys of slots to be forgotten then), ``entities`` (newest facts), ``consents``,
``meta``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from schemas.records import Delivery, DeliveryState, EntityKind
from streams.stages.ports import KeyValue, Write, all_keys, prefix_end

FAMILIES = ("slots", "due", "expiry", "entities", "consents", "meta")
LAYOUT = 2
"""Of these families in a store. A store with another one is rebuilt from the changelog, which has its own
format (``streams.stages.fencing``)."""
SLOT_TAG, ENTITY_TAG, META_TAG = b"s", b"e", b"\x00"
"""First byte of a changelog key: what the rest of it names."""
EXPIRY_STEP = 3_600_000
"""Memories go by the hour (milliseconds): those of one round that end in the same hour are one row."""
EXPIRY_KEYS = 50
"""Slots in one row of ``expiry``, at most."""
_PLACE = 8
"""Bytes of a place in ``due``; a slot has more."""
_NEIGHBOURS = 16
"""From so many on an iterator is cheaper than single reads."""


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


class Slot(msgspec.Struct, array_like=True, gc=False):
    """Head and rows together, as the changelog has them. ``successor`` waits while ``row`` is in flight."""

    head: Head
    row: Row | None = None
    successor: Row | None = None

    def blocks(self, delivery_id: str) -> bool:
        return any(sent == delivery_id for sent, _ in self.head.sent)


class _Beginning(msgspec.Struct, array_like=True, gc=False):
    """A ``Head`` as far as ``due``."""

    version: int
    rule_version: int
    transition: int
    sent: msgspec.Raw
    until: int
    due: int


class _Outline(msgspec.Struct, array_like=True, gc=False):
    """A ``Slot`` as far as that."""

    head: _Beginning


class EntityFacts(msgspec.Struct, array_like=True, gc=False):
    """The newest change of an entity, as it came; all its pending messages are rendered from it."""

    version: int
    cleared: int
    """Commands up to this version came too late: everything was cleared."""
    raw: bytes
    at: int = 0
    """When they were kept, in milliseconds; 0: by an earlier release."""


class SlotName(msgspec.Struct, frozen=True, gc=False):
    company: str
    kind: EntityKind
    entity_id: str
    customer_id: str
    rule_id: str
    event_id: str


_encode = msgspec.msgpack.Encoder().encode
decode_slot = msgspec.msgpack.Decoder(Slot).decode
decode_expiring = msgspec.msgpack.Decoder(list[bytes]).decode
_outline = msgspec.msgpack.Decoder(_Outline).decode
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
    return SlotName(company, _KINDS[kind], entity_id, customer_id, rule_id, event_id)


_KINDS = {kind.value: kind for kind in EntityKind}


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
    if raw is not None and len(raw) == _PLACE:
        raw = store.get("due", raw + key)
    return decode_slot(raw) if raw is not None else None


class SlotTable:
    """The slots that one round works on: read together, changed in memory, written together."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self._slots: dict[bytes, Slot | None] = {}
        self._made: dict[bytes, dict[bytes, None]] = {}  # keys of new slots, by entity prefix
        self._before: dict[bytes, tuple[int, int]] = {}  # due and until in the store
        self._dirty: dict[bytes, None] = {}
        self.written: Iterable[bytes] = ()
        """The slots of the last ``flush``."""

    def load(self, keys: Iterable[bytes]) -> None:
        """Reads what is not here yet: two batched reads, whatever the number."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._slots]
        if not wanted:
            return
        places: list[tuple[int, bytes]] = []
        for key, raw in zip(wanted, self._store.get_many("slots", wanted), strict=True):
            if raw is None:
                self._slots[key] = None
            elif len(raw) == _PLACE:
                places.append((int.from_bytes(raw, "big"), key))
            else:
                slot = self._slots[key] = decode_slot(raw)
                self._before[key] = (-1, slot.head.until)
        self._load_pending(places)

    def load_due(self, names: Sequence[tuple[int, bytes]]) -> None:
        """The same, of slots that were found at these places: neighbours for the most part, so that reading
        from the first to the last costs a quarter of asking for each."""
        places = {due_key(*name): name for name in names if name[1] not in self._slots}
        if len(places) >= _NEIGHBOURS:
            for place, raw in self._store.scan("due", min(places), max(places) + b"\0", 2 * len(places)):
                name = places.pop(place, None)
                if name is not None:
                    self._pending(name, raw)
        self._load_pending(list(places.values()))
        self.load(key for _, key in names)

    def _load_pending(self, names: Sequence[tuple[int, bytes]]) -> None:
        found = self._store.get_many("due", [due_key(due, key) for due, key in names]) if names else []
        for name, raw in zip(names, found, strict=True):
            if raw is not None:
                self._pending(name, raw)

    def _pending(self, name: tuple[int, bytes], raw: bytes) -> None:
        due, key = name
        self._slots[key] = decode_slot(raw)
        self._before[key] = (due, -1)

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
        self._load_pending(
            [
                (int.from_bytes(raw, "big"), key)
                for key, raw in stored
                if len(raw) == _PLACE and key not in self._slots
            ]
        )
        found = ((key, self._slots.get(key)) for key in sorted(keys))
        return [(key, slot) for key, slot in found if slot is not None and slot.row is not None]

    def due_at_once(self, now: int) -> list[tuple[int, bytes]]:
        """The pending messages that this round has made and whose moment has come."""
        made = (key for keys in self._made.values() for key in keys)
        rows = ((key, slot.row) for key in made if (slot := self._slots[key]) is not None)
        return [(row.due, key) for key, row in rows if row is not None and row.due <= now]

    def flush(self) -> Flushed:
        """What the changed slots want written."""
        done = Flushed()
        ending: dict[int, list[bytes]] = {}
        for key in self._dirty:
            slot = self._slots[key]
            due, until = self._before.get(key, _NOWHERE)
            now_due, now_until = _NOWHERE
            if slot is None:
                done.changelog.append((SLOT_TAG + key, None))
                done.writes.append(("slots", key, None))
            elif slot.row is None:
                slot.head.due = -1
                raw = _encode(slot)
                done.changelog.append((SLOT_TAG + key, raw))
                done.writes.append(("slots", key, raw))
                now_until = slot.head.until
                if now_until >= 0 and (until < 0 or _hour(until) != _hour(now_until)):
                    ending.setdefault(_hour(now_until), []).append(key)
            else:
                now_due = slot.head.due = slot.row.due
                slot.head.until = -1
                raw = _encode(slot)
                done.changelog.append((SLOT_TAG + key, raw))
                place = now_due.to_bytes(_PLACE, "big")
                if due != now_due:
                    done.writes.append(("slots", key, place))
                done.writes.append(("due", place + key, raw))
                # Also one that stays where it was: it may have been taken from there to be looked at. What is
                # on its way to the provider is not looked at again before there is an answer.
                if slot.row.state != DeliveryState.SENDING:
                    done.moved.append((now_due, key))
                else:
                    done.sending.append((now_due, key))
            if due >= 0 and due != now_due:
                done.writes.append(("due", due_key(due, key), None))
            done.pending += (now_due >= 0) - (due >= 0)
            self._before[key] = (now_due, now_until)
        self.written, self._dirty = self._dirty, {}
        for hour, keys in ending.items():
            done.writes += expiry_writes(hour, keys)
        return done


_NOWHERE = (-1, -1)


def _outlined(raw: bytes | None) -> tuple[int, int]:
    """``due`` and ``until`` of what ``slots`` holds; -1: it is not so."""
    if raw is None:
        return _NOWHERE
    if len(raw) == _PLACE:
        return int.from_bytes(raw, "big"), -1
    head = _outline(raw).head
    return head.due, head.until


def _hour(until: int) -> int:
    """The end of the hour, so that nothing goes too early."""
    return -(-until // EXPIRY_STEP)


def expiry_writes(hour: int, keys: Sequence[bytes]) -> Iterator[Write]:
    """Rows that tell of slots to be forgotten. Nothing removes a row before its hour, even if the slot has
    come to live longer or is gone: whoever reads it then asks the slot. What it says is part of its key, so
    that no other takes its place."""
    for begin in range(0, len(keys), EXPIRY_KEYS):
        raw = _encode(keys[begin : begin + EXPIRY_KEYS])
        yield "expiry", due_key(hour * EXPIRY_STEP, blake2b(raw, digest_size=8).digest()), raw


class Flushed:
    """The writes of a round's slots. ``moved``: rows with a new place in the order of due times; those that
    are being sent are in ``sending``."""

    def __init__(self) -> None:
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.writes: list[Write] = []
        self.moved: list[tuple[int, bytes]] = []
        self.sending: list[tuple[int, bytes]] = []
        self.pending = 0
        """How many more rows are pending than before."""


def restored(store: KeyValue, records: Sequence[tuple[bytes, bytes | None]]) -> list[Write]:
    """The writes that bring ``store`` up to these changelog records (the newest of a key holds). Slots are
    not read further than to where they lie: the store has them as they are."""
    newest = dict(records)
    slots = [(key[1:], raw) for key, raw in newest.items() if key.startswith(SLOT_TAG)]
    writes: list[Write] = []
    ending: dict[int, list[bytes]] = {}
    pending = int.from_bytes(store.get("meta", PENDING) or b"", "big")
    for (key, raw), held in zip(slots, store.get_many("slots", [key for key, _ in slots]), strict=True):
        was_due, was_until = _outlined(held)
        due = until = -1
        if raw is None:
            writes.append(("slots", key, None))
        else:
            due, until = _outlined(raw)
            if due < 0:
                writes.append(("slots", key, raw))
            else:
                place = due.to_bytes(_PLACE, "big")
                writes += [("slots", key, place), ("due", place + key, raw)]
        if was_due >= 0 and was_due != due:
            writes.append(("due", due_key(was_due, key), None))
        if until >= 0 and (was_until < 0 or _hour(was_until) != _hour(until)):
            ending.setdefault(_hour(until), []).append(key)
        pending += (due >= 0) - (was_due >= 0)
    for hour, keys in ending.items():
        writes += expiry_writes(hour, keys)
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
    table = SlotTable(store)
    table.load(keys)
    found = [slot for slot in map(table.get, keys) if slot is not None]
    return all(slot.head.transition < record.transition for slot in found)


PENDING = b"\x01pending"
"""Key in ``meta`` of the number of pending rows (not in the changelog: it follows from the slots)."""

IN_FLIGHT = frozenset({DeliveryState.SENDING, DeliveryState.UNKNOWN})
"""States in which the provider may have the message: only its answer moves the row on."""
