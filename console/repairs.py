"""Would a worker take this record today, and what of it can a person read and repair?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from agents.intake import too_large, wrong_form
from console.connection import Connection
from schemas.codec import Codec, decode_json_change
from schemas.errors import DecodeError
from schemas.records import Change, Company, Customer, DeadLetter, EntityKind, Operation, Timer
from streams.domain.ids import customer_key, entity_key, split_key
from streams.settings import Settings

KINDS = {"orders": EntityKind.ORDER, "leads": EntityKind.LEAD, "appointments": EntityKind.APPOINTMENT}
CUSTOMERS = ("customer-consents", "consents")
OURS = ("timers", "consents")
"""Carillon's own: nobody repairs them by hand."""

_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """``problem``: why a worker would refuse the record; empty: it would take it."""

    problem: str = ""
    record: Change | Customer | Timer | None = None
    """None: refused."""
    notes: tuple[str, ...] = ()
    """What one should know before it goes."""


def judge(connection: Connection, topic: str, key: bytes, value: bytes) -> Verdict:
    """The checks of the workers: form, size, schema, contract. ``topic`` without prefix."""
    refused = too_large(value) or wrong_form(_format(connection.settings, topic), value)
    if refused is not None:
        return Verdict(str(refused))
    try:
        if topic in KINDS:
            return _change(connection, KINDS[topic], value)
        if topic in CUSTOMERS:
            return Verdict(record=connection.with_codec(lambda codec: codec.decode(Customer, value)))
        if topic == "timers":
            return Verdict(record=connection.with_codec(lambda codec: codec.decode(Timer, value)))
    except DecodeError as error:
        return Verdict(str(error))
    return Verdict(f"no worker reads records from {topic}")


def other_owner(key: bytes, record: Change | Customer | Timer | None) -> str:
    """Why a repaired record must not go back under this key: all records of an entity or a customer must be
    in one partition, and the key has chosen this one. Empty: it may (or the key names nobody)."""
    if not isinstance(record, Change | Customer):
        return ""
    id_ = record.entity_id if isinstance(record, Change) else record.customer_id
    fits = entity_key if isinstance(record, Change) else customer_key
    try:
        parts = split_key(key)
    except UnicodeDecodeError:
        return ""
    if len(parts) != 2 or key in (fits(record.company, id_), f"{record.company}/{id_}".encode()):
        return ""
    return (
        f"it speaks of {record.company}/{id_}, but its key is {'/'.join(parts)}, which has chosen the "
        "partition. Keep the ids as the key has them, or have it published anew under the right key"
    )


def age_note(record: Change | Customer | Timer | None, companies: Mapping[str, Company], now: int) -> str:
    """What will not happen because the change is old or its company unknown; empty: nothing to say."""
    if not isinstance(record, Change):
        return ""
    company = companies.get(record.company)
    if company is None:
        return f"the company {record.company!r} is not set up: nothing will be sent"
    age = now - record.occurred_at
    if age <= company.max_event_age or record.operation is Operation.READ:
        return ""
    return (
        f"it occurred {age / _DAY:.1f} days ago, and {record.company} tells nobody of changes older than "
        f"{company.max_event_age / _DAY:.1f} days: reminders are set up, notifications end as too_old"
    )


# --- what people read and write


def plain(connection: Connection, value: bytes) -> tuple[dict[str, Any] | None, str]:
    """The fields as far as they can be read, and what is the matter with the rest (empty: nothing)."""
    try:
        found, broken = connection.with_codec(lambda codec: codec.decode_plain(value))
    except DecodeError as error:
        return None, str(error)
    if broken:
        return found or None, f"the bytes break off or don't fit their schema at the field {broken}"
    return found, ""


def pretty(fields: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()


def as_text(value: bytes) -> str | None:
    """The value as text, None where it is none."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\r\t" for char in text) else None


def hex_dump(value: bytes, limit: int = 256) -> list[str]:
    """Lines of sixteen bytes: offset, hexadecimal, and what of it is ASCII."""
    lines = []
    for at in range(0, min(len(value), limit), 16):
        piece = value[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:06x}  {piece.hex(' '):<47}  {shown}")
    return lines


def editable(connection: Connection, letter: DeadLetter) -> str:
    """What an editor opens: the fields as JSON, the text as it is, or a beginning where neither is there."""
    fields, why = plain(connection, letter.value)
    if fields is not None and not (why and letter.value[:1] != b"{"):
        return pretty(fields) + "\n"
    text = as_text(letter.value)
    if text:
        return text
    return pretty(_beginning(letter.topic, letter.key, fields or {})) + "\n"


def from_editor(text: str) -> bytes:
    """What was saved, without the lines that explain. Empty: the person gave up."""
    lines = text.removeprefix("\ufeff").splitlines()
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        lines.pop(0)
    return "\n".join(lines).strip().encode()


def as_the_topic_has_it(connection: Connection, letter: DeadLetter, value: bytes) -> tuple[bytes, str]:
    """A repaired value in the form of the original: JSON becomes Avro under the original's schema where the
    original was Avro, because others may read the topic too. Raises DecodeError; returns the value and a
    note on its form."""
    if value[:1] not in (b"{", b" ", b"\n", b"\t", b"\r", b"\xef"):
        return value, ""
    value = value.removeprefix(b"\xef\xbb\xbf").strip()
    if letter.value[:1] == b"\x00":
        try:
            fields = msgspec.json.decode(value)
            return connection.with_codec(lambda codec: codec.encode_plain(letter.value, fields)), ""
        except (msgspec.DecodeError, UnicodeError) as error:
            raise DecodeError("undecodable", f"not JSON: {error}") from None
        except DecodeError as error:
            if error.reason == "contract":
                raise
    if letter.topic in KINDS and _format(connection.settings, letter.topic) == "avro":
        kind = KINDS[letter.topic]
        change = decode_json_change(kind, value)
        connection.register()
        avro = connection.with_codec(lambda codec: codec.encode_change(kind, change))
        return avro, "it goes as Avro of our contract: the schema of the original can't be had"
    was_avro = letter.value[:1] == b"\x00"
    return value, "it goes as JSON: the schema of the original can't be had" if was_avro else ""


def _beginning(topic: str, key: bytes, known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record of this topic, with what the key and the bytes say filled in."""
    parts = [*key.decode("utf-8", "replace").split("/", 1), ""]
    company, id_ = (parts[0], parts[1]) if b"/" in key else ("", "")
    empty: dict[str, Any]
    if topic in KINDS:
        facts = {"status_id": "", "customer_id": "", "location_id": "", "scheduled_at": None}
        empty = {"company": company, "entity_id": id_, "operation": "update", "event_id": "", "version": None}
        empty |= {"occurred_at": None, "before": None, "after": facts}
    else:
        empty = {"company": company, "customer_id": id_, "name": "", "phone": "", "email": ""}
        empty |= {"language": "", "sms_consent": False, "email_consent": False, "version": None}
    return empty | dict(known)


def _change(connection: Connection, kind: EntityKind, value: bytes) -> Verdict:
    [found] = connection.with_codec(lambda codec: codec.decode_changes(kind, [value]))
    if found is None or isinstance(found, DecodeError):
        return Verdict(str(found))

    def whole(codec: Codec) -> Change:
        return codec.decode_change_value(kind, value)

    try:
        return Verdict(record=connection.with_codec(whole))
    except DecodeError as error:
        note = f"its details can't be read and will be missing in texts: {error}"
        return Verdict(record=found, notes=(note,))


def _format(settings: Settings, topic: str) -> str:
    return {
        "orders": settings.order_format,
        "leads": settings.lead_format,
        "appointments": settings.appointment_format,
    }.get(topic, "auto")
