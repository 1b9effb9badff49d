"""Messages in the words of people: what came of each, what is to come, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import msgspec

from console.feed import STATES, reason_text
from console.index.queries import Found, Queries, Step, Wanted
from schemas.records import DeliveryState, EntityKind
from streams.domain.catalog import Catalog
from streams.domain.zones import zone_of


class Part(StrEnum):
    TO_COME = "to come"
    SENT = "sent"
    NOT_SENT = "not sent"


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of a message."""

    transition: int
    state: DeliveryState
    state_text: str
    reason: str
    reason_text: str
    at: int
    next_at: int | None
    """When it was to be looked at again."""
    note: str


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message in its newest state. Times are milliseconds since 1970; ``local`` is the moment on the
    clocks of ``zone``, the entity's location's (else the company's)."""

    delivery_id: str
    company: str
    kind: EntityKind
    entity_id: str
    customer_id: str
    rule_id: str
    rule_name: str
    location_id: str
    channel: str
    part: Part
    state: DeliveryState
    state_text: str
    reason: str
    reason_text: str
    """What staff read: why it was not sent, or what it waits for."""
    note: str
    moment: int
    """When it goes (to come), went, or was given up."""
    local: str
    zone: str
    due_at: int | None
    attempt: int
    segments: int | None
    price: str
    currency: str
    sender: str
    address: str
    """With most of it hidden."""
    steps: tuple[StepView, ...] = ()
    """Everything that happened to it; in lists left empty."""


class By(StrEnum):
    DAY = "day"
    LOCATION = "location"
    RULE = "rule"


class CountView(msgspec.Struct, frozen=True, kw_only=True):
    """``key``: the local date (``2026-04-07``), or the id of the location (empty: none) or rule."""

    key: str
    name: str
    count: int


def view(found: Found, catalog: Catalog, steps: Sequence[Step] = ()) -> MessageView:
    one = found.delivery
    part, state_text = STATES[one.state]
    zone = catalog.zone(one.company, found.location_id)
    rule = catalog.rule(one.company, one.rule_id)
    return MessageView(
        delivery_id=one.delivery_id,
        company=one.company,
        kind=one.kind,
        entity_id=one.entity_id,
        customer_id=one.customer_id,
        rule_id=one.rule_id,
        rule_name=rule.name if rule is not None and rule.name else one.rule_id,
        location_id=found.location_id,
        channel=one.channel,
        part=Part(part),
        state=one.state,
        state_text=state_text,
        reason=one.reason,
        reason_text=reason_text(one.reason),
        note=one.note,
        moment=found.moment,
        local=local(found.moment, zone),
        zone=zone,
        due_at=one.due_at,
        attempt=one.attempt,
        segments=one.segments,
        price=one.price,
        currency=one.currency,
        sender=one.sender,
        address=one.address_masked,
        steps=tuple(map(_step, steps)),
    )


def local(moment: int, zone: str) -> str:
    """``2026-04-07T13:00:00+02:00``."""
    return datetime.fromtimestamp(moment // 1000, zone_of(zone)).isoformat()


def counts(queries: Queries, catalog: Catalog, company: str, wanted: Wanted, by: By) -> list[CountView]:
    """By date in order, else the most first."""
    found: Counter[str] = Counter()
    for (moment, location, rule), number in queries.counts(company, wanted).items():
        if by is By.DAY:
            zone = zone_of(catalog.zone(company, location))
            found[datetime.fromtimestamp(moment / 1000, zone).date().isoformat()] += number
        else:
            found[location if by is By.LOCATION else rule] += number
    order: Iterable[tuple[str, int]] = sorted(found.items()) if by is By.DAY else found.most_common()
    return [CountView(key=key, name=_name(catalog, company, by, key), count=n) for key, n in order]


def day_span(catalog: Catalog, company: str, location_id: str | None, day: date) -> tuple[int, int]:
    """Milliseconds of a day's beginning and end, on the clocks of the location, else of the company."""
    zone = zone_of(catalog.zone(company, location_id or ""))
    ends = (datetime.combine(each, time(), zone) for each in (day, day + timedelta(days=1)))
    begin, end = (int(each.astimezone(UTC).timestamp() * 1000) for each in ends)
    return begin, end


def _name(catalog: Catalog, company: str, by: By, key: str) -> str:
    if by is By.DAY:
        return key
    if by is By.LOCATION:
        location = catalog.location(company, key)
        return location.name if location is not None else key
    rule = catalog.rule(company, key)
    return rule.name if rule is not None and rule.name else key


def _step(step: Step) -> StepView:
    return StepView(
        transition=step.transition,
        state=step.state,
        state_text=STATES[step.state][1],
        reason=step.reason,
        reason_text=reason_text(step.reason),
        at=step.at,
        next_at=step.moment,
        note=step.note,
    )
