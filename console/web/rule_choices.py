"""Which rules there can be for which kind of entity: what the guided form offers. The checks of rules decide;
a test holds this against them."""

from __future__ import annotations

from schemas.records import EntityKind, RuleKind, Trigger

NOTIFICATIONS: dict[EntityKind, tuple[Trigger, ...]] = {
    EntityKind.ORDER: (
        Trigger.CREATED,
        Trigger.STATUS_CHANGED,
        Trigger.STATUS_CHANGED_TO,
        Trigger.TIME_CHANGED,
    ),
    EntityKind.LEAD: (Trigger.CREATED, Trigger.STATUS_CHANGED_TO),
    EntityKind.APPOINTMENT: (
        Trigger.CREATED,
        Trigger.STATUS_CHANGED,
        Trigger.STATUS_CHANGED_TO,
        Trigger.TIME_CHANGED,
    ),
}


def kinds_of(entity: EntityKind) -> tuple[RuleKind, ...]:
    """Leads have no scheduled time to be reminded of."""
    return (RuleKind.NOTIFICATION,) if entity is EntityKind.LEAD else tuple(RuleKind)


def triggers_of(entity: EntityKind, kind: RuleKind) -> tuple[Trigger, ...]:
    return NOTIFICATIONS[entity] if kind is RuleKind.NOTIFICATION else (Trigger.BEFORE_TIME,)


def has_hours(entity: EntityKind, kind: RuleKind) -> bool:
    """Whether it can wait for working hours."""
    return kind is RuleKind.NOTIFICATION and entity is not EntityKind.LEAD


def has_locations(entity: EntityKind) -> bool:
    return entity is not EntityKind.LEAD
