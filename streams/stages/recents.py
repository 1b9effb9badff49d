"""What the customers of a partition have had lately, for companies that ask (``streams.domain.repeats``).
Kept in ``meta`` and in the changelog, one record for each customer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.domain.repeats import Recent
from streams.stages.ports import KeyValue, Write
from streams.stages.slots import SlotName

RECENT = b"\x00recent "
"""Begins the keys."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Recent]).decode


def recent_key(name: SlotName) -> bytes:
    return RECENT + f"{name.company}\0{name.customer_id}".encode()


def company_of(key: bytes) -> str:
    return key[len(RECENT) :].split(b"\0")[0].decode()


def decode_recents(raw: bytes) -> list[Recent]:
    return _decode(raw)


class Recents:
    """As one round sees and changes them: two messages of a round know of each other."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self._held: dict[bytes, list[Recent]] = {}
        self._dirty: dict[bytes, None] = {}

    def of(self, name: SlotName) -> Sequence[Recent]:
        key = recent_key(name)
        held = self._held.get(key)
        if held is None:
            raw = self._store.get("meta", key)
            held = self._held[key] = _decode(raw) if raw is not None else []
        return held

    def put(self, name: SlotName, recents: list[Recent]) -> None:
        key = recent_key(name)
        self._held[key] = recents
        self._dirty[key] = None

    def remove(self, name: SlotName, delivery_id: str) -> None:
        """It has not gone after all."""
        held = self.of(name)
        left = [recent for recent in held if recent.delivery_id != delivery_id]
        if len(left) < len(held):
            self.put(name, left)

    def changes(self) -> tuple[list[tuple[bytes, bytes | None]], list[Write]]:
        """For the changelog and for the store."""
        records = [(key, _encode(self._held[key]) if self._held[key] else None) for key in self._dirty]
        return records, [("meta", key, raw) for key, raw in records]
