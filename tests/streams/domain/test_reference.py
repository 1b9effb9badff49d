from __future__ import annotations

import re
from typing import Any

import pytest

from schemas.records import Company, EntityKind, Hours, Interval, Location, Mailbox, Status, StatusKind
from streams.domain.problems import Problem
from streams.domain.rules import check_company, check_location, check_mailbox, check_status
from tests.streams.domain.rulebook import SHOP, filled

YEAR = 366 * 24 * 3600 * 1000
BAD_HOURS = Hours(weekdays=((Interval(opens=-1, closes=60),), (), (), (), (), (), ()), closed_dates=("nope",))


def one(found: list[Problem], field: str, message: str) -> None:
    assert [problem.field for problem in found] == [field]
    assert re.search(message, found[0].message), found[0].message


def company(**fields: Any) -> list[Problem]:
    base: dict[str, Any] = {"id": SHOP, "name": "Shop", "language": "en", "zone": "UTC", "version": 1}
    return check_company(Company(**base | fields), filled())


def test_a_company_that_is_right() -> None:
    assert company() == []
    assert (
        company(
            language="pt-BR",
            currency="PLN",
            zone="Europe/Warsaw",
            sms_sender="+48221234567",
            email_sender_name="Shop & Co",
            email_sender_address="Hello@shop.example",
            max_event_age=YEAR,
            duplicate_window=YEAR,
            customer_daily_cap=3,
            segment_budget=2,
            smart_encoding=False,
            sms_help="a\n" * 100,
            quiet_hours=(Interval(opens=1320, closes=480),),
        )
        == []
    )
    assert company(max_event_age=0) == []


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"id": "a/b"}, "id", "is no id"),
        ({"name": " "}, "name", "^must not be empty$"),
        ({"name": "a\rb"}, "name", "control characters"),
        ({"language": "zz"}, "language", "^'zz' is not a language tag; use one such as en, pl or pt-BR$"),
        ({"language": ""}, "language", "^'' is not a language tag"),
        ({"language": "en_US"}, "language", "^'en_US' is not a language tag"),
        ({"zone": "Mars/Base"}, "zone", "there is no time zone 'Mars/Base'"),
        ({"currency": "eur"}, "currency", "^'eur' is no currency; use a code such as EUR$"),
        ({"currency": ""}, "currency", "^'' is no currency"),
        ({"quiet_hours": (Interval(opens=0, closes=1441),)}, "quiet_hours[0].closes", "1441"),
        ({"email_sender_name": "a\nBcc: b"}, "email_sender_name", "control characters or line breaks"),
        (
            {"email_sender_address": "nope"},
            "email_sender_address",
            "^'nope' is not an e-mail address such as",
        ),
        ({"email_sender_address": " a@b.example"}, "email_sender_address", "not an e-mail address"),
        ({"max_event_age": -1}, "max_event_age", "^-1 ms is out of range: 0 to 366 days$"),
        ({"max_event_age": YEAR + 1}, "max_event_age", "out of range"),
        ({"duplicate_window": -1}, "duplicate_window", "^-1 ms is out of range"),
        ({"duplicate_window": YEAR + 1}, "duplicate_window", "out of range"),
        ({"customer_daily_cap": -1}, "customer_daily_cap", "^-1 is less than 0; use 0 for no limit$"),
        ({"segment_budget": -1}, "segment_budget", "^-1 is less than 0"),
        ({"sms_help": "x" * 201}, "sms_help", "^has 201 characters, at most 200"),
        ({"sms_help": "a\x00b"}, "sms_help", "control characters"),
    ],
)
def test_what_is_wrong_with_a_company(fields: dict[str, Any], field: str, message: str) -> None:
    one(company(**fields), field, message)


@pytest.mark.parametrize(
    "sender",
    ["Shop", "Shop & Co 1", "A", "+4812345", "+123456789012345", "MG0123456789abcdef0123456789abcdef"],
)
def test_sms_senders(sender: str) -> None:
    assert company(sms_sender=sender) == []


@pytest.mark.parametrize(
    "sender",
    [
        "Shop and Comp",
        "12345",
        "+0812345",
        "+481234",
        "+1234567890123456",
        "Café",
        "Shop\n",
        "+4812345\n",
        "٣٣٣٣٣",
    ],
)
def test_no_sms_senders(sender: str) -> None:
    one(company(sms_sender=sender), "sms_sender", "can't send: use a number such as")


def test_hours_are_checked_below_the_field() -> None:
    found = check_company(
        Company(id=SHOP, name="S", language="en", zone="UTC", hours=BAD_HOURS, version=1),
        filled(),
        field="company",
    )
    assert [p.field for p in found] == ["company.hours.weekdays[0][0].opens", "company.hours.closed_dates[0]"]


def location(**fields: Any) -> list[Problem]:
    base: dict[str, Any] = {"id": "l", "company": SHOP, "name": "L", "zone": "UTC", "version": 1}
    return check_location(Location(**base | fields), filled(), field="loc")


def test_locations() -> None:
    assert location(address="1 Road\nTown", phone="+48 22 123", zone="Europe/Lisbon") == []
    one(location(id=""), "loc.id", "needs an id")
    one(location(company="nope"), "loc.company", "there is no company 'nope'; set it up first")
    one(location(name=""), "loc.name", "must not be empty")
    one(location(zone="x"), "loc.zone", "there is no time zone 'x'")
    one(location(address="a\tb"), "loc.address", "control characters")
    one(location(phone="1\n2"), "loc.phone", "control characters")
    assert [p.field for p in location(hours=BAD_HOURS)] == [
        "loc.hours.weekdays[0][0].opens",
        "loc.hours.closed_dates[0]",
    ]


def status(**fields: Any) -> list[Problem]:
    base: dict[str, Any] = {
        "id": "s",
        "company": SHOP,
        "entity": EntityKind.ORDER,
        "names": {"en": "S", "pl": "Ś"},
        "kind": StatusKind.OPEN,
        "version": 1,
    }
    return check_status(Status(**base | fields), filled())


def test_statuses() -> None:
    assert status() == []
    assert status(id="ready") == []
    one(status(id="a/b"), "id", "is no id")
    one(status(company="nope"), "company", "there is no company")
    one(status(names={}), "names", "^needs a name in at least one language$")
    one(status(names={"en": ""}), "names.en", "must not be empty")
    one(status(names={"xx": "S"}), "names.xx", "'xx' is not a language tag")
    one(status(names={"en": "a\nb"}), "names.en", "control characters")


def test_an_id_of_a_status_is_used_for_one_kind_of_entity() -> None:
    one(status(id="lost"), "id", "^'lost' is already a status of leads; choose another id$")
    one(status(id="gone"), "id", "already a status of appointments")


def mailbox(**fields: Any) -> list[Problem]:
    base: dict[str, Any] = {"id": "m", "company": SHOP, "address": "m@shop.example", "version": 1}
    return check_mailbox(Mailbox(**base | fields), filled(), field="box")


def test_mailboxes() -> None:
    assert mailbox(users=("ann", "bob"), secret_ref="env:GMAIL_1") == []
    assert mailbox(secret_ref="file:/run/secrets/gmail") == []
    assert mailbox(secret_ref="vault:secret/carillon/acme") == []
    one(mailbox(id=""), "box.id", "needs an id")
    one(mailbox(company="nope"), "box.company", "there is no company")
    one(mailbox(address="m"), "box.address", "^'m' is not an e-mail address")
    one(mailbox(address=""), "box.address", "not an e-mail address")
    one(mailbox(provider="yahoo"), "box.provider", "^'yahoo' is not known; only gmail can be connected$")
    one(mailbox(users=("ann", "")), "box.users[1]", "must not be empty")
    one(mailbox(users=("ann", "bob", "ann")), "box.users[2]", "^'ann' is named twice$")


@pytest.mark.parametrize("secret", ["hunter2", "env:", "env:1X", "file:", "env:A B", "vault:secret"])
def test_a_secret_is_never_repeated(secret: str) -> None:
    (problem,) = mailbox(secret_ref=secret)
    assert problem == Problem(
        "box.secret_ref",
        "says where the secret is, never the secret: env:NAME, file:PATH or vault:MOUNT/PATH#FIELD",
    )
