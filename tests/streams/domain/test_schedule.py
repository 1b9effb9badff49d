"""When a message is due, by examples and against a calendar that walks minute by minute."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Channel, EntityKind, Interval, Rule, RuleKind, Trigger, Unit
from streams.domain.schedule import (
    UnknownZone,
    expires_at,
    local_date,
    notification_due,
    reminder_due,
    zone_problem,
)
from streams.domain.zones import DAY, END, HOUR, MINUTE
from tests.support.wall_clock import all_changes, instant, walk

WARSAW = "Europe/Warsaw"


def reminder(offset: int, unit: Unit, max_lateness: int | None = None) -> Rule:
    return Rule(
        id="r1",
        company="c1",
        kind=RuleKind.REMINDER,
        entity=EntityKind.APPOINTMENT,
        trigger=Trigger.BEFORE_TIME,
        offset=offset,
        offset_unit=unit,
        channel=Channel.SMS,
        template_id="t1",
        max_lateness=max_lateness,
        version=1,
    )


def notification(delay: int, unit: Unit, max_lateness: int | None = None) -> Rule:
    return Rule(
        id="r2",
        company="c1",
        kind=RuleKind.NOTIFICATION,
        entity=EntityKind.ORDER,
        trigger=Trigger.CREATED,
        delay=delay,
        delay_unit=unit,
        channel=Channel.SMS,
        template_id="t1",
        max_lateness=max_lateness,
        version=1,
    )


@pytest.mark.parametrize(
    ("offset", "unit", "scheduled", "due"),
    [
        (30, Unit.MINUTES, "2026-04-08T13:00+02:00", "2026-04-08T12:30+02:00"),
        (24, Unit.HOURS, "2026-04-08T13:00+02:00", "2026-04-07T13:00+02:00"),
        (1, Unit.DAYS, "2026-04-08T13:00:00.123+02:00", "2026-04-07T13:00:00.123+02:00"),
        (0, Unit.DAYS, "2026-04-08T13:00+02:00", "2026-04-08T13:00+02:00"),
        # 29 March has 23 hours: a day before is the same time of day, 24 hours before is not
        (1, Unit.DAYS, "2026-03-29T13:00+02:00", "2026-03-28T13:00+01:00"),
        (24, Unit.HOURS, "2026-03-29T13:00+02:00", "2026-03-28T12:00+01:00"),
        (1440, Unit.MINUTES, "2026-03-29T13:00+02:00", "2026-03-28T12:00+01:00"),
        # 25 October has 25
        (1, Unit.DAYS, "2026-10-25T13:00+01:00", "2026-10-24T13:00+02:00"),
        (7, Unit.DAYS, "2026-10-28T13:00+01:00", "2026-10-21T13:00+02:00"),
        (24, Unit.HOURS, "2026-10-25T13:00+01:00", "2026-10-24T14:00+02:00"),
        # 2:30 does not exist on 29 March
        (1, Unit.DAYS, "2026-03-30T02:30+02:00", "2026-03-29T03:30+02:00"),
        # 2:30 comes twice on 25 October: the first, unless the appointment itself is at a second one
        (1, Unit.DAYS, "2026-10-26T02:30+01:00", "2026-10-25T02:30+02:00"),
        (0, Unit.DAYS, "2026-10-25T02:30+02:00", "2026-10-25T02:30+02:00"),
        (0, Unit.DAYS, "2026-10-25T02:30+01:00", "2026-10-25T02:30+01:00"),
        (1, Unit.DAYS, "2026-10-25T02:30+01:00", "2026-10-24T02:30+02:00"),
    ],
)
def test_reminders(offset: int, unit: Unit, scheduled: str, due: str) -> None:
    assert reminder_due(reminder(offset, unit), instant(scheduled), WARSAW) == instant(due)


@pytest.mark.parametrize(
    ("delay", "unit", "occurred", "due"),
    [
        (0, Unit.MINUTES, "2026-04-08T13:00:00.123+02:00", "2026-04-08T13:00:00.123+02:00"),
        (90, Unit.MINUTES, "2026-04-08T13:00+02:00", "2026-04-08T14:30+02:00"),
        (24, Unit.HOURS, "2026-03-28T13:00+01:00", "2026-03-29T14:00+02:00"),
        (1, Unit.DAYS, "2026-03-28T13:00+01:00", "2026-03-29T13:00+02:00"),
        (1, Unit.DAYS, "2026-03-28T02:30+01:00", "2026-03-29T03:30+02:00"),
        (1, Unit.DAYS, "2026-10-24T02:30+02:00", "2026-10-25T02:30+02:00"),
        (0, Unit.DAYS, "2026-10-25T02:30+01:00", "2026-10-25T02:30+01:00"),
    ],
)
def test_notifications(delay: int, unit: Unit, occurred: str, due: str) -> None:
    assert notification_due(notification(delay, unit), instant(occurred), WARSAW) == instant(due)


@pytest.mark.parametrize(("zone", "change"), list(all_changes()))
def test_days_around_every_change(zone: str, change: int) -> None:
    slow = walk(zone, change)
    for at in slow.near():
        for days in (-2, -1, 0, 1, 2):
            expected = slow.at(slow.look(at) + timedelta(days=days), like=at)
            assert notification_due(notification(days, Unit.DAYS), at, zone) == expected
            assert reminder_due(reminder(-days, Unit.DAYS), at, zone) == expected


def test_a_day_that_was_left_out() -> None:
    # Samoa had no 30 December 2011.
    at = instant("2011-12-31T13:00+14:00")
    assert reminder_due(reminder(1, Unit.DAYS), at, "Pacific/Apia") == at
    assert reminder_due(reminder(2, Unit.DAYS), at, "Pacific/Apia") == instant("2011-12-29T13:00-10:00")


def test_reminders_in_quiet_hours_go_before_them() -> None:
    night = (Interval(opens=21 * 60, closes=8 * 60),)
    rule = reminder(2, Unit.HOURS)
    early, late = instant("2026-04-08T09:00+02:00"), instant("2026-04-08T10:00+02:00")
    assert reminder_due(rule, early, WARSAW, night) == instant("2026-04-07T20:59+02:00")
    assert reminder_due(rule, late, WARSAW, night) == instant("2026-04-08T08:00+02:00")
    assert reminder_due(rule, early, WARSAW, (Interval(opens=0, closes=0),)) is None


AT = instant("2026-04-08T13:00+02:00")


def test_the_ends_of_time() -> None:
    for unit in Unit:
        for at in (-1, END, -(10**18), 10**18, 10**30):
            assert reminder_due(reminder(0, unit), at, WARSAW) is None
            assert notification_due(notification(0, unit), at, WARSAW) is None
        assert reminder_due(reminder(10**12, unit), AT, WARSAW) is None
        assert reminder_due(reminder(-(10**12), unit), AT, WARSAW) is None
        assert notification_due(notification(10**12, unit), AT, WARSAW) is None
        assert reminder_due(reminder(1, unit), 0, "UTC") is None
        assert notification_due(notification(1, unit), END - 1, "UTC") is None
        length = {Unit.MINUTES: MINUTE, Unit.HOURS: HOUR, Unit.DAYS: DAY}[unit]
        assert reminder_due(reminder(1, unit), length, "UTC") == 0
        assert notification_due(notification(1, unit), END - 1 - length, "UTC") == END - 1
    # Where the clock on the wall is in another year than Greenwich.
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", WARSAW):
        for at in (0, 12 * HOUR, END - 12 * HOUR, END - 1):
            for days in (-1, 1):
                due = notification_due(notification(days, Unit.DAYS), at, zone)
                assert due is None or 0 <= due < END


@given(
    st.one_of(st.integers(0, END - 1), st.integers()),
    st.one_of(st.integers(-40, 40), st.integers()),
    st.sampled_from(Unit),
    st.sampled_from(["UTC", WARSAW, "Pacific/Apia", "Pacific/Pago_Pago", "Africa/Monrovia"]),
)
def test_no_number_raises(at: int, count: int, unit: Unit, zone: str) -> None:
    quiet = (Interval(opens=21 * 60, closes=8 * 60),)
    for due in (
        notification_due(notification(count, unit), at, zone),
        reminder_due(reminder(count, unit), at, zone, quiet),
    ):
        assert due is None or 0 <= due < END


def test_unknown_zones_are_refused_where_days_are_counted() -> None:
    with pytest.raises(UnknownZone):
        reminder_due(reminder(1, Unit.DAYS), AT, "Europe/Nowhere")
    assert reminder_due(reminder(1, Unit.HOURS), AT, "Europe/Nowhere") == AT - HOUR


def test_how_long_a_message_helps() -> None:
    due = AT - DAY
    assert expires_at(reminder(1, Unit.DAYS), due, AT) == AT
    assert expires_at(reminder(1, Unit.DAYS, max_lateness=HOUR), due, AT) == due + HOUR
    assert expires_at(reminder(1, Unit.DAYS, max_lateness=2 * DAY), due, AT) == AT
    assert expires_at(reminder(1, Unit.DAYS, max_lateness=0), due, AT) == due
    # The entity has lost its time.
    assert expires_at(reminder(1, Unit.DAYS), due, None) == due + DAY
    assert expires_at(reminder(1, Unit.DAYS, max_lateness=HOUR), due, None) == due + HOUR


@pytest.mark.parametrize("scheduled_at", [None, AT, AT - 10 * DAY])
def test_how_long_a_notification_helps(scheduled_at: int | None) -> None:
    assert expires_at(notification(0, Unit.HOURS), AT, scheduled_at) == AT + 24 * HOUR
    assert expires_at(notification(0, Unit.HOURS, max_lateness=HOUR), AT, scheduled_at) == AT + HOUR
    assert expires_at(notification(0, Unit.HOURS, max_lateness=0), AT, scheduled_at) == AT


def test_helpers_for_zones_are_at_hand_here() -> None:
    assert zone_problem(WARSAW) is None
    assert local_date(AT, WARSAW).isoformat() == "2026-04-08"
