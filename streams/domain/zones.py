"""Instants and wall times: the one place that knows what a clock change does.

An *instant* is milliseconds since 1970-01-01T00:00Z. A *wall* is what a clock on the wall shows, as the
milliseconds that would be an instant if the zone were UTC; so ``wall // DAY`` numbers the local days.
Both exist for the years 1970 to 9998 only: a zone's offset is less than a day, and a day beyond either
end of that range is still a date that ``datetime`` can hold.

Zones are IANA names. ``zoneinfo`` reads the time zone database once for each zone, which is the only
thing that the domain ever reads.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from streams.domain.problems import quoted

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

END = (date(9999, 1, 1) - date(1970, 1, 1)).days * DAY
"""The first instant that is out of range."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_MILLISECOND = timedelta(milliseconds=1)

_CELL = 7 * DAY
# In seconds. Since 1970 no zone changed its clocks twice within less than a week, as a test holds.
_PROBE = 24 * 3600

# ``localtime`` is whatever the machine is set to, ``Factory`` says that nobody has set it.
_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})


class UnknownZone(ValueError):  # noqa: N818 - reads as what it says, like the standard library's KeyError
    """The name is not in the time zone database. Records are checked with ``zone_problem`` when they
    come in, so this is a record that nobody checked."""


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


def zone_problem(name: str) -> str | None:
    """What is wrong with a zone's name, as a sentence for the person who wrote it; None: nothing.

    The name is only compared with the list of known zones, never made into a path, so that
    ``../../etc/passwd`` reads nothing.
    """
    if name in _known():
        return None
    return f"there is no time zone {quoted(name)}; use an IANA name such as Europe/Warsaw"


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of that name. Raises ``UnknownZone``."""
    problem = zone_problem(name)
    if problem is not None:
        raise UnknownZone(problem)
    return ZoneInfo(name)


def in_range(at: int) -> bool:
    """Whether an instant lies in the years 1970 to 9998."""
    return 0 <= at < END


def wall_of(zone: ZoneInfo, at: int) -> tuple[int, int]:
    """The wall at an instant that is in range, and 1 if the clock shows it for the second time, else 0."""
    steady = _steady_offset(zone, at // _CELL)
    if steady is not None:
        return at + steady, 0
    local = datetime.fromtimestamp(at // 1000, zone)
    return at + _offset(local), local.fold


def instant_of(zone: ZoneInfo, wall: int, fold: int = 0) -> int:
    """The instant at which the clock shows ``wall``.

    In a gap it moves forward by the gap (2:30 that does not exist is 3:30). In an overlap it is the first,
    with ``fold`` 1 the second. That is PEP 495: fold 0 reads the clock as it went before the change.
    """
    steady = _steady_offset(zone, wall // _CELL)
    if steady is not None:
        return wall - steady
    local = (_EPOCH + timedelta(seconds=wall // 1000)).replace(tzinfo=zone)
    first = wall - _offset(local)
    if not fold:
        return first
    # In a gap fold 1 would move backwards, so the later of both is right in a gap and in an overlap.
    return max(first, wall - _offset(local.replace(fold=1)))


@lru_cache(maxsize=16_384)
def _steady_offset(zone: ZoneInfo, cell: int) -> int | None:
    """The zone's offset if it does not change in a cell and for a day on either side, else None.

    Ten times as fast as asking ``datetime``, for 19 weeks in 20. An offset is less than a day, so that
    every instant that a wall in the cell could mean lies within what was looked at.
    """
    first = (cell * _CELL - DAY) // 1000
    last = ((cell + 1) * _CELL + DAY) // 1000
    offset = _offset(datetime.fromtimestamp(first, zone))
    for seconds in range(first + _PROBE, last + 1, _PROBE):
        if _offset(datetime.fromtimestamp(seconds, zone)) != offset:
            return None
    return offset


def date_of(wall: int) -> date:
    """The calendar day of a wall."""
    return date.fromordinal(_EPOCH_ORDINAL + wall // DAY)


def local_date(at: int, zone: str) -> date:
    """The calendar day in the zone at an instant that is in range. Raises ``UnknownZone``."""
    return date_of(wall_of(zone_of(zone), at)[0])


def _offset(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None  # the datetime is aware
    return offset // _MILLISECOND
