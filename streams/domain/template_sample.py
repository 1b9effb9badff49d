"""Sample data: what a template is tried with before any customer gets it."""

from __future__ import annotations

from schemas.records import Company, Customer, Details, EntityKind, Facts, Location, Status, StatusKind
from streams.domain.template_values import TextContext

_SCHEDULED_AT = 1_775_649_600_000
"""Wednesday, 8 April 2026, 14:00 in the sample's zone."""
_ZONE = "Europe/Berlin"
_COMPANY = Company(id="sample", name="Corner Repair Shop", language="en", zone=_ZONE, version=1)
_LOCATION = Location(
    id="sample",
    company="sample",
    name="Main Street",
    zone=_ZONE,
    address="12 Main Street, Springfield",
    phone="+4930901820",
    version=1,
)
_TITLES = {
    EntityKind.ORDER: "Screen replacement",
    EntityKind.LEAD: "Question about a repair",
    EntityKind.APPOINTMENT: "Bicycle service",
}


class _AnyAttribute(dict[str, str]):
    """Has every attribute: which ones a publisher sends is not known when a template is saved."""

    def __missing__(self, name: str) -> str:
        return "100"


def sample(kind: EntityKind) -> TextContext:
    """A message about an entity of which everything is known that there can be for its kind."""
    return TextContext(
        kind=kind,
        entity_id="sample",
        company=_COMPANY,
        location=_LOCATION,
        customer=Customer(company="sample", customer_id="sample", name="Anna Schmidt", version=1),
        facts=Facts(status_id="sample", scheduled_at=None if kind is EntityKind.LEAD else _SCHEDULED_AT),
        details=Details(
            number="10234",
            title=_TITLES[kind],
            amount_minor=12_900,
            url="https://example.com/t/8f2k1",
            attributes=_AnyAttribute(),
        ),
        status=Status(
            id="sample", company="sample", entity=kind, names={"en": "Ready"}, kind=StatusKind.OPEN, version=1
        ),
        zone=_ZONE,
        currency=_COMPANY.currency,
    )


def bare(kind: EntityKind) -> TextContext:
    """A message about an entity of which nothing is known that may be unknown."""
    return TextContext(
        kind=kind,
        entity_id="sample",
        company=_COMPANY,
        location=None,
        customer=Customer(company="sample", customer_id="sample", version=1),
        facts=Facts(status_id="sample"),
        details=Details(),
        status=None,
        zone=_ZONE,
        currency=_COMPANY.currency,
    )
