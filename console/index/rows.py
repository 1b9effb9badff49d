"""Records of the topics as rows. Everything may come twice, and older after newer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from schemas.records import AuditEntry, Customer, Delivery, EntityKind, Suppression
from streams.domain.ids import split_key
from streams.domain.life import AT_PROVIDER, WAITING
from streams.stages.entity_state import EntityState

PENDING = frozenset((*WAITING, *AT_PROVIDER))

_encode = msgspec.json.encode
_packed = msgspec.msgpack.encode

_DELIVERY = """
INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (company, id) DO UPDATE SET
    location_id = CASE WHEN excluded.location_id = '' THEN location_id ELSE excluded.location_id END,
    state = excluded.state, pending = excluded.pending, moment = excluded.moment,
    transition = excluded.transition, channel = excluded.channel, reason = excluded.reason,
    record = excluded.record
WHERE excluded.transition > delivery.transition
"""
_SUPPRESSION = """
INSERT INTO suppression VALUES (?, ?, ?, ?, ?)
ON CONFLICT (company, id) DO UPDATE SET version = excluded.version, record = excluded.record
WHERE excluded.version > suppression.version
"""

_ENTITY = """
INSERT INTO entity VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (company, kind, id) DO UPDATE SET
    version = excluded.version, scheduled_at = excluded.scheduled_at, state = excluded.state
WHERE excluded.version >= entity.version
"""
_CUSTOMER = """
INSERT INTO customer VALUES (?, ?, ?, ?)
ON CONFLICT (company, id) DO UPDATE SET version = excluded.version, record = excluded.record
WHERE excluded.version >= customer.version
"""


@dataclass(frozen=True, slots=True)
class Known:
    """An order, a lead or an appointment as the workers keep it."""

    company: str
    id: str
    state: EntityState


def moment_of(delivery: Delivery) -> int:
    """When it goes (pending), went, or was given up."""
    if delivery.state not in PENDING:
        return delivery.at
    if delivery.next_at is not None:
        return delivery.next_at
    return delivery.at if delivery.due_at is None else delivery.due_at


def put_deliveries(database: sqlite3.Connection, found: Sequence[Delivery]) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one.company,
                one.delivery_id,
                one.transition,
                one.state.value,
                one.reason,
                one.at,
                moment_of(one) if one.state in PENDING else None,
                one.note,
            )
            for one in found
        ],
    )
    database.executemany(
        _DELIVERY,
        [
            (
                one.company,
                one.delivery_id,
                one.kind.value,
                one.entity_id,
                one.customer_id,
                one.rule_id,
                location,
                one.state.value,
                one.state in PENDING,
                moment_of(one),
                one.transition,
                one.channel,
                one.reason,
                _encode(one),
            )
            for one, location in _newest(found)
        ],
    )


def _newest(found: Sequence[Delivery]) -> Iterable[tuple[Delivery, str]]:
    """Of each message its newest record, with the newest location that any of them names: where a log is read
    from its beginning, a third of them."""
    newest: dict[tuple[str, str], tuple[Delivery, str]] = {}
    for one in found:
        key = (one.company, one.delivery_id)
        held = newest.get(key)
        if held is None:
            newest[key] = one, one.location_id
        elif one.transition > held[0].transition:
            newest[key] = one, one.location_id or held[1]
        elif not held[1]:
            newest[key] = held[0], one.location_id
    return newest.values()


def put_suppressions(
    database: sqlite3.Connection, found: Sequence[tuple[str, str, Suppression | None]]
) -> None:
    """In order, each with its company and name; None is a tombstone."""
    for company, name, one in found:
        if one is None:
            database.execute("DELETE FROM suppression WHERE company = ? AND id = ?", (company, name))
        else:
            row = (company, name, one.channel.value, one.version, _encode(one))
            database.execute(_SUPPRESSION, row)


def put_audit(database: sqlite3.Connection, found: Sequence[AuditEntry]) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(one.company, one.id, one.at, one.user, one.kind, one.record_id, _encode(one)) for one in found],
    )


def put_positions(database: sqlite3.Connection, topic: str, positions: dict[int, int]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
        [(topic, number, next_) for number, next_ in positions.items()],
    )


def put_entities(database: sqlite3.Connection, kind: EntityKind, found: Sequence[Known | bytes]) -> None:
    """In order; the key of a tombstone forgets."""
    for one in found:
        if isinstance(one, Known):
            state = one.state
            row = (one.company, kind.value, one.id, state.version, state.scheduled_at, _packed(state))
            database.execute(_ENTITY, row)
        else:
            company, entity_id = split_key(one)
            row_of = (company, kind.value, entity_id)
            database.execute("DELETE FROM entity WHERE company = ? AND kind = ? AND id = ?", row_of)


def put_customers(database: sqlite3.Connection, found: Sequence[Customer | bytes]) -> None:
    """In order; the key of a tombstone forgets."""
    for one in found:
        if isinstance(one, Customer):
            database.execute(_CUSTOMER, (one.company, one.customer_id, one.version, _encode(one)))
        else:
            database.execute("DELETE FROM customer WHERE company = ? AND id = ?", split_key(one))
