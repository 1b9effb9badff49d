"""One round of the delivery stage: what changed, what to log, what to send.

The runtime carries a round out in this order: changelog, acks, store, delivery log, acks, then ``sends`` and
``inquiries``. The log records are in the changelog too (under ``LOG``) and in ``meta`` until they are
acknowledged, so that a crash in between repeats them and loses none; (delivery id, transition) tells
readers which are repeats.

A crash can cut the changelog's records short anywhere. So the log records come first, then the slots that
they tell of, and the source offset last: a log record counts only if its slot has come as far as its number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from schemas.records import FINAL_STATES, Channel, DeadLetter, Delivery, DeliveryState, Suppression
from streams.domain.catalog import Catalog
from streams.domain.ids import delivery_id
from streams.domain.messages import Message
from streams.domain.reasons import Reason
from streams.stages.ports import KeyValue, Write
from streams.stages.recents import Recents
from streams.stages.slots import PENDING, Receipt, Row, Slot, SlotTable, name_of, scheduled_of

LOG = b"\x00log"
SOURCE = b"\x00source"
"""Key in ``meta`` of the next offset of ``timers``."""
EVENTS_SOURCE = b"\x00events"
"""The same of ``provider-events``."""
MEMORY = 35 * 24 * 3600 * 1000
"""How long after its anchor a message that went out is remembered, so that nothing old repeats it."""
LOG_CHUNK = 500
"""Log records in one changelog record: 500 of some 300 bytes stay well below a broker's 1 MiB."""

REMEMBERED = frozenset({DeliveryState.SENT, DeliveryState.UNKNOWN_CLOSED})


class SendOrder(msgspec.Struct, frozen=True, gc=False):
    """A message whose intent is in the changelog: to be checked once more and handed to the provider."""

    key: bytes
    attempt: int
    channel: Channel
    message: Message
    expires_at: int
    note: str
    location_id: str
    allowed: int
    """From when lateness counts (milliseconds)."""
    provider: str = ""
    """By whom it goes; as the intent says."""
    scheduled_at: int | None = None
    """What the reminder is about (milliseconds); None: it is no reminder."""


class InquiryOrder(msgspec.Struct, frozen=True, gc=False):
    """A message of which nobody knows whether the provider took it: ask."""

    key: bytes
    attempt: int
    channel: Channel
    message: Message
    since: int
    until: int
    provider: str = ""
    """Who may have it; empty: only an earlier release knew."""


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What a message was decided on, besides its slot: as long as neither that nor its slot is another, the
    decision is the same but for the time."""

    changes: int
    """Of the reference data."""
    customer: bytes | None
    """As the store has it."""


_encode = msgspec.msgpack.Encoder().encode
_Chunk = tuple[int, int, list[tuple[bytes, Delivery]]]
"""Number of the round, index of the first, and the log records, each with the name of its slot."""
_decode_chunk = msgspec.msgpack.Decoder(_Chunk).decode


class DeliveryRound:
    """Collects the effects of one step. ``now`` is the same for all of it."""

    def __init__(self, store: KeyValue, catalog: Catalog, number: int, now: int) -> None:
        self.now = now
        self.number = number
        self.table = SlotTable(store)
        self.recents = Recents(store)
        self.log: list[Delivery] = []
        self._told: list[bytes] = []  # the slots that ``log`` tells of, one by one
        self.dead: list[DeadLetter] = []
        self.sends: list[SendOrder] = []
        self.inquiries: list[InquiryOrder] = []
        self.suppressions: list[Suppression] = []
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.writes: list[Write] = []
        self.moved: list[tuple[int, bytes]] = []
        self.sending: list[tuple[int, bytes]] = []
        self.decided: dict[bytes, Decided] = {}
        """What ``sends`` were decided on, by their keys."""
        self.strangers: dict[bytes, int] = {}
        """Messages that wait for a customer of whom nothing is known, and where they lie."""
        self.pending = 0
        self.sources: dict[bytes, int] = {}
        """How far inputs have been read, by their keys in ``meta``."""
        self.counts: dict[str, int] = {}
        self.locate: Callable[[bytes], str] = lambda _: ""
        """The location of a slot's entity, for the log."""
        self._catalog = catalog

    @property
    def empty(self) -> bool:
        return not (self.changelog or self.writes or self.dead)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def note(
        self,
        key: bytes,
        slot: Slot,
        row: Row,
        state: DeliveryState,
        reason: Reason | str,
        extra: Mapping[str, object] = {},
    ) -> None:
        """Adds the next record of the slot to the delivery log."""
        self._log(
            key,
            slot,
            {
                "delivery_id": row.delivery_id,
                "state": state,
                "reason": str(reason),
                "entity_version": row.entity_version,
                "rule_version": row.rule_version,
                "anchor": row.anchor,
                "due_at": row.target if row.target >= 0 else None,
                "next_at": row.due if state not in FINAL_STATES and state != DeliveryState.SENDING else None,
                "attempt": row.attempt,
                **extra,
            },
        )
        self.count(f"{state}.{reason}" if reason else str(state))

    def report(self, key: bytes, slot: Slot, receipt: Receipt) -> None:
        """Adds what the provider has reported of a message that has gone. Nothing of its row is left: the
        versions are the highest that the slot has handled."""
        fields: dict[str, object] = {
            "delivery_id": receipt.delivery_id,
            "state": DeliveryState(receipt.state),
            "entity_version": slot.head.version,
            "rule_version": slot.head.rule_version,
            "anchor": _anchor(key, slot, receipt.delivery_id),
            "provider": receipt.provider,
            "provider_id": receipt.provider_id,
            "segments": receipt.segments,
            "price": receipt.price,
            "currency": receipt.currency,
            "note": receipt.code,
        }
        self._log(key, slot, fields)
        self.count(receipt.state)
        slot.head.receipts = [
            Receipt(receipt.delivery_id, receipt.state, True) if found is receipt else found
            for found in slot.head.receipts
        ]

    def _log(self, key: bytes, slot: Slot, fields: dict[str, object]) -> None:
        slot.head.transition += 1
        name = name_of(key)
        if "channel" not in fields:
            rule = self._catalog.rule(name.company, name.rule_id)
            fields["channel"] = str(rule.channel) if rule is not None else ""
        if "location_id" not in fields:
            fields["location_id"] = self.locate(key)
        record = Delivery(
            transition=slot.head.transition,
            company=name.company,
            kind=name.kind,
            entity_id=name.entity_id,
            rule_id=name.rule_id,
            customer_id=name.customer_id,
            at=self.now,
            **fields,  # type: ignore[arg-type]  # names are checked by tests
        )
        self.log.append(record)
        self._told.append(key)

    def end(
        self,
        key: bytes,
        slot: Slot,
        state: DeliveryState,
        reason: Reason | str,
        extra: Mapping[str, object] = {},
    ) -> None:
        """The pending row comes to its final state; a successor takes its place."""
        row = slot.row
        assert row is not None
        self.note(key, slot, row, state, reason, extra)
        if row.intent is not None and state not in REMEMBERED:
            self.recents.remove(name_of(key), row.delivery_id)
        anchor = scheduled_of(key, row)
        until = max(self.now, anchor or 0) + MEMORY
        if state in REMEMBERED or row.resent:  # sent again: the first copy may be out
            slot.head.sent = [item for item in slot.head.sent if item[1] > self.now]
            slot.head.sent.append((row.delivery_id, until if anchor is None else anchor + MEMORY))
        if slot.head.receipts:
            known = {delivery_id for delivery_id, _ in slot.head.sent}
            slot.head.receipts = [found for found in slot.head.receipts if found.delivery_id in known]
            receipt = slot.head.receipt(row.delivery_id)
            if receipt is not None and not receipt.logged:
                self.report(key, slot, receipt)  # it was faster than the answer
        slot.row, slot.successor = slot.successor, None
        slot.head.until = max([until, *(end for _, end in slot.head.sent)])

    def finish(self, source: int | None, name: bytes = SOURCE) -> DeliveryRound:
        """Turns the changes into records and writes; log records are the first, the source offset the last
        (of the input ``name``; None: no input was read).
        Facts come after the slots: a clear that they remember must not outlive what it did."""
        flushed = self.table.flush()
        recents, writes = self.recents.changes()
        # Before the slots: what is remembered and then not sent does not stop itself.
        self.changelog = [*recents, *flushed.changelog, *self.changelog]
        self.writes += [*writes, *flushed.writes]
        self.moved, self.sending = flushed.moved, flushed.sending
        self.pending = flushed.pending
        if self.log:
            told = list(zip(self._told, self.log, strict=True))
            chunks: list[tuple[bytes, bytes | None]] = []
            for index in range(0, len(told), LOG_CHUNK):
                raw = _encode((self.number, index, told[index : index + LOG_CHUNK]))
                chunks.append((LOG + (index // LOG_CHUNK).to_bytes(2, "big"), raw))
            self.changelog = [*chunks, *self.changelog]
            self.writes += [("meta", key, raw) for key, raw in chunks]
        if source is not None:
            raw = _encode(source)
            self.sources[name] = source
            self.changelog.append((name, raw))
            self.writes.append(("meta", name, raw))
        return self

    def after(self, pending: int) -> list[Write]:
        """Written with the round: the number of pending rows."""
        return [("meta", PENDING, (pending + self.pending).to_bytes(8, "big"))]


def _anchor(key: bytes, slot: Slot, id_: str) -> str:
    """Of a message that has gone: a reminder is remembered for so long after its scheduled time. Empty where
    an earlier release remembered it for longer."""
    name = name_of(key)
    if name.event_id:
        return name.event_id
    found = (str(until - MEMORY) for sent, until in slot.head.sent if sent == id_)
    anchor = next(found, "")
    known = delivery_id(name.company, name.rule_id, name.kind, name.entity_id, anchor, name.customer_id)
    return anchor if known == id_ else ""


def unlogged(store: KeyValue) -> tuple[int, list[Delivery]]:
    """The number of the last round that logged something, and its records: they may not have been
    acknowledged. Older rounds' chunks that a shorter round left behind were. A record whose slot did not
    get into the changelog any more is left out: the step will be done again, perhaps with another end."""
    chunks = [_decode_chunk(raw) for _, raw in store.scan("meta", LOG, LOG + b"\xff", 1_000)]
    newest = max((number for number, _, _ in chunks), default=0)
    told = [item for number, _, records in chunks if number == newest for item in records]
    table = SlotTable(store)
    table.load(key for key, _ in told)
    records: list[Delivery] = []
    for key, record in told:
        slot = table.get(key)
        if slot is not None and slot.head.transition >= record.transition:
            records.append(record)
    return newest, records


def logged(round_: DeliveryRound) -> list[Write]:
    """The log records of the round are acknowledged: only their round number is kept."""
    if not round_.log:
        return []
    chunks = range((len(round_.log) + LOG_CHUNK - 1) // LOG_CHUNK)
    done: list[Write] = [("meta", LOG + index.to_bytes(2, "big"), None) for index in chunks]
    done[0] = ("meta", LOG + b"\x00\x00", _encode((round_.number, 0, [])))
    return done
