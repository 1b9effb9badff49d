"""When shops are open and companies quiet, told a second time: nothing of the domain's calendar.

What a worker had read at a moment is not known here, so questions are answered for every version that may
have been in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from schemas.records import Company, Hours, Interval, Location
from tests.simulation.items import EPOCH, MINUTE, Publish

DAY = 24 * 60 * MINUTE
OFFSETS = {"Europe/London": 60, "Europe/Warsaw": 120, "Europe/Helsinki": 180}
"""Minutes, in June."""
LAG = 60.0
"""Seconds after which nobody decides by an older version any more: tables that lag stop a worker."""

Histories = dict[tuple[str, str], list[tuple[float, Company | Location]]]


class Places:
    def __init__(self, published: Iterable[Publish]) -> None:
        self._histories: Histories = {}
        for item in published:
            place = item.value
            if isinstance(place, Company):
                self._note((place.id, ""), item.at, place)
            elif isinstance(place, Location):
                self._note((place.company, place.id), item.at, place)

    def _note(self, key: tuple[str, str], at: float, place: Company | Location) -> None:
        held = self._histories.setdefault(key, [])
        if not held or place.version > held[-1][1].version:
            held.append((at, place))

    def may_be_open(self, company: str, location: str, moment: int) -> bool:
        return any(
            is_open(place.hours, place.zone, moment) for place in self._then(company, location, moment)
        )

    def may_be_loud(self, company: str, location: str, moment: int) -> bool:
        return any(
            not _quiet(firm, place.zone, moment)
            for firm in self._then(company, "", moment)
            if isinstance(firm, Company)
            for place in self._then(company, location, moment)
        )

    def reminder(self, company: str, location: str, moment: int) -> int:
        """When a reminder for ``moment`` goes, as everything is in the end."""
        firm = self._histories[company, ""][-1][1]
        assert isinstance(firm, Company)
        return _before_quiet(firm, self._histories[company, location][-1][1].zone, moment)

    def earliest(self, company: str, moment: int) -> int:
        """The earliest that quiet hours of any version, in any zone, make of it."""
        return min(
            (
                _before_quiet(firm, zone, moment)
                for _, firm in self._histories[company, ""]
                if isinstance(firm, Company)
                for zone in OFFSETS
            )
        )

    def ever_quiet(self, company: str) -> bool:
        firms = self._histories[company, ""]
        return any(isinstance(firm, Company) and firm.quiet_hours for _, firm in firms)

    def oldest_age(self, company: str) -> int:
        """Milliseconds: what is older has nowhere ever been news."""
        firms = (firm for _, firm in self._histories[company, ""])
        return max(firm.max_event_age for firm in firms if isinstance(firm, Company))

    def _then(self, company: str, location: str, moment: int) -> Iterator[Company | Location]:
        seconds = (moment - EPOCH) / 1000
        held = self._histories[company, location]
        for index, (at, place) in enumerate(held):
            over = held[index + 1][0] if index + 1 < len(held) else float("inf")
            if at <= seconds and over > seconds - LAG:
                yield place


def is_open(hours: Hours, zone: str, moment: int) -> bool:
    """Of hours that don't cross midnight."""
    day, minute = divmod(moment // MINUTE + OFFSETS[zone], 24 * 60)
    if _date(day) in hours.closed_dates:
        return False
    return _within(hours.weekdays[(day + 3) % 7], minute)  # day 0 was a Thursday


def _date(day: int) -> str:
    """Only June and July 2026 occur."""
    number = day - 20_605  # 1 June 2026
    return f"2026-06-{number + 1:02}" if number < 30 else f"2026-07-{number - 29:02}"


def _within(intervals: Sequence[Interval], minute: int) -> bool:
    return any(interval.opens <= minute < interval.closes for interval in intervals)


def _quiet(firm: Company, zone: str, moment: int) -> bool:
    return _within(firm.quiet_hours, (moment // MINUTE + OFFSETS[zone]) % (24 * 60))


def _before_quiet(firm: Company, zone: str, moment: int) -> int:
    if not _quiet(firm, zone, moment):
        return moment
    minutes = moment // MINUTE
    while _quiet(firm, zone, minutes * MINUTE):
        minutes -= 1
    return minutes * MINUTE
