"""Quiet hours, by examples and against a calendar that walks minute by minute."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Hours, Interval
from streams.domain.quiet import check_quiet, last_allowed, quiet_until
from streams.domain.zones import END, HOUR, MINUTE, UnknownZone
from tests.support.wall_clock import all_changes, instant, walk

WARSAW = "Europe/Warsaw"
NIGHT = (Interval(opens=21 * 60, closes=8 * 60),)
NIGHT_IN_PIECES = (
    Interval(opens=22 * 60, closes=24 * 60),
    Interval(opens=0, closes=7 * 60 + 30),
    Interval(opens=7 * 60, closes=8 * 60),
    Interval(opens=21 * 60, closes=22 * 60),
)
ALWAYS = (Interval(opens=60, closes=60),)


@pytest.mark.parametrize("quiet", [NIGHT, NIGHT_IN_PIECES], ids=["one", "pieces"])
@pytest.mark.parametrize(
    ("at", "until", "before"),
    [
        ("2026-04-08T20:59:59.999+02:00", None, None),
        ("2026-04-08T21:00+02:00", "2026-04-09T08:00+02:00", "2026-04-08T20:59+02:00"),
        ("2026-04-09T00:00+02:00", "2026-04-09T08:00+02:00", "2026-04-08T20:59+02:00"),
        ("2026-04-09T07:59:59.999+02:00", "2026-04-09T08:00+02:00", "2026-04-08T20:59+02:00"),
        ("2026-04-09T08:00+02:00", None, None),
        # the nights of the clock changes
        ("2026-03-29T05:00+02:00", "2026-03-29T08:00+02:00", "2026-03-28T20:59+01:00"),
        ("2026-10-25T02:30+01:00", "2026-10-25T08:00+01:00", "2026-10-24T20:59+02:00"),
    ],
)
def test_a_night(quiet: tuple[Interval, ...], at: str, until: str | None, before: str | None) -> None:
    """``until`` and ``before`` None: it is not quiet."""
    assert quiet_until(quiet, WARSAW, instant(at)) == instant(until or at)
    assert last_allowed(quiet, WARSAW, instant(at)) == instant(before or at)


def test_quiet_hours_are_those_of_the_place() -> None:
    at = instant("2026-04-08T22:00+00:00")
    assert quiet_until(NIGHT, "America/New_York", at) == at
    assert quiet_until(NIGHT, WARSAW, at) == at + 8 * HOUR


def test_none_are_never_quiet() -> None:
    assert quiet_until((), WARSAW, 5) == 5
    assert last_allowed((), WARSAW, 5) == 5


@pytest.mark.parametrize("quiet", [ALWAYS, (Interval(opens=0, closes=720), Interval(opens=720, closes=1440))])
def test_always_quiet(quiet: tuple[Interval, ...]) -> None:
    at = instant("2026-04-08T22:00+00:00")
    assert quiet_until(quiet, WARSAW, at) is None
    assert last_allowed(quiet, WARSAW, at) is None


def test_a_clock_change_that_swallows_the_loud_quarter_of_an_hour() -> None:
    # Loud from 2:45 to 3:15; on 29 March 2:45 is 3:45 already.
    quiet = (Interval(opens=3 * 60 + 15, closes=2 * 60 + 45),)
    at = instant("2026-03-28T12:00+01:00")
    assert quiet_until(quiet, WARSAW, at) == instant("2026-03-30T02:45+02:00")
    assert last_allowed(quiet, WARSAW, instant("2026-03-29T12:00+02:00")) == instant("2026-03-28T03:14+01:00")


def test_the_ends_of_time() -> None:
    for at in (-1, END, 10**18, -(10**18)):
        assert quiet_until(NIGHT, WARSAW, at) is None
        assert last_allowed(NIGHT, WARSAW, at) is None
    assert last_allowed(NIGHT, "UTC", HOUR) is None  # it became quiet in 1969
    assert quiet_until(NIGHT, "UTC", HOUR) == 8 * HOUR
    assert quiet_until(NIGHT, "UTC", END - HOUR) is None  # it will be loud in 9999
    assert last_allowed(NIGHT, "UTC", END - HOUR) == END - 3 * HOUR - MINUTE


def test_unknown_zones_are_refused() -> None:
    with pytest.raises(UnknownZone):
        quiet_until(NIGHT, "Europe/Nowhere", 0)
    with pytest.raises(UnknownZone):
        last_allowed(NIGHT, "Europe/Nowhere", 0)


PATTERNS = {
    "night": NIGHT,
    "pieces": NIGHT_IN_PIECES,
    "in the change": (Interval(opens=135, closes=165), Interval(opens=1410, closes=30)),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("zone", "change"), list(all_changes()))
def test_around_every_change(zone: str, change: int, pattern: str) -> None:
    agrees_with_the_walk(PATTERNS[pattern], zone, change)


def agrees_with_the_walk(quiet: tuple[Interval, ...], zone: str, change: int, step: int = 1) -> None:
    slow = walk(zone, change)
    flags = slow.flags(Hours(weekdays=(quiet,) * 7))
    margin = 3 * 1440  # the walk does not know of the days before and after it
    for at in slow.near()[::step]:
        number = slow.minutes.index(at)
        until = next((n for n in range(number, len(flags) - margin) if not flags[n]), None)
        if until is not None:
            assert quiet_until(quiet, zone, at) == slow.minutes[until], (quiet, zone, at)
        before = next((n for n in range(number, margin, -1) if not flags[n]), None)
        if before is not None:
            assert last_allowed(quiet, zone, at) == slow.minutes[before], (quiet, zone, at)


CHANGES = list(all_changes())
MINUTES = st.one_of(
    st.integers(0, 1439), st.sampled_from([0, 1, 30, 60, 120, 150, 180, 1380, 1410, 1425, 1439])
)
INTERVALS = st.builds(Interval, opens=MINUTES, closes=st.one_of(MINUTES, st.just(1440)))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(CHANGES), st.lists(INTERVALS, min_size=1, max_size=3).map(tuple))
def test_any_quiet_hours_around_any_change(place: tuple[str, int], quiet: tuple[Interval, ...]) -> None:
    agrees_with_the_walk(quiet, *place, step=7)


def test_good_quiet_hours() -> None:
    assert check_quiet((), "quiet_hours") == []
    assert check_quiet(NIGHT, "quiet_hours") == []
    assert check_quiet((Interval(opens=0, closes=1439),), "quiet_hours") == []
    assert check_quiet((Interval(opens=1, closes=720), Interval(opens=720, closes=1440)), "quiet_hours") == []


@pytest.mark.parametrize(
    "quiet",
    [
        ALWAYS,
        (Interval(opens=0, closes=1440),),
        (Interval(opens=0, closes=720), Interval(opens=720, closes=1440)),
        (Interval(opens=60, closes=720), Interval(opens=720, closes=60)),
        # each day's night runs into the next day's morning
        (Interval(opens=60, closes=720), Interval(opens=720, closes=120)),
    ],
)
def test_the_whole_day_may_not_be_quiet(quiet: tuple[Interval, ...]) -> None:
    assert [str(problem) for problem in check_quiet(quiet, "quiet_hours")] == [
        "quiet_hours: the whole day is quiet, so that nothing could ever be sent"
    ]


def test_bad_intervals_are_named() -> None:
    assert [str(problem) for problem in check_quiet((Interval(opens=0, closes=10**9),), "quiet_hours")] == [
        "quiet_hours[0].closes: 1000000000 is not a minute of the day, 0 to 1440"
    ]
