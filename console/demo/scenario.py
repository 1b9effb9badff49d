"""The demo's script: what the shop does and when, and what must come of it. Pure: a seed and a shop in, a
list of timed events and a checklist out. What the customers get is not in here: that is read from the
delivery log and the providers while it happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from console.demo.acts import Act
from console.demo.cast import Person, Shop
from schemas.records import (
    Change,
    Customer,
    DeliveryState,
    Details,
    EntityKind,
    Facts,
    Operation,
    Record,
    Rule,
    Suppression,
)
from streams.domain.ids import customer_key, entity_key, reference_key, suppression_key

FIRST, SECOND = "twilio", "local"
"""The SMS providers, as the log names them."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

_TOPIC = {
    EntityKind.ORDER: "orders",
    EntityKind.LEAD: "leads",
    EntityKind.APPOINTMENT: "appointments",
}


@dataclass(frozen=True, slots=True)
class Published:
    """One record on its way into a topic. ``kind`` is that of a change, else None."""

    topic: str
    key: bytes
    record: Record
    kind: EntityKind | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something the shop does at ``at``. ``line`` is how the story tells it; empty: the crowd's."""

    at: int
    scene: str
    records: tuple[Published, ...]
    line: str = ""
    zone: str = ""
    burst: int = 0
    """Not 0: so many SMS are due now, and a worker is killed while they are on their way, before ``records``
    are published; it is started again afterwards."""
    acts: tuple[Act, ...] = ()
    """Of others than the shop, after ``records`` have been published."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One line of the checklist: a transition that must (or, if ``never``, must not) be in the delivery log.

    ``by``: when it must have happened. ``at``: exactly when, if it matters. ``contains``: what the text that
    the provider accepted must say. Empty means any.
    """

    scene: str
    text: str
    kind: EntityKind
    entity_id: str
    rule_id: str
    state: DeliveryState
    by: int
    reason: str = ""
    at: int | None = None
    contains: tuple[str, ...] = ()
    sender: str = ""
    """The address that the log says it left from."""
    provider: str = ""
    """By which the log says it left."""
    never: bool = False


@dataclass(frozen=True, slots=True)
class Owed:
    """A message that must be in the delivery log and end there in one final state by ``by``: what the count
    of lost ones is measured by, independently of what the workers say."""

    kind: EntityKind
    entity_id: str
    rule_id: str
    by: int


@dataclass(frozen=True, slots=True)
class Scenario:
    start: int
    end: int
    people: tuple[Person, ...]
    story: frozenset[str]
    """Customer ids that are narrated; the others are the crowd."""
    events: tuple[Event, ...]
    expected: tuple[Expected, ...]
    owed: tuple[Owed, ...]
    suppressions: tuple[Suppression, ...] = ()

    @property
    def outside(self) -> bool:
        """Whether others than the shop act: the gateway and a local Gmail are needed."""
        return any(event.acts for event in self.events)

    def setup(self, shop: Shop) -> list[Published]:
        """What is there before the story begins: the shop's own records and its customers."""
        published = [reference(record) for record in shop.records]
        published += [reference(record) for record in self.suppressions]
        return published + [
            Published("customer-consents", customer_key(shop.company.id, person.id), person.customer)
            for person in self.people
        ]

    def until(self, end: int) -> Scenario:
        """The same story, broken off at ``end``."""
        if end >= self.end:
            return self
        return Scenario(
            start=self.start,
            end=end,
            people=self.people,
            story=self.story,
            events=tuple(event for event in self.events if event.at <= end),
            expected=tuple(item for item in self.expected if item.by <= end),
            owed=tuple(item for item in self.owed if item.by <= end),
            suppressions=self.suppressions,
        )


_REFERENCE_TOPICS = {
    "Company": "companies",
    "Location": "locations",
    "Status": "statuses",
    "Template": "templates",
    "Rule": "rules",
    "Mailbox": "mailboxes",
}


def reference(record: Record) -> Published:
    """A record of a shop file, on the topic where workers look for it."""
    if isinstance(record, Suppression):
        key = suppression_key(record.company, record.channel, record.address)
        return Published("suppressions", key, record)
    if isinstance(record, Customer):
        return Published("customer-consents", customer_key(record.company, record.customer_id), record)
    own = str(getattr(record, "id", ""))
    company = str(getattr(record, "company", own))
    return Published(_REFERENCE_TOPICS[type(record).__name__], reference_key(company, own), record)


@dataclass(slots=True)
class Entity:
    """An order, lead or appointment and its changes so far: each call makes the next one."""

    kind: EntityKind
    company: str
    id: str
    facts: Facts
    details: Details
    version: int = 0

    def create(self, at: int) -> Published:
        return self._change(at, Operation.CREATE, None, self.facts)

    def update(self, at: int, *, status_id: str | None = None, scheduled_at: int | None = None) -> Published:
        before = self.facts
        after = Facts(
            status_id=before.status_id if status_id is None else status_id,
            customer_id=before.customer_id,
            location_id=before.location_id,
            scheduled_at=before.scheduled_at if scheduled_at is None else scheduled_at,
        )
        return self._change(at, Operation.UPDATE, before, after)

    def delete(self, at: int) -> Published:
        return self._change(at, Operation.DELETE, self.facts, None)

    def _change(self, at: int, operation: Operation, before: Facts | None, after: Facts | None) -> Published:
        self.version += 1
        if after is not None:
            self.facts = after
        change = Change(
            company=self.company,
            entity_id=self.id,
            operation=operation,
            event_id=f"{self.id}-{self.version}",
            version=self.version,
            occurred_at=at,
            before=before,
            after=after,
            details=self.details,
        )
        return Published(_TOPIC[self.kind], entity_key(self.company, self.id), change, self.kind)


@dataclass(slots=True)
class Script:
    """Collects what the scenes write."""

    shop: Shop
    events: list[Event] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    suppressions: list[Suppression] = field(default_factory=list)
    cast: list[Person] = field(default_factory=list)
    _numbers: int = 1000

    def entity(
        self,
        kind: EntityKind,
        person: Person,
        title: str,
        *,
        status_id: str,
        scheduled_at: int | None = None,
        amount_minor: int | None = None,
    ) -> Entity:
        self._numbers += 1
        place = self.shop.places[person.zone]
        number = f"{kind[0].upper()}-{self._numbers}"
        return Entity(
            kind=kind,
            company=self.shop.company.id,
            id=number.lower(),
            facts=Facts(
                status_id=status_id,
                customer_id=person.id,
                location_id=place.id,
                scheduled_at=scheduled_at,
            ),
            details=Details(
                number=number,
                title=title,
                amount_minor=amount_minor,
                currency=self.shop.company.currency if amount_minor is not None else "",
                url=f"https://shop.example/{number.lower()}",
            ),
        )

    def happens(
        self,
        at: int,
        scene: str,
        line: str,
        zone: str,
        records: Iterable[Published],
        *,
        burst: int = 0,
        acts: Sequence[Act] = (),
    ) -> None:
        self.events.append(Event(at, scene, tuple(records), line, zone, burst, tuple(acts)))

    def expect(
        self,
        scene: str,
        text: str,
        entity: Entity,
        rule: Rule,
        state: DeliveryState,
        *,
        by: int,
        reason: str = "",
        exactly: bool = False,
        contains: Sequence[str] = (),
        sender: str = "",
        provider: str = "",
        never: bool = False,
    ) -> None:
        self.expected.append(
            Expected(
                scene=scene,
                text=text,
                kind=entity.kind,
                entity_id=entity.id,
                rule_id=rule.id,
                state=state,
                by=by,
                reason=reason,
                at=by if exactly else None,
                contains=tuple(contains),
                sender=sender,
                provider=provider,
                never=never,
            )
        )
