"""The delivery log of a period as one story for each delivery, and what of it can't be so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from console.findings import Finding, Found
from schemas.records import FINAL_STATES, Delivery, DeliveryState
from streams.domain.life import AT_PROVIDER, GONE, NEXT, WAITING
from streams.stages.slots import SlotName, slot_key

Step = tuple[DeliveryState, str, str]
"""State, reason, provider's id."""

UNFINISHED = frozenset((*WAITING, *AT_PROVIDER))


@dataclass(slots=True)
class Story:
    """What the log says of one delivery. About 1.5 KB."""

    delivery_id: str
    company: str
    kind: str
    entity_id: str
    customer_id: str
    rule_id: str
    anchor: str
    channel: str = ""
    steps: dict[int, Step] = field(default_factory=dict)
    """By number."""
    last: int = -1
    """The highest number."""
    last_at: int = 0
    conflict: str = ""
    address_hash: str = ""
    masked: str = ""
    sent_at: int | None = None
    provider: str = ""
    tried_at: list[int] = field(default_factory=list)
    """When it was handed to the provider (``sending``)."""

    @property
    def state(self) -> DeliveryState:
        """Receipts are notes, not states."""
        for number in sorted(self.steps, reverse=True):
            if self.steps[number][0] in FINAL_STATES or self.steps[number][0] in UNFINISHED:
                return self.steps[number][0]
        return self.steps[self.last][0]

    @property
    def provider_id(self) -> str:
        return next((step[2] for step in self.steps.values() if step[0] == DeliveryState.SENT), "")

    @property
    def reminder_slot(self) -> bytes:
        return self._slot("")

    @property
    def slots(self) -> tuple[bytes, bytes]:
        """The keys that its slot may have: the log does not say whether it is a reminder."""
        return self.reminder_slot, self._slot(self.anchor)

    def add(self, record: Delivery) -> None:
        step = (record.state, sys.intern(record.reason), record.provider_id)
        known = self.steps.get(record.transition)
        if known is not None:
            if known != step:
                said = " and ".join(f"{state} ({reason})" for state, reason, _ in (known, step))
                self.conflict = f"number {record.transition} is {said}"
            return
        self.steps[record.transition] = step
        self.last_at = max(self.last_at, record.at)
        self.last = max(self.last, record.transition)
        self.channel = sys.intern(record.channel or self.channel)
        self.address_hash = record.address_hash or self.address_hash
        self.masked = record.address_masked or self.masked
        if record.state == DeliveryState.SENDING:
            self.tried_at.append(record.at)
        elif record.state == DeliveryState.SENT:
            self.sent_at, self.provider = record.at, sys.intern(record.provider)

    def found(self, kind: Finding, detail: str = "") -> Found:
        return Found(
            kind=kind,
            company=self.company,
            entity=f"{self.kind}/{self.entity_id}",
            delivery_id=self.delivery_id,
            rule_id=self.rule_id,
            at=self.last_at,
            provider_id=self.provider_id,
            to=self.masked,
            detail=detail,
        )

    def _slot(self, event_id: str) -> bytes:
        name = (self.company, self.kind, self.entity_id, self.customer_id, self.rule_id, event_id)
        return slot_key(SlotName(*name))  # type: ignore[arg-type]  # the kind is its own text


class Stories:
    """``add`` the records of the log in their order; those of a delivery that begins after ``until`` are
    passed over, and so are other companies'."""

    def __init__(self, company: str | None, until: int) -> None:
        self._company = company
        self._until = until
        self.by_id: dict[str, Story] = {}

    def add(self, record: Delivery) -> None:
        if self._company not in (None, record.company):
            return
        story = self.by_id.get(record.delivery_id)
        if story is None:
            if record.at > self._until:
                return
            story = self.by_id[record.delivery_id] = Story(
                record.delivery_id,
                sys.intern(record.company),
                sys.intern(str(record.kind)),
                record.entity_id,
                record.customer_id,
                sys.intern(record.rule_id),
                record.anchor,
            )
        story.add(record)

    def planned_before(self) -> Iterator[Story]:
        """Those whose planning lies before what was read."""
        for story in self.by_id.values():
            first = min(story.steps)
            if first > 1 and story.steps[first][0] not in NEXT[None]:
                yield story


def impossible(story: Story) -> Found | None:
    """What can't be so, by the table of a message's life (streams.domain.life)."""
    if story.conflict:
        return story.found(Finding.TWO_STORIES, story.conflict)
    before: DeliveryState | None = None
    numbers = sorted(story.steps)
    for place, number in enumerate(numbers):
        state = story.steps[number][0]
        begins = place == 0
        if begins and number > 1:
            before = state  # what came before it lies before the period, or belongs to another of its slot
            continue
        if state not in NEXT[before]:
            if begins:
                return story.found(Finding.WITHOUT_PLANNING, f"it begins with {state}")
            detail = f"{before} (number {numbers[place - 1]}), then {state} (number {number})"
            ended = before in FINAL_STATES and (state in FINAL_STATES or before in GONE)
            return story.found(Finding.TWO_FINALS if ended else Finding.MISSING_STEP, detail)
        before = state
    return None
