"""Two small companies and the shortest ways to say a rule."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Location,
    Mailbox,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Template,
    TemplateText,
    Trigger,
)
from streams.domain.catalog import Catalog

SHOP, OTHER = "shop", "other"
TRIGGERS = [t for t in Trigger if t is not Trigger.BEFORE_TIME]


def filled() -> Catalog:
    """``shop`` has everything that a rule may name; ``other`` has things of its own."""
    catalog = Catalog()
    for record in (
        Company(id=SHOP, name="Shop", language="en", zone="Europe/Warsaw", currency="PLN", version=1),
        Company(id=OTHER, name="Other", language="en", zone="Europe/Lisbon", version=1),
        Location(id="north", company=SHOP, name="North", zone="Europe/Lisbon", version=1),
        Location(id="south", company=SHOP, name="South", zone="Europe/Warsaw", version=1),
        Location(id="theirs", company=OTHER, name="Theirs", zone="Europe/Warsaw", version=1),
        status("ready", EntityKind.ORDER),
        status("lost", EntityKind.LEAD),
        status("booked", EntityKind.APPOINTMENT),
        status("gone", EntityKind.APPOINTMENT, StatusKind.CANCELLED),
        status("done", EntityKind.ORDER, StatusKind.CLOSED),
        template("both", TemplateText(sms="hi", subject="Hi", body="Hello")),
        template("sms-only", TemplateText(sms="hi")),
        template("mail-only", TemplateText(subject="Hi", body="Hello")),
        Mailbox(id="front", company=SHOP, address="front@shop.example", users=("ann", "bob"), version=1),
        Mailbox(
            id="cut", company=SHOP, address="cut@shop.example", users=("ann",), connected=False, version=1
        ),
        Mailbox(id="nobody", company=SHOP, address="nobody@shop.example", version=1),
    ):
        assert catalog.apply(record)
    return catalog


def status(id: str, entity: EntityKind, kind: StatusKind = StatusKind.OPEN, version: int = 1) -> Status:
    return Status(id=id, company=SHOP, entity=entity, names={"en": id}, kind=kind, version=version)


def template(id: str, text: TemplateText, version: int = 1) -> Template:
    return Template(id=id, company=SHOP, texts={"en": text}, version=version)


STATUS_OF = {EntityKind.ORDER: "ready", EntityKind.LEAD: "lost", EntityKind.APPOINTMENT: "booked"}


def notification(
    trigger: Trigger = Trigger.CREATED, entity: EntityKind = EntityKind.ORDER, **fields: Any
) -> Rule:
    """A rule that may be saved, but for what ``fields`` and the table say."""
    base = Rule(
        id="r1",
        company=SHOP,
        kind=RuleKind.NOTIFICATION,
        entity=entity,
        trigger=trigger,
        status_id=STATUS_OF[entity] if trigger is Trigger.STATUS_CHANGED_TO else "",
        channel=Channel.SMS,
        template_id="both",
        version=1,
    )
    return msgspec.structs.replace(base, **fields)


def reminder(entity: EntityKind = EntityKind.APPOINTMENT, **fields: Any) -> Rule:
    base = Rule(
        id="r1",
        company=SHOP,
        kind=RuleKind.REMINDER,
        entity=entity,
        trigger=Trigger.BEFORE_TIME,
        offset=24,
        channel=Channel.SMS,
        template_id="both",
        version=1,
    )
    return msgspec.structs.replace(base, **fields)
