"""What providers report of messages that they took: notes on a final state, each once.

Reports come late, twice, out of order, and now and then before the answer to our own call. The slot's head
remembers the last word on each message for as long as it remembers the message; a word counts only if it says
more than the one before it (``RANK``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from schemas.records import DeliveryState, EntityKind, EventStatus, ProviderEvent
from streams.stages.firing import Firing
from streams.stages.round import DeliveryRound
from streams.stages.slots import Receipt, Slot, SlotName, slot_key

STATES = {
    EventStatus.DELIVERED: DeliveryState.DELIVERED,
    EventStatus.UNDELIVERED: DeliveryState.BOUNCED,
    EventStatus.FAILED: DeliveryState.BOUNCED,
    EventStatus.HARD: DeliveryState.BOUNCED,
}
"""The others tell nothing for good: queued, sent to the carrier, a mail server that will try again."""

RANK = {DeliveryState.BOUNCED: 1, DeliveryState.DELIVERED: 2}
"""A phone that has the message proves it; that a carrier gave up proves little."""

_KINDS = frozenset(EntityKind)


class Receipts:
    def __init__(self, firing: Firing) -> None:
        self._firing = firing

    def apply(
        self, events: Sequence[ProviderEvent], round_: DeliveryRound, in_flight: Collection[bytes]
    ) -> None:
        """``in_flight``: keys of the slots whose message is at the provider just now."""
        named = [(key, event) for event in events if (key := _key(event)) is not None]
        round_.table.load(key for key, _ in named)
        for key, event in named:
            state = STATES[event.status]
            slot = round_.table.get(key)
            if slot is None or not self._news(slot, event, state):
                round_.count(f"receipt_ignored.{state}")
                continue
            self._note(key, round_.table.change(key), event, state, round_, in_flight)

    def _news(self, slot: Slot, event: ProviderEvent, state: DeliveryState) -> bool:
        """Is it of a message that the slot knows, and more than it knew?"""
        ours = slot.blocks(event.delivery_id) or (
            slot.row is not None and slot.row.delivery_id == event.delivery_id and slot.row.attempt > 0
        )
        known = slot.head.receipt(event.delivery_id)
        return ours and (known is None or RANK[state] > RANK[DeliveryState(known.state)])

    def _note(
        self,
        key: bytes,
        slot: Slot,
        event: ProviderEvent,
        state: DeliveryState,
        round_: DeliveryRound,
        in_flight: Collection[bytes],
    ) -> None:
        receipt = Receipt(
            event.delivery_id,
            state,
            False,
            event.provider,
            event.provider_id,
            event.code,
            event.segments,
            event.price,
            event.currency,
        )
        others = [found for found in slot.head.receipts if found.delivery_id != event.delivery_id]
        slot.head.receipts = [*others, receipt]
        row = slot.row
        if row is None or row.delivery_id != event.delivery_id:
            round_.report(key, slot, receipt)
        elif key not in in_flight and (row.state == DeliveryState.UNKNOWN or row.resent):
            # Nobody has to be asked, and nothing sent again.
            self._firing.vouched(key, slot, round_)
        # Else its answer, or the look at what a former owner left behind, finds the receipt.


def _key(event: ProviderEvent) -> bytes | None:
    """The slot of the message; None where the event is of none, or tells nothing for good."""
    if not event.delivery_id or event.status not in STATES or event.kind not in _KINDS:
        return None
    kind = EntityKind(event.kind)
    return slot_key(
        SlotName(event.company, kind, event.entity_id, event.customer_id, event.rule_id, event.slot_event_id)
    )
