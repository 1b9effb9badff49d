"""The delivery stage: one partition of the timers, from commands to the provider's answer. Sans I/O.

Every method that changes something returns a ``DeliveryRound``; the runtime carries it out as that module
says and calls ``committed`` once its writes are in the store. One call at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from schemas.records import Channel, Delivery, DeliveryState, ProviderEvent, Timer, TimerOp
from streams.domain.catalog import Catalog
from streams.domain.decide import refusal
from streams.domain.ids import customer_key
from streams.domain.messages import Inquiry, Outcome
from streams.domain.reasons import Reason
from streams.domain.repeats import kept
from streams.domain.triggers import LOCATION_CHANGED
from streams.stages.arming import Entities, ReadChange, arm, clear, facts_key, look_again, refresh
from streams.stages.customers import CONSENTS_SOURCE, decode_customer
from streams.stages.firing import Firing, Options, Withdrawn, too_late
from streams.stages.ports import KeyValue, Write, prefix_end
from streams.stages.ready import ReadyRows, Room
from streams.stages.receipts import Receipts
from streams.stages.recents import RECENT, company_of, decode_recents
from streams.stages.round import (
    EVENTS_SOURCE,
    MEMORY,
    SOURCE,
    Decided,
    DeliveryRound,
    InquiryOrder,
    SendOrder,
    logged,
    unlogged,
)
from streams.stages.slots import (
    ENTITY_TAG,
    EXPIRY_KEYS,
    IN_FLIGHT,
    PENDING,
    Slot,
    SlotName,
    decode_expiring,
    decode_facts,
    due_key,
    name_of,
    prefix_of,
    read_slot,
    slot_key,
)
from streams.stages.sweeping import Sweeper

TIDIED = b"\x01tidied"
"""Key in ``meta`` of when facts were last looked through (not in the changelog)."""
EXPIRED_ROWS = 1_000
"""Slots, or facts, looked at in one round to see whether they may go."""
TIDY_EVERY = 24 * 3600 * 1000
"""How often facts are looked through for those that may go (milliseconds)."""

_encode = msgspec.msgpack.Encoder().encode
_decode_int = msgspec.msgpack.Decoder(int).decode


class DeliveryStage:
    """All messages to the customers of one partition."""

    def __init__(self, store: KeyValue, catalog: Catalog, options: Options, read: ReadChange) -> None:
        self._store = store
        self._catalog = catalog
        self._read = read
        self._firing = Firing(catalog, options)
        self._receipts = Receipts(self._firing)
        self._ready = ReadyRows(store, catalog)
        self._sweeper = Sweeper(store, catalog)
        self._in_flight: dict[bytes, int] = {}
        self._decided: dict[bytes, Decided] = {}
        """Messages on their way to their final check whose slots nothing has written to since."""
        self._strangers: dict[bytes, dict[bytes, int]] = {}
        """By customer of whom nothing is known yet, the messages that wait for that, and where they lie."""
        self._tidy_from: tuple[str, bytes] | None = None
        self._tidied = _int(store, TIDIED)
        self._round, self._unlogged = unlogged(store)
        self.source = _int(store, SOURCE)
        """The next offset of ``timers`` to work on."""
        self.consents_source = _int(store, CONSENTS_SOURCE)
        self.events_source = _int(store, EVENTS_SOURCE)
        """The next offset of ``provider-events``."""
        self.pending = int.from_bytes(store.get("meta", PENDING) or b"", "big")

    def opened(self) -> list[Delivery]:
        """To be called once, with the reference data complete: queues what changed while the partition was
        away, and returns the log records that may not have been acknowledged before."""
        self._sweeper.notice_all()
        records, self._unlogged = self._unlogged, []
        return records

    # --- input ------------------------------------------------------------------------------------

    def commands(
        self,
        timers: Sequence[tuple[int, Timer]],
        next_offset: int,
        now: int,
        rooms: Mapping[Channel, Room] = MappingProxyType({}),
        answers: Sequence[tuple[SendOrder, Outcome | Withdrawn]] = (),
    ) -> DeliveryRound:
        """Works on a batch of (offset, command); repeats of what the store has seen change nothing. What is
        due at once goes with the same round where ``rooms`` has room and nobody waits for it. ``answers``:
        see ``outcomes``; they came before the commands."""
        round_, entities = self._begin(now)
        self._answered(answers, round_)
        fresh = [timer for offset, timer in timers if offset >= self.source]
        entities.load([facts_key(timer) for timer in fresh])
        round_.table.load(
            slot_key(SlotName(t.company, t.kind, t.entity_id, t.customer_id, t.rule_id, t.event_id))
            for t in fresh
            if t.op is TimerOp.ARM
        )
        for timer in fresh:
            refresh(timer, round_, entities)
            if timer.op is TimerOp.ARM:
                arm(timer, round_, entities, self._catalog)
            elif timer.op is TimerOp.CLEAR:
                clear(timer, round_, entities, self._catalog)
            elif timer.reason == LOCATION_CHANGED:
                look_again(timer, round_, entities, self._catalog)
        if keys := self._ready.at_once(round_.table.due_at_once(now), rooms):
            consents = self._consents(keys)
            for key in keys:
                self._look_at(key, round_.table.change(key), round_, entities, consents[key], rooms)
            self._begun(round_)
        entities.flush(round_)
        return self._finish(round_, next_offset if next_offset > self.source else None)

    def events(
        self, events: Sequence[tuple[int, ProviderEvent]], next_offset: int, now: int
    ) -> DeliveryRound:
        """Notes what providers report of messages, (offset, event); repeats change nothing."""
        round_, _ = self._begin(now)
        fresh = [event for offset, event in events if offset >= self.events_source]
        self._receipts.apply(fresh, round_, self._in_flight)
        source = next_offset if next_offset > self.events_source else None
        return self._finish(round_, source, EVENTS_SOURCE)

    def known(self, customers: Iterable[bytes]) -> None:
        """Records of these customers have come, by their keys: what waited for one is due at once."""
        for key in customers:
            if found := self._strangers.pop(key, None):
                self._ready.again((due, slot) for slot, due in found.items())

    def reference_changed(self, names: Iterable[tuple[str, str]]) -> None:
        """(company, rule id) of rules that changed; (company, "") when the company or a location did."""
        self._sweeper.notice(names)

    @property
    def sweeping(self) -> int:
        return len(self._sweeper)

    def sweep(self, now: int) -> DeliveryRound | None:
        """The next piece of what reference data has left to do; None: nothing."""
        if not self._sweeper:
            return None
        round_, entities = self._begin(now)
        self._sweeper.step(round_, entities)
        entities.flush(round_)
        return self._finish(round_)

    # --- due --------------------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """The moment of the next look; None when nothing waits. What waits for a channel's capacity does not
        count."""
        return self._ready.next_due()

    @property
    def queued(self) -> int:
        """Rows that are due and wait for their channel's capacity."""
        return self._ready.queued

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def waiting(self, channel: Channel) -> Mapping[str, int]:
        """How many of them are the channel's, by company."""
        return self._ready.waiting(channel)

    def due(
        self,
        now: int,
        rooms: Mapping[Channel, Room],
        limit: int = 500,
        answers: Sequence[tuple[SendOrder, Outcome | Withdrawn]] = (),
        *,
        alone: bool = True,
    ) -> DeliveryRound | None:
        """Looks at rows whose moment has come, as many as ``rooms`` has room for and fairly between
        companies; None when there is nothing to look at. ``answers``: see ``outcomes``; what became of some
        messages and the intents of the next are one round. Not ``alone``: they wait for such a round."""
        names = self._ready.take(now, rooms, limit)
        if not names:
            return self.outcomes(answers, now) if answers and alone else None
        try:
            round_, entities = self._look(names, now, rooms, answers)
        except BaseException:
            self._ready.moved(names)  # a schema must be fetched first: they are still due
            raise
        entities.flush(round_)
        self._begun(round_)
        return self._finish(round_)

    def _begun(self, round_: DeliveryRound) -> None:
        self._in_flight |= {order.key: order.attempt for order in round_.sends}
        self._in_flight |= {order.key: order.attempt for order in round_.inquiries}

    def _look(
        self,
        names: Sequence[tuple[int, bytes]],
        now: int,
        rooms: Mapping[Channel, Room],
        answers: Sequence[tuple[SendOrder, Outcome | Withdrawn]],
    ) -> tuple[DeliveryRound, Entities]:
        round_, entities = self._begin(now)
        self._answered(answers, round_)
        keys = [key for _, key in names]
        round_.table.load_due(names)
        entities.load([prefix_of(key) for key in keys])
        consents = self._consents(keys)
        for due, key in names:
            slot = round_.table.get(key)
            if slot is None or slot.row is None or slot.row.due != due:
                continue  # moved or gone since it was read
            self._look_at(key, slot, round_, entities, consents[key], rooms)
        return round_, entities

    def _look_at(
        self,
        key: bytes,
        slot: Slot,
        round_: DeliveryRound,
        entities: Entities,
        consent: bytes | None,
        rooms: Mapping[Channel, Room],
    ) -> None:
        in_flight = key in self._in_flight
        customer = decode_customer(consent) if consent is not None else None
        sends = len(round_.sends)
        self._firing.look(key, slot, round_, entities, customer, in_flight=in_flight, rooms=rooms)
        row = slot.row
        if row is None:
            return
        if len(round_.sends) > sends and not row.cancel and slot.successor is None:
            round_.decided[key] = Decided(self._catalog.changes, consent)
        elif consent is None and row.waiting_since >= 0:
            round_.strangers[key] = row.due

    def final_check(self, order: SendOrder, now: int) -> Withdrawn | None:
        """Immediately before the provider call (P3): has anything been withdrawn since the intent, or
        has its time passed?

        What the decision was made on is looked at again only if it may be another by now."""
        raw = self._store.get("consents", _customer_of(order.key))
        decided = self._decided.pop(order.key, None)
        if decided is not None and decided == Decided(self._catalog.changes, raw):
            late = too_late(order, now)
            return Withdrawn(late, DeliveryState.EXPIRED) if late is not None else None
        slot = read_slot(self._store, order.key)
        row = slot.row if slot is not None else None
        if row is None or row.attempt != order.attempt:
            return Withdrawn(Reason.RULE_CHANGED, DeliveryState.CANCELLED)
        if row.cancel:
            return Withdrawn(row.cancel, DeliveryState.CANCELLED)
        if slot is not None and slot.successor is not None:
            return Withdrawn(Reason.MOVED, DeliveryState.SUPERSEDED)
        name = name_of(order.key)
        rule = self._catalog.rule(name.company, name.rule_id)
        if rule is None or not rule.enabled:
            gone = Reason.RULE_DELETED if rule is None else Reason.RULE_DISABLED
            return Withdrawn(gone, DeliveryState.CANCELLED)
        late = too_late(order, now)
        if late is not None:
            return Withdrawn(late, DeliveryState.EXPIRED)
        customer = decode_customer(raw) if raw is not None else None
        reason = refusal(order.channel, name.company, customer, self._catalog)
        return Withdrawn(reason, DeliveryState.SUPPRESSED) if reason is not None else None

    def outcomes(self, answers: Sequence[tuple[SendOrder, Outcome | Withdrawn]], now: int) -> DeliveryRound:
        """What the providers (or the final check) said to orders of earlier rounds."""
        round_, _ = self._begin(now)
        self._answered(answers, round_)
        return self._finish(round_)

    def _answered(
        self, answers: Sequence[tuple[SendOrder, Outcome | Withdrawn]], round_: DeliveryRound
    ) -> None:
        round_.table.load(order.key for order, _ in answers)
        for order, outcome in answers:
            self._in_flight.pop(order.key, None)
            slot = round_.table.get(order.key)
            if slot is None or slot.row is None or slot.row.attempt != order.attempt:
                continue
            if slot.row.state in IN_FLIGHT:
                self._firing.answered(order, round_.table.change(order.key), outcome, round_)

    def inquired(self, answers: Sequence[tuple[InquiryOrder, Inquiry]], now: int) -> DeliveryRound:
        """What the providers said about messages of which nobody knew."""
        round_, _ = self._begin(now)
        for order, answer in answers:
            self._in_flight.pop(order.key, None)
            slot = round_.table.get(order.key)
            if slot is None or slot.row is None or slot.row.attempt != order.attempt:
                continue
            if slot.row.state in IN_FLIGHT:
                self._firing.asked(order.key, round_.table.change(order.key), answer, round_)
        return self._finish(round_)

    def forget(self, now: int) -> DeliveryRound | None:
        """Drops memories that nobody needs any more; None: there are none."""
        rows = self._store.scan("expiry", b"", due_key(now, b""), EXPIRED_ROWS // EXPIRY_KEYS)
        if not rows:
            return self._tidy(now)
        round_, _ = self._begin(now)
        round_.writes += [("expiry", key, None) for key, _ in rows]
        ending = [key for _, raw in rows for key in decode_expiring(raw)]
        round_.table.load(ending)
        gone: dict[bytes, set[bytes]] = {}
        for key in ending:
            slot = round_.table.get(key)
            if slot is not None and slot.row is None and slot.head.until <= now:
                round_.table.put(key, None)
                gone.setdefault(prefix_of(key), set()).add(key)
        for prefix, keys in gone.items():
            left = self._store.scan("slots", prefix, prefix_end(prefix), len(keys) + 1)
            if all(key in keys for key, _ in left):
                round_.changelog.append((ENTITY_TAG + prefix, None))
                round_.writes.append(("entities", prefix, None))
        return self._finish(round_)

    def _tidy(self, now: int) -> DeliveryRound | None:
        """Once a day, piece by piece: facts that no message is about (an entity was handed to a customer to
        whom nothing goes) are dropped when late commands can't come any more (others go with their messages),
        and what customers had long ago.
        """
        if self._tidy_from is None:
            if now - self._tidied < TIDY_EVERY:
                return None
            self._tidied, self._tidy_from = now, ("entities", b"")
        family, low = self._tidy_from
        high = None if family == "entities" else prefix_end(RECENT)
        rows = self._store.scan(family, low, high, EXPIRED_ROWS)
        round_, _ = self._begin(now)
        if len(rows) == EXPIRED_ROWS:
            self._tidy_from = family, rows[-1][0] + b"\0"
        elif family == "entities":
            self._tidy_from = "meta", RECENT
        else:
            self._tidy_from = None
            round_.writes.append(("meta", TIDIED, _encode(self._tidied)))
        for key, raw in rows:
            if family == "entities":
                if now - decode_facts(raw).at > MEMORY and not self._store.scan(
                    "slots", key, prefix_end(key), 1
                ):
                    round_.changelog.append((ENTITY_TAG + key, None))
                    round_.writes.append(("entities", key, None))
            elif not self._counts(key, raw, now):
                round_.changelog.append((key, None))
                round_.writes.append(("meta", key, None))
        return self._finish(round_)

    def _counts(self, key: bytes, raw: bytes, now: int) -> bool:
        """May anything of what a customer has had still count?"""
        company = self._catalog.company(company_of(key))
        return bool(kept(decode_recents(raw), company.duplicate_window if company else 0, now))

    # --- commit -----------------------------------------------------------------------------------

    def committed(self, round_: DeliveryRound) -> None:
        """The round's writes (and ``round_.after(stage.pending)``) are in the store."""
        self.pending += round_.pending
        self.source = max(self.source, round_.sources.get(SOURCE, 0))
        self.events_source = max(self.events_source, round_.sources.get(EVENTS_SOURCE, 0))
        self._ready.moved(round_.moved)
        # Only those that this stage has begun: what was inherited is to be looked at.
        self._ready.sending(name for name in round_.sending if name[1] in self._in_flight)
        self._decided |= round_.decided  # not before: a call without its intent is to be caught
        for key, due in round_.strangers.items():
            self._strangers.setdefault(_customer_of(key), {})[key] = due

    def logged(self, round_: DeliveryRound) -> list[Write]:
        """The round's log records are acknowledged: to be written to the store."""
        return logged(round_)

    def _begin(self, now: int) -> tuple[DeliveryRound, Entities]:
        self._round += 1
        round_ = DeliveryRound(self._store, self._catalog, self._round, now)
        entities = Entities(self._store, self._read)
        round_.locate = entities.location
        return round_, entities

    def _finish(
        self, round_: DeliveryRound, source: int | None = None, name: bytes = SOURCE
    ) -> DeliveryRound:
        round_.finish(source, name)
        if self._decided or self._strangers:
            for key in round_.table.written:
                self._decided.pop(key, None)
                self._forget_stranger(key)
        return round_

    def _forget_stranger(self, key: bytes) -> None:
        if not self._strangers:
            return
        customer = _customer_of(key)
        waiting = self._strangers.get(customer)
        if waiting is not None:
            waiting.pop(key, None)
            if not waiting:
                del self._strangers[customer]

    def _consents(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """By slot, what is known of its customer."""
        wanted = list(map(_customer_of, keys))
        return dict(zip(keys, self._store.get_many("consents", wanted), strict=True))


def _customer_of(slot: bytes) -> bytes:
    name = name_of(slot)
    return customer_key(name.company, name.customer_id)


def _int(store: KeyValue, key: bytes) -> int:
    raw = store.get("meta", key)
    return _decode_int(raw) if raw is not None else 0
