"""A small shop for tests: one company, two locations, a few statuses, and short ways to make records."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.records import (
    Change,
    Channel,
    Company,
    Customer,
    Details,
    EntityKind,
    Facts,
    Hours,
    Interval,
    Location,
    Operation,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.catalog import Reference

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WARSAW = "Europe/Warsaw"
C = "acme"


def at(text: str, zone: str = WARSAW) -> int:
    """``2026-04-07 13:00`` in the zone, in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


WEEK = Hours(weekdays=(*(((Interval(opens=540, closes=1080),),) * 5), (), ()))
"""Monday to Friday, 9 to 18."""


def shop() -> list[Reference]:
    """Company ``acme`` (Warsaw), locations ``north`` (Warsaw) and ``south`` (Lisbon), statuses, templates."""
    statuses = [("new", StatusKind.OPEN), ("ready", StatusKind.OPEN), ("done", StatusKind.CLOSED)]
    statuses.append(("gone", StatusKind.CANCELLED))
    return [
        Company(
            id=C,
            name="Acme",
            language="en",
            zone=WARSAW,
            hours=WEEK,
            currency="PLN",
            sms_sender="+48500000000",
            email_sender_name="Acme",
            email_sender_address="shop@acme.example",
            version=1,
        ),
        Location(id="north", company=C, name="North", zone=WARSAW, hours=WEEK, version=1),
        Location(id="south", company=C, name="South", zone="Europe/Lisbon", hours=WEEK, version=1),
        *(
            Status(
                id=status_of(name, kind),
                company=C,
                entity=kind,
                names={"en": name.title()},
                kind=what,
                version=1,
            )
            for kind in EntityKind
            for name, what in statuses
        ),
        Template(
            id="t",
            company=C,
            texts={
                "en": TemplateText(
                    sms="{{ customer.first_name }}: {{ entity.number }} {{ entity.status }}",
                    subject="About {{ entity.number }}",
                    body="Dear {{ customer.name }}, {{ entity.number }} is {{ entity.status }}.",
                )
            },
            version=1,
        ),
        Template(
            id="when",
            company=C,
            texts={"en": TemplateText(sms="See you {{ entity.date }} at {{ entity.time }}")},
            version=1,
        ),
    ]


def status_of(name: str, kind: EntityKind) -> str:
    """Ids of statuses are unique in a company: ``ready`` of an order, ``lead-ready`` of a lead."""
    return name if kind is EntityKind.ORDER else f"{kind}-{name}"


def ann(**changes: object) -> Customer:
    """A customer who agreed to everything."""
    fields: dict[str, object] = {
        "company": C,
        "customer_id": "ann",
        "name": "Ann Smith",
        "phone": "+48501111222",
        "email": "ann@mail.example",
        "language": "en",
        "sms_consent": True,
        "email_consent": True,
        "version": 1,
    }
    return Customer(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails at once


def notification(
    trigger: Trigger, entity: EntityKind = EntityKind.ORDER, *, id_: str = "r", **changes: object
) -> Rule:
    fields: dict[str, object] = {
        "id": id_,
        "company": C,
        "kind": RuleKind.NOTIFICATION,
        "entity": entity,
        "trigger": trigger,
        "channel": Channel.SMS,
        "template_id": "t",
        "version": 1,
    }
    return Rule(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails at once


def reminder(
    offset: int,
    unit: Unit = Unit.HOURS,
    entity: EntityKind = EntityKind.APPOINTMENT,
    *,
    id_: str = "rem",
    **changes: object,
) -> Rule:
    fields: dict[str, object] = {
        "id": id_,
        "company": C,
        "kind": RuleKind.REMINDER,
        "entity": entity,
        "trigger": Trigger.BEFORE_TIME,
        "offset": offset,
        "offset_unit": unit,
        "channel": Channel.SMS,
        "template_id": "when",
        "version": 1,
    }
    return Rule(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails at once


def facts(
    status: str = "new", scheduled: int | None = None, customer: str = "ann", location: str = "north"
) -> Facts:
    return Facts(status_id=status, customer_id=customer, location_id=location, scheduled_at=scheduled)


def visit(
    status: str = "new", scheduled: int | None = None, customer: str = "ann", location: str = "north"
) -> Facts:
    """The facts of an appointment."""
    return facts(status_of(status, EntityKind.APPOINTMENT), scheduled, customer, location)


def change(
    version: int,
    after: Facts | None,
    when: int,
    *,
    before: Facts | None = None,
    operation: Operation | None = None,
    entity_id: str = "1",
) -> Change:
    """A change that occurred at ``when``; created at version 1 and updated later unless said otherwise."""
    if operation is None:
        operation = Operation.CREATE if version == 1 else Operation.UPDATE
    return Change(
        company=C,
        entity_id=entity_id,
        operation=operation,
        event_id=f"{entity_id}-{version}",
        version=version,
        occurred_at=when,
        before=before,
        after=after,
        details=Details(number=f"N{entity_id}"),
    )
