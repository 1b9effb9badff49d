"""The companies of a story: what they have set up, and what they change of it while messages wait."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
    Location,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Suppression,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.ids import reference_key, suppression_key
from tests.simulation.items import EPOCH, LENGTH, Item, Publish

HOUR = 3_600_000
_LONG = ((9 * 60, 18 * 60),)
_DAYS: Sequence[Sequence[tuple[int, int]]] = (
    _LONG,
    _LONG,
    ((9 * 60, 15 * 60 + 45), (16 * 60 + 15, 18 * 60)),
    ((9 * 60, 16 * 60),),
)
"""What a day's hours may be, minutes after midnight; a story begins at 15:30 in Warsaw."""
_QUIET: Sequence[Sequence[tuple[int, int]]] = (
    (),
    ((16 * 60, 16 * 60 + 25),),
    ((15 * 60 + 40, 15 * 60 + 55),),
)
ODD = "odd"
"""A status whose kind the company may change."""


def status_id(kind: EntityKind, name: str) -> str:
    return f"{kind}-{name}"


def phone(company: str, customer: str) -> str:
    return f"+4850{len(company)}{sum(company.encode()) % 10}{sum(customer.encode()):04d}1"


def _intervals(pairs: Sequence[tuple[int, int]]) -> tuple[Interval, ...]:
    return tuple(Interval(opens=opens, closes=closes) for opens, closes in pairs)


def _hours(random: Random, *, closed: bool = False) -> Hours:
    day = _intervals(random.choice(_DAYS))
    return Hours(weekdays=(day,) * 7, closed_dates=("2026-06-10",) if closed else ())


def _reference(topic: str, record: Rule | Template | Status | Location) -> Publish:
    return Publish(0.0, topic, reference_key(record.company, record.id), record)


def shop(company: str, random: Random) -> list[Publish]:
    firm = Company(
        id=company,
        name=company.title(),
        language="en",
        zone="Europe/Warsaw",
        hours=_hours(random),
        sms_sender="+48500000000",
        email_sender_address=f"shop@{company}.example",
        quiet_hours=_intervals(random.choice(_QUIET) if random.random() < 0.3 else ()),
        version=1,
    )
    found = [Publish(0.0, "companies", company.encode(), firm)]
    for name, zone in (("north", "Europe/Warsaw"), ("south", "Europe/London")):
        place = Location(
            id=name, company=company, name=name.title(), zone=zone, hours=_hours(random), version=1
        )
        found.append(_reference("locations", place))
    kinds = {
        "new": StatusKind.OPEN,
        "ready": StatusKind.OPEN,
        ODD: StatusKind.OPEN,
        "done": StatusKind.CLOSED,
        "gone": StatusKind.CANCELLED,
    }
    found += [
        _reference(
            "statuses",
            Status(
                id=status_id(kind, n), company=company, entity=kind, names={"en": n}, kind=what, version=1
            ),
        )
        for kind in EntityKind
        for n, what in kinds.items()
    ]
    found += [_reference("templates", _template(company, name, 1)) for name in ("plain", "timed")]
    for rule in random.sample(rules(company), random.randint(3, 6)):
        some = None
        if rule.entity is not EntityKind.LEAD and random.random() < 0.1:
            some = random.choice((("north",), ("north", "south")))
        found.append(_reference("rules", msgspec.structs.replace(rule, locations=some)))
    return found


def _template(company: str, name: str, version: int) -> Template:
    text = "{{ company.name }}|{{ entity.title }}|{{ customer.name }}|t" + str(version)
    text += "|{{ entity.time }}" if name == "timed" else ""
    texts = {"en": TemplateText(sms=text, subject=text, body=text)}
    return Template(id=name, company=company, texts=texts, version=version)


def rules(company: str) -> list[Rule]:
    """All that a company may have."""
    made: list[Rule] = []

    def notify(
        id_: str, kind: EntityKind, trigger: Trigger, channel: Channel = Channel.SMS, **more: object
    ) -> None:
        fields: dict[str, object] = {
            "id": id_, "company": company, "kind": RuleKind.NOTIFICATION, "entity": kind, "trigger": trigger,
            "channel": channel, "template_id": "plain", "version": 1,
        }  # fmt: skip
        made.append(Rule(**(fields | more)))  # type: ignore[arg-type]  # a wrong field fails at once

    def remind(id_: str, kind: EntityKind, minutes: int, channel: Channel = Channel.SMS) -> None:
        made.append(
            Rule(
                id=id_,
                company=company,
                kind=RuleKind.REMINDER,
                entity=kind,
                trigger=Trigger.BEFORE_TIME,
                offset=minutes,
                offset_unit=Unit.MINUTES,
                channel=channel,
                template_id="timed",
                version=1,
            )
        )

    order, visit, lead = EntityKind.ORDER, EntityKind.APPOINTMENT, EntityKind.LEAD
    notify("o-created", order, Trigger.CREATED)
    notify("o-ready", order, Trigger.STATUS_CHANGED_TO, status_id="order-ready", working_hours_only=True)
    notify("o-status", order, Trigger.STATUS_CHANGED, Channel.EMAIL, delay=7, only_if_still=True)
    notify("v-created", visit, Trigger.CREATED, Channel.EMAIL, delay=2)
    notify("v-moved", visit, Trigger.TIME_CHANGED, template_id="timed")
    notify("v-status", visit, Trigger.STATUS_CHANGED, working_hours_only=True)
    notify("l-created", lead, Trigger.CREATED, delay=1, delay_unit=Unit.HOURS)
    remind("v-60", visit, 60)
    remind("v-30", visit, 30, Channel.EMAIL)
    remind("v-120", visit, 120)
    remind("o-45", order, 45)
    return made


# --- changes ----------------------------------------------------------------------------------------


def edits(company: str, made: Sequence[Publish], random: Random) -> list[Item]:
    """What people change in the course of a story. ``made``: what ``shop`` gave."""
    held = [item.value for item in made]
    mine = [value for value in held if isinstance(value, Rule) and value.company == company]
    items: list[Item] = [*_rule_edits(company, mine, random)]
    if random.random() < 0.25:
        items += _place_edits(company, held, random)
    if random.random() < 0.15:
        for version in range(2, 2 + random.randint(1, 2)):
            changed = _template(company, random.choice(("plain", "timed")), version)
            items.append(_at(random, "templates", reference_key(company, changed.id), changed))
    if random.random() < 0.15:
        items += _suppressions(company, random)
    if random.random() < 0.15:
        kind = random.choice(list(EntityKind))
        name, what = random.choice(
            ((ODD, StatusKind.CLOSED), (ODD, StatusKind.CANCELLED), ("new", StatusKind.OPEN))
        )
        status = Status(
            id=status_id(kind, name),
            company=company,
            entity=kind,
            names={"en": "Other"},
            kind=what,
            version=2,
        )
        items.append(_at(random, "statuses", reference_key(company, status.id), status))
    return items


def _at(random: Random, topic: str, key: bytes, value: object) -> Publish:
    return Publish(random.uniform(1, LENGTH), topic, key, value)  # type: ignore[arg-type]  # a record, or None


def _place_edits(company: str, held: Sequence[object], random: Random) -> list[Item]:
    """Hours, closed dates, zones, quiet hours and the age of what is too old."""
    made: list[Item] = []
    for version in range(2, 2 + random.randint(1, 3)):
        if random.random() < 0.4:
            firm = next(one for one in held if isinstance(one, Company) and one.id == company)
            firm = msgspec.structs.replace(
                firm,
                version=version,
                hours=_hours(random, closed=random.random() < 0.2),
                quiet_hours=_intervals(random.choice(_QUIET)),
                max_event_age=random.choice((24, 24, 72)) * HOUR,
            )
            made.append(_at(random, "companies", company.encode(), firm))
        else:
            name = random.choice(("north", "north", "south"))
            places = (one for one in held if isinstance(one, Location))
            place = next(one for one in places if (one.company, one.id) == (company, name))
            place = msgspec.structs.replace(
                place,
                version=version,
                hours=_hours(random, closed=random.random() < 0.3),
                zone=random.choice(("Europe/Warsaw", "Europe/Warsaw", "Europe/London", "Europe/Helsinki")),
            )
            made.append(_at(random, "locations", reference_key(company, name), place))
    return made


def _suppressions(company: str, random: Random) -> list[Item]:
    """A customer writes STOP, and some of them START again."""
    address = phone(company, random.choice(("ann", "ben")))
    at = random.uniform(1, LENGTH)
    stop = Suppression(
        company=company,
        channel=Channel.SMS,
        address=address,
        reason="stop",
        since=EPOCH + int(at * 1000),
        version=EPOCH + int(at * 1000),
    )
    key = suppression_key(company, Channel.SMS, address)
    made: list[Item] = [Publish(at, "suppressions", key, stop)]
    if random.random() < 0.4:
        made.append(Publish(random.uniform(at, LENGTH), "suppressions", key, None))
    return made


def _rule_edits(company: str, mine: list[Rule], random: Random) -> list[Item]:
    made: list[Item] = []
    known = {rule.id for rule in mine}
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        rule = random.choice(mine)
        at = random.uniform(1, LENGTH)
        key = reference_key(company, rule.id)
        if random.random() < 0.15:
            made.append(Publish(at, "rules", key, None))
            mine = [other for other in mine if other.id != rule.id]
        else:
            again = _edited(rule, at, random)
            mine = [again if other.id == rule.id else other for other in mine]
            made.append(Publish(at, "rules", key, again))
        if not mine:
            break
    if random.random() < 0.3:
        at = random.uniform(1, LENGTH)
        for rule in [other for other in rules(company) if other.id not in known][:1]:
            new = msgspec.structs.replace(rule, changed_at=EPOCH + int(at * 1000))
            made.append(Publish(at, "rules", reference_key(company, rule.id), new))
    return made


def _edited(rule: Rule, at: float, random: Random) -> Rule:
    more: dict[str, object] = {"version": rule.version + 1, "changed_at": EPOCH + int(at * 1000)}
    what = random.random()
    if what < 0.3:
        more["enabled"] = not rule.enabled
    elif rule.kind is RuleKind.REMINDER and what < 0.8:
        more["offset"] = random.choice((20, 40, 60, 90, 150))
    elif what < 0.9:
        more["channel"] = Channel.SMS if rule.channel is Channel.EMAIL else Channel.EMAIL
    return msgspec.structs.replace(rule, **more)
