"""What is wrong with reference data that a person wrote: companies, locations, statuses, mailboxes.

Each check returns every problem at once, named by the record's field below ``field`` (``""``: at the top).
"""

from __future__ import annotations

import re

from babel import Locale, UnknownLocaleError
from babel.numbers import is_currency

from schemas.records import Company, EntityKind, Location, Mailbox, Status
from streams.domain.addresses import normal_email
from streams.domain.catalog import Catalog
from streams.domain.hours import check_hours, check_intervals
from streams.domain.problems import Problem, quoted
from streams.domain.schedule import zone_problem
from streams.domain.secrets import EXPECTED, is_reference

LONGEST_ID = 200
LONGEST_NAME = 200
A_YEAR = 366 * 24 * 3600 * 1000
"""Milliseconds; the longest that a limit of time may be."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
# Twilio's rules for alphanumeric sender ids: 11 characters, not digits alone.
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&]{1,11}", re.ASCII)
_MESSAGING_SERVICE = re.compile(r"MG[0-9a-f]{32}", re.ASCII)


def at(field: str, name: str) -> str:
    """The path of a field within what ``field`` names."""
    return f"{field}.{name}" if field else name


def check_id(value: str, field: str) -> list[Problem]:
    """Ids are joined with ``/`` into keys and stand in paths of the API, so they don't contain it."""
    if not value:
        return [Problem(field, "needs an id", "missing")]
    if len(value) > LONGEST_ID:
        return [Problem(field, f"an id has at most {LONGEST_ID} characters, this one {len(value)}")]
    if _has_control(value) or "/" in value or value != value.strip():
        return [Problem(field, f"{value!r} is no id: leave out '/', control characters and spaces around it")]
    return []


def check_text(value: str, field: str, *, needed: bool = False, lines: bool = False) -> list[Problem]:
    """A name or another short text that is shown to people and may stand in a header. ``lines``: it may
    have several."""
    if needed and not value.strip():
        return [Problem(field, "must not be empty", "missing")]
    if len(value) > LONGEST_NAME:
        return [Problem(field, f"has {len(value)} characters, at most {LONGEST_NAME} are allowed")]
    if _has_control(value.replace("\n", "") if lines else value):
        return [Problem(field, "contains control characters or line breaks; leave them out")]
    return []


def check_language(tag: str, field: str) -> list[Problem]:
    """A language tag that dates and amounts can be written in."""
    try:
        Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return [Problem(field, f"{quoted(tag)} is not a language tag; use one such as en, pl or pt-BR")]
    return []


def check_company(company: Company, catalog: Catalog, *, field: str = "") -> list[Problem]:
    """``catalog`` is not looked at so far; it stands here because every check has it."""
    problems = [
        *check_id(company.id, at(field, "id")),
        *check_text(company.name, at(field, "name"), needed=True),
        *check_language(company.language, at(field, "language")),
        *_check_zone(company.zone, at(field, "zone")),
        *check_hours(company.hours, at(field, "hours")),
        *check_intervals(company.quiet_hours, at(field, "quiet_hours")),
        *check_text(company.email_sender_name, at(field, "email_sender_name")),
        *check_text(company.sms_help, at(field, "sms_help"), lines=True),
    ]
    if company.email_sender_address:
        problems += _check_email(company.email_sender_address, at(field, "email_sender_address"))
    if not is_currency(company.currency):
        problems.append(
            Problem(
                at(field, "currency"), f"{quoted(company.currency)} is no currency; use a code such as EUR"
            )
        )
    if company.sms_sender and not _is_sms_sender(company.sms_sender):
        problems.append(
            Problem(
                at(field, "sms_sender"),
                f"{quoted(company.sms_sender)} can't send: use a number such as +48221234567, a name of at "
                "most 11 letters, digits and spaces, or the id of a messaging service (MG...)",
            )
        )
    for name, value in (
        ("max_event_age", company.max_event_age),
        ("duplicate_window", company.duplicate_window),
    ):
        if not 0 <= value <= A_YEAR:
            problems.append(Problem(at(field, name), f"{value} ms is out of range: 0 to 366 days", "range"))
    for name, value in (
        ("customer_daily_cap", company.customer_daily_cap),
        ("messages_per_minute", company.messages_per_minute),
        ("segment_budget", company.segment_budget),
    ):
        if value < 0:
            problems.append(Problem(at(field, name), f"{value} is less than 0; use 0 for no limit", "range"))
    return problems


def check_location(location: Location, catalog: Catalog, *, field: str = "") -> list[Problem]:
    return [
        *check_id(location.id, at(field, "id")),
        *check_owner(location.company, catalog, field),
        *check_text(location.name, at(field, "name"), needed=True),
        *_check_zone(location.zone, at(field, "zone")),
        *check_hours(location.hours, at(field, "hours")),
        *check_text(location.address, at(field, "address"), lines=True),
        *check_text(location.phone, at(field, "phone")),
    ]


def check_status(status: Status, catalog: Catalog, *, field: str = "") -> list[Problem]:
    """Ids of statuses are unique in a company: their topic is keyed by company and id."""
    problems = [
        *check_id(status.id, at(field, "id")),
        *check_owner(status.company, catalog, field),
    ]
    for kind in EntityKind:
        if kind is not status.entity and catalog.status(status.company, kind, status.id) is not None:
            problems.append(
                Problem(
                    at(field, "id"),
                    f"{status.id!r} is already a status of {kind}s; choose another id",
                    "taken",
                )
            )
    if not status.names:
        problems.append(Problem(at(field, "names"), "needs a name in at least one language", "missing"))
    for tag, name in status.names.items():
        problems += check_language(tag, at(field, f"names.{tag}"))
        problems += check_text(name, at(field, f"names.{tag}"), needed=True)
    return problems


def check_mailbox(mailbox: Mailbox, catalog: Catalog, *, field: str = "") -> list[Problem]:
    problems = [
        *check_id(mailbox.id, at(field, "id")),
        *check_owner(mailbox.company, catalog, field),
        *_check_email(mailbox.address, at(field, "address")),
    ]
    if mailbox.provider != "gmail":
        problems.append(
            Problem(
                at(field, "provider"), f"{quoted(mailbox.provider)} is not known; only gmail can be connected"
            )
        )
    # A secret pasted here would be published: the message does not repeat the value.
    if mailbox.secret_ref and not is_reference(mailbox.secret_ref):
        problems.append(
            Problem(at(field, "secret_ref"), f"says where the secret is, never the secret: {EXPECTED}")
        )
    for number, user in enumerate(mailbox.users):
        path = at(field, f"users[{number}]")
        problems += check_text(user, path, needed=True)
        if user in mailbox.users[:number]:
            problems.append(Problem(path, f"{user!r} is named twice", "taken"))
    return problems


def check_owner(company: str, catalog: Catalog, field: str) -> list[Problem]:
    """The record belongs to a company that is set up."""
    if catalog.company(company) is None:
        return [
            Problem(
                at(field, "company"), f"there is no company {quoted(company)}; set it up first", "unknown"
            )
        ]
    return []


def _check_zone(name: str, field: str) -> list[Problem]:
    problem = zone_problem(name)
    return [] if problem is None else [Problem(field, problem)]


def _check_email(address: str, field: str) -> list[Problem]:
    if normal_email(address) is None or address != address.strip():
        return [Problem(field, f"{quoted(address)} is not an e-mail address such as hello@example.com")]
    return []


def _is_sms_sender(text: str) -> bool:
    return any(form.fullmatch(text) for form in (_E164, _ALPHANUMERIC, _MESSAGING_SERVICE))


def _has_control(text: str) -> bool:
    """C0, delete, C1, and the two separators that some programs take for line breaks."""
    return any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in text)
