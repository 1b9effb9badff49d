"""The kinds of records that a company's staff edit: where each is found, how it is checked, who uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from console.shop_difference import Kind, ShopRecord
from schemas.records import Company, EntityKind, Location, Mailbox, Rule, Status, Template
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem
from streams.domain.reference import check_id, check_text
from streams.domain.rules import (
    check_company,
    check_location,
    check_mailbox,
    check_rule,
    check_status,
    missing_texts,
)
from streams.domain.templating import check_template

Check = Callable[[Catalog, ShopRecord, ShopRecord | None, str | None], list[Problem]]
"""Given catalog, the new record, the former one, and who saves it."""


@dataclass(frozen=True, slots=True)
class RecordKind:
    """``of`` and ``find`` look into one company."""

    name: Kind
    topic: str
    of: Callable[[Catalog, str], Iterable[ShopRecord]]
    find: Callable[[Catalog, str, str], ShopRecord | None]
    check: Check
    users: Callable[[Catalog, ShopRecord], list[Rule]]
    """The rules that refer to it: while there are any it can't be deleted."""


def _check_company(catalog: Catalog, new: ShopRecord, _: ShopRecord | None, __: str | None) -> list[Problem]:
    assert isinstance(new, Company)
    return check_company(new, catalog)


def _check_location(catalog: Catalog, new: ShopRecord, _: ShopRecord | None, __: str | None) -> list[Problem]:
    assert isinstance(new, Location)
    return check_location(new, catalog)


def _check_status(catalog: Catalog, new: ShopRecord, old: ShopRecord | None, _: str | None) -> list[Problem]:
    assert isinstance(new, Status)
    if isinstance(old, Status) and old.entity is not new.entity:
        return [Problem("entity", "a status stays one of the kind of entity that it was made for", "taken")]
    return check_status(new, catalog)


def _check_mailbox(catalog: Catalog, new: ShopRecord, _: ShopRecord | None, __: str | None) -> list[Problem]:
    assert isinstance(new, Mailbox)
    return check_mailbox(new, catalog)


def _check_template(
    catalog: Catalog, new: ShopRecord, old: ShopRecord | None, _: str | None
) -> list[Problem]:
    assert isinstance(new, Template)
    rules = [rule for rule in catalog.rules_of(new.company) if rule.template_id == new.id]
    company = catalog.company(new.company)
    return [
        *template_problems(new, rules, {company.language} if company is not None else ()),
        *_unsendable(new, rules),
    ]


def template_problems(template: Template, rules: Iterable[Rule], languages: Iterable[str]) -> list[Problem]:
    """``rules``: those that send it. ``languages``: those that need a text."""
    kinds = frozenset(rule.entity for rule in rules)
    return [
        *check_id(template.id, "id"),
        *check_text(template.name, "name"),
        *check_template(template, kinds=kinds or None, languages=set(languages)),
    ]


def _unsendable(template: Template, rules: Iterable[Rule]) -> Iterable[Problem]:
    """Rules that send it must still be able to."""
    for rule in rules:
        missing = missing_texts(template, rule.channel) if rule.enabled else ""
        if missing:
            what = f"the rule {rule.id!r} sends it as {rule.channel}: it needs {missing}"
            yield Problem("texts", what, "combination")


def _check_rule(catalog: Catalog, new: ShopRecord, old: ShopRecord | None, user: str | None) -> list[Problem]:
    assert isinstance(new, Rule)
    return check_rule(new, catalog, user=user, previous=old if isinstance(old, Rule) else None)


def find_status(catalog: Catalog, company: str, id_: str) -> Status | None:
    """Of whatever kind of entity."""
    found = (catalog.status(company, kind, id_) for kind in EntityKind)
    return next((status for status in found if status is not None), None)


def _rules_where(does: Callable[[Rule, str], bool]) -> Callable[[Catalog, ShopRecord], list[Rule]]:
    def users(catalog: Catalog, record: ShopRecord) -> list[Rule]:
        company = record.id if isinstance(record, Company) else record.company
        return [rule for rule in catalog.rules_of(company) if does(rule, record.id)]

    return users


KINDS: Mapping[str, RecordKind] = {
    kind.name: kind
    for kind in (
        RecordKind(
            "company",
            "companies",
            lambda catalog, company: filter(None, (catalog.company(company),)),
            lambda catalog, company, id_: catalog.company(company) if id_ == company else None,
            _check_company,
            _rules_where(lambda rule, _: True),
        ),
        RecordKind(
            "location",
            "locations",
            Catalog.locations_of,
            Catalog.location,
            _check_location,
            _rules_where(lambda rule, id_: id_ in (rule.locations or ())),
        ),
        RecordKind(
            "status",
            "statuses",
            Catalog.statuses_of,
            find_status,
            _check_status,
            _rules_where(lambda rule, id_: rule.status_id == id_),
        ),
        RecordKind(
            "mailbox",
            "mailboxes",
            Catalog.mailboxes_of,
            Catalog.mailbox,
            _check_mailbox,
            _rules_where(lambda rule, id_: rule.mailbox_id == id_),
        ),
        RecordKind(
            "template",
            "templates",
            Catalog.templates_of,
            Catalog.template,
            _check_template,
            _rules_where(lambda rule, id_: rule.template_id == id_),
        ),
        RecordKind("rule", "rules", Catalog.rules_of, Catalog.rule, _check_rule, lambda catalog, record: []),
    )
}
