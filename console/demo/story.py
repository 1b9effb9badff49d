"""The scenes of the story. Each is told on its own, too (``carillon demo --scene NAME``).

Dates are those of spring 2026: 7 April is the Tuesday after Easter, 10 May a Sunday.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from console.demo.cast import LISBON, NEW_YORK, WARSAW, People, Shop, at
from console.demo.crowd import Crowd
from console.demo.processes import DemoError
from console.demo.providers import SCENE as PROVIDERS
from console.demo.providers import providers
from console.demo.scenario import DAY, HOUR, MINUTE, Owed, Scenario, Script, reference
from schemas.records import (
    Channel,
    DeliveryState,
    EntityKind,
    Location,
    Rule,
    StatusKind,
    Suppression,
    Unit,
)

START = at(WARSAW, "2026-04-02 09:00")
_SENT, _HELD = DeliveryState.SENT, DeliveryState.HELD
_SUPPRESSED, _CANCELLED = DeliveryState.SUPPRESSED, DeliveryState.CANCELLED
_ORDER, _LEAD, _APPOINTMENT = EntityKind.ORDER, EntityKind.LEAD, EntityKind.APPOINTMENT
_OPEN, _CLOSED = StatusKind.OPEN, StatusKind.CLOSED
_SLACK = 10 * MINUTE
"""By when something that happens at once must have happened: room for a retry."""
TUNE_UPS = 60
"""Customers of the day on which a worker is killed."""


def order(script: Script, people: People) -> None:
    person = people.meet(WARSAW)
    script.cast.append(person)
    shop = script.shop
    new = shop.statuses(_ORDER, _OPEN)[0]
    entity = script.entity(_ORDER, person, "Gravel bike, full service", status_id=new.id, amount_minor=42_000)
    when = at(WARSAW, "2026-04-02 09:10")
    line = f"{person.name} brings in a gravel bike: order {entity.details.number} is created"
    script.happens(when, "order", line, WARSAW, [entity.create(when)])
    script.expect(
        "order", "a new order is confirmed", entity, shop.on_created(_ORDER), _SENT, by=when + _SLACK
    )
    rule = shop.progress
    status_id = rule.status_id or next(
        s.id for s in shop.statuses(_ORDER, _OPEN) if s.id not in (new.id, shop.ready.status_id)
    )
    when = at(WARSAW, "2026-04-02 15:30")
    line = f'the mechanic sets {entity.details.number} to "{_name(shop, status_id)}"'
    script.happens(when, "order", line, WARSAW, [entity.update(when, status_id=status_id)])
    script.expect("order", "a status message follows the change", entity, rule, _SENT, by=when + _SLACK)


def held(script: Script, people: People) -> None:
    person = people.meet(LISBON)
    script.cast.append(person)
    shop, place = script.shop, script.shop.places[LISBON]
    new = shop.statuses(_ORDER, _OPEN)[0]
    entity = script.entity(_ORDER, person, "City bike, new brakes", status_id=new.id, amount_minor=8_900)
    when = at(LISBON, "2026-04-07 10:20")
    script.happens(when, "held", "", LISBON, [entity.create(when)])
    when = at(LISBON, "2026-04-07 21:40")
    opening = at(LISBON, f"2026-04-08 {_opens(place, 2)}")
    line = f"late at night the brakes of {person.name} are done, {entity.details.number}; the shop is closed"
    script.happens(when, "held", line, LISBON, [entity.update(when, status_id=shop.ready.status_id)])
    script.expect(
        "held", "the ready message is held while the shop is closed", entity, shop.ready, _HELD, by=when
    )
    script.expect("held", "it goes when the shop opens", entity, shop.ready, _SENT, by=opening, exactly=True)


def moved(script: Script, people: People) -> None:
    person = people.meet(WARSAW)
    script.cast.append(person)
    shop = script.shop
    old, new = at(WARSAW, "2026-04-07 13:00"), at(WARSAW, "2026-04-08 14:00")
    status = shop.statuses(_APPOINTMENT, _OPEN)[0]
    entity = script.entity(_APPOINTMENT, person, "Bike fitting", status_id=status.id, scheduled_at=old)
    when = at(WARSAW, "2026-04-02 09:20")
    line = f"{person.name} books a bike fitting for 7 April, 13:00"
    script.happens(when, "moved", line, WARSAW, [entity.create(when)])
    when = at(WARSAW, "2026-04-03 10:00")
    line = f"the fitter is ill: {person.name} is moved from 7 April 13:00 to 8 April 14:00"
    script.happens(when, "moved", line, WARSAW, [entity.update(when, scheduled_at=new)])
    script.expect(
        "moved",
        "moved from 7 April 13:00 to 8 April 14:00, and told so",
        entity,
        shop.moved,
        _SENT,
        by=when + _SLACK,
        contains=("8", "14:00"),
    )
    script.expect(
        "moved", "the reminder moved along and comes a day before", entity, shop.reminder, _SENT,
        by=new - DAY, exactly=True, contains=("14:00",),
    )  # fmt: skip
    script.expect(
        "moved", "no reminder for the old time", entity, shop.reminder, _SENT,
        by=old - DAY, exactly=True, never=True,
    )  # fmt: skip


def far(script: Script, people: People) -> None:
    person = people.meet(LISBON)
    script.cast.append(person)
    shop = script.shop
    old, new = at(LISBON, "2026-05-10 11:00"), at(LISBON, "2026-05-12 11:00")
    status = shop.statuses(_APPOINTMENT, _OPEN)[0]
    entity = script.entity(_APPOINTMENT, person, "E-bike check", status_id=status.id, scheduled_at=old)
    when = at(LISBON, "2026-04-02 10:05")
    line = f"{person.name} books an e-bike check for 10 May, 11:00"
    script.happens(when, "far", line, LISBON, [entity.create(when)])
    when = at(LISBON, "2026-04-20 10:00")
    line = f"10 May is the day of the race: {person.name} is moved to 12 May, 11:00"
    script.happens(when, "far", line, LISBON, [entity.update(when, scheduled_at=new)])
    script.expect(
        "far", "moved from 10 May to 12 May, and told so", entity, shop.moved, _SENT,
        by=when + _SLACK, contains=("12",),
    )  # fmt: skip
    script.expect(
        "far",
        "and the reminder is for the new day",
        entity,
        shop.reminder,
        _SENT,
        by=new - DAY,
        contains=("11:00",),
    )


def review(script: Script, people: People) -> None:
    person = people.meet(NEW_YORK)
    script.cast.append(person)
    shop, rule = script.shop, script.shop.review
    new = shop.statuses(_ORDER, _OPEN)[0]
    entity = script.entity(_ORDER, person, "Road bike, new chain", status_id=new.id, amount_minor=6_500)
    when = at(NEW_YORK, "2026-04-02 11:00")
    script.happens(when, "review", "", NEW_YORK, [entity.create(when)])
    when = at(NEW_YORK, "2026-04-03 14:05")
    line = f'{person.name} fetches a road bike: {entity.details.number} is "{_name(shop, rule.status_id)}"'
    script.happens(when, "review", line, NEW_YORK, [entity.update(when, status_id=rule.status_id)])
    delay = rule.delay * {Unit.MINUTES: MINUTE, Unit.HOURS: HOUR, Unit.DAYS: DAY}[rule.delay_unit]
    script.expect(
        "review", "a review is asked for an hour after closing", entity, rule, _SENT,
        by=when + delay, exactly=True,
    )  # fmt: skip


def lead(script: Script, people: People) -> None:
    person = people.meet(NEW_YORK)
    script.cast.append(person)
    shop = script.shop
    entity = script.entity(
        _LEAD, person, "Asks for a custom wheel set", status_id=shop.statuses(_LEAD, _OPEN)[0].id
    )
    when = at(NEW_YORK, "2026-04-02 12:15")
    line = f"{person.name} asks on the web page for a custom wheel set: a lead"
    script.happens(when, "lead", line, NEW_YORK, [entity.create(when)])
    script.expect("lead", "a lead is greeted", entity, shop.on_created(_LEAD), _SENT, by=when + _SLACK)


def cancelled(script: Script, people: People) -> None:
    person = people.meet(WARSAW)
    script.cast.append(person)
    shop = script.shop
    slot = at(WARSAW, "2026-04-09 10:00")
    status = shop.statuses(_APPOINTMENT, _OPEN)[0]
    entity = script.entity(_APPOINTMENT, person, "Suspension service", status_id=status.id, scheduled_at=slot)
    when = at(WARSAW, "2026-04-03 11:00")
    line = f"{person.name} books a suspension service for 9 April, 10:00"
    script.happens(when, "cancelled", line, WARSAW, [entity.create(when)])
    when = at(WARSAW, "2026-04-07 12:00")
    line = f"{person.name} calls: the appointment of 9 April is cancelled, in time"
    change = entity.update(when, status_id=shop.cancelled.status_id)
    script.happens(when, "cancelled", line, WARSAW, [change])
    script.expect(
        "cancelled", "the cancellation is confirmed", entity, shop.cancelled, _SENT, by=when + 2 * DAY
    )
    script.expect(
        "cancelled",
        "the reminder of a cancelled appointment is cleared in time",
        entity,
        shop.reminder,
        _CANCELLED,
        by=when + _SLACK,
    )
    script.expect("cancelled", "and it never comes", entity, shop.reminder, _SENT, by=slot - DAY, never=True)


def silent(script: Script, people: People) -> None:
    shop = script.shop
    rule = shop.on_created(_ORDER)
    sms = rule.channel is Channel.SMS
    no_consent = people.meet(NEW_YORK, sms=False, email=False)
    left = people.meet(NEW_YORK)
    script.cast += [no_consent, left]
    new = shop.statuses(_ORDER, _OPEN)[0]
    when = at(NEW_YORK, "2026-04-08 10:00")
    address = left.customer.phone if sms else left.customer.email
    script.suppressions.append(
        Suppression(
            company=shop.company.id,
            channel=rule.channel,
            address=address,
            reason="stop" if sms else "unsubscribe",
            since=START - DAY,
            version=1,
        )
    )
    first = script.entity(_ORDER, no_consent, "Flat tyre", status_id=new.id, amount_minor=1_500)
    line = f"{no_consent.name}, who never agreed to messages, brings a flat tyre: {first.details.number}"
    script.happens(when, "silent", line, NEW_YORK, [first.create(when)])
    script.expect(
        "silent", "no consent: nothing goes, and the log says why", first, rule, _SUPPRESSED,
        by=when + _SLACK, reason="no_consent",
    )  # fmt: skip
    when += 10 * MINUTE
    second = script.entity(_ORDER, left, "New saddle", status_id=new.id, amount_minor=5_400)
    word = "who answered STOP" if sms else "who unsubscribed"
    line = f"{left.name}, {word}, orders a new saddle: {second.details.number}"
    script.happens(when, "silent", line, NEW_YORK, [second.create(when)])
    script.expect(
        "silent", "unsubscribed: nothing goes, and the log says why", second, rule, _SUPPRESSED,
        by=when + _SLACK, reason="suppressed_address",
    )  # fmt: skip


def crash(script: Script, people: People) -> None:
    shop = script.shop
    slot = at(WARSAW, "2026-04-16 13:00")
    when = at(WARSAW, "2026-04-10 12:00")
    status = shop.statuses(_APPOINTMENT, _OPEN)[0]
    booked, late = [], []
    for number in range(TUNE_UPS):
        # They agreed to texts only. Of an e-mail that was on its way when the worker died nobody can be asked
        # whether it arrived: it goes again under the same Message-ID, which is not a second copy to its
        # reader, but one to a count.
        person = people.meet(WARSAW, email=False)
        entity = script.entity(
            _APPOINTMENT,
            person,
            f"Spring tune-up, stand {number + 1}",
            status_id=status.id,
            scheduled_at=slot,
        )
        booked.append(entity.create(when))
        script.owed.append(Owed(_APPOINTMENT, entity.id, shop.reminder.id, slot - DAY + HOUR))
    for number in range(20):
        person = people.meet(WARSAW)
        entity = script.entity(
            _ORDER, person, f"Inner tube {number + 1}", status_id=shop.statuses(_ORDER, _OPEN)[0].id
        )
        late.append(entity.create(slot - DAY))
        script.owed.append(Owed(_ORDER, entity.id, shop.on_created(_ORDER).id, slot - DAY + HOUR))
    line = f"{TUNE_UPS} customers book the spring tune-up of 16 April, 13:00"
    script.happens(when, "crash", line, WARSAW, booked)
    line = f"{TUNE_UPS} reminders are due at once; a worker is killed (kill -9) while they go out"
    script.happens(slot - DAY, "crash", line, WARSAW, late, burst=TUNE_UPS)


def rule(script: Script, people: People) -> None:
    person = people.meet(NEW_YORK)
    script.cast.append(person)
    shop, old = script.shop, script.shop.reminder
    slot = at(NEW_YORK, "2026-05-05 10:00")
    status = shop.statuses(_APPOINTMENT, _OPEN)[0]
    entity = script.entity(_APPOINTMENT, person, "Wheel building", status_id=status.id, scheduled_at=slot)
    when = at(NEW_YORK, "2026-04-17 09:30")
    line = f"{person.name} books wheel building for 5 May, 10:00"
    script.happens(when, "rule", line, NEW_YORK, [entity.create(when)])
    when = at(NEW_YORK, "2026-04-24 11:00")
    new: Rule = msgspec.structs.replace(
        old, offset=48, offset_unit=Unit.HOURS, version=old.version + 1, changed_at=when, changed_by="demo"
    )
    line = "staff change the reminder from 24 to 48 hours: what is booked is re-timed"
    script.happens(when, "rule", line, NEW_YORK, [reference(new)])
    script.expect(
        "rule", "a rule changed from 24 to 48 hours re-times what was booked", entity, old, _SENT,
        by=slot - 2 * DAY, exactly=True,
    )  # fmt: skip
    script.expect(
        "rule", "and no second reminder a day before", entity, old, _SENT,
        by=slot - DAY, exactly=True, never=True,
    )  # fmt: skip


SCENES: dict[str, tuple[Callable[[Script, People], None], str]] = {
    "order": (order, "an order is created; its status changes"),
    "moved": (moved, "7 April 13:00 becomes 8 April 14:00, and the reminder moves along"),
    "far": (far, "the appointment of 10 May moves to 12 May"),
    "review": (review, "a review request an hour after closing"),
    "lead": (lead, "a lead is greeted"),
    "cancelled": (cancelled, "an appointment is cancelled in time"),
    "held": (held, 'a "ready" message waits until the shop opens'),
    "silent": (silent, "no consent, unsubscribed: who gets nothing, and why"),
    "crash": (crash, "a worker is killed in the middle of sending"),
    "rule": (rule, "a rule changed from 24 to 48 hours re-times what is booked"),
    PROVIDERS: (providers, "STOP, unsubscribe, a bounce, an outage with failover, Gmail (by name only)"),
}
APART = frozenset({PROVIDERS})
"""Told when they are named, not in the whole story: an outage would be everybody's."""


def write(shop: Shop, seed: int, *, scenes: tuple[str, ...] = (), crowd: int = 120) -> Scenario:
    """The script of these scenes (none named: all), with ``crowd`` customers in the background.

    Raises DemoError for a scene that there is not, or a shop that lacks a part.
    """
    unknown = [name for name in scenes if name not in SCENES]
    if unknown:
        raise DemoError(f"there is no scene {unknown[0]!r}; there are: {', '.join(SCENES)}")
    rng = Random(seed)  # noqa: S311 - a story that can be told again, not a secret
    people = People(shop.company.id, rng)
    script = Script(shop)
    for name, (scene, _) in SCENES.items():
        if name in scenes or not (scenes or name in APART):
            scene(script, people)
    told = max(event.at for event in script.events)
    background = Crowd(script, people, rng, START)
    background.write(crowd, until=told)
    ends = [told, *(item.by for item in script.expected), *(item.by for item in script.owed)]
    return Scenario(
        start=START,
        end=max(ends) + HOUR,
        people=tuple(people.everyone),
        story=frozenset(person.id for person in script.cast),
        events=tuple(sorted(script.events, key=lambda event: event.at)),
        expected=tuple(script.expected),
        owed=tuple(script.owed),
        suppressions=tuple(script.suppressions),
    )


def _name(shop: Shop, status_id: str) -> str:
    names = shop.status(status_id).names
    return names.get("en") or next(iter(names.values()))


def _opens(place: Location, weekday: int) -> str:
    intervals = place.hours.weekdays[weekday]
    if not intervals:
        raise DemoError(f"{place.name} is closed on the weekday on which the story needs it open")
    hours, minutes = divmod(intervals[0].opens, 60)
    return f"{hours:02}:{minutes:02}"


def local(zone: str, millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone(ZoneInfo(zone))
