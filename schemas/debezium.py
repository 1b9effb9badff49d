"""Debezium's change envelope as one of our changes.

The envelope is ``{before, after, op, ts_ms, source}``
(https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events), in JSON
perhaps wrapped as ``{schema, payload}``. Its rows are flat, with our field names as columns.
``docs/publishing.md`` has the mapping for publishers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.errors import DecodeError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATIONS = {"c": "create", "u": "update", "d": "delete", "r": "read"}
_FACTS = ("status_id", "customer_id", "location_id", "scheduled_at")
_DETAILS = ("number", "title", "amount_minor", "currency", "url", "attributes")


def is_envelope(names: Iterable[str]) -> bool:
    """Whether an object with these fields is Debezium's envelope rather than a change of ours."""
    present = set(names)
    return {"op", "after"} <= present and "operation" not in present


def unwrap(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The envelope in a decoded JSON object, or None."""
    payload = value.get("payload")
    inner = payload if isinstance(payload, dict) else value
    return inner if is_envelope(inner) else None


def change_data(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a change, unchecked. DecodeError ``contract`` names the column that is missing."""
    op = envelope.get("op")
    if op not in _OPERATIONS:
        raise DecodeError("contract", f"{op!r} is not one of c, u, d, r", "op")
    before, after = _row(envelope, "before"), _row(envelope, "after")
    row = after or before
    if row is None:
        raise DecodeError("contract", "a row is missing before and after", "after")
    source = envelope.get("source")
    source = source if isinstance(source, dict) else {}
    version = row.get("version")
    if version is None:
        version = source.get("lsn")
    if version is None:
        raise DecodeError(
            "contract", "the row has no such column and the source gives no lsn (PostgreSQL)", "version"
        )
    occurred_at = source.get("ts_ms")
    return {
        "company": row.get("company"),
        "entity_id": row.get("entity_id"),
        "operation": _OPERATIONS[op],
        "event_id": f"v{version}",
        "version": version,
        "occurred_at": occurred_at if occurred_at is not None else envelope.get("ts_ms"),
        # With PostgreSQL's default replica identity the old row has its key columns only.
        "before": _facts(before, "before") if before and before.get("status_id") else None,
        "after": _facts(after, "after") if after else None,
        "details": _details(after) if after else None,
    }


def _row(envelope: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    row = envelope.get(name)
    if row is not None and not isinstance(row, dict):
        raise DecodeError("contract", "expected a row with our field names as columns", name)
    return row


def _facts(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    facts = {name: row.get(name) for name in _FACTS}
    if isinstance(facts["scheduled_at"], str):
        facts["scheduled_at"] = _millis(facts["scheduled_at"], f"{where}.scheduled_at")
    return facts


def _millis(text: str, field: str) -> int:
    """Milliseconds of an ISO 8601 time with offset, as Debezium writes a ``timestamptz``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DecodeError("contract", f"{text[:40]!r} is not an ISO 8601 time", field) from None
    if moment.tzinfo is None:
        raise DecodeError("contract", f"{text[:40]!r} has no offset from UTC", field)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _details(row: Mapping[str, Any]) -> dict[str, Any] | None:
    details = {name: row[name] for name in _DETAILS if row.get(name) is not None}
    if isinstance(details.get("attributes"), str):  # a json or jsonb column
        try:
            details["attributes"] = msgspec.json.decode(details["attributes"])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise DecodeError("contract", "not JSON", "after.attributes") from None
    return details or None
