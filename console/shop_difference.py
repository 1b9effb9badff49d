"""A shop file against what is held: what to create, update and delete; and what is held as a shop file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
import yaml

from console.shop_forms import format_delay, format_intervals, format_length, format_week
from console.shop_records import ShopFile
from schemas.records import (
    Company,
    EntityKind,
    Hours,
    Location,
    Mailbox,
    Rule,
    Status,
    Template,
    Trigger,
)
from streams.domain.bulk import next_version
from streams.domain.catalog import Catalog

ShopRecord = Company | Location | Status | Mailbox | Template | Rule
Kind = Literal["company", "location", "status", "mailbox", "template", "rule"]
What = Literal["create", "update", "delete"]
Plain = dict[str, object]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """In the words of the file; None: not there."""

    field: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """``record`` is what to publish under the key of ``company`` and ``id``; None: a tombstone."""

    company: str
    kind: Kind
    id: str
    what: What
    fields: tuple[FieldChange, ...]
    record: ShopRecord | None


def difference(
    shop: ShopFile, catalog: Catalog, now: int, user: str | None, *, prune: bool = False
) -> list[ChangeItem]:
    """What to publish, in an order in which nothing refers to what is not there yet (or no more).

    ``now`` (milliseconds) becomes the version where that is newer. What the company has and the file has
    not is left alone unless ``prune``. After everything was published there is no difference.
    """
    items = list(_updates(shop, catalog, now, user or ""))
    if prune:
        named = {(type(record), record.id) for record in settled(shop, catalog)}
        for record in reversed(list(held_by(catalog, shop.company.id))):
            if (type(record), record.id) not in named:
                fields = _field_changes(plain(record), {})
                items.append(ChangeItem(shop.company.id, kind_of(record), record.id, "delete", fields, None))
    return items


def _updates(shop: ShopFile, catalog: Catalog, now: int, user: str) -> Iterator[ChangeItem]:
    for record in settled(shop, catalog):
        old = held(catalog, record)
        fields = _field_changes({} if old is None else plain(old), plain(record))
        if old is not None and not fields:
            continue
        new = msgspec.structs.replace(record, version=next_version(0 if old is None else old.version, now))
        if isinstance(new, Rule):
            new = msgspec.structs.replace(new, changed_at=now, changed_by=user)
        what: What = "create" if old is None else "update"
        yield ChangeItem(shop.company.id, kind_of(new), new.id, what, fields, new)


def settled(shop: ShopFile, catalog: Catalog) -> list[ShopRecord]:
    """The records of the file, those that others refer to first. A mailbox stays connected, or not,
    unless the file says so."""
    mailboxes = []
    for mailbox in shop.mailboxes:
        old = catalog.mailbox(mailbox.company, mailbox.id)
        if old is not None and mailbox.id in shop.connection_unsaid:
            mailboxes.append(msgspec.structs.replace(mailbox, connected=old.connected))
        else:
            mailboxes.append(mailbox)
    return [shop.company, *shop.locations, *shop.statuses, *mailboxes, *shop.templates, *shop.rules]


def held_by(catalog: Catalog, company: str) -> Iterator[ShopRecord]:
    """Everything of the company that a file may have, in the same order."""
    owner = catalog.company(company)
    if owner is not None:
        yield owner
    yield from catalog.locations_of(company)
    yield from catalog.statuses_of(company)
    yield from catalog.mailboxes_of(company)
    yield from catalog.templates_of(company)
    yield from catalog.rules_of(company)


def held(catalog: Catalog, record: ShopRecord) -> ShopRecord | None:
    """What the catalog has under the record's key. A status is found also where its kind of entity
    differs: their topic has one key for both."""
    match record:
        case Company():
            return catalog.company(record.id)
        case Location():
            return catalog.location(record.company, record.id)
        case Status():
            kinds = (catalog.status(record.company, kind, record.id) for kind in EntityKind)
            return next((status for status in kinds if status is not None), None)
        case Mailbox():
            return catalog.mailbox(record.company, record.id)
        case Template():
            return catalog.template(record.company, record.id)
        case _:
            return catalog.rule(record.company, record.id)


def kind_of(record: ShopRecord) -> Kind:
    return _KINDS[type(record)]


_KINDS: dict[type[ShopRecord], Kind] = {
    Company: "company",
    Location: "location",
    Status: "status",
    Mailbox: "mailbox",
    Template: "template",
    Rule: "rule",
}


# --- records as they stand in a file ---------------------------------------------------------------


def dump(catalog: Catalog, company: str) -> str:
    """The company as a shop file. Loading it makes no difference to what is held.

    Raises LookupError when there is no such company.
    """
    owner = catalog.company(company)
    if owner is None:
        raise LookupError(f"there is no company {company!r}")
    statuses: dict[str, Plain] = {}
    for status in sorted(
        catalog.statuses_of(company), key=lambda each: (list(EntityKind).index(each.entity), each.id)
    ):
        form = plain(status)
        del form["entity"]
        statuses.setdefault(str(status.entity), {})[status.id] = form
    sections: Plain = {
        "company": {"id": owner.id} | plain(owner),
        "locations": _by_id(catalog.locations_of(company)),
        "statuses": statuses,
        "mailboxes": _by_id(catalog.mailboxes_of(company)),
        "templates": _by_id(catalog.templates_of(company)),
        "rules": _by_id(catalog.rules_of(company)),
    }
    filled = {name: section for name, section in sections.items() if section}
    return yaml.dump(
        filled, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False
    )


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as people write them."""


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML reads each of these line ends as a line feed, unless it is written as an escape.
    style = '"' if _ODD_LINE_ENDS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ODD_LINE_ENDS = re.compile("[\r\x85\u2028\u2029]")
_Dumper.add_representer(str, _as_block)


def _by_id(found: Iterable[ShopRecord]) -> Plain:
    return {record.id: plain(record) for record in sorted(found, key=lambda each: each.id)}


def plain(record: ShopRecord) -> Plain:
    """The record in the words of the file, without its id, version and what has its default."""
    match record:
        case Company():
            return _company(record)
        case Location():
            return _without_defaults(
                name=(record.name, None),
                zone=(record.zone, None),
                address=(record.address, ""),
                phone=(record.phone, ""),
                hours=(_hours(record.hours), None),
            )
        case Status():
            return {"entity": str(record.entity), "kind": str(record.kind), "names": dict(record.names)}
        case Mailbox():
            return _without_defaults(
                address=(record.address, None),
                provider=(record.provider, "gmail"),
                secret=(record.secret_ref, ""),
                users=(list(record.users), []),
                connected=(record.connected, True),
            )
        case Template():
            texts = {
                language: _without_defaults(
                    sms=(text.sms, ""), subject=(text.subject, ""), body=(text.body, "")
                )
                for language, text in record.texts.items()
            }
            return _without_defaults(name=(record.name, ""), texts=(texts, None))
        case _:
            return _rule(record)


def _company(company: Company) -> Plain:
    return _without_defaults(
        name=(company.name, None),
        language=(company.language, None),
        zone=(company.zone, None),
        currency=(company.currency, None),
        hours=(_hours(company.hours), {}),
        sms_sender=(company.sms_sender, ""),
        email_sender_name=(company.email_sender_name, ""),
        email_sender_address=(company.email_sender_address, ""),
        max_event_age=(format_length(company.max_event_age), "24 hours"),
        quiet_hours=(format_intervals(company.quiet_hours), "closed"),
        customer_daily_cap=(company.customer_daily_cap, 0),
        duplicate_window=(format_length(company.duplicate_window), "0 hours"),
        messages_per_minute=(company.messages_per_minute, 0),
        segment_budget=(company.segment_budget, 0),
        smart_encoding=(company.smart_encoding, True),
        sms_help=(company.sms_help, ""),
    )


def _rule(rule: Rule) -> Plain:
    is_reminder = rule.trigger is Trigger.BEFORE_TIME
    lateness = rule.max_lateness
    return _without_defaults(
        name=(rule.name, ""),
        entity=(str(rule.entity), None),
        trigger=("" if is_reminder else rule.trigger.replace("_", " "), ""),
        status=(rule.status_id, ""),
        before=(format_delay(rule.offset, rule.offset_unit) if is_reminder or rule.offset else "", ""),
        delay=(format_delay(rule.delay, rule.delay_unit) if rule.delay else "", ""),
        working_hours_only=(rule.working_hours_only, False),
        channel=(str(rule.channel), None),
        mailbox=(rule.mailbox_id, ""),
        template=(rule.template_id, None),
        locations=(None if rule.locations is None else list(rule.locations), None),
        only_if_still=(rule.only_if_still, False),
        max_lateness=(None if lateness is None else format_length(lateness), None),
        enabled=(rule.enabled, True),
    )


def _hours(hours: Hours) -> Plain:
    closed: Plain = {"closed": list(hours.closed_dates)} if hours.closed_dates else {}
    return {**format_week(hours.weekdays), **closed}


def _without_defaults(**fields: tuple[object, object]) -> Plain:
    """Each field with its default; what equals it is left out."""
    return {name: value for name, (value, default) in fields.items() if value != default}


def field_changes(old: ShopRecord | None, new: ShopRecord | None) -> tuple[FieldChange, ...]:
    """In the words of a shop file."""
    return _field_changes({} if old is None else plain(old), {} if new is None else plain(new))


def _field_changes(old: Plain, new: Plain) -> tuple[FieldChange, ...]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return tuple(
        FieldChange(field, before.get(field), after.get(field))
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    )


def _leaves(form: Mapping[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in form.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{name}.")
        elif isinstance(value, list):
            yield f"{path}{name}", ", ".join(map(str, value))
        else:
            yield f"{path}{name}", _word(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value == {} else str(value)
