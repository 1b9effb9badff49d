"""When a message is due, and how long it may still go out.

Minutes and hours are elapsed time. Days are calendar days in the zone: "1 day before 13:00" is 13:00 on
the day before, also across a clock change. A wall time in a gap moves forward by the gap; in an overlap
it is the first, unless the instant counted from is itself a second one.

Whatever lies outside the years 1970 to 9998, given or computed, has no due time: None, never an error.
"""

from __future__ import annotations

from schemas.records import Interval, Rule, RuleKind, Unit
from streams.domain.quiet import last_allowed
from streams.domain.zones import (
    DAY,
    HOUR,
    MINUTE,
    UnknownZone,
    in_range,
    instant_of,
    local_date,
    wall_of,
    zone_of,
    zone_problem,
)

__all__ = ["UnknownZone", "expires_at", "local_date", "notification_due", "reminder_due", "zone_problem"]

DEFAULT_LATENESS = 24 * HOUR
"""How late a notification may be when its rule does not say."""


def notification_due(rule: Rule, occurred_at: int, zone: str) -> int | None:
    """The instant at which a notification goes: when the change occurred, plus the rule's delay.

    Knows nothing of working or quiet hours, in which it is held. Raises ``UnknownZone``.
    """
    return _shifted(occurred_at, rule.delay, rule.delay_unit, zone)


def reminder_due(rule: Rule, scheduled_at: int, zone: str, quiet: tuple[Interval, ...] = ()) -> int | None:
    """The instant at which a reminder goes: the scheduled time, less the rule's offset; in quiet hours
    the last allowed minute before them. None also when it is quiet for ever. Raises ``UnknownZone``.
    """
    due = _shifted(scheduled_at, -rule.offset, rule.offset_unit, zone)
    return due if due is None else last_allowed(quiet, zone, due)


def expires_at(rule: Rule, due: int, scheduled_at: int | None) -> int:
    """The instant from which the message helps nobody any more.

    A reminder: its scheduled time, or earlier where the rule limits lateness. A notification, or a reminder
    whose entity has lost its scheduled time: the due time and the rule's ``max_lateness`` (24 hours).
    """
    if rule.kind is not RuleKind.REMINDER or scheduled_at is None:
        return due + (DEFAULT_LATENESS if rule.max_lateness is None else rule.max_lateness)
    if rule.max_lateness is None:
        return scheduled_at
    return min(scheduled_at, due + rule.max_lateness)


def _shifted(at: int, count: int, unit: Unit, zone: str) -> int | None:
    if not in_range(at):
        return None
    if unit is Unit.DAYS:
        info = zone_of(zone)
        wall, fold = wall_of(info, at)
        target = wall + count * DAY
        if not in_range(target):
            # Also for the hours in which the wall is out of range and the instant not yet: nobody is
            # written to there, and the calendar ends.
            return None
        due = instant_of(info, target, fold)
    else:
        due = at + count * (MINUTE if unit is Unit.MINUTES else HOUR)
    return due if in_range(due) else None
