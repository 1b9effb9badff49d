"""Working hours, by examples and against a calendar that walks minute by minute."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Hours, Interval
from streams.domain.hours import check_hours, check_intervals, is_open, next_opening
from streams.domain.zones import DAY, END, HOUR, MINUTE, UnknownZone
from tests.support.wall_clock import all_changes, instant, walk

WARSAW = "Europe/Warsaw"


def interval(text: str) -> Interval:
    """``9:00-18:30``."""
    opens, closes = (int(part.split(":")[0]) * 60 + int(part.split(":")[1]) for part in text.split("-"))
    return Interval(opens=opens, closes=closes)


def intervals(text: str) -> tuple[Interval, ...]:
    return tuple(interval(part) for part in text.split())


def week(*days: str, closed: tuple[str, ...] = ()) -> Hours:
    return Hours(weekdays=tuple(intervals(day) for day in days), closed_dates=closed)


def daily(text: str, closed: tuple[str, ...] = ()) -> Hours:
    return week(*[text] * 7, closed=closed)


# Monday to Friday with a lunch break, Saturday morning, Sunday closed.
SHOP = week(*["9:00-12:00 13:00-18:00"] * 5, "10:00-14:00", "")
# A bar: Thursday to Saturday over midnight.
BAR = week("", "", "", "18:00-2:00", "18:00-4:00", "18:00-4:00", "")


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        # 2026-04-08 is a Wednesday
        ("2026-04-08T08:59:59.999+02:00", "2026-04-08T09:00+02:00"),
        ("2026-04-08T09:00+02:00", None),
        ("2026-04-08T11:59:59.999+02:00", None),
        ("2026-04-08T12:00+02:00", "2026-04-08T13:00+02:00"),
        ("2026-04-08T13:00+02:00", None),
        ("2026-04-08T18:00+02:00", "2026-04-09T09:00+02:00"),
        ("2026-04-10T18:00+02:00", "2026-04-11T10:00+02:00"),
        ("2026-04-11T14:00+02:00", "2026-04-13T09:00+02:00"),
        ("2026-04-12T23:59:59.999+02:00", "2026-04-13T09:00+02:00"),
    ],
)
def test_a_shop(at: str, opens: str | None) -> None:
    """``opens`` None: it is open."""
    assert is_open(SHOP, WARSAW, instant(at)) is (opens is None)
    assert next_opening(SHOP, WARSAW, instant(at)) == instant(opens or at)


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-04-09T17:59:59.999+02:00", "2026-04-09T18:00+02:00"),
        ("2026-04-09T18:00+02:00", None),
        ("2026-04-10T00:00+02:00", None),
        ("2026-04-10T01:59:59.999+02:00", None),
        ("2026-04-10T02:00+02:00", "2026-04-10T18:00+02:00"),
        ("2026-04-12T03:59+02:00", None),  # Sunday has no hours, Saturday's still run
        ("2026-04-12T04:00+02:00", "2026-04-16T18:00+02:00"),
    ],
)
def test_a_bar_open_over_midnight(at: str, opens: str | None) -> None:
    assert is_open(BAR, WARSAW, instant(at)) is (opens is None)
    assert next_opening(BAR, WARSAW, instant(at)) == instant(opens or at)


def test_a_closed_date_closes_the_whole_interval_that_opens_on_it() -> None:
    bar = Hours(weekdays=BAR.weekdays, closed_dates=("2026-04-10",))
    # Friday is closed: Thursday's interval still runs into it, Friday's does not run into Saturday.
    assert is_open(bar, WARSAW, instant("2026-04-10T01:00+02:00"))
    assert not is_open(bar, WARSAW, instant("2026-04-10T19:00+02:00"))
    assert not is_open(bar, WARSAW, instant("2026-04-11T01:00+02:00"))
    assert next_opening(bar, WARSAW, instant("2026-04-10T02:00+02:00")) == instant("2026-04-11T18:00+02:00")


def test_a_closed_date_is_a_date_at_the_location() -> None:
    hours = daily("9:00-17:00", closed=("2026-04-08",))
    assert not is_open(hours, "Pacific/Auckland", instant("2026-04-07T22:00+00:00"))
    assert is_open(hours, "America/New_York", instant("2026-04-07T14:00+00:00"))


def test_open_around_the_clock() -> None:
    hours = daily("0:00-0:00")
    assert all(is_open(hours, WARSAW, at) for at in range(0, 30 * DAY, 7 * HOUR))
    from_noon = week("12:00-12:00", "", "", "", "", "", "")  # 2026-04-06 is a Monday
    assert not is_open(from_noon, WARSAW, instant("2026-04-06T11:59:59.999+02:00"))
    assert is_open(from_noon, WARSAW, instant("2026-04-06T12:00+02:00"))
    assert is_open(from_noon, WARSAW, instant("2026-04-07T11:59:59.999+02:00"))
    assert not is_open(from_noon, WARSAW, instant("2026-04-07T12:00+02:00"))


def test_until_midnight_is_not_over_midnight() -> None:
    hours = week("20:00-24:00", "", "", "", "", "", "")
    assert is_open(hours, WARSAW, instant("2026-04-06T23:59:59.999+02:00"))
    assert not is_open(hours, WARSAW, instant("2026-04-07T00:00+02:00"))


@pytest.mark.parametrize(
    ("hours", "opens", "closes"),
    [
        # 29 March 2026, 2:00 becomes 3:00
        ("0:00-4:00", "2026-03-29T00:00+01:00", "2026-03-29T04:00+02:00"),
        ("2:30-5:00", "2026-03-29T03:30+02:00", "2026-03-29T05:00+02:00"),
        ("1:00-2:30", "2026-03-29T01:00+01:00", "2026-03-29T03:30+02:00"),
        ("2:15-2:45", "2026-03-29T03:15+02:00", "2026-03-29T03:45+02:00"),
        # 25 October 2026, 3:00 becomes 2:00: both ends mean the first
        ("0:00-4:00", "2026-10-25T00:00+02:00", "2026-10-25T04:00+01:00"),
        ("2:30-5:00", "2026-10-25T02:30+02:00", "2026-10-25T05:00+01:00"),
        ("1:00-2:30", "2026-10-25T01:00+02:00", "2026-10-25T02:30+02:00"),
    ],
)
def test_clock_changes(hours: str, opens: str, closes: str) -> None:
    shop, start, end = daily(hours), instant(opens), instant(closes)
    assert [is_open(shop, WARSAW, at) for at in (start - 1, start, end - 1, end)] == [
        False,
        True,
        True,
        False,
    ]
    assert next_opening(shop, WARSAW, start - 1) == start


def test_an_interval_whose_opening_moves_past_its_closing_is_not_open_on_that_day() -> None:
    hours = daily("2:30-3:15")
    assert next_opening(hours, WARSAW, instant("2026-03-28T12:00+01:00")) == instant("2026-03-30T02:30+02:00")


def test_an_opening_that_a_gap_moves_past_midnight_is_found_from_the_next_day() -> None:
    # Nuuk's clocks go from 23:00 on Saturday 28 March 2026 to 0:00 on Sunday.
    saturday = week("", "", "", "", "", "23:30-4:00", "0:40-3:00")
    assert next_opening(saturday, "America/Nuuk", instant("2026-03-29T00:10-01:00")) == instant(
        "2026-03-29T00:30-01:00"
    )
    assert next_opening(saturday, "America/Nuuk", instant("2026-03-28T12:00-02:00")) == instant(
        "2026-03-29T00:30-01:00"
    )
    # Sunday's opening may come before Saturday's.
    both = week("", "", "", "", "", "23:30-4:00", "0:10-0:20")
    assert next_opening(both, "America/Nuuk", instant("2026-03-28T12:00-02:00")) == instant(
        "2026-03-29T00:10-01:00"
    )


def test_an_end_that_a_gap_moves_past_the_second_midnight() -> None:
    # 24 hours from 23:45 on Friday end at 23:45 on Saturday, which is 0:45 on Sunday.
    friday = week("", "", "", "", "23:45-23:45", "", "")
    assert is_open(friday, "America/Nuuk", instant("2026-03-29T00:44:59.999-01:00"))
    assert not is_open(friday, "America/Nuuk", instant("2026-03-29T00:45-01:00"))


def test_a_day_that_begins_twice() -> None:
    # St John's, 7 November 2010: at 0:01 it was 23:01 on the 6th again.
    sunday = week("", "", "", "", "", "", "0:00-10:00")
    assert is_open(sunday, "America/St_Johns", instant("2010-11-06T23:30-03:30"))


def test_intervals_may_be_in_any_order() -> None:
    hours = daily("13:00-18:00 9:00-12:00")
    assert next_opening(hours, WARSAW, instant("2026-04-08T01:00+02:00")) == instant("2026-04-08T09:00+02:00")


def test_no_opening() -> None:
    at = instant("2026-04-08T12:00+02:00")
    assert next_opening(Hours(), WARSAW, at) is None
    assert not is_open(Hours(), WARSAW, at)
    year = tuple((date(2026, 1, 1) + timedelta(days=n)).isoformat() for n in range(800))
    assert next_opening(daily("9:00-17:00", closed=year), WARSAW, at) is None


def test_an_opening_366_days_ahead_is_found_and_no_later_one() -> None:
    # Everything from Wednesday 2026-04-08 to 2027-04-08 is closed, so that it opens on 2027-04-09 at 9:00.
    closed = tuple((date(2026, 4, 8) + timedelta(days=n)).isoformat() for n in range(366))
    hours = daily("9:00-17:00", closed=closed)
    opening = instant("2027-04-09T09:00+02:00")
    assert next_opening(hours, WARSAW, opening - 366 * DAY) == opening
    assert next_opening(hours, WARSAW, opening - 366 * DAY - 1) is None
    late = daily("23:59-24:00", closed=closed)
    opening = instant("2027-04-09T23:59+02:00")
    assert next_opening(late, WARSAW, opening - 366 * DAY) == opening
    assert next_opening(late, WARSAW, opening - 366 * DAY - 1) is None


def test_the_ends_of_time() -> None:
    always, noon = daily("0:00-0:00"), daily("12:00-13:00")
    for at in (-1, END, 10**18, -(10**18)):
        assert not is_open(always, WARSAW, at)
        assert next_opening(always, WARSAW, at) is None
    for zone in (WARSAW, "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        for at in (0, END - 1):
            assert is_open(always, zone, at)
            assert next_opening(always, zone, at) == at
    assert next_opening(noon, "UTC", END - 13 * HOUR) == END - 12 * HOUR
    assert next_opening(noon, "UTC", END - 11 * HOUR) is None
    midnight = daily("0:00-1:00")
    assert next_opening(midnight, "UTC", END - DAY - 1) == END - DAY
    assert next_opening(midnight, "UTC", END - HOUR) is None


def test_unknown_zones_are_refused() -> None:
    with pytest.raises(UnknownZone):
        is_open(SHOP, "Europe/Nowhere", 0)
    with pytest.raises(UnknownZone):
        next_opening(SHOP, "Europe/Nowhere", 0)


PATTERNS = {
    "shop": daily("9:00-12:00 13:00-18:00"),
    "night": daily("22:00-2:30"),
    "half past": daily("23:30-0:30 2:15-2:45"),
    "day from 23:45": daily("23:45-23:45"),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("zone", "change"), list(all_changes()))
def test_around_every_change(zone: str, change: int, pattern: str) -> None:
    agrees_with_the_walk(PATTERNS[pattern], zone, change)


def agrees_with_the_walk(hours: Hours, zone: str, change: int, step: int = 1) -> None:
    slow = walk(zone, change)
    flags = slow.flags(hours)
    for at in slow.near()[::step]:
        number = slow.minutes.index(at)
        assert is_open(hours, zone, at) is flags[number], (hours, zone, at)
        later = next((n for n in range(number, len(flags) - 3 * 1440) if flags[n]), None)
        if later is not None:
            assert next_opening(hours, zone, at) == slow.minutes[later], (hours, zone, at)


CHANGES = list(all_changes())
MINUTES = st.one_of(
    st.integers(0, 1439), st.sampled_from([0, 1, 30, 60, 120, 150, 180, 1380, 1410, 1425, 1439])
)
INTERVALS = st.builds(Interval, opens=MINUTES, closes=st.one_of(MINUTES, st.just(1440)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.lists(st.lists(INTERVALS, max_size=3).map(tuple), min_size=7, max_size=7).map(tuple),
    st.lists(st.integers(-2, 2), max_size=2),
)
def test_any_hours_around_any_change(
    place: tuple[str, int], weekdays: tuple[tuple[Interval, ...], ...], closed: list[int]
) -> None:
    zone, change = place
    today = walk(zone, change).look(change - change % MINUTE).date()
    dates = tuple((today + timedelta(days=n)).isoformat() for n in closed)
    agrees_with_the_walk(Hours(weekdays=weekdays, closed_dates=dates), zone, change, step=5)


# --- what people write ------------------------------------------------------------------------------


def test_good_hours() -> None:
    assert check_hours(SHOP, "hours") == []
    assert check_hours(BAR, "hours") == []
    assert check_hours(Hours(), "hours") == []
    assert check_hours(daily("0:00-24:00", closed=("2026-12-24", "2028-02-29")), "hours") == []
    # Adjoining, and over midnight into a day that has hours of its own: fine.
    assert check_intervals(intervals("12:00-18:00 9:00-12:00 18:00-9:00"), "monday") == []


@pytest.mark.parametrize(
    ("hours", "problem"),
    [
        (Hours(weekdays=((),) * 6), "hours.weekdays: needs 7 lists, Monday first; there are 6"),
        (Hours(weekdays=((),) * 8), "hours.weekdays: needs 7 lists, Monday first; there are 8"),
        (
            week("", "25:00-1:00", "", "", "", "", ""),
            "hours.weekdays[1][0].opens: 1500 is not a minute of the day, 0 to 1439",
        ),
        (
            week("", "", "", "", "", "", "9:00-24:01"),
            "hours.weekdays[6][0].closes: 1441 is not a minute of the day, 0 to 1440",
        ),
        (
            Hours(weekdays=((Interval(opens=1440, closes=60),),) + ((),) * 6),
            "hours.weekdays[0][0].opens: 1440 is not a minute of the day, 0 to 1439",
        ),
        (
            Hours(weekdays=((Interval(opens=-1, closes=60),),) + ((),) * 6),
            "hours.weekdays[0][0].opens: -1 is not a minute of the day, 0 to 1439",
        ),
        (
            Hours(weekdays=((Interval(opens=5, closes=-1),),) + ((),) * 6),
            "hours.weekdays[0][0].closes: -1 is not a minute of the day, 0 to 1440",
        ),
        (
            week("13:00-18:00 9:05-13:01", "", "", "", "", "", ""),
            "hours.weekdays[0][0]: 13:00-18:00 begins before 9:05-13:01 has ended",
        ),
        (
            week("20:00-2:00 23:00-23:30", "", "", "", "", "", ""),
            "hours.weekdays[0][1]: 23:00-23:30 begins before 20:00-2:00 has ended",
        ),
        (
            week("9:00-9:00 9:30-10:00", "", "", "", "", "", ""),
            "hours.weekdays[0][1]: 9:30-10:00 begins before 9:00-9:00 has ended",
        ),
        (
            daily("", closed=("2026-12-24", "24.12.2026")),
            "hours.closed_dates[1]: '24.12.2026' is not a date such as 2026-12-24",
        ),
        (
            daily("", closed=("20261224",)),
            "hours.closed_dates[0]: '20261224' is not a date such as 2026-12-24",
        ),
        (
            daily("", closed=("2026-02-29",)),
            "hours.closed_dates[0]: '2026-02-29' is not a date such as 2026-12-24",
        ),
    ],
)
def test_bad_hours(hours: Hours, problem: str) -> None:
    assert [str(found) for found in check_hours(hours, "hours")] == [problem]


def test_a_long_text_is_cut_in_the_problem() -> None:
    (problem,) = check_hours(daily("", closed=("9" * 500,)), "h")
    assert problem.message.startswith(f"'{'9' * 60}' is not")


def test_every_problem_is_reported() -> None:
    hours = week("9:00-25:00", "9:00-10:00 9:00-10:00", "", "", "", "", "", closed=("x",))
    assert [problem.field for problem in check_hours(hours, "h")] == [
        "h.weekdays[0][0].closes",
        "h.weekdays[1][1]",
        "h.closed_dates[0]",
    ]
