"""Working hours: whether a place is open, and when it opens next.

An interval is resolved to two instants and is open in the elapsed time between them: from its opening,
up to but without its closing. Both ends follow the rule for wall times (``zones.instant_of``): one that
falls in a gap moves forward by the gap, one in an overlap is the first. So two intervals that adjoin on
paper adjoin on every day, and an interval whose opening moves past its closing is not open on that day.
An interval belongs to the local day on which it opens; a closed date closes it whole.

Hours are taken as valid (``check_hours``): exactly seven week days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

from schemas.records import Hours, Interval
from streams.domain.problems import Problem, quoted
from streams.domain.zones import DAY, END, MINUTE, date_of, in_range, instant_of, wall_of, zone_of

HORIZON = 366 * DAY
"""How far ahead an opening is looked for."""

_MINUTES_A_DAY = 1440
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def is_open(hours: Hours, zone: str, at: int) -> bool:
    """Whether the place is open at an instant. An instant out of range is never open.

    Raises ``UnknownZone``.
    """
    if not in_range(at):
        return False
    info = zone_of(zone)
    wall, _ = wall_of(info, at)
    for day in days_around(wall):
        for start, end in spans(_of_day(hours, day), info, day, wall):
            if start <= at < end and not _is_closed(hours, day):
                return True
    return False


def next_opening(hours: Hours, zone: str, at: int) -> int | None:
    """The earliest instant from ``at`` on at which the place is open: ``at`` itself when it is open.

    None when there is no opening in the next 366 days, or up to the end of the year 9998.
    Raises ``UnknownZone``.
    """
    if not in_range(at) or not any(hours.weekdays):
        return None
    info = zone_of(zone)
    wall, _ = wall_of(info, at)
    today = wall - wall % DAY
    limit = min(at + HORIZON, END - 1)
    best: int | None = None
    day, last = days_around(wall).start, min(today + HORIZON + DAY, END)
    while day <= last:
        for start, end in spans(_of_day(hours, day), info, day, wall):
            # Whether the date is closed is asked last: it is the dearest question.
            if end <= at or start > limit or (best is not None and start >= best) or _is_closed(hours, day):
                continue
            if start <= at:
                return at
            best = start
            # An opening that a gap moved past midnight may come after one of the following day.
            last = max(day, today) + DAY
        day += DAY
    return best


def days_around(wall: int) -> range:
    """The local days (walls of their midnights) with intervals that may be running at an instant.

    Two days back: 24 hours from 23:45 whose end a gap moves past midnight. One day ahead: where clocks go
    back over midnight (Newfoundland until 2011, 0:01 to 23:01), the new day's intervals have begun.
    """
    today = wall - wall % DAY
    return range(today - 2 * DAY, today + 2 * DAY, DAY)


def spans(
    intervals: tuple[Interval, ...],
    zone: ZoneInfo,
    day: int,
    wall: int,
) -> Iterator[tuple[int, int]]:
    """The (start, end) instants of the intervals that open on a local day, in the order given.

    Without those that are empty, and those that were certainly over when it was ``wall``: no clock was
    ever put forward by more than a day at once.
    """
    for interval in intervals:
        opens, closes = day + interval.opens * MINUTE, day + interval.closes * MINUTE
        if closes <= opens:
            closes += DAY
        if closes + DAY <= wall:
            continue
        start, end = instant_of(zone, opens), instant_of(zone, closes)
        if start < end:
            yield start, end


def _of_day(hours: Hours, day: int) -> tuple[Interval, ...]:
    return hours.weekdays[(day // DAY + _EPOCH_WEEKDAY) % 7]


def _is_closed(hours: Hours, day: int) -> bool:
    return bool(hours.closed_dates) and date_of(day).isoformat() in hours.closed_dates


def check_hours(hours: Hours, field: str) -> list[Problem]:
    """What is wrong with working hours that a person wrote, each problem by its path under ``field``."""
    problems: list[Problem] = []
    if len(hours.weekdays) != 7:
        problems.append(
            Problem(f"{field}.weekdays", f"needs 7 lists, Monday first; there are {len(hours.weekdays)}")
        )
    for number, intervals in enumerate(hours.weekdays):
        problems += check_intervals(intervals, f"{field}.weekdays[{number}]")
    for number, text in enumerate(hours.closed_dates):
        if not _is_iso_date(text):
            problems.append(
                Problem(f"{field}.closed_dates[{number}]", f"{quoted(text)} is not a date such as 2026-12-24")
            )
    return problems


def check_intervals(intervals: tuple[Interval, ...], field: str) -> list[Problem]:
    """What is wrong with the intervals of one day: minutes out of range, or intervals that overlap."""
    problems: list[Problem] = []
    for number, interval in enumerate(intervals):
        if not 0 <= interval.opens < _MINUTES_A_DAY:
            problems.append(
                Problem(f"{field}[{number}].opens", f"{interval.opens} is not a minute of the day, 0 to 1439")
            )
        if not 0 <= interval.closes <= _MINUTES_A_DAY:
            problems.append(
                Problem(
                    f"{field}[{number}].closes", f"{interval.closes} is not a minute of the day, 0 to 1440"
                )
            )
    ordered = sorted(enumerate(intervals), key=lambda item: item[1].opens)
    for (_, earlier), (number, later) in pairwise(ordered):
        if later.opens < _end(earlier):
            problems.append(
                Problem(
                    f"{field}[{number}]",
                    f"{_clock(later.opens)}-{_clock(later.closes)} begins before "
                    f"{_clock(earlier.opens)}-{_clock(earlier.closes)} has ended",
                )
            )
    return problems


def _end(interval: Interval) -> int:
    """The closing minute counted from the midnight before the opening: over 1440 in the next day."""
    return interval.closes if interval.closes > interval.opens else interval.closes + _MINUTES_A_DAY


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02}"


def _is_iso_date(text: str) -> bool:
    try:
        # Other spellings (20261224, 2026-W52-4) parse too, but would never equal a date.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
