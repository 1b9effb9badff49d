"""Reference data that changes while messages wait (P6): which pending rows must be looked at again.

What a partition has applied is kept in the ``applied`` family, so that a start, a crash or a move of the
partition resumes what was left: rule versions under ``company NUL rule``, and under ``company NUL`` a stamp
of the company's own version and those of its locations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from schemas.records import DeliveryState, Rule
from streams.domain.catalog import Catalog
from streams.domain.reasons import Reason
from streams.stages.arming import Entities, retime
from streams.stages.ports import KeyValue, prefix_end
from streams.stages.round import DeliveryRound
from streams.stages.slots import IN_FLIGHT, name_of

ROWS = 500
"""Slots looked at in one round of a sweep: some milliseconds, so that what is due is not kept waiting."""

ALL = ""
"""In the place of a rule id: everything pending of the company."""


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
        """Queues those of the (company, rule id) pairs that are not applied yet; rule id ALL: the company."""
        for name in names:
            company, rule_id = name
            if rule_id not in self._todo.get(company, ()) and self._applied(name) != self._wanted(name):
                self._add(name)

    def notice_all(self) -> None:
        """At opening: compares everything with what the store has applied, deletions included."""
        left: dict[bytes, bytes] = {}
        low = b""
        # Not asked for one by one: a worker with many partitions and many rules would start late.
        while rows := self._store.scan("applied", low, None, 1_000):
            low = rows[-1][0] + b"\0"
            left.update(rows)
        for company in self._catalog.companies():
            if left.pop(_key((company.id, ALL)), None) != stamp(self._catalog, company.id):
                self._add((company.id, ALL))
            for rule in self._catalog.rules_of(company.id):
                if left.pop(_key((company.id, rule.id)), None) != _version(rule):
                    self._add((company.id, rule.id))
        names = (key.decode().split("\0") for key in left)
        self.notice((company_id, rule_id) for company_id, rule_id in names if rule_id != ALL)

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
            self._under = {rule_id: self._wanted((company, rule_id)) for rule_id in self._todo[company]}
            self._cursor = prefix
        under = self._under
        rows = self._store.scan("slots", self._cursor, prefix_end(prefix), limit)
        keys = [key for key, _ in rows if ALL in under or name_of(key).rule_id in under]
        round_.table.load(keys)
        for key in keys:
            self._look(key, round_, entities)
        if len(rows) == limit:
            self._cursor = rows[-1][0] + b"\0"
            return limit
        self._under = None
        names = self._todo.pop(company)
        for rule_id, wanted in under.items():
            # What has changed meanwhile is looked for once more, in the rows behind the cursor too.
            if wanted == self._wanted((company, rule_id)):
                del names[rule_id]
                round_.writes.append(("applied", _key((company, rule_id)), wanted))
        if names:
            self._todo[company] = names
        return len(rows) + len(under) // 4 + 1

    def _look(self, key: bytes, round_: DeliveryRound, entities: Entities) -> None:
        found = round_.table.get(key)
        if found is None or found.row is None or found.row.state in IN_FLIGHT:
            return
        name = name_of(key)
        slot = round_.table.change(key)
        rule = self._catalog.rule(name.company, name.rule_id)
        if rule is None:
            if found.row.target >= 0:
                round_.end(key, slot, DeliveryState.CANCELLED, Reason.RULE_DELETED)
            return
        slot.head.rule_version = max(slot.head.rule_version, rule.version)
        retime(key, slot, round_, entities, self._catalog)

    def _wanted(self, name: tuple[str, str]) -> bytes | None:
        company, rule_id = name
        if rule_id == ALL:
            return stamp(self._catalog, company)
        rule = self._catalog.rule(company, rule_id)
        return _version(rule) if rule is not None else None

    def _applied(self, name: tuple[str, str]) -> bytes | None:
        return self._store.get("applied", _key(name))

    def _add(self, name: tuple[str, str]) -> None:
        company, rule_id = name
        self._todo.setdefault(company, {})[rule_id] = None


def _key(name: tuple[str, str]) -> bytes:
    return "\0".join(name).encode()


def _version(rule: Rule) -> bytes:
    return rule.version.to_bytes(8, "big")
