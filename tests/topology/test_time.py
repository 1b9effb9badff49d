"""What the design says of time, sentence by sentence."""

from __future__ import annotations

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
    Operation,
    Rule,
    Trigger,
    Unit,
)
from streams.domain.messages import RetryAt
from tests.support.shop import (
    DAY,
    HOUR,
    MINUTE,
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
NIGHT = Interval(opens=1320, closes=480)
"""22:00 to 8:00."""


def company(**fields: object) -> Company:
    found = shop()[0]
    assert isinstance(found, Company)
    return msgspec.structs.replace(found, version=2, **fields)


def sent_at(world: Topology) -> list[int]:
    return [sent.at for sent in world.sent]


def booked(when: str, *rules: Rule, scheduled: int = WHEN) -> Topology:
    world = opened(when, *rules)
    world.change(APPOINTMENT, change(1, visit(scheduled=scheduled), world.now))
    return world


# --- elapsed and calendar time ------------------------------------------------------------------------


def test_hours_are_elapsed_and_days_are_calendar_days_across_a_clock_change() -> None:
    """Clocks go forward in the night to 29 March."""
    scheduled = at("2026-03-29 13:00")
    world = booked(
        "2026-03-20 10:00", reminder(1, Unit.DAYS), reminder(24, Unit.HOURS, id_="h"), scheduled=scheduled
    )
    world.until(scheduled)
    assert sent_at(world) == [at("2026-03-28 12:00"), at("2026-03-28 13:00")]
    assert scheduled - at("2026-03-28 12:00") == DAY


# --- working hours ------------------------------------------------------------------------------------


def test_a_night_of_edits_is_one_message_in_the_morning() -> None:
    rule = notification(Trigger.STATUS_CHANGED, working_hours_only=True)
    world = opened("2026-04-07 20:00", rule)
    world.change(ORDER, change(1, facts(), world.now))
    for version, status in enumerate(("ready", "new", "ready"), start=2):
        world.after(HOUR)
        world.change(ORDER, change(version, facts(status), world.now))
    assert world.finals == [("superseded", "newer_held")] * 2
    world.until(at("2026-04-09 00:00"))
    assert (world.texts, sent_at(world)) == (["Ann: N1 Ready"], [at("2026-04-08 09:00")])


def test_only_messages_of_the_same_rule_and_entity_supersede_each_other() -> None:
    rules = [notification(Trigger.STATUS_CHANGED, working_hours_only=True, id_=name) for name in ("r", "r2")]
    world = opened("2026-04-07 20:00", *rules)
    for entity_id in ("1", "11"):
        world.change(ORDER, change(1, facts(), world.now, entity_id=entity_id))
        world.change(ORDER, change(2, facts("ready"), world.now, entity_id=entity_id))
    world.until(at("2026-04-09 00:00"))
    assert world.finals == [("sent", "accepted")] * 4


def test_held_changed_to_x_is_stale_once_the_entity_has_left_x() -> None:
    rule = notification(Trigger.STATUS_CHANGED_TO, status_id="ready", working_hours_only=True)
    world = opened("2026-04-07 20:00", rule)
    world.change(ORDER, change(1, facts(), world.now))
    world.change(ORDER, change(2, facts("ready"), world.now))
    world.change(ORDER, change(3, facts("done"), world.now))
    world.until(at("2026-04-09 00:00"))
    assert world.finals == [("stale", "status_changed")]


def test_held_changed_to_x_goes_when_the_entity_is_back_at_x() -> None:
    rule = notification(Trigger.STATUS_CHANGED_TO, status_id="ready", working_hours_only=True)
    world = opened("2026-04-07 20:00", rule)
    world.change(ORDER, change(1, facts(), world.now))
    for version, status in enumerate(("ready", "new", "ready"), start=2):
        world.change(ORDER, change(version, facts(status), world.now))
    world.until(at("2026-04-09 00:00"))
    assert world.finals == [("superseded", "newer_held"), ("sent", "accepted")]


def test_no_opening_in_the_next_366_days() -> None:
    never = msgspec.structs.replace(shop()[1], hours=Hours(), version=2)
    world = opened(TUESDAY, never, notification(Trigger.CREATED, working_hours_only=True))
    world.change(ORDER, change(1, facts(), world.now))
    assert world.finals == [("suppressed", "no_opening")]


def test_hours_over_midnight_and_closed_dates() -> None:
    bar = Hours(weekdays=((Interval(opens=1200, closes=120),),) * 7, closed_dates=("2026-04-08",))
    world = opened("2026-04-08 01:59", msgspec.structs.replace(shop()[1], hours=bar, version=2))
    world.reference(notification(Trigger.CREATED, working_hours_only=True))
    world.change(ORDER, change(1, facts(), world.now, entity_id="open since Tuesday"))
    world.until(at("2026-04-08 21:00"))
    world.change(ORDER, change(1, facts(), world.now, entity_id="closed on Wednesday"))
    world.until(at("2026-04-10 00:00"))
    assert sent_at(world) == [at("2026-04-08 01:59"), at("2026-04-09 20:00")]


def test_what_became_due_in_a_closed_night_while_nothing_ran_still_goes_at_the_opening() -> None:
    """Friday evening's message, first looked at on Sunday: it could not have gone before Monday anyway."""
    world = opened("2026-04-10 20:00", notification(Trigger.CREATED, working_hours_only=True, delay=1))
    world.change(ORDER, change(1, facts(), world.now))
    world.now = at("2026-04-12 12:00")
    world.until(at("2026-04-14 00:00"))
    assert sent_at(world) == [at("2026-04-13 09:00")]


def test_what_is_first_looked_at_a_day_after_the_opening_that_it_missed_is_expired() -> None:
    world = opened("2026-04-10 20:00", notification(Trigger.CREATED, working_hours_only=True, delay=1))
    world.change(ORDER, change(1, facts(), world.now))
    world.now = at("2026-04-14 09:01")
    world.settle()
    assert world.finals == [("expired", "lateness")]


# --- delay --------------------------------------------------------------------------------------------


def test_a_delay_is_kept_whatever_happens_in_between() -> None:
    """Every change has its own message; the review request comes although the order was archived."""
    world = opened(TUESDAY, notification(Trigger.STATUS_CHANGED, delay=1, delay_unit=Unit.HOURS))
    begun = world.now
    world.change(ORDER, change(1, facts(), begun))
    for version, status in enumerate(("ready", "done", "gone"), start=2):
        world.change(ORDER, change(version, facts(status), world.now))
        world.after(10 * MINUTE)
    world.after(DAY)
    assert sent_at(world) == [begun + HOUR, begun + HOUR + 10 * MINUTE, begun + HOUR + 20 * MINUTE]


@pytest.mark.parametrize(
    ("back", "final"), [(False, ("stale", "status_changed")), (True, ("sent", "accepted"))]
)
def test_only_if_still_drops_what_is_no_longer_so(back: bool, final: tuple[str, str]) -> None:
    rule = notification(Trigger.STATUS_CHANGED_TO, status_id="ready", delay=60, only_if_still=True)
    world = opened(TUESDAY, rule)
    for version, status in enumerate(["new", "ready", "done", *(["ready"] if back else [])], start=1):
        world.change(ORDER, change(version, facts(status), world.now))
    world.after(59 * MINUTE)
    assert world.finals == []
    world.after(MINUTE)
    assert world.finals == [final] * (2 if back else 1)


def test_an_event_of_long_ago_is_judged_by_its_age_once_not_again_when_the_delay_is_edited() -> None:
    rule = notification(Trigger.CREATED, delay=3, delay_unit=Unit.DAYS)
    world = opened(TUESDAY, rule)
    begun = world.now
    world.change(ORDER, change(1, facts(), begun))
    world.after(2 * DAY)
    world.reference(msgspec.structs.replace(rule, delay=4, version=2, changed_at=world.now))
    world.after(3 * DAY)
    assert sent_at(world) == [begun + 4 * DAY]


# --- reminders that are late ---------------------------------------------------------------------------


def test_a_reminder_whose_moment_has_passed_at_booking_is_too_late() -> None:
    world = booked(TUESDAY, reminder(24), reminder(1, id_="hour"), scheduled=at("2026-04-07 15:00"))
    assert world.states("rem") == [("suppressed", "too_late")]
    world.after(DAY)
    assert sent_at(world) == [at("2026-04-07 14:00")]


def test_a_reminder_booked_at_its_very_moment_goes() -> None:
    world = booked(TUESDAY, reminder(5), scheduled=at("2026-04-07 15:00"))
    assert sent_at(world) == [at(TUESDAY)]


def test_a_reminder_due_while_the_system_was_down_goes_while_it_helps() -> None:
    world = booked(TUESDAY, reminder(24))
    world.now = WHEN - HOUR
    world.restart()
    assert sent_at(world) == [WHEN - HOUR]


@pytest.mark.parametrize(
    ("lateness", "back_at", "final"),
    [
        (None, WHEN, ("expired", "after_scheduled")),
        (None, WHEN - 1, ("sent", "accepted")),
        (2 * HOUR, WHEN - 22 * HOUR + 1, ("expired", "lateness")),
        (2 * HOUR, WHEN - 22 * HOUR - 1, ("sent", "accepted")),
    ],
)
def test_and_is_expired_after_that(lateness: int | None, back_at: int, final: tuple[str, str]) -> None:
    world = booked(TUESDAY, reminder(24, max_lateness=lateness))
    world.now = back_at
    world.restart()
    assert world.finals == [final]


def test_a_notification_is_a_day_late_at_most() -> None:
    world = opened(TUESDAY, notification(Trigger.CREATED, delay=1))
    world.change(ORDER, change(1, facts(), world.now))
    world.now += DAY + 2 * MINUTE
    world.restart()
    assert world.finals == [("expired", "lateness")]


def test_booked_while_the_system_was_down_is_not_too_late_if_it_was_in_time_then() -> None:
    """too_late compares with when the entity was booked, lateness with the clock."""
    world = opened(TUESDAY, reminder(24))
    occurred, scheduled = world.now - 2 * HOUR, world.now + 23 * HOUR
    world.change(APPOINTMENT, change(1, visit(scheduled=scheduled), occurred))
    assert sent_at(world) == [at(TUESDAY)]


# --- moved ----------------------------------------------------------------------------------------------


def test_moved_the_pending_reminder_moves() -> None:
    world = booked(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + DAY), world.now))
    world.until(WHEN + 2 * DAY)
    assert sent_at(world) == [WHEN]
    assert world.texts == ["See you Tuesday, April 21 at 12:00 PM"]


def test_moved_after_sending_the_new_time_has_its_own() -> None:
    world = booked(TUESDAY, reminder(24))
    world.until(WHEN - HOUR)
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + 3 * DAY), world.now))
    world.until(WHEN + 4 * DAY)
    assert sent_at(world) == [WHEN - DAY, WHEN + 2 * DAY]


@pytest.mark.parametrize("one_batch", [False, True])
def test_moved_away_and_back_before_anything_was_sent_it_goes_once(one_batch: bool) -> None:
    world = booked(TUESDAY, reminder(24))
    moves = [
        change(2, visit(scheduled=WHEN + DAY), world.now),
        change(3, visit(scheduled=WHEN), world.now),
    ]
    for batch in [moves] if one_batch else [[move] for move in moves]:
        world.change(APPOINTMENT, *batch)
    world.until(WHEN + 4 * DAY)
    assert sent_at(world) == [WHEN - DAY]
    assert world.finals == [("superseded", "moved")] * 2 + [("sent", "accepted")]


def test_moved_away_and_back_after_sending_it_does_not_go_again() -> None:
    world = booked(TUESDAY, reminder(24))
    world.until(WHEN - HOUR)
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + 3 * DAY), world.now))
    world.change(APPOINTMENT, change(3, visit(scheduled=WHEN), world.now))
    world.until(WHEN + 4 * DAY)
    assert sent_at(world) == [WHEN - DAY]
    assert world.pending == 0


def test_moved_to_a_time_whose_reminder_s_moment_has_passed() -> None:
    world = booked(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(2, visit(scheduled=world.now + HOUR), world.now))
    world.after(DAY)
    assert world.sent == []
    assert world.finals == [("superseded", "moved"), ("suppressed", "too_late")]


def test_moved_while_the_provider_asks_for_patience_the_old_time_is_not_tried_again() -> None:
    world = booked(TUESDAY, reminder(24))
    world.provider = lambda _: RetryAt("test", "throttled", after=30 * MINUTE)
    world.until(WHEN - DAY)
    world.provider = accepting
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + 3 * DAY), world.now))
    world.until(WHEN + 4 * DAY)
    assert sent_at(world) == [WHEN - DAY, WHEN + 2 * DAY]
    assert world.finals == [("superseded", "moved"), ("sent", "accepted")]


# --- closed, cancelled, deleted -------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "reason"), [("done", "entity_closed"), ("gone", "entity_cancelled")])
def test_closing_clears_reminders_and_time_changes_but_not_status_messages(status: str, reason: str) -> None:
    world = booked(
        TUESDAY,
        reminder(24),
        notification(Trigger.TIME_CHANGED, APPOINTMENT, id_="time", delay=60),
        notification(Trigger.STATUS_CHANGED, APPOINTMENT, id_="status", delay=60),
    )
    world.change(APPOINTMENT, change(2, visit("ready", WHEN + DAY), world.now))
    world.after(MINUTE)
    world.change(APPOINTMENT, change(3, visit(status, WHEN + DAY), world.now))
    world.until(WHEN + 3 * DAY)
    assert world.states("rem")[-1] == world.states("time")[-1] == ("cancelled", reason)
    name = status.title()
    assert world.texts == [f"Ann: N1 {name}", f"Ann: N1 {name}"]  # as it is when they go


def test_your_appointment_is_cancelled() -> None:
    world = booked(
        TUESDAY, notification(Trigger.STATUS_CHANGED_TO, APPOINTMENT, status_id="appointment-gone")
    )
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))
    assert world.texts == ["Ann: N1 Gone"]


def test_a_deleted_entity_tells_nothing_more() -> None:
    world = booked(
        TUESDAY, reminder(24), notification(Trigger.STATUS_CHANGED, APPOINTMENT, id_="status", delay=60)
    )
    world.change(APPOINTMENT, change(2, visit("ready", WHEN), world.now))
    world.change(APPOINTMENT, change(3, None, world.now, operation=Operation.DELETE), None)
    world.until(WHEN + DAY)
    assert (world.sent, world.pending) == ([], 0)
    assert world.finals == [("cancelled", "entity_deleted")] * 2


def test_opened_again_the_reminder_goes() -> None:
    world = booked(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))
    world.after(DAY)
    world.change(APPOINTMENT, change(3, visit("new", WHEN), world.now))
    world.until(WHEN)
    assert world.finals == [("cancelled", "entity_cancelled"), ("sent", "accepted")]


def test_a_status_that_the_entity_agent_did_not_know_yet_still_stops_the_reminder() -> None:
    """The table of statuses lagged when the entity was cancelled: nothing was cleared then."""
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.change(APPOINTMENT, change(2, facts("no-show", WHEN), world.now))
    gone = next(record for record in shop() if getattr(record, "id", "") == "appointment-gone")
    world.reference(msgspec.structs.replace(gone, id="no-show"))
    world.until(WHEN)
    assert world.finals == [("cancelled", "entity_cancelled")]


# --- another customer, another location --------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [f"bob{number}" for number in range(4)]
)  # one of them shares Ann's partition
@pytest.mark.parametrize("one_batch", [False, True])
def test_another_customer(other: str, one_batch: bool) -> None:
    rule = notification(Trigger.CREATED, APPOINTMENT, delay=60)
    world = opened(TUESDAY, reminder(24), rule)
    world.customer(ann(customer_id=other, name="Bob", phone="+48501111333"))
    changes = [
        change(1, visit(scheduled=WHEN), world.now),
        change(2, visit(scheduled=WHEN, customer=other), world.now),
    ]
    for batch in [changes] if one_batch else [[one] for one in changes]:
        world.change(APPOINTMENT, *batch)
    world.until(WHEN)
    assert [sent.to for sent in world.sent] == ["+48501111333"]
    assert world.finals == [("cancelled", "customer_changed")] * 2 + [("sent", "accepted")]


@pytest.mark.parametrize("one_batch", [False, True])
def test_another_customer_and_back(one_batch: bool) -> None:
    world = opened(TUESDAY, reminder(24))
    world.customer(ann(customer_id="bob", phone="+48501111333"))
    owners = ["ann", "bob", "ann"]
    changes = [
        change(version, visit(scheduled=WHEN, customer=owner), world.now)
        for version, owner in enumerate(owners, start=1)
    ]
    for batch in [changes] if one_batch else [[one] for one in changes]:
        world.change(APPOINTMENT, *batch)
    world.until(WHEN)
    assert [sent.to for sent in world.sent] == ["+48501111222"]
    assert sorted(world.finals) == [("cancelled", "customer_changed")] * 2 + [("sent", "accepted")]


def test_another_location_has_its_own_zone_and_rules() -> None:
    world = booked(
        TUESDAY, reminder(1, Unit.DAYS), reminder(2, id_="north", locations=("north",)), scheduled=WHEN
    )
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN, location="south"), world.now))
    world.until(WHEN)
    assert world.texts == ["See you Monday, April 20 at 11:00 AM"]
    assert world.states("north")[-1] == ("cancelled", "rule_changed")


def test_another_location_has_its_own_hours() -> None:
    early = Hours(weekdays=((Interval(opens=360, closes=1080),),) * 7)
    south = msgspec.structs.replace(shop()[2], hours=early, version=2)
    world = opened("2026-04-07 20:00", south, notification(Trigger.CREATED, working_hours_only=True))
    world.change(ORDER, change(1, facts(), world.now))
    world.change(ORDER, change(2, facts(location="south"), world.now))
    world.until(at("2026-04-09 00:00"))
    assert sent_at(world) == [at("2026-04-08 06:00", "Europe/Lisbon")]


# --- quiet hours ---------------------------------------------------------------------------------------


def test_nothing_goes_out_in_quiet_hours() -> None:
    world = opened("2026-04-07 23:00", company(quiet_hours=(NIGHT,)), notification(Trigger.CREATED))
    world.change(ORDER, change(1, facts(), world.now))
    assert world.states("r") == [("scheduled", "armed"), ("held", "quiet_hours")]
    world.until(at("2026-04-09 00:00"))
    assert sent_at(world) == [at("2026-04-08 08:00")]


def test_a_reminder_that_would_fall_into_quiet_hours_goes_before_them() -> None:
    world = opened(TUESDAY, company(quiet_hours=(NIGHT,)), reminder(4))
    world.change(APPOINTMENT, change(1, visit(scheduled=at("2026-04-20 09:00")), world.now))
    world.until(WHEN)
    assert sent_at(world) == [at("2026-04-19 21:59")]


def test_a_reminder_that_was_held_up_into_quiet_hours_waits_for_their_end_or_expires() -> None:
    world = opened(TUESDAY, company(quiet_hours=(NIGHT,)), reminder(4), reminder(14, id_="long"))
    world.change(APPOINTMENT, change(1, visit(scheduled=at("2026-04-20 07:00")), world.now))
    later = change(1, visit(scheduled=at("2026-04-20 10:00")), world.now, entity_id="2")
    world.change(APPOINTMENT, later)
    world.now = at("2026-04-20 03:00")
    world.restart()
    world.until(WHEN)
    assert world.finals.count(("expired", "quiet_hours")) == 2
    assert sent_at(world) == [at("2026-04-20 08:00")] * 2


# --- imports --------------------------------------------------------------------------------------------


def test_old_changes_and_snapshots_trigger_nothing_but_arm_reminders() -> None:
    world = opened(TUESDAY, reminder(24), notification(Trigger.CREATED, APPOINTMENT))
    old = change(1, visit(scheduled=WHEN), world.now - DAY - 1)
    read = change(1, visit(scheduled=WHEN), world.now, operation=Operation.READ, entity_id="2")
    world.change(APPOINTMENT, old, read)
    assert world.states("r") == [("suppressed", "too_old")]
    world.until(WHEN)
    assert sent_at(world) == [WHEN - DAY] * 2


def test_a_change_just_within_the_limit_is_told() -> None:
    world = opened(TUESDAY, notification(Trigger.CREATED, max_lateness=2 * DAY))
    world.change(ORDER, change(1, facts(), world.now - DAY))
    assert world.finals == [("sent", "accepted")]


def test_the_company_says_how_old_an_event_may_be() -> None:
    world = opened(TUESDAY, company(max_event_age=HOUR), notification(Trigger.CREATED))
    world.change(ORDER, change(1, facts(), world.now - HOUR - 1))
    assert world.finals == [("suppressed", "too_old")]


def test_what_waits_for_its_customer_counts_from_the_moment_that_it_is_due() -> None:
    """A moved reminder has looked at the clock before; the wait for an unknown customer begins later."""
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN, customer="stranger"), world.now))
    world.catalog.apply(reminder(12, version=2))  # the sweep has not come by when the row is due
    world.until(WHEN - 12 * HOUR + 30_000)
    world.customer(ann(customer_id="stranger", phone="+48501111444"))
    world.until(WHEN)
    assert [sent.to for sent in world.sent] == ["+48501111444"]


def test_both_channels_have_their_own_message() -> None:
    world = booked(TUESDAY, reminder(24), reminder(24, id_="mail", channel=Channel.EMAIL, template_id="t"))
    world.until(WHEN)
    assert sorted(sent.to for sent in world.sent) == ["+48501111222", "ann@mail.example"]
