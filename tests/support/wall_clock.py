"""A slow and obvious calendar: it walks through time minute by minute and writes down what the clock on the
wall shows (by ``astimezone``). The tests of the domain's time are held against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from schemas.records import Hours, Interval

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Every kind of change: half an hour, over midnight, at one past midnight, twice a year the other way round
# (Ramadan), two hours, three hours back, a whole day left out, and zones that have none.
ZONES: dict[str, tuple[int, ...]] = {
    "Africa/Cairo": (2026,),
    "Africa/Casablanca": (2026, 2027),
    "America/New_York": (2026, 2027),
    "America/Nuuk": (2026, 2027),
    "America/Sao_Paulo": (2018, 2026),
    "America/St_Johns": (2010, 2026, 2027),
    "Antarctica/Casey": (2010,),
    "Antarctica/Troll": (2026, 2027),
    "Asia/Kathmandu": (2026,),
    "Asia/Tehran": (2021, 2026),
    "Australia/Lord_Howe": (2026, 2027),
    "Europe/Dublin": (2026, 2027),
    "Europe/Warsaw": (2026, 2027),
    "Pacific/Apia": (2011, 2026),
    "Pacific/Chatham": (2026, 2027),
}


def instant(text: str) -> int:
    """Milliseconds of an ISO time with an offset: ``2026-03-29T01:00+00:00``."""
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return round(moment.timestamp() * 1000)


def _shown(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).replace(tzinfo=None, fold=0)


@cache
def changes(zone: str, year: int) -> tuple[int, ...]:
    """The instants at which the zone's clocks are changed in a year; every change that is at a whole
    quarter of an hour (UTC), or one minute past one."""
    info = ZoneInfo(zone)
    found = []
    first = instant(f"{year}-01-01T00:00+00:00")
    for before, after in pairwise(range(first, first + 366 * DAY, 6 * HOUR)):
        if _shown(after, info) - _shown(before, info) != timedelta(hours=6):
            found += [
                at
                for at in range(before + MINUTE, after + MINUTE, MINUTE)
                if _shown(at, info) - _shown(at - MINUTE, info) != timedelta(minutes=1)
            ]
    return tuple(found)


def all_changes() -> Iterator[tuple[str, int]]:
    """(zone, instant) of every change in ``ZONES``; the middle of the year of a zone that has none."""
    for zone, years in ZONES.items():
        for year in years:
            for at in changes(zone, year) or (instant(f"{year}-07-01T00:00+00:00"),):
                yield zone, at


class Walk:
    """What the clock showed at each minute of the days around an instant."""

    def __init__(self, zone: str, around: int, days: int = 5) -> None:
        middle = around - around % MINUTE
        info = ZoneInfo(zone)
        self.minutes = range(middle - days * DAY, middle + days * DAY, MINUTE)
        self.shown = [_shown(at, info) for at in self.minutes]
        self._seen: dict[datetime, list[int]] = defaultdict(list)
        for at, shown in zip(self.minutes, self.shown, strict=True):
            self._seen[shown].append(at)

    def at(self, wanted: datetime, like: int | None = None) -> int:
        """When the clock shows ``wanted``: the first time, or the second if ``like`` is an instant whose
        own local time is shown for the second time. Left out by a change: as much later as that left out."""
        seen = self._seen.get(wanted)
        if seen:
            return seen[-1] if like is not None and self.is_second(like) else seen[0]
        for (_, before), (at, after) in pairwise(zip(self.minutes, self.shown, strict=True)):
            if before < wanted < after:
                return at + (wanted - before) // timedelta(milliseconds=1) - MINUTE
        raise AssertionError(f"{wanted} is outside of the walk")

    def is_second(self, at: int) -> bool:
        return self._seen[self.look(at)].index(at) == 1

    def look(self, at: int) -> datetime:
        return self.shown[self.minutes.index(at)]

    def dates(self) -> list[date]:
        """The local days of the walk, without two at either end, and those that were left out."""
        first, last = self.shown[0].date(), self.shown[-1].date()
        return [first + timedelta(days=n) for n in range(2, (last - first).days - 1)]

    def flags(self, hours: Hours) -> list[bool]:
        """For each minute whether the place is open. Not reliable in the first and last three days."""
        spans = [
            (self.at(opens), self.at(closes))
            for day in self.dates()
            if day.isoformat() not in hours.closed_dates
            for opens, closes in _ends(day, hours.weekdays[day.weekday()])
        ]
        marks = [False] * len(self.minutes)
        for start, end in spans:
            for number in range(self.minutes.index(start), self.minutes.index(end) if end > start else 0):
                marks[number] = True
        return marks

    def near(self) -> list[int]:
        """Minutes to ask about: many in the hour and a half around the middle (each five minutes, where
        intervals begin and end, and the minute before), some in the day around it."""
        middle = self.minutes[len(self.minutes) // 2]
        close = range(middle - 90 * MINUTE, middle + 90 * MINUTE, MINUTE)
        far = range(middle - 30 * HOUR, middle + 30 * HOUR, 61 * MINUTE)
        return [*(at for at in close if at // MINUTE % 5 in {0, 4}), middle - MINUTE, middle, *far]


@cache
def walk(zone: str, around: int) -> Walk:
    return Walk(zone, around)


def _ends(day: date, intervals: Sequence[Interval]) -> Iterator[tuple[datetime, datetime]]:
    midnight = datetime.combine(day, datetime.min.time())
    for interval in intervals:
        overnight = interval.closes <= interval.opens
        yield (
            midnight + timedelta(minutes=interval.opens),
            midnight + timedelta(days=overnight, minutes=interval.closes),
        )
