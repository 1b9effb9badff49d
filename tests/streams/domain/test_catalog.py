from __future__ import annotations

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
    Location,
    Mailbox,
    Rule,
    Status,
    StatusKind,
    Suppression,
    Template,
    TemplateText,
)
from streams.domain.catalog import Catalog, Reference, suppression_id
from tests.streams.domain.rulebook import OTHER, SHOP, filled, notification, status, template

NINE_TO_FIVE = Hours(weekdays=((Interval(opens=540, closes=1020),), (), (), (), (), (), ()))
STOP = Suppression(
    company=SHOP, channel=Channel.SMS, address="+48600100200", reason="stop", since=1, version=5
)
RECORDS: list[Reference] = [
    notification(version=5),
    template("t", TemplateText(sms="x"), version=5),
    status("s", EntityKind.LEAD, version=5),
    Location(id="l", company=SHOP, name="L", zone="UTC", version=5),
    Company(id=SHOP, name="Shop", language="en", zone="UTC", version=5),
    Mailbox(id="m", company=SHOP, address="m@shop.example", version=5),
]


def look_up(catalog: Catalog, record: Reference, company: str) -> Reference | None:
    match record:
        case Rule():
            return catalog.rule(company, record.id)
        case Template():
            return catalog.template(company, record.id)
        case Status():
            return catalog.status(company, record.entity, record.id)
        case Location():
            return catalog.location(company, record.id)
        case Mailbox():
            return catalog.mailbox(company, record.id)
        case _:
            return catalog.company(company)


def id_of(record: Reference) -> str:
    return suppression_id(record.channel, record.address) if isinstance(record, Suppression) else record.id


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_only_a_newer_version_replaces_what_is_held(record: Reference) -> None:
    catalog = Catalog()
    assert look_up(catalog, record, SHOP) is None
    assert catalog.apply(record) is True
    for version in (5, 4, -1):
        assert catalog.apply(msgspec.structs.replace(record, version=version)) is False
        assert look_up(catalog, record, SHOP) is record
    newer = msgspec.structs.replace(record, version=6)
    assert catalog.apply(newer) is True
    assert look_up(catalog, record, SHOP) is newer


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_tombstone_removes_it_and_an_older_version_may_come_again(record: Reference) -> None:
    catalog = Catalog()
    assert catalog.remove(type(record), SHOP, id_of(record)) is False
    catalog.apply(record)
    assert catalog.remove(type(record), OTHER, id_of(record)) is False
    assert look_up(catalog, record, SHOP) is record
    assert catalog.remove(type(record), SHOP, id_of(record)) is True
    assert look_up(catalog, record, SHOP) is None
    assert catalog.remove(type(record), SHOP, id_of(record)) is False
    assert catalog.apply(record) is True


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_another_company_sees_nothing_of_it(record: Reference) -> None:
    catalog = Catalog()
    catalog.apply(record)
    catalog.apply(Company(id=OTHER, name="Other", language="en", zone="UTC", version=1))
    assert look_up(catalog, record, OTHER) is not record
    for listed in (
        catalog.rules_of(OTHER),
        catalog.templates_of(OTHER),
        catalog.statuses_of(OTHER),
        catalog.locations_of(OTHER),
        catalog.mailboxes_of(OTHER),
    ):
        assert listed == ()


def test_everything_of_a_company_can_be_listed() -> None:
    catalog = filled()
    assert [c.id for c in catalog.companies()] == [SHOP, OTHER]
    assert {t.id for t in catalog.templates_of(SHOP)} == {"both", "sms-only", "mail-only"}
    assert {s.id for s in catalog.statuses_of(SHOP)} == {"ready", "lost", "booked", "gone", "done"}
    assert {place.id for place in catalog.locations_of(SHOP)} == {"north", "south"}
    assert {m.id for m in catalog.mailboxes_of(SHOP)} == {"front", "cut", "nobody"}
    first, second = notification(), notification(id="r2", enabled=False, version=9)
    catalog.apply(first)
    catalog.apply(second)
    assert catalog.rules_of(SHOP) == (first, second)


def test_what_no_company_has_is_none() -> None:
    catalog = Catalog()
    catalog.apply(status("s", EntityKind.LEAD))
    catalog.apply(notification())
    catalog.apply(template("t", TemplateText(sms="x")))
    catalog.apply(Location(id="l", company=SHOP, name="L", zone="UTC", version=1))
    catalog.apply(Mailbox(id="m", company=SHOP, address="m@shop.example", version=1))
    assert catalog.status(SHOP, EntityKind.LEAD, "?") is None
    assert catalog.rule(SHOP, "?") is None
    assert catalog.template(SHOP, "?") is None
    assert catalog.location(SHOP, "?") is None
    assert catalog.mailbox(SHOP, "?") is None


def test_a_status_belongs_to_one_kind_of_entity() -> None:
    catalog = filled()
    assert catalog.status(SHOP, EntityKind.APPOINTMENT, "gone") is not None
    assert catalog.status(SHOP, EntityKind.ORDER, "gone") is None


def test_suppressions_are_by_channel_and_address() -> None:
    catalog = Catalog()
    assert catalog.is_suppressed(SHOP, Channel.SMS, STOP.address) is False
    assert catalog.apply(STOP) is True
    assert catalog.apply(STOP) is False
    assert catalog.apply(msgspec.structs.replace(STOP, version=4)) is False
    assert catalog.apply(msgspec.structs.replace(STOP, version=6)) is True
    assert catalog.apply(STOP) is False
    assert catalog.is_suppressed(SHOP, Channel.SMS, STOP.address) is True
    assert catalog.is_suppressed(SHOP, Channel.EMAIL, STOP.address) is False
    assert catalog.is_suppressed(SHOP, Channel.SMS, "+48600100201") is False
    assert catalog.is_suppressed(OTHER, Channel.SMS, STOP.address) is False
    assert catalog.remove(Suppression, OTHER, "sms/+48600100200") is False
    assert catalog.remove(Suppression, SHOP, "sms/+48600100200") is True
    assert catalog.remove(Suppression, SHOP, "sms/+48600100200") is False
    assert catalog.is_suppressed(SHOP, Channel.SMS, STOP.address) is False


def test_version_0_is_a_version() -> None:
    catalog = Catalog()
    assert catalog.apply(msgspec.structs.replace(STOP, version=0)) is True
    assert catalog.apply(msgspec.structs.replace(STOP, version=0)) is False


def test_zone_and_hours_are_the_locations_else_the_companys() -> None:
    catalog = Catalog()
    assert catalog.zone(SHOP, "l") == "UTC"
    assert catalog.hours(SHOP, "l") == Hours()
    catalog.apply(
        Company(id=SHOP, name="S", language="en", zone="Europe/Warsaw", hours=NINE_TO_FIVE, version=3)
    )
    assert catalog.zone(SHOP, "") == catalog.zone(SHOP, "l") == "Europe/Warsaw"
    assert catalog.hours(SHOP, "") == catalog.hours(SHOP, "l") == NINE_TO_FIVE
    catalog.apply(Location(id="l", company=SHOP, name="L", zone="Europe/Lisbon", version=7))
    assert catalog.zone(SHOP, "l") == "Europe/Lisbon"
    assert catalog.zone(SHOP, "") == "Europe/Warsaw"
    # A location that never opens is not one whose hours nobody gave: it doesn't borrow the company's.
    assert catalog.hours(SHOP, "l") == Hours()
    assert catalog.zone(OTHER, "l") == "UTC"


def test_currency_and_status_kind() -> None:
    catalog = filled()
    assert catalog.currency(SHOP) == "PLN"
    assert catalog.currency("?") == ""
    assert catalog.status_kind(SHOP, EntityKind.ORDER, "done") is StatusKind.CLOSED
    assert catalog.status_kind(SHOP, EntityKind.APPOINTMENT, "gone") is StatusKind.CANCELLED
    assert catalog.status_kind(SHOP, EntityKind.ORDER, "gone") is StatusKind.OPEN
    assert catalog.status_kind(OTHER, EntityKind.ORDER, "done") is StatusKind.OPEN
