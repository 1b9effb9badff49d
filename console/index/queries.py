"""Questions to the index. Each names the company first, so that no answer crosses into another (P8)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec

from schemas.records import AuditEntry, Channel, Customer, Delivery, DeliveryState, EntityKind, Suppression
from streams.stages.entity_state import EntityState

_delivery = msgspec.json.Decoder(Delivery).decode
_audit = msgspec.json.Decoder(AuditEntry).decode
_suppression = msgspec.json.Decoder(Suppression).decode
_customer = msgspec.json.Decoder(Customer).decode
_state = msgspec.msgpack.Decoder(EntityState).decode


class Place(NamedTuple):
    """Where a page of a list by time ends."""

    moment: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    id: str


QUARTER = 15 * 60_000
"""Milliseconds; every offset of a time zone is a multiple."""


@dataclass(frozen=True, slots=True)
class Found:
    """One message in its newest state. ``location_id`` is the newest that the log names for the entity."""

    delivery: Delivery
    moment: int
    """When it goes (pending), went, or was given up."""
    location_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """One transition. ``moment``: when it was to be looked at again."""

    transition: int
    state: DeliveryState
    reason: str
    at: int
    moment: int | None
    note: str


class Outcome(NamedTuple):
    quarter: int
    """The beginning of a quarter of an hour, in milliseconds."""
    channel: str
    state: DeliveryState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages; what is empty (or None) does not matter. ``since`` and ``until``: milliseconds of the
    moment, the latter excluded."""

    kind: EntityKind | None = None
    entity_id: str = ""
    customer_id: str = ""
    rule_id: str = ""
    location_id: str | None = None
    """``""``: entities without one."""
    states: Collection[DeliveryState] = ()
    pending: bool = False
    since: int | None = None
    until: int | None = None


class Queries:
    """Over one connection; for one thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    # --- messages

    def deliveries(
        self, company: str, wanted: Wanted, limit: int, after: Place | None = None, *, newest: bool = True
    ) -> list[Found]:
        """By moment, the newest first (or last), behind ``after``."""
        where, values = _conditions(company, wanted)
        if after is not None:
            where.append(f"(moment, id) {'<' if newest else '>'} (?, ?)")
            values += after
        order = "DESC" if newest else "ASC"
        rows = self._database.execute(
            f"SELECT record, moment, location_id FROM delivery WHERE {' AND '.join(where)} "  # noqa: S608 - of constants; values are bound
            f"ORDER BY moment {order}, id {order} LIMIT ?",
            (*values, limit),
        )
        return [Found(_delivery(record), moment, location) for record, moment, location in rows]

    def delivery(self, company: str, id_: str) -> tuple[Found, list[Step]] | None:
        row = self._database.execute(
            "SELECT record, moment, location_id FROM delivery WHERE company = ? AND id = ?", (company, id_)
        ).fetchone()
        if row is None:
            return None
        return Found(_delivery(row[0]), row[1], row[2]), self.steps(company, id_)

    def steps(self, company: str, id_: str) -> list[Step]:
        rows = self._database.execute(
            "SELECT transition, state, reason, at, moment, note FROM step WHERE company = ? AND id = ? "
            "ORDER BY transition",
            (company, id_),
        )
        return [Step(row[0], DeliveryState(row[1]), *row[2:]) for row in rows]

    def feed(self, company: str, kind: EntityKind, entity_id: str) -> list[tuple[Found, list[Step]]]:
        """Everything about one entity, by moment."""
        rows = self._database.execute(
            "SELECT record, moment, location_id FROM delivery "
            "WHERE company = ? AND kind = ? AND entity_id = ? ORDER BY moment, rule_id",
            (company, kind.value, entity_id),
        ).fetchall()
        told = [(_delivery(record), moment, location) for record, moment, location in rows]
        newest = max((one for one in told if one[2]), key=lambda one: one[0].at, default=None)
        last = newest[2] if newest is not None else ""
        return [
            (Found(one, moment, location or last), self.steps(company, one.delivery_id))
            for one, moment, location in told
        ]

    def counts(self, company: str, wanted: Wanted) -> Counter[tuple[int, str, str]]:
        """Messages by quarter of an hour (its beginning), location and rule."""
        where, values = _conditions(company, wanted)
        rows = self._database.execute(
            f"SELECT moment / {QUARTER} AS quarter, location_id, rule_id, count(*) FROM delivery "  # noqa: S608 - likewise
            f"WHERE {' AND '.join(where)} GROUP BY quarter, location_id, rule_id",
            values,
        )
        return Counter({(quarter * QUARTER, location, rule): n for quarter, location, rule, n in rows})

    # --- entities and customers

    def entity(self, company: str, kind: EntityKind, id_: str) -> EntityState | None:
        """As the workers keep it; None: they know of none, or it is closed for long."""
        row = self._database.execute(
            "SELECT state FROM entity WHERE company = ? AND kind = ? AND id = ?", (company, kind.value, id_)
        ).fetchone()
        return None if row is None else _state(row[0])

    def upcoming(
        self, company: str, kind: EntityKind, since: int
    ) -> Iterator[tuple[str, EntityState, Customer | None]]:
        """Id, state and customer of the entities whose scheduled time lies behind ``since`` (milliseconds),
        by time."""
        rows = self._database.execute(
            "SELECT id, state FROM entity "
            "WHERE company = ? AND kind = ? AND scheduled_at > ? ORDER BY scheduled_at, id",
            (company, kind.value, since),
        )
        for id_, packed in rows:
            state = _state(packed)
            yield id_, state, self.customer(company, state.customer_id)

    def customer(self, company: str, id_: str) -> Customer | None:
        row = self._database.execute(
            "SELECT record FROM customer WHERE company = ? AND id = ?", (company, id_)
        ).fetchone()
        return None if row is None else _customer(row[0])

    def outcomes(self, company: str, since: int) -> Counter[Outcome]:
        """Messages whose moment was ``since`` (milliseconds) or later, and that do not wait any more."""
        rows = self._database.execute(
            f"SELECT moment / {QUARTER} AS quarter, channel, state, reason, count(*) FROM delivery "  # noqa: S608 - of constants
            "WHERE company = ? AND moment >= ? AND NOT pending GROUP BY quarter, channel, state, reason",
            (company, since),
        )
        return Counter(
            {Outcome(row[0] * QUARTER, row[1], DeliveryState(row[2]), row[3]): row[4] for row in rows}
        )

    def retrying(self, company: str) -> Counter[str]:
        """Messages that wait for another try, by channel."""
        rows = self._database.execute(
            "SELECT channel, count(*) FROM delivery "
            "WHERE company = ? AND pending AND state = ? GROUP BY channel",
            (company, DeliveryState.RETRYING.value),
        )
        return Counter(dict(rows.fetchall()))

    # --- the rest

    def suppressions(
        self, company: str, limit: int, after: str = "", channel: Channel | None = None
    ) -> list[Suppression]:
        """In the order of their names (``Index.suppression_name``)."""
        rows = self._database.execute(
            "SELECT record FROM suppression WHERE company = ? AND id > ? AND channel LIKE ? "
            "ORDER BY id LIMIT ?",
            (company, after, "%" if channel is None else channel.value, limit),
        )
        return [_suppression(record) for (record,) in rows]

    def suppression(self, company: str, id_: str) -> Suppression | None:
        """``id_``: its name."""
        row = self._database.execute(
            "SELECT record FROM suppression WHERE company = ? AND id = ?", (company, id_)
        ).fetchone()
        return None if row is None else _suppression(row[0])

    def audit(
        self,
        company: str,
        limit: int,
        after: Place | None = None,
        *,
        user: str = "",
        kind: str = "",
        record_id: str = "",
    ) -> list[AuditEntry]:
        """The newest first."""
        where, values = ["company = ?"], [company]
        for column, value in (("user", user), ("kind", kind), ("record_id", record_id)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        place: tuple[object, ...] = ()
        if after is not None:
            where.append("(at, id) < (?, ?)")
            place = after
        rows = self._database.execute(
            f"SELECT record FROM audit WHERE {' AND '.join(where)} "  # noqa: S608 - likewise
            "ORDER BY at DESC, id DESC LIMIT ?",
            (*values, *place, limit),
        )
        return [_audit(record) for (record,) in rows]


def _conditions(company: str, wanted: Wanted) -> tuple[list[str], list[object]]:
    where: list[str] = ["company = ?"]
    values: list[object] = [company]

    def add(condition: str, *given: object) -> None:
        where.append(condition)
        values.extend(given)

    if wanted.pending:
        add("pending")
    if wanted.kind is not None:
        add("kind = ?", wanted.kind.value)
    if wanted.entity_id:
        add("entity_id = ?", wanted.entity_id)
    if wanted.customer_id:
        add("customer_id = ?", wanted.customer_id)
    if wanted.rule_id:
        add("rule_id = ?", wanted.rule_id)
    if wanted.location_id is not None:
        add("location_id = ?", wanted.location_id)
    if wanted.states:
        marks: Sequence[str] = ["?"] * len(wanted.states)
        add(f"state IN ({', '.join(marks)})", *(state.value for state in wanted.states))
    if wanted.since is not None:
        add("moment >= ?", wanted.since)
    if wanted.until is not None:
        add("moment < ?", wanted.until)
    return where, values
