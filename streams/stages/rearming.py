"""Rules that change while entities wait (P6): whose next reminders must be armed anew.

Which version of a rule the entities of a partition have seen is in the changelog too: after a lost disk
nothing is armed anew that was armed before. What was left in the middle is begun again, and arming twice
changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from schemas.records import EntityKind, Rule, RuleKind, Timer, TimerOp
from streams.domain.catalog import Catalog
from streams.domain.ids import entity_key, split_key
from streams.domain.triggers import reminders
from streams.stages.entity_state import EntityRound, EntityState, decode_state
from streams.stages.ports import KeyValue, prefix_end

APPLIED = b"\x00applied "
"""Key in ``meta`` and in the changelog, with company NUL rule: the version of the rule that was applied."""
ROWS = 500
"""Entities looked at, and commands given, in one round or little more."""
_AT_ONCE = 100
"""Entities between two looks at how many commands there are."""

_encode = msgspec.msgpack.Encoder().encode
_decode_int = msgspec.msgpack.Decoder(int).decode


class Rearming:
    """The rules that are still to be applied to the entities of one partition."""

    def __init__(self, kind: EntityKind, store: KeyValue, catalog: Catalog) -> None:
        self._kind = kind
        self._store = store
        self._catalog = catalog
        self._todo: OrderedDict[str, dict[str, None]] = OrderedDict()
        """Rule ids by company, in their order. There may be a hundred thousand at a start: a ``dict`` would
        pass over all that have gone to give its first."""
        self._cursor = b""
        self._under: dict[str, Rule | None] | None = None
        """What the pass over the first company's entities applies, by rule id; None: it has not begun."""

    def __len__(self) -> int:
        return sum(map(len, self._todo.values()))

    def notice(self, names: Iterable[tuple[str, str]]) -> None:
        """Queues those of the (company, rule id) pairs that are not applied yet."""
        for company, rule_id in names:
            rule = self._catalog.rule(company, rule_id)
            if rule is not None and not self._arms(rule):
                continue
            raw = self._store.get("meta", _key(company, rule_id))
            if (raw is not None) if rule is None else (raw is None or _decode_int(raw) < rule.version):
                self._todo.setdefault(company, {})[rule_id] = None

    def step(self, now: int) -> EntityRound | None:
        """Arms the next reminders of the rules that wait, of entities whose time is yet to come; None when
        no rule waits."""
        if not self._todo:
            return None
        round_ = EntityRound()
        left = ROWS
        while left > 0 and self._todo:
            left -= self._pass(round_, now, min(left, _AT_ONCE))
        return round_

    def _pass(self, round_: EntityRound, now: int, limit: int) -> int:
        """Looks at up to ``limit`` entities of the first company; how many rows' time that took."""
        company, names = next(iter(self._todo.items()))
        prefix = entity_key(company, "")
        if self._under is None:
            self._under = {rule_id: self._catalog.rule(company, rule_id) for rule_id in names}
            self._cursor = prefix
        under = self._under
        arming = {rule.id for rule in under.values() if rule is not None and self._arms(rule)}
        rows = self._store.scan("entities", self._cursor, prefix_end(prefix), limit) if arming else []
        before = len(round_.timers)
        armed: dict[bytes, EntityState] = {}
        for key, raw in rows:
            state = decode_state(raw)
            if self._arm(company, key, state, arming, round_, now) and not state.armed:
                state.armed = True
                armed[key] = state
        round_.keep(armed)
        took = len(rows) + len(round_.timers) - before
        if len(rows) == limit:
            self._cursor = rows[-1][0] + b"\x00"
            return took
        self._under = None
        del self._todo[company]
        for rule_id, rule in under.items():
            # What has changed meanwhile is applied once more, to the entities behind the cursor too.
            if rule == self._catalog.rule(company, rule_id):
                del names[rule_id]
                if rule is None or self._arms(rule):
                    version = _encode(rule.version) if rule is not None else None
                    round_.note(_key(company, rule_id), version)
        if names:
            self._todo[company] = names
        return took + len(under) // 4 + 1

    def _arm(
        self, company: str, key: bytes, state: EntityState, rules: set[str], round_: EntityRound, now: int
    ) -> bool:
        """Whether a reminder of the entity is armed by one of the rules."""
        if state.deleted or not state.customer_id or not state.raw:
            return False
        if state.scheduled_at is None or state.scheduled_at <= now:
            return False  # over before the rule was written: nobody asks why there was no reminder
        _, entity_id = split_key(key)
        found = [
            rule for rule in reminders(self._catalog, company, self._kind, state.facts()) if rule.id in rules
        ]
        round_.timers += [
            Timer(
                op=TimerOp.ARM,
                company=company,
                kind=self._kind,
                entity_id=entity_id,
                customer_id=state.customer_id,
                entity_version=state.version,
                rule_id=rule.id,
                rule_version=rule.version,
                anchor=str(state.scheduled_at),
                occurred_at=state.occurred_at,
                status_id=state.status_id,
                change=state.raw if rule is found[0] else b"",  # the facts travel once
            )
            for rule in found
        ]
        return bool(found)

    def _arms(self, rule: Rule) -> bool:
        return rule.enabled and rule.kind is RuleKind.REMINDER and rule.entity is self._kind


def _key(company: str, rule_id: str) -> bytes:
    return APPLIED + f"{company}\0{rule_id}".encode()
