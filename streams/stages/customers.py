"""What a partition's store knows of its customers: a copy of its partition of ``consents``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import Customer
from streams.stages.ports import KeyValue, Write

CONSENTS_SOURCE = b"\x01consents"
"""Key in ``meta`` of the next offset of ``consents`` (that topic is its own changelog)."""

_encode = msgspec.msgpack.Encoder().encode
decode_customer = msgspec.msgpack.Decoder(Customer).decode


def consent_writes(
    store: KeyValue, customers: Sequence[tuple[bytes, Customer | None]], next_offset: int
) -> list[Write]:
    """The writes of a batch of ``consents``; also used to rebuild the store from that topic."""
    held = store.get_many("consents", [key for key, _ in customers])
    newest = {
        key: decode_customer(raw).version
        for (key, _), raw in zip(customers, held, strict=True)
        if raw is not None
    }
    writes: list[Write] = []
    for key, customer in customers:
        if customer is None:
            newest.pop(key, None)
            writes.append(("consents", key, None))
        elif customer.version >= newest.get(key, -1):
            newest[key] = customer.version
            writes.append(("consents", key, _encode(customer)))
    writes.append(("meta", CONSENTS_SOURCE, _encode(next_offset)))
    return writes


def overtaken(
    store: KeyValue, customers: Sequence[tuple[bytes, Customer | None]]
) -> list[tuple[bytes, Customer]]:
    """The customers of whom an older record comes behind a newer one, with the newer. ``consents`` is
    compacted and would keep the older one alone, and with it a consent that was withdrawn: the newer has to
    be written once more."""
    held = store.get_many("consents", [key for key, _ in customers])
    newest = {
        key: decode_customer(raw) for (key, _), raw in zip(customers, held, strict=True) if raw is not None
    }
    again: dict[bytes, None] = {}
    for key, customer in customers:
        known = newest.get(key)
        if customer is not None and known is not None and customer.version < known.version:
            again[key] = None
            continue
        again.pop(key, None)
        if customer is None:
            newest.pop(key, None)
        else:
            newest[key] = customer
    return [(key, newest[key]) for key in again]


def forget_consents(store: KeyValue) -> None:
    """The log of consents is another one than the store has followed: what the store knows is not there any
    more, and no record means no consent."""
    store.write([("meta", CONSENTS_SOURCE, None)])
    store.delete_range("consents", b"", b"\xff")  # above every key: keys are UTF-8
