"""The rules of every company, arranged so that a change finds the ones that fire without a search.

Company, then kind of entity, then trigger (and status), then location. One edit touches the cells of one
rule, never the others; what a cell answers is sorted by rule id, so that it does not depend on the order
in which the topic was read.
"""

from __future__ import annotations

from schemas.records import EntityKind, Rule, RuleKind, Trigger

Rules = tuple[Rule, ...]


class Cell:
    """Rules that share company, kind of entity and trigger, by location."""

    __slots__ = ("_answers", "_by_location", "_everywhere", "_everywhere_sorted")

    def __init__(self) -> None:
        self._everywhere: dict[str, Rule] = {}
        self._everywhere_sorted: Rules | None = ()
        self._by_location: dict[str, dict[str, Rule]] = {}
        # Only locations that some rule names are remembered: the ids in changes are without bound.
        self._answers: dict[str, Rules] = {}

    def at(self, location_id: str) -> Rules:
        """The rules for this location and those for all; ``""`` is an entity without a location."""
        answer = self._answers.get(location_id)
        return answer if answer is not None else self._answer(location_id)

    def put(self, rule: Rule, locations: tuple[str, ...] | None) -> None:
        if locations is None:
            self._everywhere[rule.id] = rule
            self._forget_all()
            return
        for location in locations:
            self._by_location.setdefault(location, {})[rule.id] = rule
            self._answers.pop(location, None)

    def drop(self, rule: Rule, locations: tuple[str, ...] | None) -> None:
        if locations is None:
            del self._everywhere[rule.id]
            self._forget_all()
            return
        for location in dict.fromkeys(locations):
            rules = self._by_location[location]
            del rules[rule.id]
            if not rules:
                del self._by_location[location]
            self._answers.pop(location, None)

    def is_empty(self) -> bool:
        return not self._everywhere and not self._by_location

    def _forget_all(self) -> None:
        self._everywhere_sorted = None
        self._answers.clear()

    def _answer(self, location_id: str) -> Rules:
        if self._everywhere_sorted is None:
            self._everywhere_sorted = _by_id(self._everywhere)
        here = self._by_location.get(location_id)
        # A rule without a place can't be met by an entity without one, whatever a record says.
        if here is None or not location_id:
            return self._everywhere_sorted
        answer = self._answers[location_id] = _by_id(self._everywhere | here)
        return answer


class KindIndex:
    """The enabled rules of one company for one kind of entity."""

    __slots__ = ("before_time", "changed_to", "created", "status_changed", "time_changed")

    def __init__(self) -> None:
        self.created = Cell()
        self.status_changed = Cell()
        self.changed_to: dict[str, Cell] = {}
        """By the status that the entity has changed to."""
        self.time_changed = Cell()
        self.before_time = Cell()

    def cell(self, rule: Rule) -> Cell:
        """Where the rule belongs; created for a status that no rule has named so far."""
        match rule.trigger:
            case Trigger.CREATED:
                return self.created
            case Trigger.STATUS_CHANGED:
                return self.status_changed
            case Trigger.STATUS_CHANGED_TO:
                return self.changed_to.setdefault(rule.status_id, Cell())
            case Trigger.TIME_CHANGED:
                return self.time_changed
            case _:
                return self.before_time


class RuleIndex:
    """All companies. Holds enabled rules only, and of those only what the product's table allows: a
    record that bypassed the check (a reminder for leads, say) is never matched."""

    __slots__ = ("_companies",)

    def __init__(self) -> None:
        self._companies: dict[str, dict[EntityKind, KindIndex]] = {}

    def of(self, company: str, kind: EntityKind) -> KindIndex | None:
        """None: the company has (had) no rules for this kind of entity."""
        kinds = self._companies.get(company)
        return None if kinds is None else kinds.get(kind)

    def replace(self, old: Rule | None, new: Rule | None) -> None:
        """Takes ``old`` out (it must be what was put in) and puts ``new`` in; either may be None."""
        if old is not None and _is_matched(old):
            kinds = self._companies[old.company][old.entity]
            cell = kinds.cell(old)
            cell.drop(old, _locations(old))
            if old.trigger is Trigger.STATUS_CHANGED_TO and cell.is_empty():
                del kinds.changed_to[old.status_id]
        if new is not None and _is_matched(new):
            by_kind = self._companies.setdefault(new.company, {})
            kinds = by_kind.setdefault(new.entity, KindIndex())
            kinds.cell(new).put(new, _locations(new))


def _is_matched(rule: Rule) -> bool:
    is_reminder = rule.trigger is Trigger.BEFORE_TIME
    if not rule.enabled or is_reminder is not (rule.kind is RuleKind.REMINDER):
        return False
    return rule.entity is not EntityKind.LEAD or rule.trigger in _LEAD_TRIGGERS


_LEAD_TRIGGERS = frozenset({Trigger.CREATED, Trigger.STATUS_CHANGED_TO})


def _locations(rule: Rule) -> tuple[str, ...] | None:
    """Leads have no location: their rules are for all."""
    return None if rule.entity is EntityKind.LEAD else rule.locations


def _by_id(rules: dict[str, Rule]) -> Rules:
    return tuple(rules[rule_id] for rule_id in sorted(rules))
