"""A catalog of one company, with what nobody has read yet: to ask the domain about it before it is there."""

from __future__ import annotations

from collections.abc import Iterable

from streams.domain.catalog import Catalog, Reference


def with_these(catalog: Catalog, company: str, *new: Reference, rules: bool = False) -> Catalog:
    """``new`` in the place of, or beside, what the company has. ``rules``: also with its others."""
    own = catalog.company(company)
    held: list[Iterable[Reference]] = [
        [own] if own is not None else [],
        catalog.locations_of(company),
        catalog.statuses_of(company),
        catalog.mailboxes_of(company),
        catalog.templates_of(company),
        catalog.rules_of(company) if rules else [],
        new,
    ]
    alone = Catalog()
    for records in held:
        for record in records:
            alone.apply(record)
    return alone
