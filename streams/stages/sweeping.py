"""Reference data that changes while messages wait (P6): which pending rows must be looked at again.

Of which state of a company's reference data a partition's rows have seen it keeps one digest, in the
changelog too: a start, a crash, a lost disk or a move of the partition looks again at the rows of those
companies alone of which something has changed. What was left in the middle is begun again: to look at a row
for which nothing has changed writes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from schemas.records import DeliveryState
from streams.domain.catalog import Catalog
from streams.domain.reasons import Reason
from streams.stages.arming import Entities, retime
from streams.stages.ports import KeyValue, prefix_end
from streams.stages.round import DeliveryRound
from streams.stages.slots import IN_FLIGHT, Slot, name_of, prefix_of

ROWS = 500
"""Slots looked at in one round of a sweep: some milliseconds, so that what is due is not kept waiting."""

ALL = ""
"""In the place of a rule id: everything pending of the company."""

APPLIED = b"\x00applied "
"""Key in ``meta`` and in the changelog, with a company: the digest of what was applied."""


def digest(catalog: Catalog, company_id: str) -> bytes | None:
    """Changes whenever anything does that may move or end what is pending of the company; None: nothing is
    known of it."""
    rules = sorted(f"{rule.id}={rule.version}" for rule in catalog.rules_of(company_id))
    if not rules and catalog.company(company_id) is None:
        return None
    return blake2b("\0".join(rules).encode(), key=stamp(catalog, company_id), digest_size=12).digest()


def stamp(catalog: Catalog, company_id: str) -> bytes:
    """Changes whenever the company's hours, zone or quiet hours, or one of its locations, change."""
    company = catalog.company(company_id)
    parts = [f"{company.version if company else -1}"]
    parts += sorted(f"{location.id}={location.version}" for location in catalog.locations_of(company_id))
    return blake2b("\0".join(parts).encode(), digest_size=12).digest()


class Sweeper:
    """The rules and companies whose pending rows of one partition are still to be looked at."""

    def __init__(self, store: KeyValue, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._todo: OrderedDict[str, dict[str, None]] = OrderedDict()
        """Rule ids by company, in their order. An ``OrderedDict`` gives its first at once; a ``dict`` passes
        over all that have gone, and at a start there may be a hundred thousand."""
        self._cursor = b""
        self._under: dict[str, bytes | None] | None = None
        """What the pass over the first company's rows applies, by rule id; None: it has not begun. One pass
        for all its rules: after a lost disk a company with a thousand of them has each to be applied."""

    def __len__(self) -> int:
        return sum(map(len, self._todo.values()))

    def __bool__(self) -> bool:
        return bool(self._todo)

    def notice(self, names: Iterable[tuple[str, str]]) -> None:
        """Queues the (company, rule id) pairs, which have changed; rule id ALL: the company."""
        for company, rule_id in names:
            self._todo.setdefault(company, {})[rule_id] = None

    def notice_all(self) -> None:
        """At opening: compares every company with what the store has applied, companies that are gone
        included."""
        left: dict[bytes, bytes] = {}
        low, high = APPLIED, prefix_end(APPLIED)
        # Not asked for one by one: a worker with many partitions and many companies would start late.
        while rows := self._store.scan("meta", low, high, 1_000):
            low = rows[-1][0] + b"\0"
            left.update(rows)
        for company in self._catalog.companies():
            if left.pop(_key(company.id), None) != digest(self._catalog, company.id):
                self.notice([(company.id, ALL)])
        self.notice((key.removeprefix(APPLIED).decode(), ALL) for key in left)

    def step(self, round_: DeliveryRound, entities: Entities) -> bool:
        """Looks at the next rows; False: there was nothing to do."""
        if not self._todo:
            return False
        left = ROWS
        while left > 0 and self._todo:
            left -= self._pass(round_, entities, left)
        return True

    def _pass(self, round_: DeliveryRound, entities: Entities, limit: int) -> int:
        """Looks at up to ``limit`` rows of the first company; how many rows' time that took."""
        company = next(iter(self._todo))
        prefix = f"{company}\0".encode()
        if self._under is None:
            if self._store.get("meta", _key(company)) == digest(self._catalog, company):
                del self._todo[company]  # told twice
                return 1
            self._under = {rule_id: self._wanted((company, rule_id)) for rule_id in self._todo[company]}
            self._cursor = prefix
        under = self._under
        rows = self._store.scan("slots", self._cursor, prefix_end(prefix), limit)
        keys = [key for key, _ in rows if ALL in under or name_of(key).rule_id in under]
        round_.table.load(keys)
        slots = ((key, round_.table.get(key)) for key in keys)
        waiting = [
            (key, slot) for key, slot in slots if slot and slot.row and slot.row.state not in IN_FLIGHT
        ]
        entities.load([prefix_of(key) for key, _ in waiting])
        for key, slot in waiting:
            self._look(key, slot, round_, entities)
        if len(rows) == limit:
            self._cursor = rows[-1][0] + b"\0"
            return limit
        self._under = None
        names = self._todo.pop(company)
        for rule_id, wanted in under.items():
            # What has changed meanwhile is looked for once more, in the rows behind the cursor too.
            if wanted == self._wanted((company, rule_id)):
                del names[rule_id]
        if names:
            self._todo[company] = names
        else:
            self._note(company, round_)
        return len(rows) + len(under) // 4 + 1

    def _note(self, company: str, round_: DeliveryRound) -> None:
        """All that has changed has been applied."""
        key, now = _key(company), digest(self._catalog, company)
        round_.changelog.append((key, now))
        round_.writes.append(("meta", key, now))

    def _look(self, key: bytes, found: Slot, round_: DeliveryRound, entities: Entities) -> None:
        name, row = name_of(key), found.row
        assert row is not None  # only what waits is looked at
        rule = self._catalog.rule(name.company, name.rule_id)
        if rule is None:
            if row.target >= 0:
                round_.end(key, round_.table.change(key), DeliveryState.CANCELLED, Reason.RULE_DELETED)
            return
        changed = found.head.rule_version < rule.version
        found.head.rule_version = max(found.head.rule_version, rule.version)
        if retime(key, found, round_, entities, self._catalog) or changed:
            round_.table.change(key)

    def _wanted(self, name: tuple[str, str]) -> bytes | None:
        company, rule_id = name
        if rule_id == ALL:
            return stamp(self._catalog, company)
        rule = self._catalog.rule(company, rule_id)
        return rule.version.to_bytes(8, "big") if rule is not None else None


def _key(company: str) -> bytes:
    return APPLIED + company.encode()
