"""Quiet hours: daily local intervals in which nothing goes out.

They are resolved like working hours (``streams.domain.hours``): quiet from the opening of an interval up
to but without its closing. Quiet hours that leave no moment of the day would silence a company for ever;
``check_quiet`` refuses them, and both functions answer None if they come all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from schemas.records import Interval
from streams.domain.hours import check_intervals, days_around, spans
from streams.domain.problems import Problem
from streams.domain.zones import DAY, MINUTE, in_range, wall_of, zone_of

# A clock change may swallow the loud part of one day, a zone that changes sides of the date line of two.
_FOR_EVER = 4 * DAY

_MINUTES_A_DAY = 1440


def quiet_until(quiet: tuple[Interval, ...], zone: str, at: int) -> int | None:
    """The earliest instant from ``at`` on that is not quiet: ``at`` itself when it is not.

    Intervals that adjoin or overlap are one. None when it is quiet for ever, or ``at`` is out of range.
    Raises ``UnknownZone``.
    """
    if not quiet:
        return at
    info = zone_of(zone)
    moment = at
    while in_range(moment) and moment - at < _FOR_EVER:
        end = max((end for _, end in _running(quiet, info, moment)), default=None)
        if end is None:
            return moment
        moment = end
    return None


def last_allowed(quiet: tuple[Interval, ...], zone: str, at: int) -> int | None:
    """``at`` when it is not quiet, else the last whole minute before it became quiet.

    Intervals that adjoin or overlap are one. None when it has been quiet for ever, or it became quiet
    before 1970, or ``at`` is out of range. Raises ``UnknownZone``.
    """
    if not quiet:
        return at
    info = zone_of(zone)
    moment = at
    while in_range(moment) and at - moment < _FOR_EVER:
        start = min((start for start, _ in _running(quiet, info, moment)), default=None)
        if start is None:
            return moment
        moment = start - MINUTE
    return None


def check_quiet(quiet: tuple[Interval, ...], field: str) -> list[Problem]:
    """What is wrong with quiet hours that a person wrote, each problem by its path under ``field``."""
    problems = check_intervals(quiet, field)
    if not problems and len(_minutes(quiet)) == _MINUTES_A_DAY:
        problems.append(Problem(field, "the whole day is quiet, so that nothing could ever be sent"))
    return problems


def _running(quiet: tuple[Interval, ...], zone: ZoneInfo, at: int) -> Iterator[tuple[int, int]]:
    wall, _ = wall_of(zone, at)
    for day in days_around(wall):
        for start, end in spans(quiet, zone, day, wall):
            if start <= at < end:
                yield start, end


def _minutes(quiet: tuple[Interval, ...]) -> set[int]:
    """The quiet minutes of a day without a clock change."""
    return {
        minute % _MINUTES_A_DAY
        for interval in quiet
        for minute in range(
            interval.opens,
            interval.closes if interval.closes > interval.opens else interval.closes + _MINUTES_A_DAY,
        )
    }
