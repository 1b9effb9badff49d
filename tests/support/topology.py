"""The whole topology in one process, without Kafka: records are piped in, the clock is moved by hand, outputs
and state can be read. Real stages, real domain, stores in memory; only the provider is scripted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import (
    FINAL_STATES,
    Change,
    Channel,
    Customer,
    Delivery,
    EntityKind,
    Timer,
)
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog, Reference, ReferenceType
from streams.domain.ids import customer_key
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome, SmsMessage
from streams.kafka.partitioner import partition_for
from streams.stages import entity, slots
from streams.stages.delivery import DeliveryStage, consent_writes
from streams.stages.entity import EntityStage, Incoming
from streams.stages.firing import Options, Withdrawn
from streams.stages.round import DeliveryRound, SendOrder
from streams.state.memory import MemoryStore

PARTITIONS = 3


def accepting(message: Message) -> Outcome:
    return Accepted("test", f"id-{message.delivery_id[:8]}")


@dataclass(slots=True)
class Sent:
    """What the provider got."""

    at: int
    message: Message

    @property
    def text(self) -> str:
        return self.message.text if isinstance(self.message, SmsMessage) else self.message.subject

    @property
    def to(self) -> str:
        return self.message.to if isinstance(self.message, SmsMessage) else self.message.to_address


@dataclass
class Topology:
    """Begins at ``now``; ``provider`` answers each call, ``inquiry`` each question."""

    now: int
    provider: Callable[[Message], Outcome] = accepting
    inquiry: Callable[[Message], Inquiry] = lambda _: NotFound("test")
    options: Options = field(default_factory=Options)
    catalog: Catalog = field(default_factory=Catalog)
    sent: list[Sent] = field(default_factory=list)
    log: list[Delivery] = field(default_factory=list)
    dead: list[DecodeError | str] = field(default_factory=list)
    before_call: Callable[[], None] | None = None
    """Called between the intent and the final check."""

    def __post_init__(self) -> None:
        self.codec = Codec(EmbeddedRegistry())
        self.entity_stores = {kind: MemoryStore(entity.FAMILIES) for kind in EntityKind}
        self.stores = [MemoryStore(slots.FAMILIES) for _ in range(PARTITIONS)]
        self._offsets: Counter[str] = Counter()
        self.entities: dict[EntityKind, EntityStage] = {}
        self.senders: list[DeliveryStage] = []
        self.restart()

    # --- what goes in ------------------------------------------------------------------------------

    def restart(self) -> None:
        """As after a crash of all workers: only what is in the stores is left."""
        self.entities = {
            kind: EntityStage(kind, f"{kind}s", 0, self.entity_stores[kind], self.catalog)
            for kind in EntityKind
        }
        self.senders = [
            DeliveryStage(store, self.catalog, self.options, self._read_change) for store in self.stores
        ]
        for stage in self.senders:
            self.log += stage.opened()

    def reference(self, *records: Reference) -> None:
        """Publishes reference data, and lets the stages apply it to what they know."""
        for record in records:
            self.catalog.apply(record)
            self._changed(record)

    def remove(self, record_type: ReferenceType, company: str, id_: str) -> None:
        self.catalog.remove(record_type, company, id_)
        self._notice([(company, id_ if record_type.__name__ == "Rule" else "")])

    def customer(self, *customers: Customer) -> None:
        for customer in customers:
            key = customer_key(customer.company, customer.customer_id)
            store = self.stores[partition_for(key, PARTITIONS)]
            self._offsets["consents"] += 1
            store.write(consent_writes(store, [(key, customer)], self._offsets["consents"]))
        self.settle()

    def change(self, kind: EntityKind, *changes: Change | bytes | None, timestamp: int | None = None) -> None:
        """Publishes changes as one batch (Avro); bytes go in as they are, None is a tombstone."""
        raws = [
            self.codec.encode_change(kind, change) if isinstance(change, Change) else change
            for change in changes
        ]
        stage = self.entities[kind]
        decoded = self.codec.decode_changes(kind, raws)
        first = self._offsets[kind]
        incoming = [
            Incoming(first + number, timestamp or self.now, b"", raw or b"", change)
            for number, (raw, change) in enumerate(zip(raws, decoded, strict=True))
        ]
        self._offsets[kind] += len(incoming)
        self._entity_round(stage, stage.step(incoming, self._offsets[kind], self.now))
        stage.committed(self._offsets[kind])
        self.settle()

    def timers(self, commands: Iterable[Timer]) -> None:
        by_partition: dict[int, list[Timer]] = {}
        for timer in commands:
            number = partition_for(customer_key(timer.company, timer.customer_id), PARTITIONS)
            raw = self.codec.encode(timer)
            by_partition.setdefault(number, []).append(self.codec.decode(Timer, raw))
        for number, timers in by_partition.items():
            stage = self.senders[number]
            first = self._offsets[f"timers-{number}"]
            self._offsets[f"timers-{number}"] += len(timers)
            end = first + len(timers)
            numbered = [(first + index, timer) for index, timer in enumerate(timers)]
            self._delivery_round(number, stage.commands(numbered, end, self.now), end)

    # --- time ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Works until nothing moves at this moment."""
        for _ in range(10_000):
            if not self._once():
                return
        raise AssertionError("the topology never comes to rest")

    def until(self, moment: int) -> None:
        """Moves the clock from one due time to the next until ``moment``."""
        self.settle()
        while True:
            dues = [due for due in (stage.next_due() for stage in self.senders) if due is not None]
            dues += [
                int.from_bytes(key[:8], "big") + 1
                for store in self.stores
                for key, _ in store.scan("expiry", b"", None, 1)
            ]
            following = min(dues, default=moment)
            if following >= moment:
                break
            self.now = max(self.now, following)
            self.settle()
        self.now = max(self.now, moment)
        self.settle()

    def after(self, millis: int) -> None:
        self.until(self.now + millis)

    def tidy(self) -> None:
        """Lets the entity stages forget what is old, as they do once a day."""
        for stage in self.entities.values():
            while (round_ := stage.tidy(self.now)) is not None:
                self._entity_round(stage, round_)

    # --- what came out --------------------------------------------------------------------------------

    @property
    def texts(self) -> list[str]:
        return [sent.text for sent in self.sent]

    @property
    def finals(self) -> list[tuple[str, str]]:
        """(state, reason) of every delivery that has come to its end, in order."""
        return [(str(r.state), r.reason) for r in self.log if r.state in FINAL_STATES]

    def states(self, rule_id: str) -> list[tuple[str, str]]:
        """(state, reason) of every transition of the rule's deliveries."""
        return [(str(record.state), record.reason) for record in self.log if record.rule_id == rule_id]

    @property
    def pending(self) -> int:
        return sum(stage.pending for stage in self.senders)

    # --- within ---------------------------------------------------------------------------------------

    def _changed(self, record: Reference) -> None:
        name = type(record).__name__
        if name == "Rule":
            self._notice([(record.company, record.id)])  # type: ignore[union-attr]  # a rule has both
        elif name == "Location":
            self._notice([(record.company, "")])  # type: ignore[union-attr]  # so has a location
        elif name == "Company":
            self._notice([(record.id, "")])  # type: ignore[union-attr]  # and a company an id

    def _notice(self, names: list[tuple[str, str]]) -> None:
        for stage in self.entities.values():
            stage.rules_changed([name for name in names if name[1]])
        for sender in self.senders:
            sender.reference_changed(names)
        self.settle()

    def _once(self) -> bool:
        moved = False
        for stage in self.entities.values():
            round_ = stage.sweep()
            if round_ is not None:
                self._entity_round(stage, round_)
                moved = True
        capacity = dict.fromkeys(Channel, 10)
        for number, sender in enumerate(self.senders):
            for step in (sender.sweep(self.now), sender.due(self.now, capacity), sender.forget(self.now)):
                if step is not None:
                    self._delivery_round(number, step)
                    moved = True
        return moved

    def _entity_round(self, stage: EntityStage, round_: entity.EntityRound) -> None:
        self.timers(round_.clears)
        self.timers(round_.timers)
        self.log += round_.log
        self.dead += [letter.error for letter in round_.dead]
        self.entity_stores[stage.kind].write(round_.writes)

    def _delivery_round(self, number: int, round_: DeliveryRound, end: int | None = None) -> None:
        stage, store = self.senders[number], self.stores[number]
        store.write([*round_.writes, *round_.after(stage.pending)])
        stage.committed(round_, end)
        self.log += round_.log
        store.write(stage.logged(round_))
        for suppression in round_.suppressions:
            self.catalog.apply(suppression)
        if round_.sends and self.before_call is not None:
            hook, self.before_call = self.before_call, None
            hook()
        answers: list[tuple[SendOrder, Outcome | Withdrawn]] = []
        for order in round_.sends:
            withdrawn = stage.final_check(order)
            if withdrawn is None:
                self.sent.append(Sent(self.now, order.message))
            answers.append((order, withdrawn or self.provider(order.message)))
        if answers:
            self._delivery_round(number, stage.outcomes(answers, self.now))
        asked = [(order, self.inquiry(order.message)) for order in round_.inquiries]
        if asked:
            self._delivery_round(number, stage.inquired(asked, self.now))

    def _read_change(self, kind: EntityKind, raw: bytes) -> Change | None:
        try:
            return self.codec.decode_change_value(kind, raw)
        except DecodeError:
            return None
