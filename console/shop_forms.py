"""Times as people write them in a shop file, and back: ``24 hours``, ``mon-fri: 09:00-18:00``.

Parsers raise ValueError with a sentence for the person; what a formatter writes its parser reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from schemas.records import Interval, Unit

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000

_AMOUNT = re.compile(r"(\d{1,15}) *([a-z]+)", re.ASCII)
_SPAN = re.compile(r"(\d{1,2}):(\d{2}) *- *(\d{1,2}):(\d{2})", re.ASCII)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LENGTHS = {"ms": 1, "second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
_UNITS = {"minute": Unit.MINUTES, "hour": Unit.HOURS, "day": Unit.DAYS}


def parse_delay(text: str) -> tuple[int, Unit]:
    """``24 hours`` as (24, hours): days stay calendar days."""
    amount, unit = _amount(text)
    if unit not in _UNITS:
        raise ValueError(f"{text!r} is no delay; write minutes, hours or days, such as '24 hours'")
    return amount, _UNITS[unit]


def format_delay(amount: int, unit: Unit) -> str:
    return f"{amount} {unit.removesuffix('s') if amount == 1 else unit}"


def parse_length(text: str) -> int:
    """``10 minutes`` as elapsed milliseconds; a day is 24 hours."""
    amount, unit = _amount(text)
    if unit not in _LENGTHS:
        raise ValueError(f"{text!r} is no length of time; write seconds, minutes, hours or days")
    return amount * _LENGTHS[unit]


def format_length(length: int) -> str:
    """In the largest unit, from hours down, that needs no fraction."""
    unit, size = next(
        (unit, size)
        for unit, size in (("hour", HOUR), ("minute", MINUTE), ("second", SECOND), ("ms", 1))
        if length % size == 0
    )
    amount = length // size
    return f"{amount} {unit}" if unit == "ms" or amount == 1 else f"{amount} {unit}s"


def parse_intervals(text: str) -> tuple[Interval, ...]:
    """``09:00-12:00, 13:00-18:00``; ``closed`` is none."""
    if text.strip().lower() == "closed":
        return ()
    return tuple(_interval(part) for part in text.split(","))


def format_intervals(intervals: Iterable[Interval]) -> str:
    return ", ".join(f"{_clock(each.opens)}-{_clock(each.closes)}" for each in intervals) or "closed"


def parse_days(text: str) -> tuple[int, ...]:
    """``mon-fri`` or ``sat, mon`` as numbers, Monday 0. A range may go over Sunday."""
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        length = (_day(last) - begin) % 7 + 1 if dash else 1
        days += ((begin + each) % 7 for each in range(length))
    return tuple(days)


def parse_week(text: str) -> list[tuple[str, str]]:
    """``mon-fri: 09:00-18:00, sat: 10:00-14:00`` as pairs of days and intervals, both still texts."""
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        days, colon, span = part.strip().partition(":")
        if colon and not days.strip().isdigit():
            pairs.append((days.strip(), span.strip()))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]}, {part.strip()}")
        else:
            raise ValueError(f"{part.strip()!r} names no day; write 'mon-fri: 09:00-18:00, sat: 10:00-14:00'")
    return pairs


def format_week(weekdays: tuple[tuple[Interval, ...], ...]) -> Mapping[str, str]:
    """Days that follow each other with the same intervals are one line; days without are left out."""
    week: dict[str, str] = {}
    for intervals, group in groupby(range(len(weekdays)), key=lambda day: weekdays[day]):
        if intervals:
            days = list(group)
            first, last = _DAYS[days[0]][:3], _DAYS[days[-1]][:3]
            week[first if first == last else f"{first}-{last}"] = format_intervals(intervals)
    return week


def _amount(text: str) -> tuple[int, str]:
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no time; write a number and a unit, such as '24 hours'")
    unit = match[2] if match[2] == "ms" else match[2].removesuffix("s")
    return int(match[1]), unit


def _interval(text: str) -> Interval:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text.strip()!r} is no opening time; write 'HH:MM-HH:MM', such as '09:00-18:00'")
    opens, closes = (60 * int(match[n]) + int(match[n + 1]) for n in (1, 3))
    # 24:00 is the end of a day, never its beginning.
    if int(match[2]) > 59 or int(match[4]) > 59 or opens >= 1440 or closes > 1440:
        raise ValueError(f"{text.strip()!r} is not a time of the day; the last minute is 23:59")
    return Interval(opens=opens, closes=closes)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _day(text: str) -> int:
    name = text.strip().lower()
    for number, day in enumerate(_DAYS):
        if len(name) >= 3 and day.startswith(name):
            return number
    raise ValueError(f"{text.strip()!r} is no day of the week; write mon, tue, wed, thu, fri, sat or sun")
