"""What went wrong for users of systems that do the same job, as they reported it in public: one test each.

cal: calcom/cal.com, novu: novuhq/novu; the other names are repositories or products too. What other tests
look at closely is told here once more as the person who reported it would tell it.
"""

from __future__ import annotations

import msgspec
import pytest

from schemas.records import (
    FINAL_STATES,
    Channel,
    Company,
    Delivery,
    EntityKind,
    Interval,
    Operation,
    Suppression,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.messages import Accepted, NotFound, Outcome, Rejected, Unknown
from streams.domain.reasons import Reason
from streams.domain.templating import check_template
from tests.support.shop import (
    DAY,
    HOUR,
    MINUTE,
    C,
    ann,
    at,
    change,
    facts,
    notification,
    reminder,
    shop,
    visit,
)
from tests.support.topology import CrashPoint, Topology, opened

ORDER, APPOINTMENT = EntityKind.ORDER, EntityKind.APPOINTMENT
NOW = "2026-04-07 10:00"
WHEN = at("2026-04-20 12:00")


def company(**fields: object) -> Company:
    found = shop()[0]
    assert isinstance(found, Company)
    return msgspec.structs.replace(found, version=2, **fields)


def sent_at(world: Topology) -> list[int]:
    return [sent.at for sent in world.sent]


def test_01_no_reminder_after_the_booking_was_cancelled() -> None:
    """cal 6973, 7225, 17806: with a hundred and fifty of them, where only a hundred could be cancelled."""
    world = opened(NOW, reminder(24))
    numbers = range(150)
    world.change(
        APPOINTMENT,
        *(change(1, visit(scheduled=WHEN), world.now, entity_id=f"{number}") for number in numbers),
    )
    assert world.pending == 150
    world.change(
        APPOINTMENT, *(change(2, visit("gone", WHEN), world.now, entity_id=f"{number}") for number in numbers)
    )
    world.until(WHEN)
    assert world.sent == []
    assert world.finals == [("cancelled", "entity_cancelled")] * 150


def test_02_rescheduled_the_reminder_says_the_new_time_and_comes_once() -> None:
    """cal 6905, 19594: moved from 10:00 to 9:30, the reminder said 10:00."""
    world = opened(NOW, reminder(1))
    world.change(APPOINTMENT, change(1, visit(scheduled=at("2026-04-20 10:00")), world.now))
    world.change(APPOINTMENT, change(2, visit(scheduled=at("2026-04-20 09:30")), world.now))
    world.until(WHEN)
    assert sent_at(world) == [at("2026-04-20 08:30")]
    assert world.texts == ["See you Monday, April 20 at 9:30 AM"]


def test_03_cancelled_before_the_call_means_not_sent() -> None:
    """novu 2937: cancelling says success and the message still goes. Here in the last moment there is."""
    world = opened(NOW, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.before_call = lambda: world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))
    world.until(WHEN)
    assert (world.sent, world.finals) == ([], [("cancelled", "entity_cancelled")])


def test_04_a_later_change_of_the_date_moves_the_moment() -> None:
    """dittofeed, delay node: the delay was computed once; a later change of the date was ignored."""
    world = opened(NOW, reminder(24))
    for version, scheduled in enumerate([WHEN, WHEN + 3 * DAY, WHEN + DAY], start=1):
        world.change(APPOINTMENT, change(version, visit(scheduled=scheduled), world.now))
        world.after(HOUR)
    world.until(WHEN + 4 * DAY)
    assert sent_at(world) == [WHEN]


def test_05_two_reminders_do_not_both_fire_at_booking() -> None:
    """cal 10749: the 24 h and the 1 h reminders both came at once."""
    world = opened(NOW, reminder(24), reminder(1, id_="hour"))
    world.change(APPOINTMENT, change(1, visit(scheduled=world.now + 30 * MINUTE), world.now))
    world.after(DAY)
    assert (world.sent, world.finals) == ([], [("suppressed", "too_late")] * 2)


def test_06_booked_five_hours_ahead_there_is_no_24_hour_reminder() -> None:
    """Calnode discussion 266."""
    world = opened(NOW, reminder(24), reminder(1, id_="hour"))
    world.change(APPOINTMENT, change(1, visit(scheduled=world.now + 5 * HOUR), world.now))
    assert world.sent == []
    world.after(DAY)
    assert sent_at(world) == [at(NOW) + 4 * HOUR]


@pytest.mark.parametrize("scheduled", [None, 10**17])
def test_07_a_missing_or_unreadable_date_messages_nobody(scheduled: int | None) -> None:
    """dittofeed, PostHog 82920: it became delay 0, and everyone was messaged at once."""
    world = opened(NOW, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=scheduled), world.now), b"\x00nonsense", b"{nonsense")
    world.after(400 * DAY)
    assert world.sent == []
    assert world.dead == [*(["contract"] if scheduled else []), "unknown_schema", "undecodable"]


def test_08_a_past_date_leaves_a_trace() -> None:
    """novu 4748: it stopped the workflow without one."""
    world = opened(NOW, reminder(24), notification(Trigger.CREATED, APPOINTMENT))
    world.change(APPOINTMENT, change(1, visit(scheduled=world.now - DAY), world.now))
    assert world.states("rem") == [("suppressed", "too_late")]
    assert world.states("r")[-1] == ("sent", "accepted")


def test_09_past_reminders_and_invalid_numbers_are_not_tried_again() -> None:
    """cal 22327."""
    world = opened(NOW, reminder(24), reminder(1, id_="hour"))
    world.customer(ann(phone="12", version=2))
    world.change(APPOINTMENT, change(1, visit(scheduled=world.now + 5 * HOUR), world.now))
    for _ in range(20):
        world.after(DAY)
        world.restart()
    assert world.finals == [("suppressed", "too_late"), ("suppressed", "bad_address")]


def test_10_the_date_in_the_text_is_the_local_one() -> None:
    """cal 9059: it was UTC's, the wrong day in the evening."""
    world = opened(NOW, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=at("2026-04-20 00:30")), world.now))
    world.until(WHEN)
    assert world.texts == ["See you Monday, April 20 at 12:30 AM"]


def test_11_quiet_hours_are_local_by_hour_and_by_day() -> None:
    """novu 11691: the weekday was read in UTC, the hour locally. 0:30 on Monday is Sunday in UTC."""
    world = opened("2026-04-13 00:30", company(quiet_hours=(Interval(opens=1320, closes=480),)))
    world.reference(
        notification(Trigger.CREATED), notification(Trigger.CREATED, id_="w", working_hours_only=True)
    )
    world.change(ORDER, change(1, facts(), world.now))
    world.until(WHEN)
    assert sent_at(world) == [at("2026-04-13 08:00"), at("2026-04-13 09:00")]


def test_12_a_french_message_has_a_french_date() -> None:
    """cal 6733."""
    text = TemplateText(sms="À bientôt, {{ entity.date }} à {{ entity.time }}")
    world = opened(
        NOW, Template(id="when", company=C, texts={"en": TemplateText(sms="x"), "fr": text}, version=2)
    )
    world.reference(reminder(24))
    world.customer(ann(language="fr", version=2))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN)
    assert world.texts == ["À bientôt, lundi 20 avril à 12:00"]


@pytest.mark.parametrize(
    "source", ["Hi {{ order.colour }}", "Hi {NAME}, {{ customer.name", "{{ order.date }}"]
)
def test_13_no_placeholder_is_ever_delivered(source: str) -> None:
    """cal 9859. An unknown variable, a broken one, one without a value: refused when saved, or not sent."""
    template = Template(id="t", company=C, texts={"en": TemplateText(sms=source)}, version=2)
    world = opened(NOW, template, notification(Trigger.CREATED))
    world.change(ORDER, change(1, facts(), world.now))
    assert (world.sent, world.finals) == ([], [("suppressed", "template_error")])
    if source != "{{ order.date }}":
        assert check_template(template, kinds=None, languages=["en"])


@pytest.mark.parametrize("point", ["clears", "timers", "state", "commands", "log"])
@pytest.mark.parametrize("disks", [False, True])
def test_14_a_crash_between_any_two_writes_loses_nothing(point: CrashPoint, disks: bool) -> None:
    """novu 12119, 12124: a crash between the database write and the enqueue lost the job for ever."""
    world = opened(NOW, reminder(24), notification(Trigger.CREATED, APPOINTMENT, delay=60))
    assert world.crash(point, lambda: world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), at(NOW))))
    if disks:
        world.lose_disks()
    assert world.pending == 2
    world.until(WHEN)
    assert sent_at(world) == [at(NOW) + HOUR, WHEN - DAY]
    seen = {(record.delivery_id, record.transition): record.state for record in world.log}
    assert sorted(seen.values()) == sorted(["scheduled", "sending", "sent"] * 2)


def test_15_due_messages_need_nobody_to_restart_the_worker() -> None:
    """bullmq 2466, parcelvoy 627: due jobs waited. The stage always says when it wants to be looked at."""
    world = opened(NOW, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    dues = [due for due in (sender.next_due() for sender in world.senders) if due is not None]
    assert dues == [WHEN - DAY]
    world.restart()  # and after a restart too, however long it took
    world.now = WHEN - 2 * HOUR
    world.settle()
    assert sent_at(world) == [WHEN - 2 * HOUR]


def test_16_two_events_in_the_same_second_are_told_as_what_they_are() -> None:
    """novu 2569: they made two messages. The same event twice is one; two events are two."""
    world = opened(NOW, notification(Trigger.STATUS_CHANGED))
    made, ready = change(1, facts(), world.now), change(2, facts("ready"), world.now)
    world.change(ORDER, made, ready, ready, made, ready)
    assert world.texts == ["Ann: N1 Ready"]
    world.change(ORDER, change(3, facts("done"), world.now))
    assert world.texts == ["Ann: N1 Ready", "Ann: N1 Done"]


def test_17_a_rebalance_sends_nothing_twice() -> None:
    """PostHog 80897: a rebalance forgot finished work."""
    world = opened(NOW, reminder(24), notification(Trigger.CREATED, APPOINTMENT))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - HOUR)
    assert len(world.sent) == 2
    log = [record for record in world.log if record.transition > 0]
    for again in (world.rewind, world.restart, world.rewind, world.lose_disks, world.rewind):
        again()
    world.replay(APPOINTMENT)
    world.replay_timers()
    world.until(WHEN + DAY)
    assert len(world.sent) == 2
    assert {(r.delivery_id, r.transition) for r in world.log} == {(r.delivery_id, r.transition) for r in log}


def test_18_what_guards_against_duplicates_drops_nothing_legitimate() -> None:
    """PostHog 55672: two entities, two customers, two rules, two events with one text: all are told."""
    world = opened(NOW, notification(Trigger.STATUS_CHANGED), notification(Trigger.STATUS_CHANGED, id_="r2"))
    world.customer(ann(customer_id="bob"))
    for entity_id, customer in (("1", "ann"), ("2", "ann"), ("3", "bob")):
        for version, status in enumerate(("new", "ready", "new", "ready"), start=1):
            after = facts(status, customer=customer)
            world.change(ORDER, change(version, after, world.now, entity_id=entity_id))
    assert len(world.sent) == 3 * 3 * 2
    assert len({sent.message.delivery_id for sent in world.sent}) == 18


def test_19_a_to_b_and_back_to_a_is_told_each_time() -> None:
    """novu 3270: the id was a hash of the payload, so that A could never be sent again."""
    world = opened(NOW, notification(Trigger.STATUS_CHANGED))
    for version, status in enumerate(["new", "ready", "new", "ready"], start=1):
        world.change(ORDER, change(version, facts(status), world.now))
    assert world.texts == ["Ann: N1 Ready", "Ann: N1 New", "Ann: N1 Ready"]


@pytest.mark.parametrize("found", [False, True])
def test_20_a_time_out_at_the_provider_is_asked_about_not_sent_again(found: bool) -> None:
    """twilio-ruby 519: POST timed out, was retried, and was billed twice."""
    world = opened(NOW, notification(Trigger.CREATED))
    world.provider = lambda _: Unknown("twilio", "no_answer")
    world.inquiry = lambda _: Accepted("twilio", "SM1") if found else NotFound("twilio")
    world.change(ORDER, change(1, facts(), world.now))
    world.after(DAY)
    assert len(world.sent) == 1
    assert world.finals == [("sent", "found") if found else ("unknown_closed", "not_resent")]


def test_21_a_late_word_does_not_overwrite_the_end() -> None:
    """chatwoot 14149: a late "sent" overwrote "delivered".

    Nobody reads the providers' receipts yet. The nearest thing there is: an answer that comes after the
    end, in whatever order, changes neither the final state nor adds a transition.
    """
    world = opened(NOW, notification(Trigger.CREATED))
    world.provider = lambda _: Unknown("test", "no_answer")
    world.inquiry = lambda _: Accepted("test", "SM1")
    world.change(ORDER, change(1, facts(), world.now))
    world.after(HOUR)
    assert world.finals == [("sent", "found")]
    before = list(world.log)
    ((number, (order,)),) = world.looks
    for late in (Unknown("test", "no_answer"), Rejected("test", "refused"), Accepted("test", "SM2")):
        world.carry_out_delivery(number, world.senders[number].outcomes([(order, late)], world.now))
    assert world.log == before


def test_22_the_newest_number_is_texted() -> None:
    """cht-core 638: the number was changed after scheduling, the old one was texted."""
    world = opened(NOW, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.customer(ann(phone="+48501999888", version=2))
    world.until(WHEN)
    assert [sent.to for sent in world.sent] == ["+48501999888"]


def test_23_an_import_texts_nobody() -> None:
    """zammad 3006: thousands were e-mailed about old tickets."""
    rules = [notification(what, id_=what) for what in (Trigger.CREATED, Trigger.STATUS_CHANGED)]
    world = opened(NOW, *rules, reminder(24, entity=ORDER))
    snapshot = [
        change(1, facts("ready", WHEN), world.now, operation=Operation.READ, entity_id=f"read-{number}")
        for number in range(50)
    ]
    history = [
        change(version, facts(status, WHEN), world.now - 30 * DAY, entity_id=f"old-{number}")
        for number in range(50)
        for version, status in enumerate(("new", "ready"), start=1)
    ]
    world.change(ORDER, *snapshot, *history)
    assert world.sent == []
    assert world.finals == [("suppressed", "too_old")] * 100
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY] * 100


def test_24_editing_a_rule_keeps_its_reminders_and_doubles_none() -> None:
    """Cal-ID 790, 818: editing cancelled reminders and made none anew; saving sent duplicates."""
    rule = reminder(24)
    world = opened(NOW, rule)
    for number, scheduled in enumerate((WHEN, WHEN + 5 * DAY)):
        made = change(1, visit(scheduled=scheduled), world.now, entity_id=f"{number}")
        world.change(APPOINTMENT, made)
    world.until(WHEN - HOUR)
    for version in range(2, 6):
        rule = msgspec.structs.replace(rule, version=version, offset=24 + version, changed_at=world.now)
        world.reference(rule)
    world.until(WHEN + 6 * DAY)
    assert sent_at(world) == [WHEN - DAY, WHEN + 5 * DAY - 29 * HOUR]


def test_25_a_permanent_refusal_is_not_tried_again() -> None:
    """VA notification-api 1703: a permanent 400 was retried for 24 hours."""
    world = opened(NOW, notification(Trigger.CREATED))
    world.provider = lambda _: Rejected("test", "invalid_recipient", suppress=True)
    world.change(ORDER, change(1, facts(), world.now))
    world.after(2 * DAY)
    assert (len(world.sent), world.finals) == (1, [("failed", "invalid_recipient")])


def test_26_who_opted_out_gets_nothing() -> None:
    """novu 6548: the opt-out was ignored. By consent, by the provider's word, and by suppression."""
    rules = [notification(Trigger.CREATED, channel=channel, id_=channel) for channel in Channel]
    world = opened(NOW, *rules)
    world.provider = lambda _: Rejected("test", "opted_out", suppress=True)
    world.customer(ann(email_consent=False, version=2))
    world.change(ORDER, change(1, facts(), world.now))
    assert world.finals == [("suppressed", "no_consent"), ("failed", "opted_out")]
    world.change(ORDER, change(1, facts(), world.now, entity_id="2"))
    assert world.finals[2:] == [("suppressed", "no_consent"), ("suppressed", "suppressed_address")]
    assert len(world.sent) == 1


def test_27_an_opt_out_blocks_ordinary_messages_of_its_channel_and_address_only() -> None:
    """Rock 7049: the confirmation of STOP was blocked by the opt-out itself.

    That confirmation is the SMS provider's own, so nothing of ours can block it. Reading STOP from the
    provider's events comes later; what it will write is a suppression, and that is as narrow as it can be.
    """
    rules = [notification(Trigger.CREATED, channel=channel, id_=channel) for channel in Channel]
    world = opened(NOW, *rules)
    world.customer(ann(customer_id="bob", phone="+48501111333", email="bob@mail.example"))
    stop = Suppression(
        company=C, channel=Channel.SMS, address="+48501111222", reason="opted_out", since=world.now, version=1
    )
    world.reference(stop)
    for entity_id, customer in (("1", "ann"), ("2", "bob")):
        world.change(ORDER, change(1, facts(customer=customer), world.now, entity_id=entity_id))
    assert sorted(sent.to for sent in world.sent) == ["+48501111333", "ann@mail.example", "bob@mail.example"]


def nothing_was_sent() -> list[Topology]:
    """Every way in which a message comes to its end without being sent, told by the stages themselves."""
    worlds: list[Topology] = []

    def world(when: str = NOW, *rules: object) -> Topology:
        made = opened(when)
        for rule in rules:
            made.reference(rule)  # type: ignore[arg-type]  # rules and companies
        worlds.append(made)
        return made

    told = notification(Trigger.CREATED)
    for answer in (Rejected("t", "content"), Unknown("t", "no_answer")):
        here = world(NOW, told)
        outcome: Outcome = answer
        here.provider = lambda _, outcome=outcome: outcome  # type: ignore[misc]  # bound at once
        here.change(ORDER, change(1, facts(), here.now))
        here.after(DAY)
    for customer in (ann(sms_consent=False, version=2), ann(phone="", version=2), ann(phone="1", version=2)):
        here = world(NOW, told)
        here.customer(customer)
        here.change(ORDER, change(1, facts(), here.now))
    for after in (facts(customer="nobody"), facts(customer=""), facts(location="nowhere")):
        here = world(NOW, told)
        here.change(ORDER, change(1, after, here.now))
        here.after(HOUR)
    for wrong in (
        company(sms_sender=""),
        company(segment_budget=1),
        notification(Trigger.CREATED, template_id="none", version=2),
        notification(Trigger.CREATED, template_id="long", version=2),
    ):
        here = world(
            NOW, told, Template(id="long", company=C, texts={"en": TemplateText(sms="x" * 300)}, version=1)
        )
        here.reference(wrong)
        here.change(ORDER, change(1, facts(), here.now))
    here = world(NOW, notification(Trigger.CREATED, template_id="long"), company(segment_budget=1))
    here.reference(Template(id="long", company=C, texts={"en": TemplateText(sms="x" * 300)}, version=1))
    here.change(ORDER, change(1, facts(), here.now))
    here = world(NOW, told)
    here.change(ORDER, change(1, facts(), here.now - 2 * DAY))
    here = world(NOW, notification(Trigger.STATUS_CHANGED), told)
    here.change(ORDER, change(5, facts("ready"), here.now))
    here.change(ORDER, change(2, facts("done"), here.now, before=facts("new")))
    here.change(ORDER, change(1, facts(), here.now))
    for end in (visit("gone", WHEN), visit("done", WHEN), visit(), visit(scheduled=WHEN, customer="bob")):
        here = world(NOW, reminder(24))
        here.change(APPOINTMENT, change(1, visit(scheduled=WHEN), here.now), change(2, end, here.now))
        here.until(WHEN)
    here = world(NOW, reminder(24), reminder(1, Unit.MINUTES, id_="off"))
    here.change(APPOINTMENT, change(1, visit(scheduled=WHEN), here.now))
    here.reference(reminder(1, Unit.MINUTES, id_="off", enabled=False, version=2))
    here.now = WHEN + 1
    here.settle()
    return worlds


def test_28_of_everything_that_was_not_sent_the_log_says_why() -> None:
    """cal 17928, 7739: nothing was sent and nobody could see why."""
    ends: list[Delivery] = []
    for world in nothing_was_sent():
        mine = [record for record in world.log if record.state in FINAL_STATES]
        assert mine, "something ended without a word"
        assert world.pending == 0
        ends += mine
    documented = {str(reason) for reason in Reason if reason.text}
    for record in ends:
        assert record.reason in documented
    told = {record.reason for record in ends}
    assert told >= {
        "content", "not_resent", "no_consent", "no_address", "bad_address", "no_customer_record",
        "no_customer", "unknown_location", "no_sender", "unknown_template", "over_budget", "too_old",
        "entity_cancelled", "entity_closed", "time_removed", "customer_changed", "rule_disabled",
        "out_of_order", "after_scheduled",
    }  # fmt: skip
