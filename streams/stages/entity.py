"""The entity stage: changes of one partition of one entity topic in, timer commands out.

Decides *whether*: compares before with after, matches the company's rules, and remembers each entity's
newest state, so that a rule written later can arm the reminders of what is already booked (P6). Sans I/O:
``step`` and ``sweep`` return what is to be produced and written; the runtime produces ``clears``, then
``timers`` and ``log``, then the changelog, awaits every ack in between, and only then writes the store.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from schemas.errors import DecodeError
from schemas.records import (
    Change,
    ClearScope,
    DeadLetter,
    Delivery,
    EntityKind,
    Facts,
    Operation,
    Rule,
    RuleKind,
    StatusKind,
    Timer,
    TimerOp,
)
from streams.domain.catalog import Catalog
from streams.domain.ids import entity_key, split_key
from streams.domain.reasons import Reason
from streams.domain.triggers import LOCATION_CHANGED, Occurrence, notifications, occurrence, reminders
from streams.stages.commands import arm_command, clear_command, facts_command, not_sent
from streams.stages.ports import KeyValue, Write, all_keys, prefix_end

FAMILIES = ("entities", "meta", "applied")
LAYOUT = 1
"""Of these families. A store with another one is rebuilt from the changelog."""
SOURCE = b"\x00source"
"""Key of the source offset, in the changelog (after the states of its batch) and in ``meta``. No entity
key begins with NUL."""
TIDIED = b"\x01tidied"
"""Key in ``meta``, not in the changelog: when memories were last looked through."""
MEMORY = 35 * 24 * 3600 * 1000
"""A closed entity is remembered this long: late changes of it must still be seen as late."""
SWEEP_ROWS = 500
TIDY_EVERY = 24 * 3600 * 1000
"""How often memories are looked through for those that may go (milliseconds)."""


class EntityState(msgspec.Struct, array_like=True, gc=False):
    """What is kept of an entity. ``raw`` is the newest change as it came; empty once nothing can be armed."""

    version: int
    deleted: bool
    armed: bool
    """Something may be pending at a sender agent: changes of the facts must be told there."""
    status_id: str
    customer_id: str
    location_id: str
    scheduled_at: int | None
    occurred_at: int
    raw: bytes

    def facts(self) -> Facts:
        return Facts(
            status_id=self.status_id,
            customer_id=self.customer_id,
            location_id=self.location_id,
            scheduled_at=self.scheduled_at,
        )


class SourceRecord(Protocol):
    """One record of the entity topic."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...


@dataclass(slots=True)
class EntityRound:
    """Everything that one step wants done, in the order of the fields."""

    clears: list[Timer] = field(default_factory=list)
    """Acked before ``timers`` are produced: an entity that changed hands is cleared at the old customer."""
    timers: list[Timer] = field(default_factory=list)
    log: list[Delivery] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Records by what became of them, for the metrics."""

    def clear_after(self, change: Change, owner: str) -> None:
        """What this batch has for the former customer goes before the clear, as it happened: behind it, it
        would be dropped without a word."""
        entity = (change.company, change.entity_id, owner)
        theirs = [t for t in self.timers if (t.company, t.entity_id, t.customer_id) == entity]
        if theirs:
            self.clears += theirs
            self.timers = [t for t in self.timers if (t.company, t.entity_id, t.customer_id) != entity]


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(EntityState).decode
_decode_int = msgspec.msgpack.Decoder(int).decode


def entity_of(key: bytes, value: bytes) -> tuple[str, str, EntityState] | None:
    """Company, id and state of an entity, of one record of a state's changelog; None: it is about the log
    itself. Raises msgspec.DecodeError."""
    if key.startswith(b"\x00"):
        return None
    company, entity_id = split_key(key)
    return company, entity_id, _decode_state(value)


class EntityStage:
    """One partition of one entity topic. Not thread-safe; one call at a time."""

    def __init__(
        self, kind: EntityKind, topic: str, partition: int, store: KeyValue, catalog: Catalog
    ) -> None:
        self.kind = kind
        self.topic = topic
        self.partition = partition
        self._store = store
        self._catalog = catalog
        self._sweeps: OrderedDict[tuple[str, str], None] = OrderedDict()
        """In their order. There may be a hundred thousand at a start: a ``dict`` would pass over all that
        have gone to give its first."""
        self._tidy_from: bytes | None = None
        tidied, stored = store.get_many("meta", [TIDIED, SOURCE])
        self._tidied = _decode_int(tidied) if tidied is not None else -1
        self.source = _decode_int(stored) if stored is not None else 0
        """The next offset to work on: everything below it is in the state and was sent on."""

    # --- changes --------------------------------------------------------------------------------

    def step(
        self,
        records: Sequence[SourceRecord],
        changes: Sequence[Change | DecodeError | None],
        next_offset: int,
        now: int,
    ) -> EntityRound:
        """Works on one batch: the records, by rising offset, and what the codec made of each (None: a
        tombstone). ``now`` stamps log records and dead letters, and decides nothing."""
        round_ = EntityRound()
        if records and records[0].offset < self.source:
            done = sum(record.offset < self.source for record in records)
            records, changes = records[done:], changes[done:]
        keys = [
            entity_key(change.company, change.entity_id) for change in changes if isinstance(change, Change)
        ]
        known = zip(keys, self._store.get_many("entities", keys), strict=True)
        states = {key: _decode_state(raw) for key, raw in known if raw is not None}
        touched: dict[bytes, EntityState] = {}
        position = iter(keys)
        for record, change in zip(records, changes, strict=True):
            if isinstance(change, Change):
                key = next(position)
                state = self._change(record, change, states.get(key), round_, now)
                if state is not None:
                    states[key] = touched[key] = state
            elif change is None:
                round_.counts["tombstone"] += 1  # follows a delete, which has told everything
            else:
                round_.counts[change.reason] += 1
                round_.dead.append(self._dead(record, change, now))
        self._write_states(touched, round_)
        if next_offset > self.source:
            self._write_source(next_offset, round_)
        return round_

    def committed(self, next_offset: int) -> None:
        """The writes of a step have been made; its records need not come again."""
        self.source = max(self.source, next_offset)

    def _change(
        self, record: SourceRecord, change: Change, state: EntityState | None, round_: EntityRound, now: int
    ) -> EntityState | None:
        if state is not None and change.version <= state.version:
            late = change.version < state.version
            round_.counts[Reason.OUT_OF_ORDER if late else "duplicate"] += 1
            told = change.before is not None or change.operation is Operation.CREATE
            if late and told and change.after is not None and change.after.customer_id:
                # The sender knows whether this very event was told of when it came first.
                occ = occurrence(change.operation, change.before, change.after)
                for rule in notifications(self._catalog, change.company, self.kind, occ, change.after):
                    arm = arm_command(
                        self.kind, change, rule, change.after, change.event_id, change.occurred_at, b""
                    )
                    round_.timers.append(msgspec.structs.replace(arm, reason=str(Reason.OUT_OF_ORDER)))
            return None
        stored = state.facts() if state is not None and not state.deleted else None
        before = change.before if change.before is not None else stored
        operation = change.operation
        if operation is Operation.CREATE and stored is not None:
            operation = Operation.UPDATE  # said again: the customer has been greeted already
        elif operation is Operation.UPDATE and before is None:
            operation = Operation.READ  # nobody can say what changed, so nothing is told
        occ = occurrence(operation, before, change.after)
        if occ.deleted or change.after is None:
            return self._deleted(change, state, before, round_)
        round_.counts["accepted"] += 1
        return self._changed(record, change, change.after, state, stored, before, occ, round_, now)

    def _changed(
        self,
        record: SourceRecord,
        change: Change,
        after: Facts,
        state: EntityState | None,
        stored: Facts | None,
        before: Facts | None,
        occ: Occurrence,
        round_: EntityRound,
        now: int,
    ) -> EntityState:
        armed = state is not None and state.armed
        raw = record.value or b""
        located = False
        if armed:
            was = [facts for facts in (stored, before) if facts is not None]
            located = any(facts.location_id != after.location_id for facts in was)
            for owner in dict.fromkeys(facts.customer_id for facts in was):
                if owner and owner != after.customer_id:
                    reason = Reason.CUSTOMER_CHANGED
                    round_.clear_after(change, owner)
                    round_.clears.append(clear_command(self.kind, change, owner, ClearScope.ALL, reason, raw))
        status = self._catalog.status_kind(change.company, self.kind, after.status_id)
        rules = notifications(self._catalog, change.company, self.kind, occ, after)
        if not after.customer_id:
            round_.log += [
                not_sent(self.kind, change, rule, after, Reason.NO_CUSTOMER, now) for rule in rules
            ]
        else:
            commands: list[Timer] = self._no_longer(change, after, status, raw) if armed else []
            # The newest facts travel once: with the first command, or by themselves.
            for rule in rules:
                news = b"" if commands else raw
                commands.append(
                    arm_command(self.kind, change, rule, after, change.event_id, change.occurred_at, news)
                )
            # Only where something that a reminder looks at differs from what was known, or from what the
            # record says was before (the two can disagree: what was missed must be made up for).
            if stored is None or occ.created or stored != after or before != after:
                moment = record.timestamp if occ.snapshot else change.occurred_at
                for rule in reminders(self._catalog, change.company, self.kind, after):
                    news = b"" if commands else raw
                    anchor = str(after.scheduled_at)
                    commands.append(arm_command(self.kind, change, rule, after, anchor, moment, news))
            if armed and (located or not commands):
                news = b"" if commands else raw
                why = LOCATION_CHANGED if located else ""
                commands.append(facts_command(self.kind, change, after.customer_id, why, news))
            armed = armed or bool(commands)
            round_.timers += commands
        return EntityState(
            version=change.version,
            deleted=False,
            armed=armed,
            status_id=after.status_id,
            customer_id=after.customer_id,
            location_id=after.location_id,
            scheduled_at=after.scheduled_at,
            occurred_at=change.occurred_at,
            # Nothing is armed from a closed entity: what is left of it is small.
            raw=raw if status is StatusKind.OPEN else b"",
        )

    def _no_longer(self, change: Change, after: Facts, status: StatusKind, raw: bytes) -> list[Timer]:
        """What clears the pending messages that make no sense any more, as the entity is now."""
        if status is not StatusKind.OPEN:
            cancelled = status is StatusKind.CANCELLED
            scope = ClearScope.SCHEDULED
            reason = Reason.ENTITY_CANCELLED if cancelled else Reason.ENTITY_CLOSED
        elif after.scheduled_at is None:
            scope, reason = ClearScope.REMINDERS, Reason.TIME_REMOVED
        else:
            return []
        return [clear_command(self.kind, change, after.customer_id, scope, reason, raw)]

    def _deleted(
        self,
        change: Change,
        state: EntityState | None,
        before: Facts | None,
        round_: EntityRound,
    ) -> EntityState:
        round_.counts["deleted"] += 1
        owners = [before.customer_id] if before is not None else []
        if state is not None:
            owners.append(state.customer_id)
        for owner in dict.fromkeys(owners):
            if owner and state is not None and state.armed:
                round_.timers.append(
                    clear_command(self.kind, change, owner, ClearScope.ALL, Reason.ENTITY_DELETED, b"")
                )
        return EntityState(
            version=change.version,
            deleted=True,
            armed=False,
            status_id="",
            customer_id="",
            location_id="",
            scheduled_at=None,
            occurred_at=change.occurred_at,
            raw=b"",
        )

    def _dead(self, record: SourceRecord, error: DecodeError, now: int) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            error=str(error.reason),
            detail=str(error),
            key=record.key or b"",
            value=record.value or b"",
            at=now,
        )

    # --- rules that change (P6) -------------------------------------------------------------------

    def rules_changed(self, rules: Sequence[tuple[str, str]]) -> None:
        """Notes (company, rule id) pairs whose reminders must be armed anew, where not yet applied."""
        for company, rule_id in rules:
            rule = self._catalog.rule(company, rule_id)
            if rule is None or not rule.enabled or rule.kind is not RuleKind.REMINDER:
                continue
            if rule.entity is self.kind and self._applied(company, rule_id)[0] < rule.version:
                pair = (company, rule_id)
                self._sweeps.setdefault(pair)

    @property
    def sweeping(self) -> int:
        """Rules that still have to be applied to the entities of this partition."""
        return len(self._sweeps)

    def sweep(self, now: int) -> EntityRound | None:
        """Arms the next reminders of the first rule that waits, of entities whose time is yet to come; None
        when no rule waits.

        Resumed after a crash from the cursor in ``applied``; arming twice changes nothing.
        """
        while self._sweeps:
            company, rule_id = pair = next(iter(self._sweeps))
            rule = self._catalog.rule(company, rule_id)
            if rule is not None and rule.enabled:
                return self._sweep(rule, now)
            del self._sweeps[pair]
        return None

    def _sweep(self, rule: Rule, now: int) -> EntityRound:
        round_ = EntityRound()
        prefix = entity_key(rule.company, "")
        _, version, cursor = self._applied(rule.company, rule.id)
        low = cursor if version == rule.version and cursor else prefix
        rows = self._store.scan("entities", low, prefix_end(prefix), SWEEP_ROWS)
        touched: dict[bytes, EntityState] = {}
        for key, raw in rows:
            state = _decode_state(raw)
            if state.deleted or not state.customer_id or not state.raw:
                continue
            if state.scheduled_at is None or state.scheduled_at <= now:
                continue  # over before the rule was written: nobody asks why there was no reminder
            facts = state.facts()
            if rule not in reminders(self._catalog, rule.company, self.kind, facts):
                continue
            _, entity_id = split_key(key)
            round_.timers.append(
                Timer(
                    op=TimerOp.ARM,
                    company=rule.company,
                    kind=self.kind,
                    entity_id=entity_id,
                    customer_id=state.customer_id,
                    entity_version=state.version,
                    rule_id=rule.id,
                    rule_version=rule.version,
                    anchor=str(state.scheduled_at),
                    occurred_at=state.occurred_at,
                    status_id=state.status_id,
                    change=state.raw,
                )
            )
            if not state.armed:
                state.armed = True
                touched[key] = state
        done = len(rows) < SWEEP_ROWS
        if done:
            del self._sweeps[rule.company, rule.id]
            applied = (rule.version, rule.version, b"")
        else:
            applied = (self._applied(rule.company, rule.id)[0], rule.version, rows[-1][0] + b"\x00")
        self._write_states(touched, round_)
        round_.writes.append(("applied", _rule_key(rule.company, rule.id), _encode(applied)))
        return round_

    def _applied(self, company: str, rule_id: str) -> tuple[int, int, bytes]:
        """(version applied, version whose sweep is under way, where it goes on)."""
        raw = self._store.get("applied", _rule_key(company, rule_id))
        return msgspec.msgpack.decode(raw, type=tuple[int, int, bytes]) if raw is not None else (-1, -1, b"")

    def tidy(self, now: int) -> EntityRound | None:
        """Forgets, piece by piece and once a day, what was closed or deleted more than 35 days ago; None when
        there is nothing to look through."""
        if self._tidy_from is None:
            if 0 <= now - self._tidied < TIDY_EVERY:
                return None
            self._tidied = now
            self._tidy_from = b""
        rows = self._store.scan("entities", self._tidy_from, None, SWEEP_ROWS)
        self._tidy_from = rows[-1][0] + b"\0" if len(rows) == SWEEP_ROWS else None
        round_ = EntityRound()
        if self._tidy_from is None:
            round_.writes.append(("meta", TIDIED, _encode(self._tidied)))
        for key, raw in rows:
            state = _decode_state(raw)
            newest = max(state.occurred_at, state.scheduled_at or 0)
            if not state.raw and now - newest > MEMORY:
                round_.changelog.append((key, None))
                round_.writes.append(("entities", key, None))
        return round_

    # --- writing ----------------------------------------------------------------------------------

    def _write_states(self, touched: dict[bytes, EntityState], round_: EntityRound) -> None:
        for key, state in touched.items():
            raw = _encode(state)
            round_.changelog.append((key, raw))
            round_.writes.append(("entities", key, raw))

    def _write_source(self, next_offset: int, round_: EntityRound) -> None:
        raw = _encode(next_offset)
        round_.changelog.append((SOURCE, raw))  # last: state is never ahead of it, nor it of state
        round_.writes.append(("meta", SOURCE, raw))


def restored(records: Sequence[tuple[bytes, bytes | None]]) -> list[Write]:
    """The writes that bring a store up to these records of its changelog."""
    return [("meta" if key.startswith(b"\x00") else "entities", key, value) for key, value in records]


def snapshot(store: KeyValue, keys: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """The changelog records that say what ``store`` holds under these changelog keys."""
    return [(key, store.get("meta" if key.startswith(b"\x00") else "entities", key)) for key in keys]


def contents(store: KeyValue) -> Iterator[bytes]:
    """The changelog keys of all that ``store`` holds."""
    yield from all_keys(store, "entities")
    yield from (key for key in all_keys(store, "meta") if key.startswith(b"\x00"))


def _rule_key(company: str, rule_id: str) -> bytes:
    return f"{company}\0{rule_id}".encode()
