"""The contracts of ``schemas/avro``: which file describes which record, and which topic carries it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas import records as r

FOLDER = Path(__file__).with_name("avro")

LEADING = (
    "company",
    "entity_id",
    "operation",
    "event_id",
    "version",
    "occurred_at",
    "before",
    "after",
)
"""The first fields of every change, in this order: matching reads them and stops."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One ``.avsc`` file. ``text`` is what the registry stores: the file without its layout."""

    name: str
    record: type[r.Record]
    text: str

    @property
    def schema(self) -> dict[str, Any]:
        """The schema as plain data; a new copy each time."""
        return dict(json.loads(self.text))

    @property
    def fingerprint(self) -> int:
        """A positive 31-bit number made of the text: the schema id where no registry hands out ids."""
        return int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:4], "big") >> 1 or 1


_RECORDS: Mapping[str, type[r.Record]] = {
    "order-change": r.Change,
    "lead-change": r.Change,
    "appointment-change": r.Change,
    "customer": r.Customer,
    "rule": r.Rule,
    "template": r.Template,
    "status": r.Status,
    "location": r.Location,
    "company": r.Company,
    "mailbox": r.Mailbox,
    "suppression": r.Suppression,
    "timer": r.Timer,
    "delivery": r.Delivery,
    "provider-event": r.ProviderEvent,
    "dead-letter": r.DeadLetter,
    "user": r.User,
    "audit-entry": r.AuditEntry,
}


def load(name: str, folder: Path = FOLDER) -> str:
    """The schema of ``folder/name.avsc`` as compact JSON. OSError or ValueError where there is none."""
    return json.dumps(json.loads((folder / f"{name}.avsc").read_text("utf-8")), separators=(",", ":"))


CONTRACTS: Mapping[str, Contract] = {n: Contract(n, record, load(n)) for n, record in _RECORDS.items()}

CHANGES: Mapping[r.EntityKind, str] = {
    r.EntityKind.ORDER: "order-change",
    r.EntityKind.LEAD: "lead-change",
    r.EntityKind.APPOINTMENT: "appointment-change",
}

BY_RECORD: Mapping[type[r.Record], str] = {
    record: name for name, record in _RECORDS.items() if record is not r.Change
}
"""The contract of each record type that has exactly one."""

TOPICS: Mapping[str, str] = {
    "orders": "order-change",
    "leads": "lead-change",
    "appointments": "appointment-change",
    "customer-consents": "customer",
    "consents": "customer",
    "rules": "rule",
    "templates": "template",
    "statuses": "status",
    "locations": "location",
    "companies": "company",
    "mailboxes": "mailbox",
    "suppressions": "suppression",
    "timers": "timer",
    "delivery-log": "delivery",
    "provider-events": "provider-event",
    "dead-letters": "dead-letter",
    "users": "user",
    "audit": "audit-entry",
}
"""Topic by its usual name, to contract."""

PUBLISHED_BY_OTHERS = frozenset({"order-change", "lead-change", "appointment-change", "customer"})
"""Contracts of topics on which upstream services may have schemas of their own registered already."""
