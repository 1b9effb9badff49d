"""The entity stage: changes of one partition of one entity topic in, timer commands out.

Decides *whether*: compares before with after, matches the company's rules, and remembers each entity's
newest state, so that a rule written later can arm the reminders of what is already booked (P6). Sans I/O:
``step`` and ``sweep`` return what is to be produced and written; the runtime produces ``clears``, then
``timers`` and ``log``, then the changelog, awaits every ack in between, and only then writes the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

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
from streams.stages.ports import KeyValue, Write, prefix_end

FAMILIES = ("entities", "meta", "applied")
SOURCE = b"\x00source"
"""Key of the source offset, in the changelog (after the states of its batch) and in ``meta``. No entity
key begins with NUL."""
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


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One record of the entity topic with what the codec made of it (None: a tombstone)."""

    offset: int
    timestamp: int
    key: bytes
    raw: bytes
    change: Change | DecodeError | None


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
    counts: dict[str, int] = field(default_factory=dict)
    """Records by what became of them, for the metrics."""

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

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
        self._sweeps: deque[tuple[str, str]] = deque()
        self._tidy_from: bytes | None = None
        self._tidied = -1
        stored = store.get("meta", SOURCE)
        self.source = _decode_int(stored) if stored is not None else 0
        """The next offset to work on: everything below it is in the state and was sent on."""

    # --- changes --------------------------------------------------------------------------------

    def step(self, records: Sequence[Incoming], next_offset: int, now: int) -> EntityRound:
        """Works on one batch. ``now`` stamps log records and dead letters, and decides nothing."""
        round_ = EntityRound()
        fresh = [record for record in records if record.offset >= self.source]
        keys = [
            entity_key(record.change.company, record.change.entity_id)
            for record in fresh
            if isinstance(record.change, Change)
        ]
        known = dict(zip(keys, self._store.get_many("entities", keys), strict=True))
        states = {key: _decode_state(raw) for key, raw in known.items() if raw is not None}
        touched: dict[bytes, EntityState] = {}
        position = iter(keys)
        for record in fresh:
            if isinstance(record.change, Change):
                key = next(position)
                state = self._change(record, record.change, states.get(key), round_, now)
                if state is not None:
                    states[key] = touched[key] = state
            elif record.change is None:
                round_.count("tombstone")  # follows a delete, which has told everything
            else:
                round_.count(record.change.reason)
                round_.dead.append(self._dead(record, record.change, now))
        self._write_states(touched, round_)
        if next_offset > self.source:
            self._write_source(next_offset, round_)
        return round_

    def committed(self, next_offset: int) -> None:
        """The writes of a step have been made; its records need not come again."""
        self.source = max(self.source, next_offset)

    def _change(
        self, record: Incoming, change: Change, state: EntityState | None, round_: EntityRound, now: int
    ) -> EntityState | None:
        if state is not None and change.version <= state.version:
            late = change.version < state.version
            round_.count(Reason.OUT_OF_ORDER if late else "duplicate")
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
        before = change.before
        if before is None and state is not None and not state.deleted:
            before = state.facts()
        operation = change.operation
        if operation is Operation.CREATE and state is not None and not state.deleted:
            operation = Operation.UPDATE  # said again: the customer has been greeted already
        elif operation is Operation.UPDATE and before is None:
            operation = Operation.READ  # nobody can say what changed, so nothing is told
        occ = occurrence(operation, before, change.after)
        if occ.deleted or change.after is None:
            return self._deleted(record, change, state, before, round_)
        round_.count("accepted")
        return self._changed(record, change, change.after, state, before, occ, round_, now)

    def _changed(
        self,
        record: Incoming,
        change: Change,
        after: Facts,
        state: EntityState | None,
        before: Facts | None,
        occ: Occurrence,
        round_: EntityRound,
        now: int,
    ) -> EntityState:
        if not after.customer_id:
            rules = notifications(self._catalog, change.company, self.kind, occ, after)
            round_.log += [
                not_sent(self.kind, change, rule, after, Reason.NO_CUSTOMER, now) for rule in rules
            ]
        armed = state is not None and state.armed
        stored = state.facts() if state is not None and not state.deleted else None
        for owner in dict.fromkeys(f.customer_id for f in (stored, before) if f is not None):
            if armed and owner and owner != after.customer_id:
                reason = Reason.CUSTOMER_CHANGED
                round_.clear_after(change, owner)
                round_.clears.append(
                    clear_command(self.kind, change, owner, ClearScope.ALL, reason, record.raw)
                )
        commands: list[Timer] = []
        if after.customer_id:
            status = self._catalog.status_kind(change.company, self.kind, after.status_id)
            if armed and status is not StatusKind.OPEN:
                cancelled = status is StatusKind.CANCELLED
                reason = Reason.ENTITY_CANCELLED if cancelled else Reason.ENTITY_CLOSED
                commands.append(
                    clear_command(
                        self.kind, change, after.customer_id, ClearScope.SCHEDULED, reason, record.raw
                    )
                )
            elif armed and after.scheduled_at is None:
                commands.append(
                    clear_command(
                        self.kind,
                        change,
                        after.customer_id,
                        ClearScope.REMINDERS,
                        Reason.TIME_REMOVED,
                        record.raw,
                    )
                )
            # The newest facts travel once: with the first command, or by themselves.
            for rule in notifications(self._catalog, change.company, self.kind, occ, after):
                raw = b"" if commands else record.raw
                commands.append(
                    arm_command(self.kind, change, rule, after, change.event_id, change.occurred_at, raw)
                )
            if self._reminders_may_differ(after, stored, before, occ):
                moment = record.timestamp if occ.snapshot else change.occurred_at
                for rule in reminders(self._catalog, change.company, self.kind, after):
                    raw = b"" if commands else record.raw
                    anchor = str(after.scheduled_at)
                    commands.append(arm_command(self.kind, change, rule, after, anchor, moment, raw))
            located = any(was.location_id != after.location_id for was in (stored, before) if was is not None)
            if armed and (located or not commands):
                raw = b"" if commands else record.raw
                why = LOCATION_CHANGED if located else ""
                commands.append(facts_command(self.kind, change, after.customer_id, why, raw))
            armed = armed or bool(commands)
            round_.timers += commands
        kind = self._catalog.status_kind(change.company, self.kind, after.status_id)
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
            raw=record.raw if kind is StatusKind.OPEN else b"",
        )

    def _reminders_may_differ(
        self, after: Facts, stored: Facts | None, before: Facts | None, occ: Occurrence
    ) -> bool:
        """Anything that a reminder looks at differs from what was known, or from what the record says was
        before (the two can disagree: what was missed must be made up for)."""
        return (
            stored is None
            or occ.created
            or any(
                was.scheduled_at != after.scheduled_at
                or was.location_id != after.location_id
                or was.customer_id != after.customer_id
                or was.status_id != after.status_id
                for was in (stored, before)
                if was is not None
            )
        )

    def _deleted(
        self,
        record: Incoming,
        change: Change,
        state: EntityState | None,
        before: Facts | None,
        round_: EntityRound,
    ) -> EntityState:
        round_.count("deleted")
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

    def _dead(self, record: Incoming, error: DecodeError, now: int) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            error=str(error.reason),
            detail=str(error),
            key=record.key,
            value=record.raw,
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
                if pair not in self._sweeps:
                    self._sweeps.append(pair)

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
            company, rule_id = self._sweeps[0]
            rule = self._catalog.rule(company, rule_id)
            if rule is not None and rule.enabled:
                return self._sweep(rule, now)
            self._sweeps.popleft()
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
            self._sweeps.popleft()
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
            if now - self._tidied < TIDY_EVERY:
                return None
            self._tidied = now
            self._tidy_from = b""
        rows = self._store.scan("entities", self._tidy_from, None, SWEEP_ROWS)
        self._tidy_from = rows[-1][0] + b"\0" if len(rows) == SWEEP_ROWS else None
        round_ = EntityRound()
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


def _rule_key(company: str, rule_id: str) -> bytes:
    return f"{company}\0{rule_id}".encode()
