"""The table of triggers, cell by cell: what it allows is sent, what it refuses can't be saved."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Facts,
    Hours,
    Interval,
    Rule,
    Trigger,
    Unit,
)
from streams.domain.messages import EmailMessage, SmsMessage
from streams.domain.rules import check_rule
from tests.support.shop import (
    DAY,
    HOUR,
    MINUTE,
    at,
    change,
    facts,
    notification,
    reminder,
    shop,
    status_of,
    visit,
)
from tests.support.topology import Topology, opened

ORDER, LEAD, APPOINTMENT = EntityKind.ORDER, EntityKind.LEAD, EntityKind.APPOINTMENT
TUESDAY = "2026-04-07 10:00"
LATER = at("2026-04-20 12:00")
CHANGE = {
    Trigger.CREATED: None,
    Trigger.STATUS_CHANGED: ("ready", LATER),
    Trigger.STATUS_CHANGED_TO: ("ready", LATER),
    Trigger.TIME_CHANGED: ("new", LATER + HOUR),
}
YES = [
    (Trigger.CREATED, ORDER),
    (Trigger.CREATED, LEAD),
    (Trigger.CREATED, APPOINTMENT),
    (Trigger.STATUS_CHANGED, ORDER),
    (Trigger.STATUS_CHANGED, APPOINTMENT),
    (Trigger.STATUS_CHANGED_TO, ORDER),
    (Trigger.STATUS_CHANGED_TO, LEAD),
    (Trigger.STATUS_CHANGED_TO, APPOINTMENT),
    (Trigger.TIME_CHANGED, ORDER),
    (Trigger.TIME_CHANGED, APPOINTMENT),
]
UNITS = {Unit.MINUTES: MINUTE, Unit.HOURS: HOUR, Unit.DAYS: DAY}


def of(
    kind: EntityKind, status: str = "new", scheduled: int | None = LATER, location: str = "north"
) -> Facts:
    if kind is LEAD:
        return facts(status_of(status, kind), None, location="")
    return facts(status_of(status, kind), scheduled, location=location)


def rule_of(trigger: Trigger, kind: EntityKind, **fields: Any) -> Rule:
    if trigger is Trigger.STATUS_CHANGED_TO:
        fields["status_id"] = status_of("ready", kind)
    return notification(trigger, kind, **fields)


def trigger(world: Topology, trigger: Trigger, kind: EntityKind) -> None:
    """An entity is made and, unless making it is what the rule is about, changed a minute later."""
    world.change(kind, change(1, of(kind), world.now))
    then = CHANGE[trigger]
    if then is not None:
        assert world.sent == [], "a new entity fires only 'created'"
        world.after(MINUTE)
        world.change(kind, change(2, of(kind, *then), world.now))


def refused(rule: Rule) -> list[str]:
    world = opened(TUESDAY)
    return [problem.field for problem in check_rule(rule, world.catalog, user=None)]


@pytest.mark.parametrize(("what", "kind"), YES)
@pytest.mark.parametrize("channel", Channel)
def test_notification_is_sent(what: Trigger, kind: EntityKind, channel: Channel) -> None:
    rule = rule_of(what, kind, channel=channel)
    assert refused(rule) == []
    world = opened(TUESDAY, rule)
    trigger(world, what, kind)
    form = SmsMessage if channel is Channel.SMS else EmailMessage
    assert [type(sent.message) for sent in world.sent] == [form]
    assert [sent.at for sent in world.sent] == [world.now]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (notification(Trigger.STATUS_CHANGED, LEAD), "trigger"),
        (notification(Trigger.TIME_CHANGED, LEAD), "trigger"),
        (reminder(1, entity=LEAD, template_id="t"), "kind"),
        (reminder(1, delay=5), "delay"),
        (reminder(1, working_hours_only=True), "working_hours_only"),
        (notification(Trigger.CREATED, LEAD, working_hours_only=True), "working_hours_only"),
        (notification(Trigger.CREATED, LEAD, locations=("north",)), "locations"),
        (notification(Trigger.STATUS_CHANGED_TO, status_id="lead-ready"), "status_id"),
        (notification(Trigger.CREATED, template_id="none"), "template_id"),
        (notification(Trigger.CREATED, locations=("nowhere",)), "locations[0]"),
        (notification(Trigger.CREATED, channel=Channel.EMAIL, mailbox_id="none"), "mailbox_id"),
    ],
)
def test_what_the_table_refuses_can_not_be_saved(rule: Rule, field: str) -> None:
    assert refused(rule) == [field]


@pytest.mark.parametrize(("what", "kind"), YES)
def test_what_the_table_refuses_is_never_matched_either(what: Trigger, kind: EntityKind) -> None:
    """A record that came round the check."""
    world = opened(
        TUESDAY,
        notification(Trigger.STATUS_CHANGED, LEAD, id_="a"),
        notification(Trigger.TIME_CHANGED, LEAD, id_="b"),
        reminder(1, entity=LEAD, id_="c"),
        notification(Trigger.BEFORE_TIME, kind, id_="d"),
    )
    trigger(world, what, kind)
    world.until(LATER + DAY)
    assert world.log == []


def test_status_changed_to_x_is_about_x_alone() -> None:
    world = opened(TUESDAY, notification(Trigger.STATUS_CHANGED_TO, status_id="ready"))
    world.change(ORDER, change(1, facts(), world.now))
    world.change(ORDER, change(2, facts("done"), world.now))
    assert world.sent == []
    world.change(ORDER, change(3, facts("ready"), world.now))
    world.change(ORDER, change(4, facts("ready"), world.now))
    assert world.texts == ["Ann: N1 Ready"]


@pytest.mark.parametrize("kind", [ORDER, APPOINTMENT])
@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("channel", Channel)
def test_reminder_is_sent(kind: EntityKind, unit: Unit, channel: Channel) -> None:
    rule = reminder(3, unit, kind, channel=channel, template_id="t")
    assert refused(rule) == []
    world = opened(TUESDAY, rule)
    world.change(kind, change(1, of(kind), world.now))
    world.until(LATER + DAY)
    assert [sent.at for sent in world.sent] == [LATER - 3 * UNITS[unit]]


def test_an_order_without_a_scheduled_time_has_no_reminders() -> None:
    world = opened(TUESDAY, reminder(1, entity=ORDER))
    world.change(ORDER, change(1, facts(), world.now))
    assert (world.pending, world.log) == (0, [])


@pytest.mark.parametrize("kind", EntityKind)
@pytest.mark.parametrize("unit", Unit)
def test_delay(kind: EntityKind, unit: Unit) -> None:
    rule = notification(Trigger.CREATED, kind, delay=2, delay_unit=unit)
    assert refused(rule) == []
    world = opened(TUESDAY, rule)
    begun = world.now
    world.change(kind, change(1, of(kind), begun))
    world.until(begun + 2 * UNITS[unit] - 1)
    assert world.sent == []
    world.until(begun + 3 * DAY)
    assert [sent.at for sent in world.sent] == [begun + 2 * UNITS[unit]]


@pytest.mark.parametrize("kind", [ORDER, APPOINTMENT])
def test_only_during_working_hours(kind: EntityKind) -> None:
    rule = notification(Trigger.CREATED, kind, working_hours_only=True)
    assert refused(rule) == []
    world = opened("2026-04-10 18:00", rule)  # Friday, the moment of closing
    world.change(kind, change(1, of(kind), world.now))
    assert world.states("r") == [("scheduled", "armed"), ("held", "closed_hours")]
    world.until(at("2026-04-14 00:00"))
    assert [sent.at for sent in world.sent] == [at("2026-04-13 09:00")]


@pytest.mark.parametrize("kind", [ORDER, APPOINTMENT])
@pytest.mark.parametrize(
    ("locations", "reached"),
    [(None, ["north", "south", ""]), (("south",), ["south"]), (("north", "south"), ["north", "south"])],
)
def test_locations(kind: EntityKind, locations: tuple[str, ...] | None, reached: list[str]) -> None:
    rules = [
        notification(Trigger.CREATED, kind, locations=locations),
        reminder(1, entity=kind, locations=locations),
    ]
    assert [refused(rule) for rule in rules] == [[], []]
    world = opened(TUESDAY, *rules)
    for where in ("north", "south", ""):
        made = change(1, of(kind, location=where), world.now, entity_id=f"in-{where}")
        world.change(kind, made)
    world.until(LATER + DAY)
    for rule in rules:
        told = [
            record.entity_id for record in world.log if record.rule_id == rule.id and record.state == "sent"
        ]
        assert sorted(told) == sorted(f"in-{where}" for where in reached)


# --- the sentences under the table ------------------------------------------------------------------


def test_a_new_entity_fires_only_created_and_arms_its_reminders() -> None:
    rules = [
        notification(Trigger.CREATED, APPOINTMENT, id_="created"),
        notification(Trigger.STATUS_CHANGED, APPOINTMENT, id_="status"),
        rule_of(Trigger.STATUS_CHANGED_TO, APPOINTMENT, id_="to"),
        notification(Trigger.TIME_CHANGED, APPOINTMENT, id_="time"),
        reminder(1),
    ]
    world = opened(TUESDAY, *rules)
    world.change(APPOINTMENT, change(1, visit("ready", LATER), world.now))
    assert [sent.message.delivery_id for sent in world.sent] == [
        record.delivery_id for record in world.log if record.rule_id == "created" and record.state == "sent"
    ]
    assert {record.rule_id for record in world.log} == {"created", "rem"}
    assert world.pending == 1


def test_a_first_time_given_later_is_a_time_change() -> None:
    world = opened(TUESDAY, notification(Trigger.TIME_CHANGED), reminder(1, entity=ORDER))
    world.change(ORDER, change(1, facts(), world.now))
    assert world.log == []
    world.change(ORDER, change(2, facts(scheduled=LATER), world.now))
    assert world.states("r")[-1] == ("sent", "accepted")
    assert world.pending == 1


def test_a_time_taken_away_clears_reminders_and_tells_nothing() -> None:
    world = opened(TUESDAY, notification(Trigger.TIME_CHANGED), reminder(1, entity=ORDER))
    world.change(ORDER, change(1, facts(scheduled=LATER), world.now))
    world.change(ORDER, change(2, facts(), world.now))
    world.until(LATER + DAY)
    assert world.sent == []
    assert world.finals == [("cancelled", "time_removed")]


def test_without_a_location_the_company_s_zone_and_hours_hold() -> None:
    """The company is in Tokyo here and opens at 10; both locations are in Europe and open at 9."""
    company = shop()[0]
    assert isinstance(company, Company)
    ten = Hours(weekdays=((Interval(opens=600, closes=1080),),) * 7)
    tokyo = msgspec.structs.replace(company, zone="Asia/Tokyo", hours=ten, version=2)
    world = opened(
        TUESDAY, tokyo, notification(Trigger.CREATED, working_hours_only=True), reminder(1, Unit.DAYS)
    )
    made = at("2026-04-07 20:00", "Asia/Tokyo")
    world.until(made)
    world.change(ORDER, change(1, facts(location=""), made))
    scheduled = at("2026-04-20 12:00", "Asia/Tokyo")
    world.change(APPOINTMENT, change(1, visit("new", scheduled, location=""), made, entity_id="2"))
    world.until(LATER + DAY)
    assert [(sent.at, sent.text) for sent in world.sent] == [
        (at("2026-04-08 10:00", "Asia/Tokyo"), "Ann: N1 New"),
        (at("2026-04-19 12:00", "Asia/Tokyo"), "See you Monday, April 20 at 12:00 PM"),
    ]


def test_a_rule_is_one_company_s_and_its_kind_s() -> None:
    world = opened(TUESDAY, notification(Trigger.CREATED))
    world.change(APPOINTMENT, change(1, visit(), world.now))
    other = msgspec.structs.replace(change(1, facts(), world.now), company="other")
    world.change(ORDER, other)
    assert world.log == []
