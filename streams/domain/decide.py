"""What happens to a message whose moment may have come: the whole of "when, and if still".

Everything is given: the rule, the facts of the entity, the customer, the clock's ``now``. The delivery
stage carries out what is decided here and keeps nothing back.
"""

from __future__ import annotations

import msgspec

from schemas.records import (
    Channel,
    Company,
    Customer,
    DeliveryState,
    Details,
    EntityKind,
    Facts,
    Location,
    Mailbox,
    Rule,
    RuleKind,
    StatusKind,
    Trigger,
)
from streams.domain.addresses import normal_email, normal_phone
from streams.domain.catalog import Catalog
from streams.domain.hours import next_opening
from streams.domain.ids import message_id
from streams.domain.links import Links, MessageRef
from streams.domain.messages import EmailMessage, Message, SmsMessage, service_address_note
from streams.domain.quiet import quiet_until
from streams.domain.reasons import Reason
from streams.domain.schedule import expires_at, notification_due, reminder_due
from streams.domain.segments import count
from streams.domain.template_values import shown
from streams.domain.templating import TextContext, render_email, render_sms

DAY = 24 * 3600 * 1000
RULE_WAIT = 60_000
"""A command may name a rule version that this worker has not read yet; tables lag by seconds."""


class Pending(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message that waits, as the delivery stage remembers it.

    ``target`` is the moment that the rule gives; ``allowed`` the moment from which lateness counts (the
    opening, when it was held); ``waiting_since`` when it began to wait for a rule or a customer (-1: not).
    """

    delivery_id: str
    company: str
    kind: EntityKind
    entity_id: str
    rule_id: str
    rule_version: int
    customer_id: str
    anchor: str
    event_id: str
    occurred_at: int
    status_id: str
    target: int
    allowed: int
    held: bool
    waiting_since: int


class Entity(msgspec.Struct, frozen=True, gc=False):
    """The newest known facts of the entity."""

    facts: Facts
    details: Details


class Send(msgspec.Struct, frozen=True, gc=False):
    message: Message
    expires_at: int
    note: str = ""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Due, but the shop is closed or the company is quiet: look again at ``until``."""

    until: int
    reason: Reason


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Not decided yet: look again at ``until``. ``target`` is the moment by the rule as it is now."""

    until: int
    reason: Reason
    target: int


class End(msgspec.Struct, frozen=True, gc=False):
    """Nothing will be sent."""

    state: DeliveryState
    reason: Reason


Decision = Send | Hold | Wait | End


def covers(rule: Rule, pending: Pending, facts: Facts) -> bool:
    """Does the rule, as it is now, speak of this entity, and is it still what armed the message? A reminder
    may have been made a notification, and "changed to X" another status's."""
    return (
        rule.entity is pending.kind
        and (rule.locations is None or facts.location_id in rule.locations)
        and (rule.kind is RuleKind.REMINDER) is not bool(pending.event_id)
        and (rule.trigger is not Trigger.STATUS_CHANGED_TO or rule.status_id == pending.status_id)
    )


def target_time(
    rule: Rule, catalog: Catalog, company_id: str, facts: Facts, anchor: str, occurred_at: int
) -> int | None:
    """The moment that the rule gives, in milliseconds; None when it can't be represented."""
    zone = catalog.zone(company_id, facts.location_id)
    if rule.kind is RuleKind.NOTIFICATION:
        return notification_due(rule, occurred_at, zone)
    company = catalog.company(company_id)
    return reminder_due(rule, int(anchor), zone, company.quiet_hours if company else ())


def on_arming(pending: Pending, rule: Rule, catalog: Catalog, facts: Facts, now: int) -> End | Wait:
    """A command has armed the message: when will it be due, or why never?

    ``too_late`` compares the moment with when the entity was booked or moved (or the rule was written),
    not with the clock: what was due while the system was down is a question of lateness.
    """
    if not rule.enabled:
        return End(DeliveryState.CANCELLED, Reason.RULE_DISABLED)
    if not covers(rule, pending, facts):
        return End(DeliveryState.CANCELLED, Reason.RULE_CHANGED)
    due = target_time(rule, catalog, pending.company, facts, pending.anchor, pending.occurred_at)
    if due is None:
        return End(DeliveryState.SUPPRESSED, Reason.OUT_OF_RANGE)
    if rule.kind is RuleKind.REMINDER:
        if due < max(pending.occurred_at, rule.changed_at):
            return End(DeliveryState.SUPPRESSED, Reason.TOO_LATE)
    else:
        company = catalog.company(pending.company)
        if now - pending.occurred_at > (company.max_event_age if company else DAY):
            return End(DeliveryState.SUPPRESSED, Reason.TOO_OLD)
    return Wait(due, Reason.ARMED, due)


def on_due(
    pending: Pending,
    entity: Entity,
    customer: Customer | None,
    catalog: Catalog,
    now: int,
    *,
    email_domain: str,
    consent_wait: int,
    links: Links | None = None,
) -> Decision:
    """The message's next look has come: send it, hold it, wait, or end it. ``links``: None, and a text has no
    address for receipts, an e-mail none to unsubscribe at."""
    rule = catalog.rule(pending.company, pending.rule_id)
    if rule is None or rule.version < pending.rule_version:
        return _without_rule(pending, rule, now)
    facts = entity.facts
    if not rule.enabled:
        return End(DeliveryState.CANCELLED, Reason.RULE_DISABLED)
    if not covers(rule, pending, facts):
        return End(DeliveryState.CANCELLED, Reason.RULE_CHANGED)
    if rule.kind is RuleKind.REMINDER:
        # The entity agent has cleared it, unless its table of statuses lagged behind just then.
        kind = catalog.status_kind(pending.company, pending.kind, facts.status_id)
        if kind is not StatusKind.OPEN:
            cancelled = kind is StatusKind.CANCELLED
            reason = Reason.ENTITY_CANCELLED if cancelled else Reason.ENTITY_CLOSED
            return End(DeliveryState.CANCELLED, reason)
    target = target_time(rule, catalog, pending.company, facts, pending.anchor, pending.occurred_at)
    if target is None:
        return End(DeliveryState.SUPPRESSED, Reason.OUT_OF_RANGE)
    if target > now:
        return Wait(target, Reason.ARMED, target)
    company = catalog.company(pending.company)
    if company is None:
        return End(DeliveryState.SUPPRESSED, Reason.UNKNOWN_COMPANY)
    location = catalog.location(pending.company, facts.location_id) if facts.location_id else None
    if facts.location_id and location is None:
        return End(DeliveryState.SUPPRESSED, Reason.UNKNOWN_LOCATION)

    scheduled_at = int(pending.anchor) if rule.kind is RuleKind.REMINDER else None
    allowed = max(target, pending.allowed)
    expiry = expires_at(rule, allowed, scheduled_at)
    if now > expiry:
        # Lateness counts from when it could have gone: nobody may have looked while the shop was closed.
        opening = _hold(rule, company, catalog, facts, allowed)
        if isinstance(opening, Hold):
            expiry = expires_at(rule, opening.until, scheduled_at)
    if now >= expiry and scheduled_at is not None and now >= scheduled_at:
        return End(DeliveryState.EXPIRED, Reason.AFTER_SCHEDULED)
    if now > expiry:
        return End(DeliveryState.EXPIRED, Reason.LATENESS)
    if _stale(pending, rule, facts):
        return End(DeliveryState.STALE, Reason.STATUS_CHANGED)
    hold = _hold(rule, company, catalog, facts, now)
    if hold is not None:
        if isinstance(hold, Hold) and scheduled_at is not None and hold.until >= expiry:
            return End(DeliveryState.EXPIRED, Reason.QUIET_HOURS)
        return hold

    if customer is None:
        since = pending.waiting_since if pending.waiting_since >= 0 else now
        if now - since < consent_wait:
            until = min(since + consent_wait, now + 5_000)
            return Wait(until, Reason.NO_CUSTOMER_RECORD, target)
    refused = refusal(rule.channel, pending.company, customer, catalog)
    if refused is not None:
        return End(DeliveryState.SUPPRESSED, refused)
    assert customer is not None  # refusal() has said so
    return _compose(
        pending, entity, rule, company, location, customer, catalog, now, expiry, email_domain, links
    )


def compose_again(
    pending: Pending,
    entity: Entity,
    customer: Customer | None,
    catalog: Catalog,
    now: int,
    *,
    email_domain: str,
) -> Message | None:
    """The message as it would be sent now, to ask the provider whether it has it; None: it can't be told."""
    rule = catalog.rule(pending.company, pending.rule_id)
    company = catalog.company(pending.company)
    if rule is None or company is None or customer is None or address_of(rule.channel, customer) is None:
        return None
    location_id = entity.facts.location_id
    location = catalog.location(pending.company, location_id) if location_id else None
    sent = _compose(pending, entity, rule, company, location, customer, catalog, now, now, email_domain)
    return sent.message if isinstance(sent, Send) else None


def refusal(channel: Channel, company: str, customer: Customer | None, catalog: Catalog) -> Reason | None:
    """Why this customer may not be written to on this channel now; None when they may.

    The last question before the provider is called, and asked once more right then.
    """
    if customer is None:
        return Reason.NO_CUSTOMER_RECORD
    if not (customer.sms_consent if channel is Channel.SMS else customer.email_consent):
        return Reason.NO_CONSENT
    if not (customer.phone if channel is Channel.SMS else customer.email):
        return Reason.NO_ADDRESS
    address = address_of(channel, customer)
    if address is None:
        return Reason.BAD_ADDRESS
    if catalog.is_suppressed(company, channel, address):
        return Reason.SUPPRESSED_ADDRESS
    return None


def address_of(channel: Channel, customer: Customer) -> str | None:
    """The customer's address on the channel in its normal form; None when there is none or it is bad."""
    return normal_phone(customer.phone, None) if channel is Channel.SMS else normal_email(customer.email)


def _without_rule(pending: Pending, rule: Rule | None, now: int) -> Decision:
    since = pending.waiting_since if pending.waiting_since >= 0 else now
    if now - since >= RULE_WAIT:
        return End(DeliveryState.CANCELLED, Reason.RULE_DELETED if rule is None else Reason.RULE_CHANGED)
    return Wait(min(since + RULE_WAIT, now + 1_000), Reason.ARMED, pending.target)


def _stale(pending: Pending, rule: Rule, facts: Facts) -> bool:
    if rule.only_if_still and facts.status_id != pending.status_id:
        return True
    left = rule.trigger is Trigger.STATUS_CHANGED_TO and facts.status_id != rule.status_id
    return pending.held and left


def _hold(rule: Rule, company: Company, catalog: Catalog, facts: Facts, now: int) -> Hold | End | None:
    if rule.working_hours_only:
        hours = catalog.hours(company.id, facts.location_id)
        opening = next_opening(hours, catalog.zone(company.id, facts.location_id), now)
        if opening is None:
            return End(DeliveryState.SUPPRESSED, Reason.NO_OPENING)
        if opening > now:
            return Hold(opening, Reason.CLOSED_HOURS)
    if company.quiet_hours:
        until = quiet_until(company.quiet_hours, catalog.zone(company.id, facts.location_id), now)
        if until is None:
            return End(DeliveryState.SUPPRESSED, Reason.NO_OPENING)
        if until > now:
            return Hold(until, Reason.QUIET_HOURS)
    return None


def _compose(
    pending: Pending,
    entity: Entity,
    rule: Rule,
    company: Company,
    location: Location | None,
    customer: Customer,
    catalog: Catalog,
    now: int,
    expiry: int,
    email_domain: str,
    links: Links | None = None,
) -> Send | End:
    template = catalog.template(pending.company, rule.template_id)
    if template is None:
        return End(DeliveryState.SUPPRESSED, Reason.UNKNOWN_TEMPLATE)
    status = catalog.status(pending.company, pending.kind, entity.facts.status_id)
    context = TextContext(
        kind=pending.kind,
        entity_id=pending.entity_id,
        company=company,
        location=location,
        customer=customer,
        facts=entity.facts,
        details=entity.details,
        status=status,
        zone=catalog.zone(pending.company, entity.facts.location_id),
        currency=catalog.currency(pending.company),
    )
    address = address_of(rule.channel, customer)
    assert address is not None  # refusal() has said so
    if rule.channel is Channel.SMS:
        text = render_sms(template, context)
        if isinstance(text, Reason):
            return _unrendered(text, status is None)
        segments = count(text).segments
        if company.segment_budget and segments > company.segment_budget:
            return End(DeliveryState.SUPPRESSED, Reason.OVER_BUDGET)
        if not company.sms_sender:
            return End(DeliveryState.FAILED, Reason.NO_SENDER)
        sms = SmsMessage(
            delivery_id=pending.delivery_id,
            company=pending.company,
            to=address,
            sender=company.sms_sender,
            text=text,
            segments=segments,
            valid_until=expiry,
            status_url=links.receipts(_ref(pending, "")) if links is not None else "",
        )
        return Send(sms, expiry)
    mail = render_email(template, context)
    if isinstance(mail, Reason):
        return _unrendered(mail, status is None)
    mailbox, note = _mailbox(rule, catalog)
    if mailbox is None and not company.email_sender_address:
        return End(DeliveryState.FAILED, Reason.NO_SENDER)
    email = EmailMessage(
        delivery_id=pending.delivery_id,
        company=pending.company,
        to_address=address,
        to_name=shown(customer.name),
        from_address=company.email_sender_address,
        from_name=shown(company.email_sender_name or company.name),
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        message_id=message_id(pending.delivery_id, email_domain),
        mailbox=mailbox,
        unsubscribe_url=links.unsubscribe(_ref(pending, address)) if links is not None else "",
        valid_for=max(1, (expiry - now) // 1000),
    )
    return Send(email, expiry, note)


def _ref(pending: Pending, address: str) -> MessageRef:
    return MessageRef(
        company=pending.company,
        kind=str(pending.kind),
        entity_id=pending.entity_id,
        customer_id=pending.customer_id,
        rule_id=pending.rule_id,
        event_id=pending.event_id,
        delivery_id=pending.delivery_id,
        address=address,
    )


def _mailbox(rule: Rule, catalog: Catalog) -> tuple[Mailbox | None, str]:
    """The one that the rule asks for, or why the service's own address stands in for it."""
    if not rule.mailbox_id:
        return None, ""
    mailbox = catalog.mailbox(rule.company, rule.mailbox_id)
    if mailbox is None:
        return None, service_address_note(rule.mailbox_id, "it is not set up")
    if not mailbox.connected or not mailbox.secret_ref:
        return None, service_address_note(rule.mailbox_id, "it is not connected")
    return mailbox, ""


def _unrendered(reason: Reason, status_missing: bool) -> End:
    if reason is Reason.TEMPLATE_ERROR and status_missing:
        reason = Reason.UNKNOWN_STATUS
    return End(DeliveryState.SUPPRESSED, reason)
