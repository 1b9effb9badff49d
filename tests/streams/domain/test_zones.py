"""Instants and wall times, against a calendar that walks minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones
from zoneinfo._zoneinfo import (  # type: ignore[import-not-found] # the twin in Python, that shows its table
    ZoneInfo as PureZoneInfo,
)

import pytest

from streams.domain import zones
from streams.domain.zones import (
    DAY,
    END,
    HOUR,
    MINUTE,
    UnknownZone,
    date_of,
    in_range,
    instant_of,
    local_date,
    wall_of,
    zone_of,
    zone_problem,
)
from tests.support.wall_clock import all_changes, instant, walk

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall has no zone


def wall(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def test_a_minute_an_hour_and_a_day_in_milliseconds() -> None:
    assert (MINUTE, HOUR, DAY) == (60_000, 3_600_000, 86_400_000)


def test_the_clock_on_the_wall() -> None:
    warsaw = zone_of("Europe/Warsaw")
    assert wall_of(warsaw, instant("2026-07-01T12:00:00.123+02:00")) == (wall("2026-07-01T12:00:00.123"), 0)
    # The night of 25 October: 2:30 is shown twice.
    assert wall_of(warsaw, instant("2026-10-25T02:30:00.123+02:00")) == (wall("2026-10-25T02:30:00.123"), 0)
    assert wall_of(warsaw, instant("2026-10-25T02:30:00.123+01:00")) == (wall("2026-10-25T02:30:00.123"), 1)


@pytest.mark.parametrize(
    ("local", "fold", "expected"),
    [
        ("2026-07-01T12:00:00.123", 0, "2026-07-01T12:00:00.123+02:00"),
        ("2026-07-01T12:00:00.123", 1, "2026-07-01T12:00:00.123+02:00"),
        # 29 March, 2:00 becomes 3:00: the gap moves what is in it by an hour, whichever fold
        ("2026-03-29T01:59", 0, "2026-03-29T01:59+01:00"),
        ("2026-03-29T02:00", 0, "2026-03-29T03:00+02:00"),
        ("2026-03-29T02:30:00.123", 0, "2026-03-29T03:30:00.123+02:00"),
        ("2026-03-29T02:30", 1, "2026-03-29T03:30+02:00"),
        ("2026-03-29T03:00", 1, "2026-03-29T03:00+02:00"),
        # 25 October, 3:00 becomes 2:00
        ("2026-10-25T01:59", 1, "2026-10-25T01:59+02:00"),
        ("2026-10-25T02:00", 0, "2026-10-25T02:00+02:00"),
        ("2026-10-25T02:30:00.123", 1, "2026-10-25T02:30:00.123+01:00"),
        ("2026-10-25T03:00", 0, "2026-10-25T03:00+01:00"),
    ],
)
def test_the_instant_of_a_wall_time(local: str, fold: int, expected: str) -> None:
    assert instant_of(zone_of("Europe/Warsaw"), wall(local), fold) == instant(expected)


@pytest.mark.parametrize(("zone", "change"), list(all_changes()))
def test_both_ways_around_every_change(zone: str, change: int) -> None:
    info, slow = zone_of(zone), walk(zone, change)
    for at in slow.near():
        shown, fold = wall_of(info, at)
        assert EPOCH + timedelta(milliseconds=shown) == slow.look(at)
        assert fold == slow.is_second(at)
        assert instant_of(info, shown, fold) == at
        # A wall that may not exist: the same clock, had it not been changed.
        guess = slow.look(slow.minutes[0]) + timedelta(milliseconds=at - slow.minutes[0])
        assert instant_of(info, (guess - EPOCH) // timedelta(milliseconds=1)) == slow.at(guess)


def test_the_short_way_and_the_long_way_agree_in_every_week_of_some_years() -> None:
    steady = 0
    for name in ("Europe/Warsaw", "Africa/Casablanca", "America/Sao_Paulo", "Australia/Lord_Howe"):
        info = ZoneInfo(name)
        for at in range(instant("2015-01-01T00:00+00:00"), instant("2027-01-01T00:00+00:00"), 13 * HOUR):
            offset = info.utcoffset(datetime.fromtimestamp(at / 1000, UTC).astimezone(info))
            assert offset is not None
            expected = at + offset // timedelta(milliseconds=1)
            assert wall_of(info, at)[0] == expected
            steady += zones._steady_offset(info, at // (7 * DAY)) is not None
    # And most of the time it is the short way, without which every answer takes ten times as long.
    assert steady > 0.85 * 4 * 12 * 365 * 24 / 13


def test_a_zone_that_changes_at_the_very_end_of_a_week_is_not_called_steady() -> None:
    # Weeks are counted from 1970-01-01, a Thursday; Auckland's clocks change on Sundays. A change in
    # each of the seven days before and after a boundary is looked at, whatever zone has one there.
    for zone, change in all_changes():
        info = zone_of(zone)
        if zone == "Asia/Kathmandu" or wall_of(info, change)[0] - wall_of(info, change - 1)[0] == 1:
            continue
        for at in (change - DAY, change, change + DAY - 1):
            assert zones._steady_offset(info, at // (7 * DAY)) is None


def test_no_zone_changes_its_clocks_twice_within_days() -> None:
    """The short way looks at an offset once a day; a change and its reversal between would be missed."""
    for name in sorted(available_timezones()):
        zone = PureZoneInfo(name)
        offsets = [info.utcoff for info in zone._ttinfos]
        times = [
            at
            for (at, offset), before in zip(
                list(zip(zone._trans_utc, offsets, strict=False))[1:], offsets, strict=False
            )
            if offset != before and at >= 0
        ]
        assert all(later - earlier >= 6 * 86400 for earlier, later in pairwise(times)), name


def test_the_years_1970_to_9998() -> None:
    assert instant("9999-01-01T00:00+00:00") == END
    assert [in_range(at) for at in (-1, 0, END - 1, END)] == [False, True, True, False]
    for name in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
        info = zone_of(name)
        for at in (0, END - 1):
            assert instant_of(info, wall_of(info, at)[0]) == at


def test_offsets_with_seconds() -> None:
    # Liberia kept 0:44:30 behind Greenwich until 1972.
    assert wall_of(zone_of("Africa/Monrovia"), DAY)[0] == DAY - (44 * 60 + 30) * 1000


def test_local_dates() -> None:
    at = instant("2026-04-08T22:30+00:00")
    assert local_date(at, "Europe/Warsaw") == date(2026, 4, 9)
    assert local_date(at, "America/New_York") == date(2026, 4, 8)
    assert date_of(0) == date(1970, 1, 1)
    assert date_of(-1) == date(1969, 12, 31)


@pytest.mark.parametrize("name", ["Europe/Warsaw", "UTC", "Etc/GMT+5", "America/Argentina/Ushuaia"])
def test_zones_that_exist(name: str) -> None:
    assert zone_problem(name) is None
    assert zone_of(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "Europe/Warszawa",
        "europe/warsaw",
        "Europe/Warsaw ",
        "Europe/../Europe/Warsaw",
        "../../../../etc/passwd",
        "/etc/passwd",
        "/usr/share/zoneinfo/Europe/Warsaw",
        "zone.tab",
        "posixrules",
        "localtime",
        "Factory",
        "Europe/Warsaw\x00",
        "\ud800",
        "x" * 5000,
    ],
)
def test_zones_that_do_not(name: str) -> None:
    problem = zone_problem(name)
    assert problem is not None
    assert "Europe/Warsaw" in problem  # what a right one looks like
    assert len(problem) < 500
    with pytest.raises(UnknownZone):
        zone_of(name)


def test_a_name_never_becomes_a_path(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    trap = tmp_path / "Europe" / "Warsaw"
    trap.write_bytes(b"TZif2")
    for name in (str(trap), f"../../..{trap}"):
        assert zone_problem(name) is not None
