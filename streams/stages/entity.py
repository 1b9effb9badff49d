"""The entity stage: changes of one partition of one entity topic in, timer commands out.

Decides *whether*: compares before with after, matches the company's rules, and remembers each entity's
newest state, so that a rule written later can arm the reminders of what is already booked (P6). Sans I/O:
``step`` and ``sweep`` return what is to be produced and written; the runtime produces ``clears``, then
``timers`` and ``log``, then the changelog, awaits every ack in between, and only then writes the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from schemas.errors import DecodeError
from schemas.records import (
    Change,
    ClearScope,
    DeadLetter,
    EntityKind,
    Facts,
    Operation,
    StatusKind,
    Timer,
)
from streams.domain.catalog import Catalog
from streams.domain.ids import entity_key
from streams.domain.reasons import Reason
from streams.domain.triggers import LOCATION_CHANGED, Occurrence, notifications, occurrence, reminders
from streams.stages.commands import arm_command, clear_command, facts_command, not_sent
from streams.stages.entity_state import SOURCE, EntityRound, EntityState, decode_state
from streams.stages.ports import KeyValue
from streams.stages.rearming import Rearming

TIDIED = b"\x01tidied"
"""Key in ``meta``, not in the changelog: when memories were last looked through."""
MEMORY = 35 * 24 * 3600 * 1000
"""A closed entity is remembered this long: late changes of it must still be seen as late."""
TIDY_ROWS = 500
"""Entities looked at in one round."""
TIDY_EVERY = 24 * 3600 * 1000
"""How often memories are looked through for those that may go (milliseconds)."""


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


_encode = msgspec.msgpack.Encoder().encode
_decode_int = msgspec.msgpack.Decoder(int).decode


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
        self._rearming = Rearming(kind, store, catalog)
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
        states = {key: decode_state(raw) for key, raw in known if raw is not None}
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
        round_.keep(touched)
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

    # --- rules that change (P6), and what is over -------------------------------------------------

    def rules_changed(self, rules: Iterable[tuple[str, str]]) -> None:
        """Notes (company, rule id) pairs whose reminders must be armed anew, where not yet applied."""
        self._rearming.notice(rules)

    @property
    def sweeping(self) -> int:
        """Rules that still have to be applied to the entities of this partition."""
        return len(self._rearming)

    def sweep(self, now: int) -> EntityRound | None:
        """The next piece of what rules have left to do; None when no rule waits."""
        return self._rearming.step(now)

    def tidy(self, now: int) -> EntityRound | None:
        """Forgets, piece by piece and once a day, what was closed or deleted more than 35 days ago; None when
        there is nothing to look through."""
        if self._tidy_from is None:
            if 0 <= now - self._tidied < TIDY_EVERY:
                return None
            self._tidied = now
            self._tidy_from = b""
        rows = self._store.scan("entities", self._tidy_from, None, TIDY_ROWS)
        self._tidy_from = rows[-1][0] + b"\0" if len(rows) == TIDY_ROWS else None
        round_ = EntityRound()
        if self._tidy_from is None:
            round_.writes.append(("meta", TIDIED, _encode(self._tidied)))
        for key, raw in rows:
            state = decode_state(raw)
            newest = max(state.occurred_at, state.scheduled_at or 0)
            if not state.raw and now - newest > MEMORY:
                round_.changelog.append((key, None))
                round_.writes.append(("entities", key, None))
        return round_

    # --- writing ----------------------------------------------------------------------------------

    def _write_source(self, next_offset: int, round_: EntityRound) -> None:
        raw = _encode(next_offset)
        round_.changelog.append((SOURCE, raw))  # last: state is never ahead of it, nor it of state
        round_.writes.append(("meta", SOURCE, raw))
