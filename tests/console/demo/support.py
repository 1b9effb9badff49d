"""The shop of the demo, and deliveries made by hand."""

from __future__ import annotations

from typing import Any

from console.demo.cast import Shop
from console.demo.command import SHOP, shop_records
from schemas.records import Delivery, DeliveryState, EntityKind

A_SHOP = Shop(shop_records(SHOP))


def delivery(state: DeliveryState, transition: int = 0, **fields: Any) -> Delivery:
    given: dict[str, Any] = {
        "delivery_id": "d1",
        "company": "spoke-and-wheel",
        "kind": EntityKind.APPOINTMENT,
        "entity_id": "a-1",
        "entity_version": 1,
        "rule_id": "appointment-in-24-hours",
        "rule_version": 1,
        "customer_id": "c-0001",
        "channel": "sms",
        "at": 0,
    }
    return Delivery(state=state, transition=transition, **{**given, **fields})
