"""What a contract asks of a record beyond the types of its fields. Each refusal names the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from typing import Any, TypeVar, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from schemas import records as r
from schemas.contracts import BY_RECORD, CONTRACTS
from schemas.errors import DecodeError

MAX_ID = 200
LAST_MILLIS = 253_370_764_799_999
"""9998-12-31T23:59:59.999Z: a local time a day later still has a year that Python can write."""
MAX_LONG = 2**63 - 1
MAX_INT = 2**31 - 1
_MINUTES = 24 * 60
_NAME = re.compile(r"'[A-Za-z_.-]{1,40}'$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

RecordT = TypeVar("RecordT", bound=r.Record)

# (field, what is wrong with it)
Finding = tuple[str, str]


def to_record(data: Any, record: type[RecordT]) -> RecordT:
    """``data`` (a dict by field name) as a record; unknown fields are ignored, and so is null where a field
    may be left out. DecodeError ``contract``. Types and enums are checked, nothing else."""
    try:
        return msgspec.convert(data, record, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        if "got `null`" not in str(error) and "got `None`" not in str(error):
            raise refusal(error, record) from None
    try:
        return msgspec.convert(without_nulls(data), record, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise refusal(error, record) from None


def without_nulls(data: Any) -> Any:
    """Plain data without the fields that are null: each nullable field of our records defaults to None."""
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [without_nulls(item) for item in data]
    return data


def refusal(error: msgspec.ValidationError, record: type[r.Record]) -> DecodeError:
    """msgspec's message (``Expected `int`, got `str` - at `$.version```) as ours, with the field apart."""
    text, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").removeprefix(".")
    missing = re.search(r"missing required field `(\w+)`", text)
    if missing:
        return DecodeError("contract", "the field is missing", f"{field}.{missing[1]}".lstrip("."))
    if text.startswith("Invalid enum") and not _NAME.search(text):
        text = "Invalid enum value"  # somebody's data in the wrong place is nothing to repeat
    allowed = get_type_hints(record).get(field)
    if text.startswith("Invalid enum") and isinstance(allowed, type) and issubclass(allowed, Enum):
        text += f", expected one of {', '.join(str(member.value) for member in allowed)}"
    return DecodeError("contract", text.replace("`", ""), field)


def check_change(change: r.Change) -> None:
    """DecodeError ``contract`` unless ids, times and version are within the contract.

    The first half is one test over all ids at once, since nearly every change passes it.
    """
    before, after, company = change.before, change.after, change.company
    ids = company + change.entity_id + change.event_id
    good = (
        company
        and change.entity_id
        and change.event_id
        and "/" not in company
        and 0 <= change.version <= MAX_LONG
        and 0 <= change.occurred_at <= LAST_MILLIS
    )
    if after is not None:
        ids += after.status_id + after.customer_id + after.location_id
        at = after.scheduled_at
        good = good and after.status_id and (at is None or 0 <= at <= LAST_MILLIS)
    elif change.operation is not r.Operation.DELETE:
        good = False
    if before is not None:
        ids += before.status_id + before.customer_id + before.location_id
        at = before.scheduled_at
        good = good and before.status_id and (at is None or 0 <= at <= LAST_MILLIS)
    if good and len(ids) <= MAX_ID and ids.isprintable():
        return
    _refuse(_change_findings(change))


def check_record(record: r.Record) -> None:
    """The same for every other record that people outside may publish; our own internal ones pass."""
    check = _CHECKS.get(type(record))
    if check is not None:
        _refuse(_number_findings(record))
        _refuse(check(record))


def _refuse(findings: Iterator[Finding]) -> None:
    for field, detail in findings:
        raise DecodeError("contract", detail, field)


def _id(field: str, value: str, *, required: bool = True) -> Iterator[Finding]:
    if required and not value:
        yield field, "must not be empty"
    if len(value) > MAX_ID:
        yield field, f"has {len(value)} characters, at most {MAX_ID} are allowed"
    if _CONTROL.search(value):
        yield field, "contains control characters"


def _company(value: str, field: str = "company") -> Iterator[Finding]:
    yield from _id(field, value)
    if "/" in value:
        yield field, "must not contain '/': keys are company/id"


def _time(field: str, value: int) -> Iterator[Finding]:
    if not 0 <= value <= LAST_MILLIS:
        yield (
            field,
            f"{value} is outside the years 1970 to 9998; milliseconds since 1970 are expected, "
            "not seconds or microseconds",
        )


def _version(value: int) -> Iterator[Finding]:
    if not 0 <= value <= MAX_LONG:
        yield "version", f"{value} is not between 0 and 2^63-1"


def _change_findings(change: r.Change) -> Iterator[Finding]:
    yield from _company(change.company)
    yield from _id("entity_id", change.entity_id)
    yield from _id("event_id", change.event_id)
    yield from _version(change.version)
    yield from _time("occurred_at", change.occurred_at)
    for name, facts in (("before", change.before), ("after", change.after)):
        if facts is None:
            if name == "after" and change.operation is not r.Operation.DELETE:
                yield name, f"is required for operation {change.operation.value}"
            continue
        yield from _id(f"{name}.status_id", facts.status_id)
        yield from _id(f"{name}.customer_id", facts.customer_id, required=False)
        yield from _id(f"{name}.location_id", facts.location_id, required=False)
        if facts.scheduled_at is not None:
            yield from _time(f"{name}.scheduled_at", facts.scheduled_at)


def _number_findings(record: r.Record) -> Iterator[Finding]:
    """JSON numbers may be larger than what Avro's int and long hold."""
    for name, limit in _LIMITS[type(record)]:
        value = getattr(record, name)
        if value is not None and not -limit <= value <= limit:
            yield name, f"{value} is out of range"


def _limits(record: type[r.Record]) -> list[tuple[str, int]]:
    """The record's own numbers, each with the largest value of its Avro type."""
    sizes = {"int": MAX_INT, "long": MAX_LONG}
    limits = []
    for field in CONTRACTS[BY_RECORD[record]].schema["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for branch in branches:
            size = sizes.get(branch["type"] if isinstance(branch, dict) else branch)
            if size is not None:
                limits.append((field["name"], size))
    return limits


def _customer(record: r.Customer) -> Iterator[Finding]:
    yield from _company(record.company)
    yield from _id("customer_id", record.customer_id)
    yield from _version(record.version)


def _named(record: Any) -> Iterator[Finding]:
    """Reference data with an id of its own."""
    yield from _id("id", record.id)
    yield from _company(record.company)
    yield from _version(record.version)


def _rule(record: r.Rule) -> Iterator[Finding]:
    yield from _named(record)
    yield from _id("template_id", record.template_id)
    yield from _id("status_id", record.status_id, required=False)
    yield from _id("mailbox_id", record.mailbox_id, required=False)
    for number, location in enumerate(record.locations or ()):
        yield from _id(f"locations[{number}]", location)
    for field in ("offset", "delay", "max_lateness"):
        if (getattr(record, field) or 0) < 0:
            yield field, "must not be negative"
    yield from _time("changed_at", record.changed_at)


def _location(record: r.Location) -> Iterator[Finding]:
    yield from _named(record)
    yield from _zone(record.zone)
    yield from _hours(record.hours)


def _company_record(record: r.Company) -> Iterator[Finding]:
    yield from _company(record.id, "id")
    yield from _version(record.version)
    yield from _zone(record.zone)
    yield from _hours(record.hours)
    for number, interval in enumerate(record.quiet_hours):
        yield from _interval(f"quiet_hours[{number}]", interval)
    limits = ("customer_daily_cap", "messages_per_minute", "segment_budget")
    for field in ("max_event_age", "duplicate_window", *limits):
        if getattr(record, field) < 0:
            yield field, "must not be negative"


def _suppression(record: r.Suppression) -> Iterator[Finding]:
    yield from _company(record.company)
    yield from _id("address", record.address)
    yield from _time("since", record.since)
    yield from _version(record.version)


def _zone(zone: str) -> Iterator[Finding]:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # absolute path or NUL, a folder's name, not found
        yield "zone", f"{zone[:40]!r} is not an IANA time zone such as Europe/Lisbon"


def _hours(hours: r.Hours) -> Iterator[Finding]:
    if len(hours.weekdays) != 7:
        yield "hours.weekdays", f"has {len(hours.weekdays)} lists, 7 are expected, Monday first"
    for day, intervals in enumerate(hours.weekdays):
        for number, interval in enumerate(intervals):
            yield from _interval(f"hours.weekdays[{day}][{number}]", interval)
    for number, closed in enumerate(hours.closed_dates):
        try:
            # Python also reads 20261225 and 2026-W52-5; the domain compares texts.
            known = date.fromisoformat(closed).isoformat() == closed
        except ValueError:
            known = False
        if not known:
            yield f"hours.closed_dates[{number}]", f"{closed[:40]!r} is not a date such as 2026-12-25"


def _interval(field: str, interval: r.Interval) -> Iterator[Finding]:
    if not 0 <= interval.opens < _MINUTES:
        yield f"{field}.opens", f"{interval.opens} is not a minute of the day (0 to 1439)"
    if not 0 <= interval.closes <= _MINUTES:
        yield f"{field}.closes", f"{interval.closes} is not a minute of the day (0 to 1440)"


_CHECKS: dict[type[r.Record], Callable[[Any], Iterator[Finding]]] = {
    r.Customer: _customer,
    r.Rule: _rule,
    r.Template: _named,
    r.Status: _named,
    r.Location: _location,
    r.Company: _company_record,
    r.Mailbox: _named,
    r.Suppression: _suppression,
}
_LIMITS = {record: _limits(record) for record in _CHECKS}
