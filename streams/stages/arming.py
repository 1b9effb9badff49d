"""What the commands of the entity agents do to a partition: arm, clear, and newer facts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas.records import (
    Change,
    ClearScope,
    DeliveryState,
    Details,
    EntityKind,
    Facts,
    Timer,
    Trigger,
)
from streams.domain.catalog import Catalog
from streams.domain.decide import End, Entity, Pending, on_arming, target_time
from streams.domain.ids import delivery_id
from streams.domain.reasons import Reason
from streams.stages.ports import KeyValue
from streams.stages.round import DeliveryRound
from streams.stages.slots import (
    ENTITY_TAG,
    IN_FLIGHT,
    EntityFacts,
    Row,
    Slot,
    SlotName,
    decode_facts,
    entity_prefix,
    name_of,
    prefix_of,
    slot_key,
)

ReadChange = Callable[[EntityKind, bytes], Change | None]
"""Decodes a change's raw bytes, details included as far as they can be read; None: not at all."""

_encode = msgspec.msgpack.Encoder().encode
DETAILS = Details()
_NOWHERE = Facts(status_id="")
RULE_LOOK = 1_000
"""How soon a row looks again for a rule that this worker has not read yet (milliseconds)."""


class Entities:
    """The newest facts of the entities that one round touches."""

    def __init__(self, store: KeyValue, read: ReadChange) -> None:
        self._store = store
        self._read = read
        self._held: dict[bytes, EntityFacts | None] = {}
        self._decoded: dict[bytes, Entity] = {}
        self._dirty: dict[bytes, None] = {}

    def load(self, keys: list[bytes]) -> None:
        wanted = [key for key in dict.fromkeys(keys) if key not in self._held]
        for key, raw in zip(wanted, self._store.get_many("entities", wanted), strict=True):
            self._held[key] = decode_facts(raw) if raw is not None else None

    def held(self, key: bytes) -> EntityFacts | None:
        if key not in self._held:
            self.load([key])
        return self._held[key]

    def keep(self, key: bytes, facts: EntityFacts) -> None:
        self._held[key] = facts
        self._decoded.pop(key, None)
        self._dirty[key] = None

    def entity(self, key: bytes, kind: EntityKind) -> Entity:
        """The entity as it is now; without facts an entity of no status and no location."""
        found = self._decoded.get(key)
        if found is None:
            held = self.held(key)
            change = self._read(kind, held.raw) if held is not None and held.raw else None
            if change is None or change.after is None:
                found = Entity(_NOWHERE, DETAILS)
            else:
                found = Entity(change.after, change.details or DETAILS)
            self._decoded[key] = found
        return found

    def location(self, slot: bytes) -> str:
        """The location of the entity that the slot is about."""
        return self.entity(prefix_of(slot), name_of(slot).kind).facts.location_id

    def flush(self, round_: DeliveryRound) -> None:
        for key in self._dirty:
            facts = self._held[key]
            assert facts is not None  # only what is kept is dirty
            facts.at = round_.now
            raw = _encode(facts)
            round_.changelog.append((ENTITY_TAG + key, raw))
            round_.writes.append(("entities", key, raw))
        self._dirty.clear()


def pending_of(key: bytes, row: Row) -> Pending:
    """The row as the domain sees it."""
    name = name_of(key)
    return Pending(
        delivery_id=row.delivery_id,
        company=name.company,
        kind=name.kind,
        entity_id=name.entity_id,
        rule_id=name.rule_id,
        rule_version=row.rule_version,
        customer_id=name.customer_id,
        anchor=row.anchor,
        event_id=name.event_id,
        occurred_at=row.occurred_at,
        status_id=row.status_id,
        target=row.target,
        allowed=row.allowed,
        held=row.held,
        waiting_since=row.waiting_since,
    )


def facts_key(timer: Timer) -> bytes:
    return entity_prefix(timer.company, timer.kind, timer.entity_id, timer.customer_id)


def refresh(timer: Timer, round_: DeliveryRound, entities: Entities) -> None:
    """Keeps the command's facts if they are newer than what is known."""
    if not timer.change:
        return
    key = facts_key(timer)
    held = entities.held(key)
    if held is None or held.version < timer.entity_version:
        entities.keep(key, EntityFacts(timer.entity_version, held.cleared if held else -1, timer.change))
        round_.count("facts")


def arm(timer: Timer, round_: DeliveryRound, entities: Entities, catalog: Catalog) -> None:
    """Makes, moves or ends the slot's pending message. A repeat changes nothing."""
    entity_key = facts_key(timer)
    held = entities.held(entity_key)
    key = slot_key(
        SlotName(timer.company, timer.kind, timer.entity_id, timer.customer_id, timer.rule_id, timer.event_id)
    )
    known = round_.table.get(key)
    newest = (timer.entity_version, timer.rule_version)
    # A late event that is known here was told of when it came first, whatever became of the rule since.
    late = timer.reason == Reason.OUT_OF_ORDER
    if known is not None and (late or newest <= (known.head.version, known.head.rule_version)):
        round_.count("repeat")
        return
    # Only the rule is newer: what has come to its end already need not be told once more.
    told = known is not None and known.head.version == timer.entity_version
    slot = round_.table.change(key)
    slot.head.version, slot.head.rule_version = newest
    row = _new_row(timer)
    old = slot.row
    if late:
        row.due = round_.now
        slot.row = row
        round_.end(key, slot, DeliveryState.SUPPRESSED, Reason.OUT_OF_ORDER)
        return
    if held is not None and timer.entity_version <= held.cleared:
        _cleared_before(key, slot, row, round_)
        return
    if old is not None and old.delivery_id == row.delivery_id:
        _again(timer, old, round_, key, slot, entities, catalog)
        return
    if old is not None and old.state in IN_FLIGHT:
        _drop_successor(key, slot, round_, DeliveryState.SUPERSEDED, Reason.MOVED)
        slot.successor = None if slot.blocks(row.delivery_id) else row
        row.due = round_.now
        return
    if slot.blocks(row.delivery_id):
        if old is not None:
            round_.end(key, slot, DeliveryState.SUPERSEDED, Reason.MOVED)
        round_.count("already_sent")
        return
    if old is not None:
        round_.end(key, slot, DeliveryState.SUPERSEDED, Reason.MOVED)
    slot.row = row
    reason = Reason.MOVED if old is not None else Reason.ARMED
    settle(key, slot, round_, entities, catalog, reason, told=told and old is None)


def settle(
    key: bytes,
    slot: Slot,
    round_: DeliveryRound,
    entities: Entities,
    catalog: Catalog,
    reason: Reason,
    *,
    told: bool = False,
) -> None:
    """Gives a row that has no target yet its moment, or ends it; without the rule it waits for the rule.
    ``told``: the log has its end already, so that it is too late is no news."""
    row = slot.row
    assert row is not None
    name = name_of(key)
    rule = catalog.rule(name.company, name.rule_id)
    if rule is None or rule.version < row.rule_version:
        row.due = round_.now + RULE_LOOK
        row.waiting_since = round_.now
        round_.note(key, slot, row, DeliveryState.SCHEDULED, reason)
        return
    facts = entities.entity(prefix_of(key), name.kind).facts
    decision = on_arming(pending_of(key, row), rule, catalog, facts, round_.now)
    if isinstance(decision, End):
        if told and decision.reason is Reason.TOO_LATE:
            slot.row = None
            round_.count("repeat")
            return
        row.due = round_.now
        round_.end(key, slot, decision.state, decision.reason)
        return
    row.target = row.allowed = row.due = decision.until
    row.waiting_since = -1
    round_.note(key, slot, row, DeliveryState.SCHEDULED, reason)


def _again(
    timer: Timer,
    row: Row,
    round_: DeliveryRound,
    key: bytes,
    slot: Slot,
    entities: Entities,
    catalog: Catalog,
) -> None:
    """The same message is armed anew: by a newer version of the entity or of the rule."""
    _drop_successor(key, slot, round_, DeliveryState.SUPERSEDED, Reason.MOVED)
    row.entity_version, row.rule_version = timer.entity_version, timer.rule_version
    row.status_id, row.cancel = timer.status_id, ""
    if row.state not in IN_FLIGHT:
        retime(key, slot, round_, entities, catalog)


def retime(key: bytes, slot: Slot, round_: DeliveryRound, entities: Entities, catalog: Catalog) -> bool:
    """The rule, the location or the company may have changed: moves the row if its moment has moved. False:
    the slot is as it was."""
    row = slot.row
    assert row is not None
    name = name_of(key)
    rule = catalog.rule(name.company, name.rule_id)
    if rule is None or rule.version < row.rule_version:
        return False
    if row.target < 0:
        settle(key, slot, round_, entities, catalog, Reason.ARMED)
        return True
    facts = entities.entity(prefix_of(key), name.kind).facts
    # The event's age was judged when it was armed: a long delay may outlive the limit.
    decision = on_arming(pending_of(key, row), rule, catalog, facts, row.occurred_at)
    changed = row.rule_version < rule.version
    row.rule_version = rule.version
    if isinstance(decision, End):
        # An edit that leaves the moment where it was does not make late what was armed in time.
        late = decision.reason is Reason.TOO_LATE
        moment = (
            target_time(rule, catalog, name.company, facts, row.anchor, row.occurred_at) if late else None
        )
        if moment != row.target:
            round_.end(key, slot, decision.state, decision.reason)
            return True
    elif decision.until != row.target:
        row.target = row.allowed = row.due = decision.until
        row.held = False
        row.state = DeliveryState.SCHEDULED
        round_.note(key, slot, row, DeliveryState.SCHEDULED, Reason.MOVED)
        return True
    elif row.state == DeliveryState.HELD:
        row.due = row.allowed = round_.now  # the hours may have changed: hold it anew or let it go
        return True
    return changed


def clear(timer: Timer, round_: DeliveryRound, entities: Entities, catalog: Catalog) -> None:
    """Ends what is pending of the entity, in the command's scope and up to its version."""
    key = facts_key(timer)
    if timer.scope is ClearScope.ALL:
        held = entities.held(key)
        version = max(timer.entity_version, held.version if held else -1)
        cleared = max(timer.entity_version, held.cleared if held else -1)
        if held is None or cleared > held.cleared:
            entities.keep(key, EntityFacts(version, cleared, held.raw if held else b""))
    for slot_name, found in round_.table.pending_under(key):
        if found.row is None or not _in_scope(timer.scope, slot_name, catalog):
            continue
        if found.row.entity_version > timer.entity_version:
            continue
        slot = round_.table.change(slot_name)
        slot.head.version = max(slot.head.version, timer.entity_version)
        _drop_successor(slot_name, slot, round_, DeliveryState.CANCELLED, timer.reason)
        if found.row.state in IN_FLIGHT:
            found.row.cancel = timer.reason
        else:
            round_.end(slot_name, slot, DeliveryState.CANCELLED, timer.reason)


def _cleared_before(key: bytes, slot: Slot, row: Row, round_: DeliveryRound) -> None:
    """Within one batch of changes an entity's clear overtakes what was armed for the customer that it had
    before; the log says so all the same."""
    if slot.row is None and not slot.blocks(row.delivery_id):
        row.due = round_.now
        slot.row = row
        round_.end(key, slot, DeliveryState.CANCELLED, Reason.CUSTOMER_CHANGED)


def _drop_successor(
    key: bytes, slot: Slot, round_: DeliveryRound, state: DeliveryState, reason: Reason | str
) -> None:
    """What waited for the answer about the slot's message will not be needed."""
    if slot.successor is not None:
        round_.note(key, slot, slot.successor, state, reason)
        slot.successor = None


def look_again(timer: Timer, round_: DeliveryRound, entities: Entities, catalog: Catalog) -> None:
    """The entity is at another location: its zone, its hours and its rules hold for all that is pending."""
    for key, found in round_.table.pending_under(facts_key(timer)):
        if found.row is not None and found.row.state not in IN_FLIGHT:
            round_.table.change(key)
            retime(key, found, round_, entities, catalog)


def _in_scope(scope: ClearScope, key: bytes, catalog: Catalog) -> bool:
    if scope is ClearScope.ALL:
        return True
    name = name_of(key)
    if not name.event_id:
        return True  # a reminder
    if scope is ClearScope.REMINDERS:
        return False
    rule = catalog.rule(name.company, name.rule_id)
    return rule is not None and rule.trigger is Trigger.TIME_CHANGED


def _new_row(timer: Timer) -> Row:
    return Row(
        delivery_id=delivery_id(
            timer.company, timer.rule_id, timer.kind, timer.entity_id, timer.anchor, timer.customer_id
        ),
        entity_version=timer.entity_version,
        rule_version=timer.rule_version,
        anchor=timer.anchor,
        occurred_at=timer.occurred_at,
        status_id=timer.status_id,
        state=DeliveryState.SCHEDULED,
        due=0,
        target=-1,
        allowed=-1,
    )
