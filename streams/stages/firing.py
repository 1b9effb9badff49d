"""What happens when rows become due, and when providers answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.records import Channel, Customer, DeliveryState, Suppression
from streams.domain.allowed import Allowed
from streams.domain.backoff import backoff
from streams.domain.catalog import Catalog
from streams.domain.decide import End, Hold, Pending, Send, Wait, compose_again, on_due
from streams.domain.ids import address_hash, body_hash, mask
from streams.domain.links import Links
from streams.domain.messages import (
    Accepted,
    Inquiry,
    Message,
    Outcome,
    Rejected,
    RetryAt,
    SmsMessage,
)
from streams.domain.reasons import Reason
from streams.domain.repeats import Recent, kept, remembers, repeated
from streams.stages.arming import Entities, pending_of, settle
from streams.stages.ready import Room
from streams.stages.round import DeliveryRound, InquiryOrder, SendOrder
from streams.stages.slots import Intent, Row, Slot, SlotName, name_of, prefix_of, scheduled_of

ASK_AFTER = (30_000, 120_000, 600_000)
"""When the provider is asked about an unknown message (milliseconds after it became unknown, and after each
answer): its list shows a message some seconds late, and its own queue may hold one for minutes."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The final check, immediately before the provider call, refused the message."""

    reason: Reason | str
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings the delivery stage needs."""

    hash_key: bytes = b"carillon"
    email_domain: str = "carillon.invalid"
    links: Links | None = None
    """To the gateway; None: there is none, so no receipts come and no e-mail can be unsubscribed from."""
    allowed: Mapping[Channel, Allowed] = field(default_factory=dict)
    """Of each channel on which not everybody may be written to, whom."""
    consent_wait: int = 60_000
    inherited_after: int = 30_000
    """How long an intent of a worker that stopped waits before the provider is asked: session time-out plus
    provider time-out, so that nobody is still sending it."""


def too_late(order: SendOrder, now: int) -> Reason | None:
    """Why the message is of no more use by ``now``, as ``on_due`` has it; None: it is."""
    if order.scheduled_at is not None and now >= order.scheduled_at:
        return Reason.AFTER_SCHEDULED
    return Reason.LATENESS if now > order.expires_at else None


class Firing:
    """The part of a partition's work that needs the customer and the rendered message."""

    def __init__(self, catalog: Catalog, options: Options) -> None:
        self._catalog = catalog
        self._options = options

    def look(
        self,
        key: bytes,
        slot: Slot,
        round_: DeliveryRound,
        entities: Entities,
        customer: Customer | None,
        *,
        in_flight: bool,
        rooms: Mapping[Channel, Room],
    ) -> None:
        """The row's next look has come. ``rooms``: by whom messages go now."""
        row = slot.row
        assert row is not None
        if row.state == DeliveryState.SENDING:
            if not in_flight:
                self._inherited(key, slot, row, round_)
            return
        if row.state == DeliveryState.UNKNOWN:
            if not in_flight:
                self._ask(key, slot, row, round_, entities, customer)
            return
        name = name_of(key)
        rule = self._catalog.rule(name.company, name.rule_id)
        if row.target < 0 and rule is not None and rule.version >= row.rule_version:
            settle(key, round_.table.change(key), round_, entities, self._catalog, Reason.ARMED)
            if slot.row is not row or row.due > round_.now:
                return
        pending = pending_of(key, row)
        entity = entities.entity(prefix_of(key), name.kind)
        decision = on_due(
            pending,
            entity,
            customer,
            self._catalog,
            round_.now,
            email_domain=self._options.email_domain,
            consent_wait=self._options.consent_wait,
            links=self._options.links,
        )
        slot = round_.table.change(key)
        if isinstance(decision, Send):
            unwanted = self._unwanted(name, row, decision.message, round_, entity.facts.location_id)
            if unwanted is not None:
                decision = End(DeliveryState.SUPPRESSED, unwanted)
        if isinstance(decision, Send):
            self._intend(key, slot, row, decision, round_, entity.facts.location_id, rooms)
        elif isinstance(decision, Hold):
            self._hold(key, slot, row, decision, round_)
        elif isinstance(decision, Wait):
            self._wait(key, slot, row, decision, round_)
        else:
            round_.end(key, slot, decision.state, decision.reason)

    def _intend(
        self,
        key: bytes,
        slot: Slot,
        row: Row,
        send: Send,
        round_: DeliveryRound,
        location_id: str,
        rooms: Mapping[Channel, Room],
    ) -> None:
        channel = Channel.SMS if isinstance(send.message, SmsMessage) else Channel.EMAIL
        row.attempt += 1
        row.state = DeliveryState.SENDING
        row.waiting_since = -1
        provider = rooms[channel].provider if channel in rooms else ""
        row.intent = self._intent(channel, send.message, round_.now, provider)
        order = SendOrder(
            key=key,
            attempt=row.attempt,
            channel=channel,
            message=send.message,
            expires_at=send.expires_at,
            note=send.note,
            location_id=location_id,
            allowed=row.allowed,
            provider=provider,
            scheduled_at=scheduled_of(key, row),
        )
        round_.note(key, slot, row, DeliveryState.SENDING, Reason.NONE, self._extra(order))
        round_.sends.append(order)

    def _unwanted(
        self, name: SlotName, row: Row, message: Message, round_: DeliveryRound, location_id: str
    ) -> Reason | None:
        """Why the message is not to go, whatever it says; else it is remembered."""
        address = message.to if isinstance(message, SmsMessage) else message.to_address
        channel = Channel.SMS if isinstance(message, SmsMessage) else Channel.EMAIL
        allowed = self._options.allowed.get(channel)
        if allowed is not None and not allowed.permits(address):
            return Reason.NOT_ALLOWED
        company = self._catalog.company(name.company)
        if company is None or not remembers(company):
            return None
        intent = self._intent(channel, message, round_.now, "")
        new = Recent(row.delivery_id, round_.now, intent.body, intent.to)
        recents = round_.recents.of(name)
        reason = repeated(recents, new, company, self._catalog.zone(name.company, location_id))
        if reason is None:
            others = [recent for recent in recents if recent.delivery_id != row.delivery_id]
            round_.recents.put(name, [*kept(others, company.duplicate_window, round_.now), new])
        return reason

    def _hold(self, key: bytes, slot: Slot, row: Row, hold: Hold, round_: DeliveryRound) -> None:
        again = row.held and row.state == DeliveryState.HELD
        row.state, row.held = DeliveryState.HELD, True
        row.due = row.allowed = hold.until
        if not again or slot.head.due != hold.until:
            round_.note(key, slot, row, DeliveryState.HELD, hold.reason)
        name = name_of(key)
        if not name.event_id:
            return
        prefix = prefix_of(key) + f"{name.rule_id}\0".encode()
        held = [
            (found.row.entity_version, found_key)
            for found_key, found in round_.table.pending_under(prefix)
            if found.row is not None and found.row.state == DeliveryState.HELD
        ]
        for _, found_key in sorted(held)[:-1]:
            found = round_.table.change(found_key)
            round_.end(found_key, found, DeliveryState.SUPERSEDED, Reason.NEWER_HELD)

    def _wait(self, key: bytes, slot: Slot, row: Row, wait: Wait, round_: DeliveryRound) -> None:
        if wait.target != row.target and wait.target >= 0:
            row.target = row.allowed = wait.target
            row.state = DeliveryState.SCHEDULED
            row.due = wait.until
            round_.note(key, slot, row, DeliveryState.SCHEDULED, Reason.MOVED)
        row.due = wait.until
        if wait.until == wait.target:
            row.waiting_since = -1  # it waits for its moment, not for a rule or a customer
        elif row.waiting_since < 0:
            row.waiting_since = round_.now

    def _intent(self, channel: Channel, message: Message, now: int, provider: str) -> Intent:
        key = self._options.hash_key
        if isinstance(message, SmsMessage):
            to, sender, text = message.to, message.sender, message.text
        else:
            to, sender = message.to_address, message.sender
            text = f"{message.subject}\n{message.text}"
        company = message.company
        return Intent(
            str(channel),
            now,
            body_hash(key, text),
            address_hash(key, company, to),
            address_hash(key, company, sender),
            provider,
        )

    def _extra(self, order: SendOrder) -> Mapping[str, object]:
        message = order.message
        to = message.to if isinstance(message, SmsMessage) else message.to_address
        return {
            "channel": str(order.channel),
            "location_id": order.location_id,
            "address_masked": mask(to),
            "address_hash": address_hash(self._options.hash_key, message.company, to),
            "provider": order.provider,
            "sender": message.sender,
            "segments": message.segments if isinstance(message, SmsMessage) else None,
            "note": order.note,
        }

    # --- answers ----------------------------------------------------------------------------------

    def answered(
        self, order: SendOrder, slot: Slot, outcome: Outcome | Withdrawn, round_: DeliveryRound
    ) -> None:
        """The provider has answered, or the final check refused; ``slot`` is already marked as changed."""
        row = slot.row
        assert row is not None
        extra = dict(self._extra(order))
        if isinstance(outcome, Withdrawn):
            round_.end(order.key, slot, outcome.state, outcome.reason, extra)
            return
        extra["provider"] = outcome.provider
        if isinstance(outcome, Accepted):
            self._accepted(order.key, slot, outcome, Reason.ACCEPTED, extra, round_)
            return
        if outcome.detail:
            extra["note"] = "; ".join(part for part in (order.note, outcome.detail) if part)[:500]
        if isinstance(outcome, Rejected):
            round_.end(order.key, slot, DeliveryState.FAILED, outcome.reason, extra)
            if outcome.suppress:
                round_.suppressions.append(self._suppression(order, outcome.reason, round_.now))
        elif isinstance(outcome, RetryAt):
            self._retry(order, slot, row, outcome, extra, round_)
        elif not self.vouched(order.key, slot, round_):
            row.state = DeliveryState.UNKNOWN
            row.asks = 0
            row.due = round_.now + ASK_AFTER[0]
            round_.note(order.key, slot, row, DeliveryState.UNKNOWN, outcome.reason, extra)

    def _accepted(
        self,
        key: bytes,
        slot: Slot,
        outcome: Accepted,
        reason: Reason,
        extra: dict[str, object],
        round_: DeliveryRound,
    ) -> None:
        extra |= {
            "provider": outcome.provider,
            "provider_id": outcome.provider_id,
            "price": outcome.price,
            "currency": outcome.currency,
        }
        if outcome.segments is not None:
            extra["segments"] = outcome.segments
        if outcome.sender:
            extra["sender"] = outcome.sender
        if outcome.note:
            extra["note"] = "; ".join(part for part in (str(extra.get("note", "")), outcome.note) if part)
        round_.end(key, slot, DeliveryState.SENT, reason, extra)

    def _retry(
        self,
        order: SendOrder,
        slot: Slot,
        row: Row,
        outcome: RetryAt,
        extra: dict[str, object],
        round_: DeliveryRound,
    ) -> None:
        if row.cancel:
            round_.end(order.key, slot, DeliveryState.CANCELLED, row.cancel, extra)
            return
        if slot.successor is not None:
            round_.end(order.key, slot, DeliveryState.SUPERSEDED, Reason.MOVED, extra)
            return
        wait = 0 if outcome.elsewhere else max(outcome.after, backoff(row.delivery_id, row.attempt))
        row.due = round_.now + wait
        if row.due >= order.expires_at:
            if outcome.called:
                round_.end(order.key, slot, DeliveryState.FAILED, Reason.GAVE_UP, extra)
            else:
                reason = too_late(order, round_.now) or Reason.LATENESS
                round_.end(order.key, slot, DeliveryState.EXPIRED, reason, extra)
            return
        row.state = DeliveryState.RETRYING
        round_.note(order.key, slot, row, DeliveryState.RETRYING, outcome.reason, extra)

    def _suppression(self, order: SendOrder, reason: str, now: int) -> Suppression:
        message = order.message
        to = message.to if isinstance(message, SmsMessage) else message.to_address
        return Suppression(
            company=message.company,
            channel=order.channel,
            address=to.lower(),
            reason=str(reason),
            since=now,
            version=now,
        )

    # --- unknown ----------------------------------------------------------------------------------

    def vouched(self, key: bytes, slot: Slot, round_: DeliveryRound) -> bool:
        """Nobody knew whether the provider has the message, but it has reported what became of it: it has.
        ``slot`` is marked as changed."""
        row = slot.row
        receipt = slot.head.receipt(row.delivery_id) if row is not None else None
        if row is None or receipt is None:
            return False
        accepted = Accepted(receipt.provider, receipt.provider_id)
        channel: dict[str, object] = {"channel": row.intent.channel} if row.intent is not None else {}
        self._accepted(key, slot, accepted, Reason.FOUND, channel, round_)
        return True

    def _inherited(self, key: bytes, slot: Slot, row: Row, round_: DeliveryRound) -> None:
        slot = round_.table.change(key)
        if row.attempt and self.vouched(key, slot, round_):
            return
        row.state = DeliveryState.UNKNOWN
        row.asks = 0
        since = row.intent.at if row.intent is not None else round_.now
        row.due = max(round_.now, since + self._options.inherited_after)
        round_.note(key, slot, row, DeliveryState.UNKNOWN, Reason.INHERITED)

    def _ask(
        self,
        key: bytes,
        slot: Slot,
        row: Row,
        round_: DeliveryRound,
        entities: Entities,
        customer: Customer | None,
    ) -> None:
        slot = round_.table.change(key)
        pending: Pending = pending_of(key, row)
        entity = entities.entity(prefix_of(key), pending.kind)
        message = compose_again(
            pending, entity, customer, self._catalog, round_.now, email_domain=self._options.email_domain
        )
        intent = row.intent
        if message is None or intent is None:
            self.asked(key, slot, None, round_)
            return
        now_intent = self._intent(Channel(intent.channel), message, intent.at, intent.provider)
        if now_intent != intent:
            # The text or the address is another one by now: nothing at the provider would match it.
            self.asked(key, slot, None, round_)
            return
        row.due = round_.now + ASK_AFTER[0]
        round_.inquiries.append(
            InquiryOrder(
                key=key,
                attempt=row.attempt,
                channel=Channel(intent.channel),
                message=message,
                since=intent.at - 60_000,
                # As at the first question: the same text sent since then is another message.
                until=round_.now - sum(ASK_AFTER[1 : row.asks + 1]) + 60_000,
                provider=intent.provider,
            )
        )

    def asked(self, key: bytes, slot: Slot, answer: Inquiry | None, round_: DeliveryRound) -> None:
        """The provider has said whether it has the message; None: it could not even be asked."""
        row = slot.row
        assert row is not None
        if isinstance(answer, Accepted):
            channel = {"channel": row.intent.channel} if row.intent is not None else {}
            self._accepted(key, slot, answer, Reason.FOUND, dict[str, object](channel), round_)
            return
        if self.vouched(key, slot, round_):
            return
        row.asks += 1
        email = row.intent is not None and row.intent.channel == Channel.EMAIL
        if answer is not None and not email and row.asks < len(ASK_AFTER):
            row.due = round_.now + ASK_AFTER[row.asks]
            return
        if email and not row.resent and not row.cancel and slot.successor is None:
            row.resent = True
            row.state = DeliveryState.RETRYING
            row.due = round_.now
            round_.note(key, slot, row, DeliveryState.RETRYING, Reason.RESENT)
            return
        round_.end(key, slot, DeliveryState.UNKNOWN_CLOSED, row.cancel or Reason.NOT_RESENT)
