"""The whole topology in one process, without Kafka: records are piped in, the clock is moved by hand, outputs
and state can be read. Real stages, real domain, stores in memory; only the provider is scripted.

Topics are lists: a stage reads on from its stored offset, so that after a crash (``crash_at``) whatever was
not finished comes again. ``lose_disks`` rebuilds every store from its changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from schemas.codec import Codec, Decoded
from schemas.errors import DecodeError
from schemas.records import (
    FINAL_STATES,
    Change,
    Channel,
    Customer,
    Delivery,
    EntityKind,
    EventKind,
    EventStatus,
    ProviderEvent,
    Timer,
)
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog, Reference, ReferenceType
from streams.domain.ids import customer_key
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome, SmsMessage
from streams.kafka.partitioner import partition_for
from streams.stages import entity_state, slots
from streams.stages.customers import consent_writes
from streams.stages.delivery import DeliveryStage
from streams.stages.entity import EntityStage
from streams.stages.firing import Options, Withdrawn
from streams.stages.ready import Room
from streams.stages.round import DeliveryRound, InquiryOrder, SendOrder
from streams.state.memory import MemoryStore
from tests.support.lives import Lives
from tests.support.shop import ann, at, shop

PARTITIONS = 3
_Changelog = list[tuple[bytes, bytes | None]]

CrashPoint = Literal["", "clears", "timers", "state", "commands", "log", "intent log", "intent", "call"]
"""Where the worker dies next: after the entity agent's clears, after its timers, or before its store is
written; before a sender's store is written, before its log records (among them those of intents or not),
before the provider is called, or after the provider has taken the message and before anybody wrote that
down."""


class Published(msgspec.Struct, frozen=True):
    """One record of an entity topic with what the codec makes of it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes | None
    change: Decoded


class Crash(Exception):  # noqa: N818 - it is an event, not an error
    """The worker is dead; only what is in topics and stores is left."""


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


def opened(when: str, *records: Reference) -> Topology:
    """The shop at a moment (Warsaw's wall), Ann among its customers, with more reference data."""
    world = Topology(at(when))
    world.reference(*shop(), *records)
    world.customer(ann())
    return world


@dataclass
class Topology:
    """Begins at ``now``; ``provider`` answers each call, ``inquiry`` each question."""

    now: int
    provider: Callable[[Message], Outcome] = accepting
    inquiry: Callable[[Message], Inquiry] = lambda _: NotFound("test")
    options: Options = field(default_factory=Options)
    catalog: Catalog = field(default_factory=Catalog)
    sent: list[Sent] = field(default_factory=list)
    looks: list[tuple[int, list[SendOrder]]] = field(default_factory=list)
    """(partition, what was to be sent) of each look that had something to send."""
    asked: list[InquiryOrder] = field(default_factory=list)
    log: list[Delivery] = field(default_factory=list)
    dead: list[DecodeError | str] = field(default_factory=list)
    before_call: Callable[[], None] | None = None
    """Called once between the intent and the final check."""
    crash_at: CrashPoint = ""
    capacity: int = 10
    """Provider calls of each channel in one look at a partition."""

    def __post_init__(self) -> None:
        self.codec = Codec(EmbeddedRegistry())
        self.entity_stores = {kind: MemoryStore(entity_state.FAMILIES) for kind in EntityKind}
        self.stores = [MemoryStore(slots.FAMILIES) for _ in range(PARTITIONS)]
        self.records: dict[EntityKind, list[Published]] = {kind: [] for kind in EntityKind}
        """The entity topics."""
        self.commands: list[list[Timer]] = [[] for _ in range(PARTITIONS)]
        """The partitions of ``timers``."""
        self.events: list[list[ProviderEvent]] = [[] for _ in range(PARTITIONS)]
        """The partitions of ``provider-events``."""
        self._consents: list[list[Customer]] = [[] for _ in range(PARTITIONS)]
        self.entity_changelogs: dict[EntityKind, _Changelog] = {kind: [] for kind in EntityKind}
        self.changelogs: list[_Changelog] = [[] for _ in range(PARTITIONS)]
        self._lives = Lives()
        self.entities: dict[EntityKind, EntityStage] = {}
        self.senders: list[DeliveryStage] = []
        self.restart()

    # --- what goes in ------------------------------------------------------------------------------

    def restart(self) -> None:
        """As after a crash of all workers: only what is in topics and stores is left."""
        self.entities = {
            kind: EntityStage(kind, f"{kind}s", 0, self.entity_stores[kind], self.catalog)
            for kind in EntityKind
        }
        self.senders = [
            DeliveryStage(store, self.catalog, self.options, self._read_change) for store in self.stores
        ]
        for sender in self.senders:
            self._tell(sender.opened())
        rules = [
            (company.id, rule.id)
            for company in self.catalog.companies()
            for rule in self.catalog.rules_of(company.id)
        ]
        for stage in self.entities.values():
            stage.rules_changed(rules)
        self._read_topics()
        self.settle()

    def lose_disks(self) -> None:
        """All workers die with their disks: the stores are rebuilt from the changelogs."""
        for kind in EntityKind:
            self.entity_stores[kind] = MemoryStore(entity_state.FAMILIES)
            self.entity_stores[kind].write(entity_state.restored(self.entity_changelogs[kind]))
        for number in range(PARTITIONS):
            store = self.stores[number] = MemoryStore(slots.FAMILIES)
            store.write(slots.restored(store, self.changelogs[number]))
            self._write_customers(number, self._consents[number])
        self.restart()

    def crash(self, point: CrashPoint, act: Callable[[], None]) -> bool:
        """Does ``act`` until the workers die at ``point``, and starts them again; False: they never did."""
        self.crash_at = point
        try:
            act()
        except Crash:
            self.restart()
            return True
        finally:
            self.crash_at = ""
        return False

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
            number = partition_for(customer_key(customer.company, customer.customer_id), PARTITIONS)
            self._consents[number].append(customer)
            self._write_customers(number, [customer])
        self.settle()

    def change(self, kind: EntityKind, *changes: Change | bytes | None, timestamp: int | None = None) -> None:
        """Publishes changes as one batch (Avro); bytes go in as they are, None is a tombstone."""
        raws = [
            self.codec.encode_change(kind, change) if isinstance(change, Change) else change
            for change in changes
        ]
        decoded = self.codec.decode_changes(kind, raws)
        topic = self.records[kind]
        topic += [
            Published(len(topic) + number, timestamp or self.now, b"", raw, change)
            for number, (raw, change) in enumerate(zip(raws, decoded, strict=True))
        ]
        self._read_topics()
        self.settle()

    def report(self, record: Delivery, *statuses: EventStatus, **fields: object) -> None:
        """The provider says what became of the delivery that this log record tells of."""
        number = partition_for(customer_key(record.company, record.customer_id), PARTITIONS)
        for status in statuses:
            event = ProviderEvent(
                event=EventKind.RECEIPT,
                status=status,
                event_id=f"{record.delivery_id}:{status}",
                company=record.company,
                channel=Channel.SMS,
                kind=record.kind,
                entity_id=record.entity_id,
                customer_id=record.customer_id,
                rule_id=record.rule_id,
                slot_event_id="" if record.anchor.isdecimal() else record.anchor,
                delivery_id=record.delivery_id,
                provider="test",
                provider_id="SM1",
                happened_at=self.now,
                received_at=self.now,
            )
            self.events[number].append(msgspec.structs.replace(event, **fields))
        self._read_topics()
        self.settle()

    def replay_events(self) -> None:
        """The gateway writes everything once more."""
        for topic in self.events:
            topic.extend(list(topic))
        self._read_topics()
        self.settle()

    def replay(self, kind: EntityKind, count: int | None = None) -> None:
        """The publisher sends its newest ``count`` records once more (None: all of them)."""
        topic = self.records[kind]
        again = topic[-count:] if count is not None else list(topic)
        topic += [
            msgspec.structs.replace(record, offset=len(topic) + number, timestamp=self.now)
            for number, record in enumerate(again)
        ]
        self._read_topics()
        self.settle()

    def replay_timers(self, count: int | None = None) -> None:
        """An entity agent sends its newest ``count`` commands of every partition once more."""
        for topic in self.commands:
            topic.extend(topic[-count:] if count is not None else list(topic))
        self._read_topics()
        self.settle()

    def rewind(self) -> None:
        """The group's offsets are lost: every stage is given everything from the beginning, as one batch."""
        for kind, stage in self.entities.items():
            topic = self.records[kind]
            self.carry_out(
                stage, stage.step(topic, [record.change for record in topic], len(topic), self.now)
            )
        for number, sender in enumerate(self.senders):
            timers = self.commands[number]
            round_ = sender.commands(list(enumerate(timers)), len(timers), self.now)
            self.carry_out_delivery(number, round_, len(timers))
        self.settle()

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
                self.carry_out(stage, round_)

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
        self._read_topics()
        moved = False
        for stage in self.entities.values():
            round_ = stage.sweep(self.now)
            if round_ is not None:
                self.carry_out(stage, round_)
                moved = True
        rooms = self._rooms()
        for number, sender in enumerate(self.senders):
            for step in (sender.sweep(self.now), sender.due(self.now, rooms), sender.forget(self.now)):
                if step is not None:
                    self.carry_out_delivery(number, step)
                    moved = True
        return moved

    def _rooms(self) -> Mapping[Channel, Room]:
        return dict.fromkeys(Channel, Room(self.capacity, "fake"))

    def _read_topics(self) -> None:
        """Every stage works on what it has not read, as one batch."""
        for kind, stage in self.entities.items():
            topic = self.records[kind]
            if stage.source < len(topic):
                fresh = topic[stage.source :]
                round_ = stage.step(fresh, [record.change for record in fresh], len(topic), self.now)
                self.carry_out(stage, round_)
                stage.committed(len(topic))
        for number, sender in enumerate(self.senders):
            timers = self.commands[number]
            if sender.source < len(timers):
                numbered = list(enumerate(timers))[sender.source :]
                done = sender.commands(numbered, len(timers), self.now, self._rooms())
                self.carry_out_delivery(number, done, len(timers), "commands")
            events = self.events[number]
            if sender.events_source < len(events):
                happened = list(enumerate(events))[sender.events_source :]
                self.carry_out_delivery(number, sender.events(happened, len(events), self.now))

    def carry_out(self, stage: EntityStage, round_: entity_state.EntityRound) -> None:
        self._produce(round_.clears)
        self._point("clears")
        self._produce(round_.timers)
        self._point("timers")
        self._tell(round_.log)
        self.dead += [letter.error for letter in round_.dead]
        self.entity_changelogs[stage.kind] += round_.changelog
        self._point("state")
        self.entity_stores[stage.kind].write(round_.writes)

    def produce(self, *commands: Timer) -> None:
        """Commands that no stage of this world has made."""
        self._produce(commands)
        self._read_topics()
        self.settle()

    def _produce(self, commands: Iterable[Timer]) -> None:
        for timer in commands:
            number = partition_for(customer_key(timer.company, timer.customer_id), PARTITIONS)
            self.commands[number].append(self.codec.decode(Timer, self.codec.encode(timer)))

    def carry_out_delivery(
        self, number: int, round_: DeliveryRound, end: int | None = None, point: CrashPoint = "log"
    ) -> None:
        stage, store = self.senders[number], self.stores[number]
        if point == "commands":
            self._point("commands")
        self.changelogs[number] += round_.changelog
        store.write([*round_.writes, *round_.after(stage.pending)])
        stage.committed(round_)
        self._point("intent log" if round_.sends else "log")
        self._tell(round_.log)
        store.write(stage.logged(round_))
        for suppression in round_.suppressions:
            self.catalog.apply(suppression)
        if round_.sends and self.before_call is not None:
            hook, self.before_call = self.before_call, None
            hook()
        if round_.sends:
            self.looks.append((number, round_.sends))
        answers: list[tuple[SendOrder, Outcome | Withdrawn]] = []
        for order in round_.sends:
            self._point("intent")
            withdrawn = stage.final_check(order, self.now)
            if withdrawn is None:
                self.sent.append(Sent(self.now, order.message))
            answers.append((order, withdrawn or self.provider(order.message)))
            self._point("call")
        if answers:
            self.carry_out_delivery(number, stage.outcomes(answers, self.now))
        self.asked += round_.inquiries
        asked = [(order, self.inquiry(order.message)) for order in round_.inquiries]
        if asked:
            self.carry_out_delivery(number, stage.inquired(asked, self.now))

    def _write_customers(self, number: int, customers: Sequence[Customer]) -> None:
        store = self.stores[number]
        keyed = [(customer_key(customer.company, customer.customer_id), customer) for customer in customers]
        store.write(consent_writes(store, keyed, len(self._consents[number])))
        self.senders[number].known(key for key, _ in keyed)

    def _tell(self, records: Sequence[Delivery]) -> None:
        """The delivery log; nothing comes into it that the table of a message's life does not know."""
        self.log += records
        wrong = [text for record in records if (text := self._lives.wrong(record))]
        assert not wrong, wrong

    def _point(self, name: CrashPoint) -> None:
        if self.crash_at == name:
            self.crash_at = ""
            raise Crash(name)

    def _read_change(self, kind: EntityKind, raw: bytes) -> Change | None:
        try:
            return self.codec.decode_change_value(kind, raw)
        except DecodeError:
            return None
