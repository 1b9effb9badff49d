"""What the workers keep of appointments and customers, as it is on their topics."""

from __future__ import annotations

import msgspec

from console.connection import RawPublication
from schemas.records import Customer
from streams.clock import SystemClock
from streams.domain.ids import customer_key, entity_key
from streams.stages.entity_state import EntityState
from tests.console.api.conftest import NOW, Spot
from tests.support.shop import DAY, C


def state(customer: str, **changes: object) -> EntityState:
    """Of an open appointment in a month."""
    fields: dict[str, object] = {
        "version": 1,
        "deleted": False,
        "armed": True,
        "status_id": "appointment-new",
        "customer_id": customer,
        "location_id": "north",
        "scheduled_at": spots_now() + 30 * DAY,
        "occurred_at": NOW,
        "raw": b"{}",
    }
    return EntityState(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails at once


def spots_now() -> int:
    """Consoles of tests go by the machine's clock."""
    return SystemClock().now()


def book(spot: Spot, *found: tuple[str, EntityState | None], company: str = C) -> None:
    """By id; None: forgotten."""
    records = [
        RawPublication(
            "appointments-state",
            0,
            entity_key(company, id_),
            None if one is None else msgspec.msgpack.encode(one),
            (),
        )
        for id_, one in found
    ]
    # What is about the log itself, and in every state's changelog.
    records.append(RawPublication("appointments-state", 0, b"\x00source", msgspec.msgpack.encode(7), ()))
    with spot.connection.writer() as writer:
        writer.put(records)


def meet(spot: Spot, *customers: Customer) -> None:
    spot.connection.publish(
        [("consents", customer_key(one.company, one.customer_id), one) for one in customers]
    )
