"""What an entity agent says: the commands to the timers, and the log records of what can't become one."""

from __future__ import annotations

from schemas.records import (
    Change,
    ClearScope,
    Delivery,
    DeliveryState,
    EntityKind,
    Facts,
    Rule,
    RuleKind,
    Timer,
    TimerOp,
)
from streams.domain.ids import delivery_id
from streams.domain.reasons import Reason


def arm_command(
    kind: EntityKind, change: Change, rule: Rule, after: Facts, anchor: str, occurred_at: int, raw: bytes
) -> Timer:
    """``raw`` only with the first command of a change: the facts travel once."""
    return Timer(
        op=TimerOp.ARM,
        company=change.company,
        kind=kind,
        entity_id=change.entity_id,
        customer_id=after.customer_id,
        entity_version=change.version,
        rule_id=rule.id,
        rule_version=rule.version,
        anchor=anchor,
        event_id=change.event_id if rule.kind is RuleKind.NOTIFICATION else "",
        occurred_at=occurred_at,
        status_id=after.status_id,
        change=raw,
    )


def clear_command(
    kind: EntityKind, change: Change, owner: str, scope: ClearScope, reason: Reason, raw: bytes
) -> Timer:
    return Timer(
        op=TimerOp.CLEAR,
        company=change.company,
        kind=kind,
        entity_id=change.entity_id,
        customer_id=owner,
        entity_version=change.version,
        scope=scope,
        reason=str(reason),
        change=raw,
    )


def facts_command(kind: EntityKind, change: Change, owner: str, reason: str, raw: bytes) -> Timer:
    return Timer(
        op=TimerOp.FACTS,
        company=change.company,
        kind=kind,
        entity_id=change.entity_id,
        customer_id=owner,
        entity_version=change.version,
        reason=reason,
        change=raw,
    )


def not_sent(
    kind: EntityKind, change: Change, rule: Rule, after: Facts, reason: Reason, now: int
) -> Delivery:
    """What would have been sent, and was not, before any sender heard of it; so that the feed can tell. The
    same on every repeat: transition 0."""
    return Delivery(
        delivery_id=delivery_id(
            change.company, rule.id, kind, change.entity_id, change.event_id, after.customer_id
        ),
        transition=0,
        state=DeliveryState.SUPPRESSED,
        reason=str(reason),
        company=change.company,
        kind=kind,
        entity_id=change.entity_id,
        entity_version=change.version,
        rule_id=rule.id,
        rule_version=rule.version,
        customer_id=after.customer_id,
        channel=str(rule.channel),
        anchor=change.event_id,
        location_id=after.location_id,
        at=now,
    )
