"""The shop file: everything a company sets up, in one YAML file that a person writes.

``load`` reads its form, ``check`` its sense, ``difference`` says what to publish, ``dump`` writes one.
``examples/shop.yaml`` shows all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from console.service.kinds import template_problems
from console.shop_difference import ChangeItem, FieldChange, difference, dump, held, held_by, settled
from console.shop_records import ShopFile, load, parse
from console.shop_yaml import FileProblem, line_of
from schemas.records import Company, Rule, Template
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem
from streams.domain.rules import (
    check_company,
    check_location,
    check_mailbox,
    check_rule,
    check_status,
    missing_texts,
)

__all__ = [
    "ChangeItem",
    "FieldChange",
    "FileProblem",
    "ShopFile",
    "check",
    "difference",
    "dump",
    "load",
    "parse",
]

_IN_FILE = {
    "status_id": "status",
    "template_id": "template",
    "mailbox_id": "mailbox",
    "secret_ref": "secret",
    "offset": "before",
}
"""Fields of records that have another name in the file."""


def check(shop: ShopFile, catalog: Catalog, user: str | None, *, prune: bool = False) -> list[FileProblem]:
    """Everything that stands against publishing the file as ``user``, in the order of lines: references
    to what neither file nor company has (with ``prune``: what the file has not), texts that don't work,
    mailboxes that ``user`` may not choose."""
    after = _afterwards(shop, catalog, prune)
    found = _problems(shop, catalog, after, user)
    return sorted(
        FileProblem(line_of(problem.field, shop.lines), problem.field, problem.message) for problem in found
    )


def _afterwards(shop: ShopFile, catalog: Catalog, prune: bool) -> Catalog:
    """The company's part of the catalog as it will be."""
    after = Catalog()
    if not prune:
        for record in held_by(catalog, shop.company.id):
            after.apply(record)
    for record in settled(shop, catalog):
        old = held(after, record)
        after.apply(msgspec.structs.replace(record, version=0 if old is None else old.version + 1))
    return after


def _problems(shop: ShopFile, catalog: Catalog, after: Catalog, user: str | None) -> Iterator[Problem]:
    yield from _named("company", check_company(shop.company, after))
    for location in shop.locations:
        yield from _named(f"locations.{location.id}", check_location(location, after))
    for status in shop.statuses:
        yield from _named(f"statuses.{status.entity}.{status.id}", check_status(status, after))
    for mailbox in shop.mailboxes:
        yield from _named(f"mailboxes.{mailbox.id}", check_mailbox(mailbox, after))
    for template in shop.templates:
        yield from _named(f"templates.{template.id}", _check_template(template, shop.company, after))
    for rule in shop.rules:
        previous = catalog.rule(rule.company, rule.id)
        yield from _named(f"rules.{rule.id}", check_rule(rule, after, user=user, previous=previous))
    in_file = {rule.id for rule in shop.rules}
    for rule in after.rules_of(shop.company.id):
        if rule.enabled and rule.id not in in_file:
            yield from _check_other_rule(rule, shop)


def _check_template(template: Template, company: Company, after: Catalog) -> list[Problem]:
    users = [rule for rule in after.rules_of(company.id) if rule.template_id == template.id]
    return template_problems(template, users, {company.language})


def _check_other_rule(rule: Rule, shop: ShopFile) -> Iterator[Problem]:
    """A rule that the file leaves alone must still work with the file's template."""
    for template in shop.templates:
        missing = missing_texts(template, rule.channel) if template.id == rule.template_id else ""
        if missing:
            message = f"rule {rule.id!r}, not in this file, sends it as {rule.channel}: it needs {missing}"
            yield Problem(f"templates.{template.id}", message)


def _named(prefix: str, problems: list[Problem]) -> Iterator[Problem]:
    """The problems under their paths in the file."""
    for problem in problems:
        match = _FIRST.match(problem.field)
        assert match is not None
        first, rest = match[0], problem.field[match.end() :]
        if first == "id" and prefix != "company":
            yield Problem(prefix, problem.message)
        elif first in ("hours", "quiet_hours"):
            # Written as one text, or by names of days: the record's numbers would say nothing.
            yield Problem(f"{prefix}.{first}", problem.message)
        elif first == "kind" and prefix.startswith("rules."):
            yield Problem(f"{prefix}.before", problem.message)
        else:
            yield Problem(f"{prefix}.{_IN_FILE.get(first, first)}{rest}", problem.message)


_FIRST = re.compile(r"[a-z_]+")
