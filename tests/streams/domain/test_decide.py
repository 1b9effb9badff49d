"""Each decision at its boundaries, with the smallest catalog that leads to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    Customer,
    DeliveryState,
    Details,
    EntityKind,
    Facts,
    Hours,
    Interval,
    Mailbox,
    Rule,
    Suppression,
    Template,
    TemplateText,
    Trigger,
)
from streams.domain.catalog import Catalog
from streams.domain.decide import (
    DAY,
    RULE_WAIT,
    Decision,
    End,
    Entity,
    Hold,
    Pending,
    Send,
    Wait,
    address_of,
    compose_again,
    covers,
    on_arming,
    on_due,
    refusal,
    target_time,
)
from streams.domain.links import Links, Purpose
from streams.domain.messages import EmailMessage, SmsMessage
from streams.domain.reasons import Reason
from tests.support.shop import HOUR, MINUTE, C, ann, at, facts, notification, reminder, shop

NOON = at("2026-04-07 12:00")  # a Tuesday, the shop is open
NIGHT = at("2026-04-07 23:00")
OPENING = at("2026-04-08 09:00")
NOTIFY = notification(Trigger.STATUS_CHANGED)
REMIND = reminder(24)
MAIL = notification(Trigger.STATUS_CHANGED, channel=Channel.EMAIL)


def catalog(*more: Any) -> Catalog:
    made = Catalog()
    for record in (*shop(), *more):
        made.apply(record)
    return made


def changed(record: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(record, version=record.version + 1, **fields)


def company(**fields: Any) -> Company:
    found = changed(shop()[0], **fields)
    assert isinstance(found, Company)
    return found


def pending(rule: Rule = NOTIFY, *, occurred: int = NOON, **fields: Any) -> Pending:
    is_reminder = rule.trigger is Trigger.BEFORE_TIME
    values: dict[str, Any] = {
        "delivery_id": "0" * 32,
        "company": C,
        "kind": rule.entity,
        "entity_id": "1",
        "rule_id": rule.id,
        "rule_version": rule.version,
        "customer_id": "ann",
        "anchor": str(NOON + DAY) if is_reminder else "e1",
        "event_id": "" if is_reminder else "e1",
        "occurred_at": occurred,
        "status_id": "new",
        "target": occurred,
        "allowed": occurred,
        "held": False,
        "waiting_since": -1,
    }
    return Pending(**(values | fields))


def due(
    rule: Rule,
    *more: Any,
    now: int = NOON,
    known: Facts | None = None,
    customer: Customer | None = ann(),  # noqa: B008 - immutable
    without_rule: bool = False,
    wait: int = 60_000,
    **fields: Any,
) -> Decision:
    made = catalog(*more) if without_rule else catalog(rule, *more)
    scheduled = NOON + DAY if rule.trigger is Trigger.BEFORE_TIME else None
    entity = Entity(known or facts(scheduled=scheduled), Details(number="N1"))
    return on_due(
        pending(rule, **fields),
        entity,
        customer,
        made,
        now,
        email_domain="mail.example",
        consent_wait=wait,
    )


def ended(state: DeliveryState, reason: Reason) -> End:
    return End(state, reason)


SUPPRESSED, CANCELLED, EXPIRED = DeliveryState.SUPPRESSED, DeliveryState.CANCELLED, DeliveryState.EXPIRED


# --- what goes out -------------------------------------------------------------------------------------


def test_an_sms_goes_to_the_customer_from_the_company() -> None:
    sent = due(NOTIFY)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, SmsMessage)
    assert sent.message == SmsMessage(
        delivery_id="0" * 32,
        company=C,
        to="+48501111222",
        sender="+48500000000",
        text="Ann: N1 New",
        segments=1,
        valid_until=NOON + DAY,
    )
    assert sent.expires_at == NOON + DAY
    assert sent.note == ""


def test_an_email_has_an_id_made_of_the_delivery_and_the_companys_address() -> None:
    sent = due(MAIL)
    assert isinstance(sent, Send)
    message = sent.message
    assert isinstance(message, EmailMessage)
    assert (message.to_address, message.to_name) == ("ann@mail.example", "Ann Smith")
    assert (message.from_address, message.from_name) == ("shop@acme.example", "Acme")
    assert message.subject == "About N1"
    assert "Dear Ann Smith, N1 is New." in message.text
    assert "Dear Ann Smith" in message.html
    assert message.message_id == f"<{'0' * 32}@mail.example>"
    assert message.mailbox is None
    assert message.sender == "shop@acme.example"
    assert message.valid_for == 24 * 3600
    assert message.unsubscribe_url == ""


def test_the_companys_name_stands_in_for_a_missing_sender_name() -> None:
    sent = due(MAIL, company(email_sender_name=""))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, EmailMessage)
    assert sent.message.from_name == "Acme"


def test_an_email_can_be_unsubscribed_from_where_there_is_a_gateway() -> None:
    links = Links("https://hooks.example", [b"key"])
    entity = Entity(facts(), Details(number="N1"))
    sent = on_due(
        pending(MAIL), entity, ann(), catalog(MAIL), NOON, email_domain="x", consent_wait=0, links=links
    )
    assert isinstance(sent, Send)
    assert isinstance(sent.message, EmailMessage)
    ref = links.find(Purpose.UNSUBSCRIBE, sent.message.unsubscribe_url)
    assert ref is not None
    assert (ref.company, ref.customer_id, ref.address) == (C, ann().customer_id, "ann@mail.example")
    assert (ref.delivery_id, ref.rule_id, ref.event_id) == ("0" * 32, MAIL.id, pending(MAIL).event_id)
    assert (ref.kind, ref.entity_id) == (pending(MAIL).kind, pending(MAIL).entity_id)


def test_receipts_of_a_text_come_back_where_there_is_a_gateway() -> None:
    links = Links("https://hooks.example", [b"key"])
    entity = Entity(facts(), Details(number="N1"))
    sent = on_due(
        pending(), entity, ann(), catalog(NOTIFY), NOON, email_domain="x", consent_wait=0, links=links
    )
    assert isinstance(sent, Send)
    assert isinstance(sent.message, SmsMessage)
    ref = links.find(Purpose.RECEIPT, sent.message.status_url)
    assert ref is not None
    assert (ref.company, ref.customer_id, ref.delivery_id) == (C, ann().customer_id, "0" * 32)
    assert (ref.rule_id, ref.event_id, ref.address) == (NOTIFY.id, pending().event_id, "")
    assert (ref.kind, ref.entity_id) == (pending().kind, pending().entity_id)
    assert sent.message.status_url not in repr(sent.message), "the token is a key"


BOX = Mailbox(id="box", company=C, address="ann@gmail.example", secret_ref="env:BOX", version=1)
BY_BOX = notification(Trigger.STATUS_CHANGED, channel=Channel.EMAIL, mailbox_id="box")


@pytest.mark.parametrize("company_", [company(), company(email_sender_address="")])
def test_a_connected_mailbox_is_what_the_message_leaves_by(company_: Company) -> None:
    sent = due(BY_BOX, BOX, company_)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, EmailMessage)
    assert sent.message.mailbox == BOX
    assert sent.message.sender == "ann@gmail.example"
    assert sent.message.from_address == company_.email_sender_address, "in case the mailbox can't be used"
    assert sent.note == ""


@pytest.mark.parametrize(
    ("boxes", "why"),
    [
        ([msgspec.structs.replace(BOX, connected=False)], "it is not connected"),
        ([msgspec.structs.replace(BOX, secret_ref="")], "it is not connected"),
        ([], "it is not set up"),
    ],
)
def test_a_rule_with_a_mailbox_falls_back_to_the_service_and_says_so(boxes: list[Mailbox], why: str) -> None:
    sent = due(BY_BOX, *boxes)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, EmailMessage)
    assert sent.message.mailbox is None
    assert sent.message.sender == "shop@acme.example"
    assert sent.note == f"sent from the service's address, not from mailbox box: {why}"
    nobody = due(BY_BOX, *boxes, company(email_sender_address=""))
    assert nobody == ended(DeliveryState.FAILED, Reason.NO_SENDER)


def test_an_email_is_valid_for_at_least_a_second() -> None:
    sent = due(MAIL, now=NOON + DAY - 1)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, EmailMessage)
    assert sent.message.valid_for == 1


# --- the rule ------------------------------------------------------------------------------------------


def test_a_rule_not_read_yet_is_waited_for_a_second_at_a_time_and_a_minute_at_most() -> None:
    assert due(NOTIFY, without_rule=True) == Wait(NOON + 1_000, Reason.ARMED, NOON)
    newer = due(NOTIFY, rule_version=9, waiting_since=NOON - RULE_WAIT + 400)
    assert newer == Wait(NOON + 400, Reason.ARMED, NOON)


def test_a_rule_that_never_comes_was_deleted_or_edited() -> None:
    since = NOON - RULE_WAIT
    gone = due(NOTIFY, without_rule=True, waiting_since=since)
    assert gone == ended(CANCELLED, Reason.RULE_DELETED)
    assert due(NOTIFY, rule_version=9, waiting_since=since) == ended(CANCELLED, Reason.RULE_CHANGED)
    assert isinstance(due(NOTIFY, without_rule=True, waiting_since=since + 1), Wait)


def test_waiting_since_the_first_millisecond_of_time_is_waiting() -> None:
    made = Catalog()
    decision = on_due(
        pending(NOTIFY, waiting_since=0),
        Entity(facts(), Details()),
        None,
        made,
        RULE_WAIT,
        email_domain="x",
        consent_wait=0,
    )
    assert decision == ended(CANCELLED, Reason.RULE_DELETED)


def test_a_disabled_rule_cancels() -> None:
    off = notification(Trigger.STATUS_CHANGED, enabled=False)
    assert due(off) == ended(CANCELLED, Reason.RULE_DISABLED)
    assert on_arming(pending(off), off, catalog(off), facts(), NOON) == due(off)


@pytest.mark.parametrize("locations", [("south",), ()])
def test_a_rule_that_no_longer_covers_the_location_cancels(locations: tuple[str, ...]) -> None:
    rule = notification(Trigger.STATUS_CHANGED, locations=locations)
    assert due(rule) == ended(CANCELLED, Reason.RULE_CHANGED)
    assert on_arming(pending(rule), rule, catalog(rule), facts(), NOON) == due(rule)


def test_covers_kind_and_location() -> None:
    here = notification(Trigger.CREATED, locations=("north", "south"))
    assert covers(here, pending(), facts())
    assert not covers(here, pending(kind=EntityKind.LEAD), facts())
    assert not covers(here, pending(), facts(location="east"))
    assert not covers(here, pending(), facts(location=""))
    assert covers(NOTIFY, pending(), facts(location=""))


def test_covers_only_what_the_rule_would_have_armed() -> None:
    assert covers(REMIND, pending(REMIND), facts())
    assert not covers(REMIND, pending(REMIND, event_id="e1", anchor="e1"), facts())
    assert not covers(NOTIFY, pending(event_id="", anchor=str(NOON)), facts())
    ready = notification(Trigger.STATUS_CHANGED_TO, status_id="ready")
    assert covers(ready, pending(ready, status_id="ready"), facts())
    assert not covers(ready, pending(ready, status_id="new"), facts())


# --- the moment ----------------------------------------------------------------------------------------


def test_a_delay_is_waited_for_and_met_exactly() -> None:
    later = notification(Trigger.STATUS_CHANGED, delay=60)
    moment = NOON + HOUR
    assert due(later, now=moment - 1) == Wait(moment, Reason.ARMED, moment)
    assert isinstance(due(later, now=moment), Send)
    armed = on_arming(pending(later), later, catalog(later), facts(), NOON)
    assert armed == Wait(moment, Reason.ARMED, moment)


def test_the_reminders_moment_is_in_the_locations_zone_and_before_quiet_hours() -> None:
    made = catalog(REMIND)
    scheduled = at("2026-03-29 12:00")  # the clocks went forward that night
    by_day = reminder(1, unit=msgspec.convert("days", type(REMIND.offset_unit)))
    assert target_time(by_day, made, C, facts(), str(scheduled), 0) == at("2026-03-28 12:00")
    assert target_time(REMIND, made, C, facts(), str(scheduled), 0) == at("2026-03-28 11:00")
    quiet = catalog(company(quiet_hours=(Interval(opens=600, closes=720),)))
    found = target_time(REMIND, quiet, C, facts(), str(scheduled), 0)
    assert found is not None
    assert found < at("2026-03-28 10:00")
    assert target_time(REMIND, Catalog(), "nobody", facts(), str(scheduled), 0) == scheduled - 24 * HOUR


def test_a_moment_out_of_range_is_suppressed() -> None:
    far = notification(Trigger.STATUS_CHANGED, delay=10**12)
    assert due(far) == ended(SUPPRESSED, Reason.OUT_OF_RANGE)
    assert on_arming(pending(far), far, catalog(far), facts(), NOON) == due(far)


def test_a_reminder_is_too_late_when_its_moment_passed_before_the_booking() -> None:
    booked = pending(REMIND, occurred=NOON)
    assert on_arming(booked, REMIND, catalog(), facts(), NOON + 5) == Wait(NOON, Reason.ARMED, NOON)
    late = pending(REMIND, occurred=NOON + 1)
    assert on_arming(late, REMIND, catalog(), facts(), NOON) == ended(SUPPRESSED, Reason.TOO_LATE)


def test_a_rule_written_after_the_moment_reminds_nobody() -> None:
    rule = reminder(24, changed_at=NOON + 1)
    booked = pending(rule, occurred=NOON - HOUR)
    assert on_arming(booked, rule, catalog(), facts(), NOON) == ended(SUPPRESSED, Reason.TOO_LATE)


def test_old_events_notify_nobody_and_the_company_says_how_old() -> None:
    old = ended(SUPPRESSED, Reason.TOO_OLD)
    event = pending(occurred=NOON)
    assert on_arming(event, NOTIFY, catalog(), facts(), NOON + DAY) == Wait(NOON, Reason.ARMED, NOON)
    assert on_arming(event, NOTIFY, catalog(), facts(), NOON + DAY + 1) == old
    hour = catalog(company(max_event_age=HOUR))
    assert on_arming(event, NOTIFY, hour, facts(), NOON + HOUR + 1) == old
    assert on_arming(event, NOTIFY, hour, facts(), NOON + HOUR) != old
    assert on_arming(event, NOTIFY, Catalog(), facts(), NOON + DAY + 1) == old


# --- too late to help ----------------------------------------------------------------------------------


def test_a_notification_expires_after_a_day_or_as_the_rule_says() -> None:
    assert isinstance(due(NOTIFY, now=NOON + DAY), Send)
    assert due(NOTIFY, now=NOON + DAY + 1) == ended(EXPIRED, Reason.LATENESS)
    brief = notification(Trigger.STATUS_CHANGED, max_lateness=MINUTE)
    assert isinstance(due(brief, now=NOON + MINUTE), Send)
    assert due(brief, now=NOON + MINUTE + 1) == ended(EXPIRED, Reason.LATENESS)


def test_lateness_counts_from_the_opening_that_it_was_held_for() -> None:
    brief = notification(Trigger.STATUS_CHANGED, max_lateness=MINUTE)
    assert isinstance(due(brief, now=OPENING + MINUTE, allowed=OPENING, held=True), Send)
    assert due(brief, now=OPENING + MINUTE + 1, allowed=OPENING, held=True) == ended(EXPIRED, Reason.LATENESS)


def test_a_reminder_goes_until_the_scheduled_time_and_not_after() -> None:
    scheduled = NOON + DAY
    assert isinstance(due(REMIND, now=scheduled - 1), Send)
    assert due(REMIND, now=scheduled) == ended(EXPIRED, Reason.AFTER_SCHEDULED)
    brief = reminder(24, max_lateness=HOUR)
    assert due(brief, now=NOON + HOUR + 1) == ended(EXPIRED, Reason.LATENESS)
    assert isinstance(due(brief, now=NOON + HOUR), Send)


# --- still so? -----------------------------------------------------------------------------------------


def test_only_if_still_compares_the_status_with_that_of_the_change() -> None:
    rule = notification(Trigger.STATUS_CHANGED, only_if_still=True)
    assert isinstance(due(rule), Send)
    assert due(rule, known=facts("ready")) == ended(DeliveryState.STALE, Reason.STATUS_CHANGED)
    assert isinstance(due(NOTIFY, known=facts("ready")), Send)


def test_a_held_changed_to_message_is_stale_once_the_entity_has_left_the_status() -> None:
    rule = notification(Trigger.STATUS_CHANGED_TO, status_id="ready")
    assert due(rule, held=True, status_id="ready") == ended(DeliveryState.STALE, Reason.STATUS_CHANGED)
    assert isinstance(due(rule, held=False, status_id="ready"), Send)
    assert isinstance(due(rule, held=True, status_id="ready", known=facts("ready")), Send)
    assert isinstance(due(NOTIFY, held=True, known=facts("ready")), Send)


# --- hours ---------------------------------------------------------------------------------------------

IN_HOURS = notification(Trigger.STATUS_CHANGED, working_hours_only=True)


def test_held_until_the_location_opens() -> None:
    assert due(IN_HOURS, now=NIGHT) == Hold(OPENING, Reason.CLOSED_HOURS)
    assert isinstance(due(IN_HOURS, now=NOON), Send)
    assert isinstance(due(NOTIFY, now=NIGHT), Send)


def test_without_a_location_the_companys_hours_hold() -> None:
    late = company(hours=Hours(weekdays=((Interval(opens=600, closes=720),),) * 7))
    decision = due(IN_HOURS, late, now=NIGHT, known=facts(location=""))
    assert decision == Hold(at("2026-04-08 10:00"), Reason.CLOSED_HOURS)


def test_no_opening_for_a_year_is_not_sent() -> None:
    never = company(hours=Hours())
    assert due(IN_HOURS, never, known=facts(location="")) == ended(SUPPRESSED, Reason.NO_OPENING)


def test_quiet_hours_hold_notifications_until_they_end() -> None:
    quiet = company(quiet_hours=(Interval(opens=22 * 60, closes=7 * 60),))
    assert due(NOTIFY, quiet, now=NIGHT) == Hold(at("2026-04-08 07:00"), Reason.QUIET_HOURS)
    assert isinstance(due(NOTIFY, quiet, now=NOON), Send)
    always = company(quiet_hours=(Interval(opens=0, closes=0),))
    assert due(NOTIFY, always) == ended(SUPPRESSED, Reason.NO_OPENING)


def test_a_late_reminder_does_not_wait_out_quiet_hours_beyond_its_use() -> None:
    quiet = company(quiet_hours=(Interval(opens=22 * 60, closes=13 * 60),))
    scheduled = NOON + DAY
    held = due(REMIND, quiet, now=NIGHT, anchor=str(scheduled + 2 * HOUR))
    assert held == Hold(at("2026-04-08 13:00"), Reason.QUIET_HOURS)
    assert due(REMIND, quiet, now=NIGHT) == ended(EXPIRED, Reason.QUIET_HOURS)
    edge = due(REMIND, quiet, now=NIGHT, anchor=str(at("2026-04-08 13:00")))
    assert edge == ended(EXPIRED, Reason.QUIET_HOURS)


# --- who and where --------------------------------------------------------------------------------------


def test_an_unknown_company_or_location_is_said() -> None:
    made = Catalog()
    made.apply(NOTIFY)
    entity = Entity(facts(), Details())
    decision = on_due(pending(), entity, ann(), made, NOON, email_domain="x", consent_wait=0)
    assert decision == ended(SUPPRESSED, Reason.UNKNOWN_COMPANY)
    assert due(NOTIFY, known=facts(location="east")) == ended(SUPPRESSED, Reason.UNKNOWN_LOCATION)


def test_an_unknown_customer_is_waited_for_and_then_refused() -> None:
    assert due(NOTIFY, customer=None) == Wait(NOON + 5_000, Reason.NO_CUSTOMER_RECORD, NOON)
    almost = due(NOTIFY, customer=None, waiting_since=NOON - 59_000)
    assert almost == Wait(NOON + 1_000, Reason.NO_CUSTOMER_RECORD, NOON)
    over = due(NOTIFY, customer=None, waiting_since=NOON - 60_000)
    assert over == ended(SUPPRESSED, Reason.NO_CUSTOMER_RECORD)
    assert due(NOTIFY, customer=None, wait=0) == over
    from_zero = due(NOTIFY, customer=None, waiting_since=0)
    assert from_zero == over


REFUSALS = [
    (ann(sms_consent=False), Channel.SMS, Reason.NO_CONSENT),
    (ann(email_consent=False), Channel.EMAIL, Reason.NO_CONSENT),
    (ann(sms_consent=False), Channel.EMAIL, None),
    (ann(email_consent=False), Channel.SMS, None),
    (ann(phone=""), Channel.SMS, Reason.NO_ADDRESS),
    (ann(email=""), Channel.EMAIL, Reason.NO_ADDRESS),
    (ann(phone=""), Channel.EMAIL, None),
    (ann(email=""), Channel.SMS, None),
    (ann(phone="12"), Channel.SMS, Reason.BAD_ADDRESS),
    (ann(email="a@b@c"), Channel.EMAIL, Reason.BAD_ADDRESS),
    (None, Channel.SMS, Reason.NO_CUSTOMER_RECORD),
]


@pytest.mark.parametrize(("customer", "channel", "reason"), REFUSALS)
def test_consent_and_address(customer: Customer | None, channel: Channel, reason: Reason | None) -> None:
    assert refusal(channel, C, customer, catalog()) is reason
    rule = notification(Trigger.STATUS_CHANGED, channel=channel)
    decision = due(rule, customer=customer, wait=0)
    if reason is None:
        assert isinstance(decision, Send)
    else:
        assert decision == ended(SUPPRESSED, reason)


def test_a_suppressed_address_is_not_written_to() -> None:
    blocked = Suppression(
        company=C, channel=Channel.SMS, address="+48501111222", reason="stop", since=1, version=1
    )
    assert due(NOTIFY, blocked) == ended(SUPPRESSED, Reason.SUPPRESSED_ADDRESS)
    assert isinstance(due(MAIL, blocked), Send)


def test_addresses_in_their_normal_form() -> None:
    customer = ann(phone="+48 501 111 222", email="Ann@Mail.Example")
    assert address_of(Channel.SMS, customer) == "+48501111222"
    assert address_of(Channel.EMAIL, customer) == "Ann@mail.example"


# --- text -----------------------------------------------------------------------------------------------


def template(**texts: str) -> Template:
    return Template(id="t", company=C, texts={"en": TemplateText(**texts)}, version=2)


@pytest.mark.parametrize(
    ("rule", "text"), [(NOTIFY, {"sms": "{{ no.such }}"}), (MAIL, {"subject": "{{ x }}", "body": "b"})]
)
def test_a_template_that_fails_sends_nothing(rule: Rule, text: dict[str, str]) -> None:
    assert due(rule, template(**text)) == ended(SUPPRESSED, Reason.TEMPLATE_ERROR)


def test_a_missing_text_or_template_is_said() -> None:
    assert due(NOTIFY, template(subject="s", body="b")) == ended(SUPPRESSED, Reason.NO_TEXT)
    assert due(MAIL, template(sms="s")) == ended(SUPPRESSED, Reason.NO_TEXT)
    missing = notification(Trigger.STATUS_CHANGED, template_id="none")
    assert due(missing) == ended(SUPPRESSED, Reason.UNKNOWN_TEMPLATE)


def test_an_unknown_status_is_the_reason_when_the_text_needs_it() -> None:
    assert due(NOTIFY, known=facts("strange")) == ended(SUPPRESSED, Reason.UNKNOWN_STATUS)
    assert isinstance(due(NOTIFY, template(sms="hello"), known=facts("strange")), Send)
    assert due(NOTIFY, template(subject="s", body="b"), known=facts("strange")) == ended(
        SUPPRESSED, Reason.NO_TEXT
    )


def test_the_segment_budget() -> None:
    long = template(sms="x" * 161)
    assert isinstance(due(NOTIFY, long), Send)
    assert isinstance(due(NOTIFY, long, company(segment_budget=2)), Send)
    assert due(NOTIFY, long, company(segment_budget=1)) == ended(SUPPRESSED, Reason.OVER_BUDGET)


def test_the_budget_measures_what_goes_out() -> None:
    """One curly quote would make it UCS-2: three segments."""
    curly = template(sms="x" * 159 + "\u2019")
    sent = due(NOTIFY, curly, company(segment_budget=1))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, SmsMessage)
    assert (sent.message.text, sent.message.segments) == ("x" * 159 + "'", 1)
    as_written = due(NOTIFY, curly, company(smart_encoding=False))
    assert isinstance(as_written, Send)
    assert isinstance(as_written.message, SmsMessage)
    assert (as_written.message.text, as_written.message.segments) == ("x" * 159 + "\u2019", 3)
    assert due(NOTIFY, curly, company(segment_budget=2, smart_encoding=False)) == ended(
        SUPPRESSED, Reason.OVER_BUDGET
    )


def test_a_company_without_sender_identity_fails() -> None:
    assert due(NOTIFY, company(sms_sender="")) == ended(DeliveryState.FAILED, Reason.NO_SENDER)
    assert due(MAIL, company(email_sender_address="")) == ended(DeliveryState.FAILED, Reason.NO_SENDER)


# --- asking the provider -----------------------------------------------------------------------------------


def again(rule: Rule, *more: Any, customer: Customer | None = ann(), known: Facts | None = None) -> Any:  # noqa: B008 - immutable
    return compose_again(
        pending(rule),
        Entity(known or facts(), Details(number="N1")),
        customer,
        catalog(*more),
        NOON,
        email_domain="mail.example",
    )


def test_the_message_is_composed_again_to_ask_about_it() -> None:
    sent = due(NOTIFY)
    assert isinstance(sent, Send)
    message = again(NOTIFY, NOTIFY)
    assert isinstance(message, SmsMessage)
    assert isinstance(sent.message, SmsMessage)
    assert (message.to, message.text) == (sent.message.to, sent.message.text)
    assert again(NOTIFY, NOTIFY, known=facts(location="")) is not None


def test_what_cannot_be_composed_again_is_none() -> None:
    assert again(NOTIFY) is None
    assert again(NOTIFY, NOTIFY, customer=None) is None
    assert again(NOTIFY, NOTIFY, customer=ann(phone="1")) is None
    assert again(NOTIFY, NOTIFY, template(sms="{{ no }}")) is None
    made = Catalog()
    made.apply(NOTIFY)
    nobody = compose_again(pending(), Entity(facts(), Details()), ann(), made, NOON, email_domain="x")
    assert nobody is None


def test_an_entity_without_location_is_told_of_too() -> None:
    sent = due(NOTIFY, known=facts(location=""))
    assert isinstance(sent, Send)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("appointment-done", Reason.ENTITY_CLOSED), ("appointment-gone", Reason.ENTITY_CANCELLED)],
)
def test_a_reminder_of_what_is_no_longer_open_is_cancelled(status: str, reason: Reason) -> None:
    known = facts(status, NOON + DAY)
    assert due(REMIND, known=known) == ended(DeliveryState.CANCELLED, reason)


def test_lateness_counts_from_the_opening_that_nobody_saw() -> None:
    rule = notification(Trigger.STATUS_CHANGED, working_hours_only=True, max_lateness=HOUR)
    asleep: dict[str, Any] = {"occurred": NIGHT, "target": NIGHT, "allowed": NIGHT}
    assert isinstance(due(rule, now=OPENING + HOUR, **asleep), Send)
    late = ended(DeliveryState.EXPIRED, Reason.LATENESS)
    assert due(rule, now=OPENING + HOUR + 1, **asleep) == late
