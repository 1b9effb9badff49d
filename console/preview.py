"""What changes would send: the real stages run over them in memory, each entity on a clock of its own.

The clock stands at each change's ``occurred_at`` and then runs on until nothing is pending, so a message
that a later change of the same entity moves or cancels is shown as moved or cancelled. The provider takes
everything; customers agreed to everything unless they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import (
    FINAL_STATES,
    Change,
    Channel,
    Customer,
    Delivery,
    DeliveryState,
    EntityKind,
    Operation,
    Timer,
)
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog
from streams.domain.ids import customer_key
from streams.domain.messages import Accepted, SmsMessage
from streams.domain.reasons import Reason
from streams.stages import entity_state, slots
from streams.stages.customers import consent_writes
from streams.stages.delivery import DeliveryStage
from streams.stages.entity import EntityStage
from streams.stages.entity_state import EntityRound
from streams.stages.firing import Options
from streams.stages.ready import Room
from streams.stages.round import DeliveryRound, SendOrder
from streams.state.memory import MemoryStore

_ROOMS = dict.fromkeys(Channel, Room(100))
_STEPS = 10_000
"""More looks than any entity's messages take: a guard, not a limit."""


@dataclass(slots=True)
class PlannedMessage:
    """One message of one change, and what becomes of it."""

    position: int
    """Of the record that asked for it."""
    rule_id: str
    customer_id: str
    channel: str
    due_at: int | None
    zone: str
    state: DeliveryState
    reason: str
    at: int
    """When it came to this state."""
    ended_by: int | None = None
    """The later record that moved or took it back."""
    held: str = ""
    """Reason code of the last time it was held."""
    text: str = ""
    """As the customer would read it; empty where it does not go out. An e-mail's begins with its subject."""


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """``notes``: what of the change the company does not know, and why it counts for less than it seems."""

    position: int
    change: Change
    messages: tuple[PlannedMessage, ...]
    notes: tuple[str, ...]


def preview(
    kind: EntityKind,
    changes: Iterable[tuple[int, Change]],
    catalog: Catalog,
    customers: Callable[[str, str], Customer],
) -> Iterator[ChangePreview]:
    """What the changes (with their positions) of each entity would send; entity by entity, in order.

    ``customers`` gives the customer of a company and an id.
    """
    by_entity: dict[tuple[str, str], list[tuple[int, Change]]] = {}
    for position, change in changes:
        by_entity.setdefault((change.company, change.entity_id), []).append((position, change))
    codec = Codec(EmbeddedRegistry())
    for those in by_entity.values():
        world = _World(kind, catalog, customers, codec)
        for position, change in those:
            world.play(position, change)
        world.run_out()
        for position, change in those:
            found = tuple(message for message in world.planned if message.position == position)
            notes = (*world.notes.get(position, ()), *_notes(kind, change, catalog))
            yield ChangePreview(position, change, found, notes)


def sample_customer(company: str, customer_id: str) -> Customer:
    """Somebody who has both addresses and agreed to everything."""
    return Customer(
        company=company,
        customer_id=customer_id,
        name="Alex Sample",
        phone="+48501234567",
        email="alex@example.com",
        sms_consent=True,
        email_consent=True,
        version=1,
    )


class _Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes


class _World:
    """One entity, from its first change in the file to its last message."""

    def __init__(
        self,
        kind: EntityKind,
        catalog: Catalog,
        customers: Callable[[str, str], Customer],
        codec: Codec,
    ) -> None:
        self.planned: list[PlannedMessage] = []
        self.notes: dict[int, tuple[str, ...]] = {}
        self._catalog = catalog
        self._customers = customers
        self._codec = codec
        self._now = 0
        self._offset = 0
        self._position = 0
        self._location = ""
        self._open: dict[str, PlannedMessage] = {}
        self._known: set[str] = set()
        self._entities = MemoryStore(entity_state.FAMILIES)
        self._slots = MemoryStore(slots.FAMILIES)
        self._stage = EntityStage(kind, f"{kind}s", 0, self._entities, catalog)
        self._sender = DeliveryStage(self._slots, catalog, Options(), self._read_change)
        self._sender.opened()

    def play(self, position: int, change: Change) -> None:
        self._until(change.occurred_at)
        self._position = position
        for facts in (change.before, change.after):
            if facts is not None and facts.customer_id and facts.customer_id not in self._known:
                self._meet(change.company, facts.customer_id)
        if change.after is not None:
            self._location = change.after.location_id
        raw = self._codec.encode_change(self._stage.kind, change)
        offset, self._offset = self._offset, self._offset + 1
        record = _Record(offset, self._now, b"", raw)
        round_ = self._stage.step([record], [change], self._offset, self._now)
        self._explain(change, round_, first=offset == 0)
        self._carry_out(round_)
        self._stage.committed(self._offset)
        self._work()

    def run_out(self) -> None:
        """Lets time pass until nothing is pending."""
        self._position = 0
        self._until(None)

    def _explain(self, change: Change, round_: EntityRound, *, first: bool) -> None:
        if "duplicate" in round_.counts:
            note = f"Version {change.version} of it was already there; this record changes nothing."
        elif Reason.OUT_OF_ORDER in round_.counts:
            note = Reason.OUT_OF_ORDER.text
        elif first and change.operation is Operation.UPDATE and change.before is None:
            note = "It has no before, and nothing earlier of it is in the file: what changed is not known."
        elif change.operation is Operation.READ:
            note = "A row of a snapshot sets up reminders and notifies nobody."
        else:
            return
        self.notes[self._position] = (note,)

    def _meet(self, company: str, customer_id: str) -> None:
        self._known.add(customer_id)
        pair = (customer_key(company, customer_id), self._customers(company, customer_id))
        self._slots.write(consent_writes(self._slots, [pair], len(self._known)))

    def _until(self, moment: int | None) -> None:
        for _ in range(_STEPS):
            following = self._sender.next_due()
            if following is None or (moment is not None and following >= moment):
                break
            self._now = max(self._now, following)
            self._work()
        if moment is not None:
            self._now = max(self._now, moment)
            self._work()

    def _work(self) -> None:
        for _ in range(_STEPS):
            round_ = self._sender.due(self._now, _ROOMS)
            if round_ is None:
                return
            self._deliver(round_)

    def _carry_out(self, round_: EntityRound) -> None:
        for timers in (round_.clears, round_.timers):
            self._command(timers)
        self._note(round_.log)
        self._entities.write(round_.writes)

    def _command(self, timers: list[Timer]) -> None:
        if timers:
            first = self._sender.source
            numbered = [(first + index, timer) for index, timer in enumerate(timers)]
            end = first + len(timers)
            self._deliver(self._sender.commands(numbered, end, self._now), end)

    def _deliver(self, round_: DeliveryRound, end: int | None = None) -> None:
        self._slots.write([*round_.writes, *round_.after(self._sender.pending)])
        self._sender.committed(round_)
        self._note(round_.log)
        self._slots.write(self._sender.logged(round_))
        for order in round_.sends:
            self._keep_text(order)
        if round_.sends:
            answers = [(order, Accepted("preview", "")) for order in round_.sends]
            self._deliver(self._sender.outcomes(answers, self._now))

    def _keep_text(self, order: SendOrder) -> None:
        message = order.message
        planned = self._open.get(message.delivery_id)
        if planned is not None:
            if isinstance(message, SmsMessage):
                planned.text = message.text
            else:
                planned.text = f"{message.subject}\n{message.text}"

    def _note(self, log: list[Delivery]) -> None:
        for record in log:
            planned = self._open.get(record.delivery_id)
            if planned is None:
                planned = self._plan(record)
            planned.state, planned.reason, planned.at = record.state, record.reason, record.at
            if record.state is DeliveryState.HELD:
                planned.held = record.reason
            if record.due_at is not None:
                planned.due_at = record.due_at
            if record.state in FINAL_STATES:
                del self._open[record.delivery_id]
                if self._position not in (0, planned.position):
                    planned.ended_by = self._position

    def _plan(self, record: Delivery) -> PlannedMessage:
        planned = PlannedMessage(
            position=self._position,
            rule_id=record.rule_id,
            customer_id=record.customer_id,
            channel=record.channel,
            due_at=record.due_at,
            zone=self._catalog.zone(record.company, self._location),
            state=record.state,
            reason=record.reason,
            at=record.at,
        )
        self._open[record.delivery_id] = planned
        self.planned.append(planned)
        return planned

    def _read_change(self, kind: EntityKind, raw: bytes) -> Change | None:
        try:
            return self._codec.decode_change_value(kind, raw)
        except DecodeError:
            return None


def _notes(kind: EntityKind, change: Change, catalog: Catalog) -> Iterator[str]:
    if catalog.company(change.company) is None:
        yield f"{Reason.UNKNOWN_COMPANY.text} (company {change.company!r})"
        return
    facts = change.after
    if facts is None:
        return
    if not facts.customer_id:
        yield Reason.NO_CUSTOMER.text
    if catalog.status(change.company, kind, facts.status_id) is None:
        yield f"{Reason.UNKNOWN_STATUS.text} (status_id {facts.status_id!r})"
    if facts.location_id and catalog.location(change.company, facts.location_id) is None:
        yield f"{Reason.UNKNOWN_LOCATION.text} (location_id {facts.location_id!r})"
