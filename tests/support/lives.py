"""The delivery log, record by record, against the table of a message's life."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.records import Delivery, DeliveryState
from streams.domain.life import allowed

TOLD_AT_ONCE = 0
"""Number of a transition that an entity agent tells by itself, before any sender heard of the message."""

Pair = tuple[DeliveryState | None, DeliveryState]
"""The state that a message was in (None: it is new), and the one that it came into."""


class Lives:
    """Follows every message through its states. Repeats are dropped by (delivery id, transition); the rest
    comes in the order of its transitions."""

    def __init__(self, records: Iterable[Delivery] = ()) -> None:
        self._last: dict[str, tuple[int, DeliveryState]] = {}
        self.pairs: set[Pair] = set()
        self.strange = [text for record in records if (text := self.wrong(record))]
        """What the table does not know, in words."""

    def wrong(self, record: Delivery) -> str:
        """Takes the next record; "" if the table knows what it says."""
        number, before = self._last.get(record.delivery_id, (TOLD_AT_ONCE, None))
        state = DeliveryState(record.state)
        if record.transition == TOLD_AT_ONCE:
            before = None
        elif record.transition <= number:
            return ""
        else:
            self._last[record.delivery_id] = record.transition, state
        self.pairs.add((before, state))
        if allowed(before, state, record.reason):
            return ""
        return f"{record.delivery_id} #{record.transition}: from {before} to {state} by {record.reason!r}"
