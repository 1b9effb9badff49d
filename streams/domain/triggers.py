"""What happened to an entity, and which rules that sets off.

Called for every record of the entity topics: answers are prepared objects, nothing is allocated where
nothing matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.records import EntityKind, Facts, Operation, Rule, StatusKind
from streams.domain.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What one change did. ``created``, ``status_changed`` and ``time_changed`` fire notifications unless
    ``snapshot``; the others only say what must be cleared or armed anew.

    A snapshot row tells truly what differs from what was known (reminders move, a closed entity is
    cleared), and fires nothing. A deletion is only ``deleted``.
    """

    created: bool
    status_changed: bool
    time_changed: bool
    """There is a scheduled time, and it is not the former one: given for the first time, or moved."""
    time_removed: bool
    deleted: bool
    customer_changed: bool
    location_changed: bool
    snapshot: bool


_STATUS, _TIME, _TIME_REMOVED, _CUSTOMER, _LOCATION, _CREATED, _SNAPSHOT = (1 << bit for bit in range(7))

_OCCURRENCES = tuple(
    Occurrence(
        created=bool(bits & _CREATED),
        status_changed=bool(bits & _STATUS),
        time_changed=bool(bits & _TIME),
        time_removed=bool(bits & _TIME_REMOVED),
        deleted=False,
        customer_changed=bool(bits & _CUSTOMER),
        location_changed=bool(bits & _LOCATION),
        snapshot=bool(bits & _SNAPSHOT),
    )
    for bits in range(1 << 7)
)
_DELETED = Occurrence(
    created=False,
    status_changed=False,
    time_changed=False,
    time_removed=False,
    deleted=True,
    customer_changed=False,
    location_changed=False,
    snapshot=False,
)
LOCATION_CHANGED = "location_changed"
"""In the reason of a "facts" command: all that is pending must be looked at again."""

_CREATE, _READ, _DELETE = Operation.CREATE, Operation.READ, Operation.DELETE
_OPEN = StatusKind.OPEN
_NO_RULES: tuple[Rule, ...] = ()


def occurrence(operation: Operation, before: Facts | None, after: Facts | None) -> Occurrence:
    """Compares ``before`` (the record's own, else what was stored, else None) with ``after``.

    New is what is created, and what is updated without anything known before: it is ``created`` and has
    neither changed its status nor its time. A create of an id that was known before (used again) still
    tells of another customer and of a time that is gone, so that what is pending for them is cleared.

    Raises:
        ValueError: only a deletion may come without ``after``.
    """
    if operation is _DELETE:
        return _DELETED
    if after is None:
        raise ValueError(f"operation {operation} needs the facts after the change")
    if before is None:
        return _OCCURRENCES[_SNAPSHOT if operation is _READ else _CREATED]
    bits = 0
    if before.customer_id != after.customer_id:
        bits |= _CUSTOMER
    if before.location_id != after.location_id:
        bits |= _LOCATION
    if before.scheduled_at is not None and after.scheduled_at is None:
        bits |= _TIME_REMOVED
    if operation is _CREATE:
        return _OCCURRENCES[bits | _CREATED]
    if before.status_id != after.status_id:
        bits |= _STATUS
    if after.scheduled_at is not None and before.scheduled_at != after.scheduled_at:
        bits |= _TIME
    if operation is _READ:
        bits |= _SNAPSHOT
    return _OCCURRENCES[bits]


def notifications(
    catalog: Catalog, company: str, kind: EntityKind, occ: Occurrence, after: Facts
) -> Sequence[Rule]:
    """The enabled notification rules that fire, each once; in the order of triggers, then of rule ids.

    A new time is not told of an entity that is closed or cancelled: such messages are cleared when it
    closes, so they don't begin afterwards.
    """
    if occ.snapshot or not (occ.created or occ.status_changed or occ.time_changed):
        return _NO_RULES
    index = catalog.matching.of(company, kind)
    if index is None:
        return _NO_RULES
    location_id = after.location_id
    if occ.created:
        return index.created.at(location_id)
    found = _NO_RULES
    if occ.status_changed:
        found = index.status_changed.at(location_id)
        changed_to = index.changed_to.get(after.status_id)
        if changed_to is not None:
            found += changed_to.at(location_id)
    if occ.time_changed:
        moved = index.time_changed.at(location_id)
        if moved and catalog.status_kind(company, kind, after.status_id) is _OPEN:
            found += moved
    return found


def reminders(catalog: Catalog, company: str, kind: EntityKind, after: Facts) -> Sequence[Rule]:
    """The enabled reminder rules that cover the entity: it has a scheduled time and is open. Sorted by id."""
    if after.scheduled_at is None:
        return _NO_RULES
    index = catalog.matching.of(company, kind)
    if index is None:
        return _NO_RULES
    found = index.before_time.at(after.location_id)
    if not found or catalog.status_kind(company, kind, after.status_id) is not _OPEN:
        return _NO_RULES
    return found
