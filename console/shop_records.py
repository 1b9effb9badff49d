"""A shop file as records: what a company set up, as a person wrote it. Version 0: versions are not theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from console.shop_forms import parse_days, parse_delay, parse_intervals, parse_length, parse_week
from console.shop_yaml import FileProblem, Value, read
from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
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

E = TypeVar("E", bound=StrEnum)

SECTIONS = ("company", "locations", "statuses", "mailboxes", "templates", "rules")
COMPANY_FIELDS = (
    "id",
    "name",
    "language",
    "zone",
    "currency",
    "hours",
    "sms_sender",
    "email_sender_name",
    "email_sender_address",
    "max_event_age",
    "quiet_hours",
    "customer_daily_cap",
    "duplicate_window",
    "messages_per_minute",
    "segment_budget",
    "smart_encoding",
    "sms_help",
)
LOCATION_FIELDS = ("name", "zone", "address", "phone", "hours")
STATUS_FIELDS = ("kind", "names")
MAILBOX_FIELDS = ("address", "provider", "secret", "users", "connected")
TEMPLATE_FIELDS = ("name", "texts")
TEXT_FIELDS = ("sms", "subject", "body")
RULE_FIELDS = (
    "name",
    "entity",
    "trigger",
    "status",
    "before",
    "delay",
    "working_hours_only",
    "channel",
    "mailbox",
    "template",
    "locations",
    "only_if_still",
    "max_lateness",
    "enabled",
)


@dataclass(frozen=True, slots=True)
class ShopFile:
    """One company. ``lines`` has the line of every path of the file."""

    company: Company
    locations: tuple[Location, ...]
    statuses: tuple[Status, ...]
    mailboxes: tuple[Mailbox, ...]
    templates: tuple[Template, ...]
    rules: tuple[Rule, ...]
    lines: Mapping[str, int]
    connection_unsaid: frozenset[str]
    """Mailboxes of which the file does not say whether they are connected: that stays as it is."""


def load(path: Path) -> ShopFile | list[FileProblem]:
    """The file as records, or everything that is wrong with its form, in the order of lines. Whether it
    makes sense (``console.shopfile.check``) depends on what else the company has.

    Raises OSError when the file can't be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return [FileProblem(line, "", "is not UTF-8; save the file in that encoding")]
    return parse(text)


def parse(text: str) -> ShopFile | list[FileProblem]:
    document = read(text)
    if document.root is None:
        return document.problems
    top = document.root.fields(SECTIONS, ("company",))
    company = _company(top["company"]) if "company" in top else _NO_COMPANY
    mailboxes, unsaid = _mailboxes(company.id, top)
    shop = ShopFile(
        company=company,
        locations=tuple(_location(company, *each) for each in _section(top, "locations")),
        statuses=tuple(_statuses(company.id, top)),
        mailboxes=mailboxes,
        templates=tuple(_template(company.id, *each) for each in _section(top, "templates")),
        rules=tuple(_rule(company.id, *each) for each in _section(top, "rules")),
        lines=document.lines,
        connection_unsaid=unsaid,
    )
    return sorted(document.problems) or shop


_NO_COMPANY = Company(id="", name="", language="", zone="", version=0)


def _section(top: Mapping[str, Value], name: str) -> Iterator[tuple[str, Value]]:
    if name in top:
        yield from top[name].entries().items()


def _company(value: Value) -> Company:
    fields = value.fields(COMPANY_FIELDS, ("id", "name", "language", "zone"))
    given: dict[str, Any] = {"id": "", "name": "", "language": "", "zone": "", "version": 0}
    for name, field in fields.items():
        match name:
            case "hours":
                given[name] = _hours(field)
            case "quiet_hours":
                given[name] = field.parsed(parse_intervals, _NO_INTERVALS)
            case "max_event_age" | "duplicate_window":
                given[name] = field.parsed(parse_length, 0)
            case "customer_daily_cap" | "messages_per_minute" | "segment_budget":
                given[name] = field.parsed(_integer, 0)
            case "smart_encoding":
                given[name] = field.parsed(_boolean, True)
            case _:
                given[name] = field.text()
    return Company(**given)


def _location(company: Company, id: str, value: Value) -> Location:
    """Zone and hours that are not given are the company's."""
    fields = value.fields(LOCATION_FIELDS, ("name",))
    given: dict[str, Any] = {"name": "", "zone": company.zone, "hours": company.hours}
    for name, field in fields.items():
        given[name] = _hours(field) if name == "hours" else field.text()
    return Location(id=id, company=company.id, version=0, **given)


def _statuses(company: str, top: Mapping[str, Value]) -> Iterator[Status]:
    if "statuses" not in top:
        return
    places: dict[str, Value] = {}
    for kind, section in top["statuses"].fields([str(kind) for kind in EntityKind]).items():
        for id, value in section.entries().items():
            if id in places:
                value.fail(
                    f"the id {id!r} is taken in line {places[id].line}; ids of statuses are unique in a "
                    f"company: call it '{kind}-{id}', say"
                )
            places[id] = value
            fields = value.fields(STATUS_FIELDS, ("names",))
            names = fields["names"].entries() if "names" in fields else {}
            yield Status(
                id=id,
                company=company,
                entity=EntityKind(kind),
                names={language: name.text() for language, name in names.items()},
                kind=_choice(fields["kind"], StatusKind.OPEN) if "kind" in fields else StatusKind.OPEN,
                version=0,
            )


def _mailboxes(company: str, top: Mapping[str, Value]) -> tuple[tuple[Mailbox, ...], frozenset[str]]:
    mailboxes: list[Mailbox] = []
    unsaid: set[str] = set()
    for id, value in _section(top, "mailboxes"):
        given: dict[str, Any] = {"address": ""}
        for name, field in value.fields(MAILBOX_FIELDS, ("address",)).items():
            match name:
                case "users":
                    given[name] = tuple(user.text() for user in field.items())
                case "connected":
                    given[name] = field.parsed(_boolean, True)
                case "secret":
                    given["secret_ref"] = field.text()
                case _:
                    given[name] = field.text()
        if "connected" not in given:
            unsaid.add(id)
        mailboxes.append(Mailbox(id=id, company=company, version=0, **given))
    return tuple(mailboxes), frozenset(unsaid)


def _template(company: str, id: str, value: Value) -> Template:
    fields = value.fields(TEMPLATE_FIELDS, ("texts",))
    texts: dict[str, TemplateText] = {}
    if "texts" in fields:
        for language, parts in fields["texts"].entries().items():
            given = {part: text.text() for part, text in parts.fields(TEXT_FIELDS).items()}
            texts[language] = TemplateText(**given)
    name = fields["name"].text() if "name" in fields else ""
    return Template(id=id, company=company, name=name, texts=texts, version=0)


def _rule(company: str, id: str, value: Value) -> Rule:
    fields = value.fields(RULE_FIELDS, ("entity", "channel", "template"))
    if "trigger" not in fields and "before" not in fields:
        value.fail("needs 'trigger', or 'before' to be a reminder")
    given: dict[str, Any] = {}
    for name, field in fields.items():
        match name:
            case "before":
                given["offset"], given["offset_unit"] = field.parsed(parse_delay, _NO_DELAY)
            case "delay":
                given["delay"], given["delay_unit"] = field.parsed(parse_delay, _NO_DELAY)
            case "working_hours_only" | "only_if_still" | "enabled":
                given[name] = field.parsed(_boolean, False)
            case "max_lateness":
                given[name] = field.parsed(parse_length, 0)
            case "locations":
                given[name] = _locations(field)
            case "status" | "mailbox" | "template":
                given[f"{name}_id"] = field.text()
            case "name":
                given[name] = field.text()
    trigger = Trigger.BEFORE_TIME
    if "trigger" in fields:
        trigger = _choice(fields["trigger"], Trigger.CREATED)
    base = Rule(
        id=id,
        company=company,
        kind=RuleKind.REMINDER if trigger is Trigger.BEFORE_TIME else RuleKind.NOTIFICATION,
        entity=_choice(fields["entity"], EntityKind.ORDER) if "entity" in fields else EntityKind.ORDER,
        trigger=trigger,
        channel=_choice(fields["channel"], Channel.SMS) if "channel" in fields else Channel.SMS,
        template_id="",
        version=0,
    )
    return msgspec.structs.replace(base, **given)


_NO_DELAY = parse_delay("1 hour")
_NO_INTERVALS: tuple[Interval, ...] = ()


def _locations(value: Value) -> tuple[str, ...] | None:
    if value.is_scalar():
        text = value.text()
        if text and text != "all":
            value.fail(f"write 'all', or a list: [{text}]")
        return None
    return tuple(location.text() for location in value.items())


def _hours(value: Value) -> Hours:
    """A mapping of days to intervals (and ``closed`` to dates), or all days in one text."""
    closed: tuple[str, ...] = ()
    parts: list[tuple[Value, str, tuple[Interval, ...]]] = []
    if value.is_scalar():
        no_days: list[tuple[str, str]] = []
        for days, span in value.parsed(parse_week, no_days):
            parts.append((value, days, _attempt(value, span)))
    else:
        for days, field in value.entries().items():
            if days == "closed":
                closed = tuple(date.text() for date in field.items())
            else:
                parts.append((field, days, field.parsed(parse_intervals, _NO_INTERVALS)))
    weekdays: list[tuple[Interval, ...] | None] = [None] * 7
    for place, days, intervals in parts:
        try:
            numbers = parse_days(days)
        except ValueError as error:
            place.fail(str(error))
            continue
        for number in numbers:
            if weekdays[number] is not None:
                place.fail(f"{days!r} names a day that has its hours already")
                break
            weekdays[number] = intervals
    return Hours(weekdays=tuple(each or () for each in weekdays), closed_dates=closed)


def _attempt(place: Value, span: str) -> tuple[Interval, ...]:
    try:
        return parse_intervals(span)
    except ValueError as error:
        place.fail(str(error))
        return ()


def _choice(value: Value, otherwise: E) -> E:
    """A member of the enumeration of ``otherwise``; words may be joined by spaces, ``-`` or ``_``."""
    kinds = type(otherwise)

    def parse_choice(text: str) -> E:
        wanted = text.strip().lower().replace(" ", "_").replace("-", "_")
        for member in kinds:
            if wanted in (member.value, _OTHER_SPELLINGS.get(member.value)):
                return member
        near = get_close_matches(wanted, [member.value for member in kinds], n=1, cutoff=0.5)
        hint = f"did you mean {near[0].replace('_', ' ')!r}? " if near else ""
        names = ", ".join(member.replace("_", " ") for member in kinds)
        raise ValueError(f"{text!r} is not known; {hint}possible are: {names}")

    return value.parsed(parse_choice, otherwise)


_OTHER_SPELLINGS = {"email": "e_mail"}


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(text)
