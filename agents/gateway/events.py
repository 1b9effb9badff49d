"""What follows from something that came back: an event for the delivery it belongs to, and whether an
address is blocked or free from now on. Decisions only; ``post`` writes them down."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from agents.gateway.directory import Directory
from schemas.records import Channel, EventKind, EventStatus, ProviderEvent
from senders.dsn import Bounce
from senders.receipts import Receipt
from senders.twilio_hooks import IncomingText
from streams.domain.blocks import after_start, with_cause
from streams.domain.ids import customer_key, suppression_key
from streams.domain.links import Links, MessageRef, Purpose

MAIL = "smtp"
"""The provider of what mail servers say."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, and what becomes of its address: ``block`` is the reason for which nothing goes there any
    more (empty: none), ``free`` says that it may be written to again."""

    event: ProviderEvent
    block: str = ""
    free: bool = False

    @property
    def key(self) -> bytes:
        """Of the event: where the customer is known, what is said of their messages lies with the owner of
        their partition."""
        event = self.event
        return (
            customer_key(event.company, event.customer_id)
            if event.customer_id
            else suppression_key(event.company, event.channel, event.address)
        )

    @property
    def address_key(self) -> bytes:
        event = self.event
        return suppression_key(event.company, event.channel, event.address)


def of_receipt(receipt: Receipt, ref: MessageRef, now: int, lasting: str = "") -> Happening:
    """What became of an SMS of ours. A number that is bad for good is blocked. ``lasting``: for what else it
    is (``GatewayCatalog.lasting``)."""
    bad = with_cause(lasting, receipt.suppress) if receipt.suppress and receipt.to else ""
    event = ProviderEvent(
        event=EventKind.RECEIPT,
        status=receipt.status,
        event_id=f"{receipt.provider}:{receipt.provider_id}:{receipt.status}",
        company=ref.company,
        channel=Channel.SMS,
        provider=receipt.provider,
        provider_id=receipt.provider_id,
        code=receipt.code,
        segments=receipt.segments,
        price=receipt.price,
        currency=receipt.currency,
        address=receipt.to if bad else "",
        happened_at=now,
        received_at=now,
    )
    return Happening(_about(ref, event), bad)


def of_text(text: IncomingText, company: str, now: int, lasting: str = "") -> Happening:
    """A text from somebody. STOP blocks their number for this company, START takes back what they did
    themselves. ``lasting``: as in ``of_receipt``."""
    event = ProviderEvent(
        event=EventKind.TEXT,
        status=text.word,
        event_id=f"{text.provider}:{text.provider_id}:{company}",
        company=company,
        channel=Channel.SMS,
        provider=text.provider,
        provider_id=text.provider_id,
        address=text.sender,
        happened_at=now,
        received_at=now,
    )
    if text.word is EventStatus.STOP:
        return Happening(event, with_cause(lasting, "stop"))
    if text.word is EventStatus.START:
        left = after_start(lasting)
        return Happening(event, left if left != lasting else "", free=not left)
    return Happening(event)


_REPEAT = 60_000
"""Milliseconds. Mail programs and impatient people post an unsubscription several times; one that comes
later may follow a new consent, so it is another event."""


def of_unsubscription(ref: MessageRef, status: EventStatus, now: int, lasting: str = "") -> Happening:
    """``lasting``: as in ``of_receipt``."""
    event = ProviderEvent(
        event=EventKind.UNSUBSCRIBE,
        status=status,
        event_id=f"unsubscribe:{ref.delivery_id}:{now // _REPEAT}",
        company=ref.company,
        channel=Channel.EMAIL,
        address=ref.address.lower(),
        happened_at=now,
        received_at=now,
    )
    return Happening(_about(ref, event), with_cause(lasting, "unsubscribe") if ref.address else "")


def of_report(
    bounce: Bounce, links: Links, directory: Directory, email_domain: str, now: int
) -> list[Happening]:
    """Nothing for what is not about our mail."""
    ref = links.find(Purpose.UNSUBSCRIBE, bounce.returned)
    if ref is not None:
        return [of_bounce(bounce, ref, now)]
    match = re.fullmatch(rf"<([0-9a-f]{{32}})@{re.escape(email_domain)}>", bounce.message_id)
    if match is None:
        return []
    companies = directory.of_address(bounce.sender)
    return [of_unsigned_bounce(bounce, match[1], company.id, now) for company in companies[:1]]


def of_bounce(bounce: Bounce, ref: MessageRef, now: int) -> Happening:
    """A report that returned a link of ours: it is about that message and its address, whatever else it
    says. A hard bounce blocks the address."""
    hard = bounce.verdict is EventStatus.HARD
    event = ProviderEvent(
        event=EventKind.BOUNCE,
        status=bounce.verdict,
        event_id=f"bounce:{ref.delivery_id}:{bounce.verdict}:{bounce.code}",
        company=ref.company,
        channel=Channel.EMAIL,
        provider=MAIL,
        provider_id=bounce.message_id,
        code=bounce.code,
        address=ref.address.lower(),
        happened_at=_at(bounce, now),
        received_at=now,
    )
    return Happening(_about(ref, event), "bounce" if hard and ref.address else "")


def of_unsigned_bounce(bounce: Bounce, delivery_id: str, company: str, now: int) -> Happening:
    """A report that names a message of ours but returned no link: anybody may have written it, so it is
    noted and blocks nothing."""
    event = ProviderEvent(
        event=EventKind.BOUNCE,
        status=bounce.verdict,
        event_id=f"bounce:{delivery_id}:{bounce.verdict}:{bounce.code}",
        company=company,
        channel=Channel.EMAIL,
        delivery_id=delivery_id,
        provider=MAIL,
        provider_id=bounce.message_id,
        code=bounce.code,
        address=bounce.recipient.lower(),
        happened_at=_at(bounce, now),
        received_at=now,
    )
    return Happening(event)


def _at(bounce: Bounce, now: int) -> int:
    return bounce.at if bounce.at is not None and 0 <= bounce.at <= now else now


def _about(ref: MessageRef, event: ProviderEvent) -> ProviderEvent:
    return msgspec.structs.replace(
        event,
        kind=ref.kind,
        entity_id=ref.entity_id,
        customer_id=ref.customer_id,
        rule_id=ref.rule_id,
        slot_event_id=ref.event_id,
        delivery_id=ref.delivery_id,
    )
