"""Rules, locations, companies and templates that are edited while messages wait (P6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
    Location,
    Rule,
    RuleKind,
    Template,
    TemplateText,
    Timer,
    TimerOp,
    Trigger,
    Unit,
)
from streams.domain.catalog import Reference
from streams.domain.messages import EmailMessage, RetryAt
from streams.stages import rearming, sweeping
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
from tests.support.topology import Topology, accepting, opened

ORDER, APPOINTMENT = EntityKind.ORDER, EntityKind.APPOINTMENT
TUESDAY = "2026-04-07 10:00"
WHEN = at("2026-04-20 12:00")
DAILY = reminder(24)


def edited(world: Topology, record: Any, **fields: Any) -> Any:
    """The next version of a record, as a person saves it now."""
    if isinstance(record, Rule):
        fields["changed_at"] = world.now
    return msgspec.structs.replace(record, version=record.version + 1, **fields)


def found(name: type[Company] | type[Location] | type[Template], id_: str) -> Any:
    return next(record for record in shop() if isinstance(record, name) and record.id == id_)


def booked(*rules: Rule, entities: int = 1, **visits: Any) -> Topology:
    world = opened(TUESDAY, *rules)
    for number in range(entities):
        made = change(1, visit(scheduled=WHEN, **visits), world.now, entity_id=f"{number + 1}")
        world.change(APPOINTMENT, made)
    return world


def sent_at(world: Topology) -> list[int]:
    return [sent.at for sent in world.sent]


def told_twice(world: Topology, *records: Reference) -> None:
    """Whatever is published arrives more than once; nothing more may come of it."""
    world.reference(*records)
    before = list(world.log)
    world.reference(*records)
    for record in records:
        if isinstance(record, Rule):
            for stage in world.entities.values():
                stage.rules_changed([(C, record.id)])
            for sender in world.senders:
                sender.reference_changed([(C, record.id), (C, "")])
    world.settle()
    assert world.log == before


# --- rules --------------------------------------------------------------------------------------------


def test_created_it_arms_what_is_booked() -> None:
    world = booked()
    told_twice(world, reminder(24, changed_at=world.now))
    assert world.pending == 1
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY]


def test_created_it_does_not_tell_of_what_was_too_late_for_it() -> None:
    world = booked()
    world.until(WHEN - HOUR)
    world.reference(reminder(24, changed_at=world.now))
    assert world.finals == [("suppressed", "too_late")]


def test_created_it_says_nothing_of_appointments_that_are_over() -> None:
    """Else every edit of a rule would log each appointment of the past."""
    world = booked()
    world.until(WHEN + HOUR)
    world.reference(reminder(24, changed_at=world.now))
    assert world.log == []


def test_created_it_arms_neither_the_closed_nor_the_deleted_nor_those_without_a_customer() -> None:
    world = opened(TUESDAY)
    for number, after in enumerate([visit("done", WHEN), visit("gone", WHEN), visit("new", WHEN, "")]):
        world.change(APPOINTMENT, change(1, after, world.now, entity_id=f"{number}"))
    world.reference(reminder(24, changed_at=world.now))
    assert (world.pending, world.log) == (0, [])


@pytest.mark.parametrize(("offset", "unit"), [(48, Unit.HOURS), (12, Unit.HOURS), (2, Unit.DAYS)])
def test_edited_it_moves_what_is_pending(offset: int, unit: Unit) -> None:
    world = booked(DAILY)
    told_twice(world, edited(world, DAILY, offset=offset, offset_unit=unit))
    world.until(WHEN)
    assert sent_at(world) == [WHEN - offset * (HOUR if unit is Unit.HOURS else DAY)]
    assert world.finals == [("sent", "accepted")]


def test_edited_after_it_was_sent_nothing_goes_again() -> None:
    world = booked(DAILY)
    world.until(WHEN - DAY)
    world.reference(edited(world, DAILY, offset=12))
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY]


def test_edited_to_a_moment_that_has_passed_it_is_too_late() -> None:
    world = booked(DAILY)
    world.until(WHEN - 30 * HOUR)
    told_twice(world, edited(world, DAILY, offset=48))
    assert world.finals == [("suppressed", "too_late")]


def test_saved_without_a_change_of_time_while_it_is_overdue_it_still_goes() -> None:
    world = booked(DAILY)
    world.provider = lambda _: RetryAt("test", "provider_busy", after=HOUR)
    world.until(WHEN - DAY)
    world.reference(edited(world, DAILY, name="Another name"))
    world.provider = accepting
    world.until(WHEN)
    assert world.finals == [("sent", "accepted")]
    assert sent_at(world)[1] >= WHEN - DAY + HOUR  # and not before the provider wants it


def test_disabled_it_clears_and_enabled_it_arms_again() -> None:
    world = booked(DAILY)
    off = edited(world, DAILY, enabled=False)
    told_twice(world, off)
    assert (world.pending, world.finals) == (0, [("cancelled", "rule_disabled")])
    world.after(DAY)
    told_twice(world, edited(world, off, enabled=True))
    assert world.pending == 1
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY]


def test_enabled_after_its_moment_it_is_too_late() -> None:
    world = booked(DAILY)
    off = edited(world, DAILY, enabled=False)
    world.reference(off)
    world.until(WHEN - HOUR)
    world.reference(edited(world, off, enabled=True))
    assert world.finals == [("cancelled", "rule_disabled")]


def test_deleted_it_clears() -> None:
    world = booked(DAILY)
    world.remove(Rule, C, "rem")
    assert (world.pending, world.finals) == (0, [("cancelled", "rule_deleted")])


def test_deleted_while_nothing_ran_it_clears_at_the_start() -> None:
    world = booked(DAILY)
    world.catalog.remove(Rule, C, "rem")
    world.restart()
    assert (world.pending, world.finals) == (0, [("cancelled", "rule_deleted")])


def test_edited_while_nothing_ran_it_moves_at_the_start() -> None:
    world = booked(DAILY)
    world.catalog.apply(edited(world, DAILY, offset=48))
    world.restart()
    world.until(WHEN)
    assert sent_at(world) == [WHEN - 2 * DAY]


def test_locations_widened_and_narrowed() -> None:
    north = reminder(24, locations=("north",))
    world = booked(north, location="south")
    assert world.log == []
    both = edited(world, north, locations=("north", "south"))
    told_twice(world, both)
    assert world.pending == 1
    again = edited(world, both, locations=("north",))
    told_twice(world, again)
    assert (world.pending, world.finals) == (0, [("cancelled", "rule_changed")])
    told_twice(world, edited(world, again, locations=None))
    world.until(WHEN)
    assert world.finals[1:] == [("sent", "accepted")]


def test_delay_of_a_notification() -> None:
    rule = notification(Trigger.CREATED, delay=1, delay_unit=Unit.HOURS)
    world = opened(TUESDAY, rule)
    begun = world.now
    world.change(ORDER, change(1, facts(), begun))
    told_twice(world, edited(world, rule, delay=3))
    world.after(DAY)
    assert sent_at(world) == [begun + 3 * HOUR]


def test_disabling_and_enabling_does_not_bring_notifications_back() -> None:
    rule = notification(Trigger.CREATED, delay=1, delay_unit=Unit.HOURS)
    world = opened(TUESDAY, rule)
    world.change(ORDER, change(1, facts(), world.now))
    off = edited(world, rule, enabled=False)
    world.reference(off)
    world.reference(edited(world, off, enabled=True))
    world.after(DAY)
    assert world.finals == [("cancelled", "rule_disabled")]


def test_channel_and_template_are_those_of_the_moment() -> None:
    world = booked(DAILY)
    world.reference(edited(world, DAILY, channel=Channel.EMAIL, template_id="t"))
    world.until(WHEN)
    assert [type(sent.message) for sent in world.sent] == [EmailMessage]


def test_a_reminder_made_a_notification_is_no_reminder_any_more() -> None:
    """Its pending rows would be due at once: as if each appointment had just been booked."""
    world = booked(DAILY)
    world.reference(edited(world, DAILY, kind=RuleKind.NOTIFICATION, trigger=Trigger.CREATED, offset=0))
    world.until(WHEN)
    assert (world.sent, world.finals) == ([], [("cancelled", "rule_changed")])


def test_a_notification_made_a_reminder_stops_nothing() -> None:
    """An event id is no time: what waits must neither go nor bring the partition down."""
    rule = notification(Trigger.CREATED, APPOINTMENT, delay=2, delay_unit=Unit.HOURS)
    world = booked(rule)
    fields = {"kind": RuleKind.REMINDER, "trigger": Trigger.BEFORE_TIME, "delay": 0, "offset": 24}
    world.reference(edited(world, rule, **fields))
    world.until(WHEN)
    assert world.finals == [("cancelled", "rule_changed"), ("sent", "accepted")]
    assert sent_at(world) == [WHEN - DAY]


def test_changed_to_another_status_the_pending_ones_are_not_meant() -> None:
    rule = notification(Trigger.STATUS_CHANGED_TO, status_id="ready", delay=60)
    world = opened(TUESDAY, rule)
    world.change(ORDER, change(1, facts(), world.now))
    world.change(ORDER, change(2, facts("ready"), world.now))
    world.reference(edited(world, rule, status_id="done"))
    world.after(DAY)
    assert (world.sent, world.finals) == ([], [("cancelled", "rule_changed")])


# --- locations, companies, templates ------------------------------------------------------------------------


def test_a_location_s_zone() -> None:
    """Clocks go forward in Warsaw in the night to 29 March 2026, in Tokyo they don't."""
    world = opened("2026-03-20 10:00", reminder(1, Unit.DAYS))
    scheduled = at("2026-03-29 13:00")
    world.change(APPOINTMENT, change(1, visit(scheduled=scheduled), world.now))
    told_twice(world, edited(world, found(Location, "north"), zone="Asia/Tokyo"))
    world.until(scheduled)
    assert sent_at(world) == [scheduled - DAY]
    assert world.texts == ["See you Sunday, March 29 at 8:00 PM"]


def test_a_location_s_hours() -> None:
    rule = notification(Trigger.CREATED, working_hours_only=True)
    world = opened("2026-04-07 20:00", rule)
    world.change(ORDER, change(1, facts(), world.now))
    seven = Hours(weekdays=((Interval(opens=420, closes=1080),),) * 7)
    told_twice(world, edited(world, found(Location, "north"), hours=seven))
    world.until(at("2026-04-09 00:00"))
    assert sent_at(world) == [at("2026-04-08 07:00")]


def test_a_location_that_opens_now_lets_go_what_it_held() -> None:
    world = opened("2026-04-07 20:00", notification(Trigger.CREATED, working_hours_only=True))
    world.change(ORDER, change(1, facts(), world.now))
    late = Hours(weekdays=((Interval(opens=420, closes=1320),),) * 7)
    world.reference(edited(world, found(Location, "north"), hours=late))
    assert sent_at(world) == [at("2026-04-07 20:00")]


def test_a_rule_that_no_longer_waits_for_hours_lets_go_what_it_held() -> None:
    rule = notification(Trigger.CREATED, working_hours_only=True)
    world = opened("2026-04-07 20:00", rule)
    world.change(ORDER, change(1, facts(), world.now))
    world.reference(edited(world, rule, working_hours_only=False))
    assert sent_at(world) == [at("2026-04-07 20:00")]


def test_another_edit_does_not_hurry_a_provider_that_asked_for_patience() -> None:
    world = opened("2026-04-07 20:00", notification(Trigger.CREATED, working_hours_only=True))
    world.change(ORDER, change(1, facts(), world.now))
    world.provider = lambda _: RetryAt("test", "throttled", after=HOUR)
    opening = at("2026-04-08 09:00")
    world.until(opening + MINUTE)
    world.provider = accepting
    world.reference(edited(world, found(Location, "north"), name="North Side"))
    assert sent_at(world) == [opening]
    world.until(opening + 2 * HOUR)
    assert sent_at(world) == [opening, opening + HOUR]


def test_the_company_s_quiet_hours() -> None:
    world = booked(reminder(15))  # 21:00
    told_twice(world, edited(world, found(Company, C), quiet_hours=(Interval(opens=1200, closes=480),)))
    world.until(WHEN)
    assert sent_at(world) == [at("2026-04-19 19:59")]


def test_a_template_edit_speaks_in_what_is_pending() -> None:
    world = booked(DAILY)
    world.reference(
        edited(world, found(Template, "when"), texts={"en": TemplateText(sms="Till {{ entity.time }}!")})
    )
    world.until(WHEN)
    assert world.texts == ["Till 12:00 PM!"]


# --- sweeps that are cut, and that meet another edit --------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rearming, "ROWS", 2)
    monkeypatch.setattr(sweeping, "ROWS", 2)


def step(world: Topology, times: int) -> None:
    """Some rounds of the sweeps, and not to their end."""
    for _ in range(times):
        for stage in world.entities.values():
            round_ = stage.sweep(world.now)
            if round_ is not None:
                world.carry_out(stage, round_)
        for number, sender in enumerate(world.senders):
            round2 = sender.sweep(world.now)
            if round2 is not None:
                world.carry_out_delivery(number, round2)


def publish(world: Topology, rule: Rule) -> None:
    """Lets the stages know, and not yet work."""
    world.catalog.apply(rule)
    for stage in world.entities.values():
        stage.rules_changed([(C, rule.id)])
    for sender in world.senders:
        sender.reference_changed([(C, rule.id)])


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("disks", [False, True])
def test_restart_in_the_middle_of_a_sweep(steps: int, disks: bool) -> None:
    world = booked(entities=9)
    publish(world, reminder(24, changed_at=world.now))
    step(world, steps)
    if disks:
        world.lose_disks()
    else:
        world.restart()
    assert world.pending == 9
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY] * 9


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("steps", range(5))
def test_an_edit_in_the_middle_of_a_sweep_reaches_what_the_sweep_has_passed(steps: int) -> None:
    world = booked(DAILY, entities=9)
    twelve = edited(world, DAILY, offset=12)
    publish(world, twelve)
    step(world, steps)
    publish(world, edited(world, twelve, offset=48))
    world.settle()
    dues = {record.entity_id: record.due_at for record in world.log}
    assert dues == {f"{number}": WHEN - 2 * DAY for number in range(1, 10)}
    world.until(WHEN)
    assert sent_at(world) == [WHEN - 2 * DAY] * 9


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("steps", range(5))
def test_and_so_for_notifications_which_nobody_arms_again(steps: int) -> None:
    rule = notification(Trigger.CREATED, delay=9, delay_unit=Unit.HOURS)
    world = opened(TUESDAY, rule)
    begun = world.now
    world.change(ORDER, *(change(1, facts(), begun, entity_id=f"{number}") for number in range(9)))
    six = edited(world, rule, delay=6)
    publish(world, six)
    step(world, steps)
    publish(world, edited(world, six, delay=3))
    world.after(DAY)
    assert sent_at(world) == [begun + 3 * HOUR] * 9


@pytest.mark.usefixtures("small_steps")
def test_an_entity_that_changes_in_the_middle_of_a_sweep() -> None:
    world = booked(entities=5)
    publish(world, reminder(24, changed_at=world.now))
    step(world, 1)
    moved = change(2, visit(scheduled=WHEN + DAY), world.now, entity_id="1")
    gone = change(2, visit("gone", WHEN), world.now, entity_id="5")
    world.change(APPOINTMENT, moved, gone)
    world.until(WHEN + DAY)
    assert sent_at(world) == [WHEN - DAY] * 3 + [WHEN]


@pytest.mark.usefixtures("small_steps")
def test_a_sweep_touches_no_other_company() -> None:
    world = booked(DAILY, entities=3)
    other = msgspec.structs.replace(found(Company, C), id="acme2")
    theirs = msgspec.structs.replace(DAILY, company="acme2")
    statuses = [msgspec.structs.replace(r, company="acme2") for r in shop() if isinstance(r, Template)]
    world.reference(other, theirs, *statuses)
    world.customer(ann(company="acme2"))
    made = msgspec.structs.replace(change(1, visit(scheduled=WHEN, location=""), world.now), company="acme2")
    world.change(APPOINTMENT, made)
    world.remove(Rule, C, "rem")
    world.until(WHEN)
    assert [(record.company, record.state) for record in world.log if record.reason != "armed"] == [
        *[(C, "cancelled")] * 3,
        ("acme2", "sending"),
        ("acme2", "sent"),
    ]


# --- what has been applied is known after a crash, a lost disk, a move --------------------------------


def written(world: Topology) -> list[tuple[bytes, bytes | None]]:
    """What the changelogs have."""
    logs = [*world.entity_changelogs.values(), *world.changelogs]
    return [record for log in logs for record in log]


@pytest.mark.parametrize("disks", [False, True])
def test_a_start_writes_nothing_and_arms_nothing_anew(disks: bool) -> None:
    world = booked(DAILY, entities=9)
    world.reference(edited(world, DAILY, offset=12), reminder(48, id_="two", changed_at=world.now))
    world.remove(Rule, C, "rem")
    before, commands = written(world), [list(commands) for commands in world.commands]
    if disks:
        world.lose_disks()
    else:
        world.restart()
    assert written(world) == before
    assert world.commands == commands
    world.until(WHEN)
    assert sent_at(world) == [WHEN - 2 * DAY] * 9


@pytest.mark.parametrize("disks", [False, True])
def test_an_edit_while_nobody_was_there(disks: bool) -> None:
    removed = reminder(36, id_="gone")
    world = booked(DAILY, removed, entities=3)
    world.catalog.apply(edited(world, DAILY, offset=12))
    world.catalog.apply(reminder(48, id_="new", changed_at=world.now))
    world.catalog.remove(Rule, C, "gone")
    if disks:
        world.lose_disks()
    else:
        world.restart()
    assert world.pending == 6
    world.until(WHEN)
    assert sent_at(world) == [WHEN - 2 * DAY] * 3 + [WHEN - DAY // 2] * 3


def test_a_company_that_is_gone_with_its_rules_while_nobody_was_there() -> None:
    world = booked(DAILY, entities=3)
    world.catalog.remove(Rule, C, "rem")
    world.catalog.remove(Company, C, C)
    world.restart()
    assert world.pending == 0
    before = written(world)
    world.restart()
    assert written(world) == before


def test_an_edit_that_moves_nothing_writes_no_message() -> None:
    world = booked(DAILY, entities=9)
    before = [len(log) for log in world.changelogs]
    world.reference(edited(world, found(Company, C), name="Acme and Sons"))
    new = [[key for key, _ in log[length:]] for log, length in zip(world.changelogs, before, strict=True)]
    assert new == [[sweeping.APPLIED + C.encode()]] * len(new)


# --- a rule that the sender has not read yet ----------------------------------------------------------


def command(world: Topology, **fields: Any) -> Timer:
    made = change(1, visit(scheduled=WHEN), world.now)
    return msgspec.structs.replace(
        Timer(
            op=TimerOp.ARM,
            company=C,
            kind=APPOINTMENT,
            entity_id="1",
            customer_id="ann",
            entity_version=1,
            rule_id="rem",
            rule_version=2,
            anchor=str(WHEN),
            occurred_at=world.now,
            status_id="appointment-new",
            change=world.codec.encode_change(APPOINTMENT, made),
        ),
        **fields,
    )


@pytest.mark.parametrize("older", [True, False])
def test_a_rule_newer_than_the_sender_s_table_is_waited_for(older: bool) -> None:
    world = opened(TUESDAY, *([DAILY] if older else []))
    world.produce(command(world))
    world.after(30_000)
    assert (world.pending, world.finals) == (1, [])
    world.reference(reminder(48, version=2))
    world.until(WHEN)
    assert sent_at(world) == [WHEN - 2 * DAY]


def test_a_rule_that_never_comes_is_waited_for_a_minute() -> None:
    world = opened(TUESDAY)
    begun = world.now
    world.produce(command(world))
    world.until(begun + 59_999)
    assert world.finals == []
    world.after(HOUR)
    assert world.finals == [("cancelled", "rule_deleted")]


def test_a_due_message_waits_for_the_rule_that_armed_it() -> None:
    """The older rule would send it now; the newer one, which armed it, wants it later."""
    world = opened(TUESDAY, notification(Trigger.CREATED, APPOINTMENT))
    fields = {"rule_id": "r", "anchor": "e", "event_id": "e", "rule_version": 2}
    world.produce(command(world, **fields))
    world.after(30_000)
    assert world.sent == []
    world.reference(notification(Trigger.CREATED, APPOINTMENT, delay=60, version=2))
    world.after(HOUR)
    assert sent_at(world) == [at(TUESDAY) + HOUR]


def test_an_edit_says_nothing_new_of_a_reminder_that_has_come_to_its_end() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop(), reminder(24))
    world.customer(ann(sms_consent=False))
    scheduled = at("2026-04-03 10:00")
    booked = facts("appointment-new", scheduled)
    world.change(EntityKind.APPOINTMENT, change(1, booked, world.now))
    world.until(scheduled - 2 * HOUR)
    assert world.finals == [("suppressed", "no_consent")]
    world.reference(reminder(48, version=2, changed_at=world.now))
    assert world.finals == [("suppressed", "no_consent")]
    world.until(scheduled + DAY)
    world.reference(reminder(12, version=3, changed_at=world.now))
    assert world.finals == [("suppressed", "no_consent")]
    assert world.pending == 0


def test_an_edit_to_a_moment_that_is_yet_to_come_arms_again_what_was_refused() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop(), reminder(24))
    world.customer(ann(sms_consent=False))
    scheduled = at("2026-04-03 10:00")
    world.change(EntityKind.APPOINTMENT, change(1, facts("appointment-new", scheduled), world.now))
    world.until(scheduled - 3 * HOUR)
    world.customer(ann(version=2))
    world.reference(reminder(2, version=2, changed_at=world.now))
    world.until(scheduled)
    assert [sent.at for sent in world.sent] == [scheduled - 2 * HOUR]
