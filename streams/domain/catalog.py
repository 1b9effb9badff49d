"""The reference data in memory: what the broadcast topics say about every company, record by record.

Every dictionary is keyed by company first, so that no look-up can cross into another company (P8).
Versions decide: an older or equal one than what is held changes nothing (P5).
"""

from __future__ import annotations

from typing import TypeVar

from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Location,
    Mailbox,
    Rule,
    Status,
    StatusKind,
    Suppression,
    Template,
)
from streams.domain.matching import RuleIndex

Reference = Rule | Template | Status | Location | Company | Mailbox | Suppression
"""A record of a broadcast topic."""

ReferenceType = (
    type[Rule]
    | type[Template]
    | type[Status]
    | type[Location]
    | type[Company]
    | type[Mailbox]
    | type[Suppression]
)

_Record = TypeVar("_Record", Rule, Template, Status, Location, Company, Mailbox)

_OPEN = StatusKind.OPEN
NO_VERSION = -1
"""The version of what is not there."""


class Catalog:
    """Filled by ``apply`` and ``remove``; everything else only reads. A look-up of what is not there
    gives None, and allocates nothing."""

    __slots__ = (
        "_companies",
        "_locations",
        "_mailboxes",
        "_rules",
        "_statuses",
        "_suppressions",
        "_templates",
        "changes",
        "matching",
    )

    def __init__(self) -> None:
        self._companies: dict[str, Company] = {}
        self._rules: dict[str, dict[str, Rule]] = {}
        self._templates: dict[str, dict[str, Template]] = {}
        self._statuses: dict[str, dict[str, Status]] = {}
        self._locations: dict[str, dict[str, Location]] = {}
        self._mailboxes: dict[str, dict[str, Mailbox]] = {}
        self._suppressions: dict[str, dict[str, int]] = {}
        self.changes = 0
        """How often anything has come or gone: as long as it is the same, every answer is."""
        self.matching = RuleIndex()
        """Kept with every rule that comes and goes; ``streams.domain.triggers`` reads it."""

    # --- changes --------------------------------------------------------------------------------

    def apply(self, record: Reference) -> bool:
        """False: what is held is as new or newer, and the record was ignored."""
        self.changes += 1
        match record:
            case Rule():
                return self._apply_rule(record)
            case Template():
                return _put(self._templates.setdefault(record.company, {}), record.id, record)
            case Status():
                return _put(self._statuses.setdefault(record.company, {}), record.id, record)
            case Location():
                return _put(self._locations.setdefault(record.company, {}), record.id, record)
            case Mailbox():
                return _put(self._mailboxes.setdefault(record.company, {}), record.id, record)
            case Company():
                return _put(self._companies, record.id, record)
            case _:
                return self._apply_suppression(record)

    def remove(self, record_type: ReferenceType, company: str, id: str) -> bool:
        """A tombstone. ``id`` is the rest of the record's key after the company: for a suppression
        ``channel/address``; for a company it is not looked at. False: there was nothing."""
        self.changes += 1
        if record_type is Company:
            return self._companies.pop(company, None) is not None
        if record_type is Rule:
            old = self._rules.get(company, {}).pop(id, None)
            self.matching.replace(old, None)
            return old is not None
        if record_type is Suppression:
            return self._suppressions.get(company, {}).pop(id, None) is not None
        if record_type is Template:
            return self._templates.get(company, {}).pop(id, None) is not None
        if record_type is Status:
            return self._statuses.get(company, {}).pop(id, None) is not None
        if record_type is Location:
            return self._locations.get(company, {}).pop(id, None) is not None
        return self._mailboxes.get(company, {}).pop(id, None) is not None

    # --- what is held ---------------------------------------------------------------------------

    def companies(self) -> tuple[Company, ...]:
        return tuple(self._companies.values())

    def company(self, company: str) -> Company | None:
        return self._companies.get(company)

    def rules_of(self, company: str) -> tuple[Rule, ...]:
        """Enabled or not."""
        return tuple(self._rules.get(company, {}).values())

    def rule(self, company: str, id: str) -> Rule | None:
        rules = self._rules.get(company)
        return None if rules is None else rules.get(id)

    def templates_of(self, company: str) -> tuple[Template, ...]:
        return tuple(self._templates.get(company, {}).values())

    def template(self, company: str, id: str) -> Template | None:
        templates = self._templates.get(company)
        return None if templates is None else templates.get(id)

    def statuses_of(self, company: str) -> tuple[Status, ...]:
        """Of all kinds of entities."""
        return tuple(self._statuses.get(company, {}).values())

    def status(self, company: str, kind: EntityKind, id: str) -> Status | None:
        """Ids of statuses are unique in a company; None also where it belongs to another kind."""
        statuses = self._statuses.get(company)
        found = None if statuses is None else statuses.get(id)
        return found if found is not None and found.entity is kind else None

    def locations_of(self, company: str) -> tuple[Location, ...]:
        return tuple(self._locations.get(company, {}).values())

    def location(self, company: str, id: str) -> Location | None:
        locations = self._locations.get(company)
        return None if locations is None else locations.get(id)

    def mailboxes_of(self, company: str) -> tuple[Mailbox, ...]:
        return tuple(self._mailboxes.get(company, {}).values())

    def mailbox(self, company: str, id: str) -> Mailbox | None:
        mailboxes = self._mailboxes.get(company)
        return None if mailboxes is None else mailboxes.get(id)

    def is_suppressed(self, company: str, channel: Channel, address: str) -> bool:
        """``address`` is normalised; in what case it is written does not matter."""
        suppressions = self._suppressions.get(company)
        return suppressions is not None and suppression_id(channel, address) in suppressions

    # --- what follows from it -------------------------------------------------------------------

    def zone(self, company: str, location_id: str) -> str:
        """IANA name: the location's; where there is no such location the company's; else UTC."""
        place = self.location(company, location_id) or self.company(company)
        return "UTC" if place is None else place.zone

    def hours(self, company: str, location_id: str) -> Hours:
        """The location's; where there is no such location the company's; else closed always."""
        place = self.location(company, location_id) or self.company(company)
        return Hours() if place is None else place.hours

    def currency(self, company: str) -> str:
        """ISO 4217 code, empty for an unknown company."""
        found = self.company(company)
        return "" if found is None else found.currency

    def status_kind(self, company: str, kind: EntityKind, status_id: str) -> StatusKind:
        """An unknown status is open: nothing is cleared because a table lags behind."""
        statuses = self._statuses.get(company)
        found = None if statuses is None else statuses.get(status_id)
        return _OPEN if found is None or found.entity is not kind else found.kind

    def _apply_rule(self, rule: Rule) -> bool:
        rules = self._rules.setdefault(rule.company, {})
        old = rules.get(rule.id)
        if not _put(rules, rule.id, rule):
            return False
        self.matching.replace(old, rule)
        return True

    def _apply_suppression(self, record: Suppression) -> bool:
        held = self._suppressions.setdefault(record.company, {})
        key = suppression_id(record.channel, record.address)
        if record.version <= held.get(key, NO_VERSION):
            return False
        held[key] = record.version
        return True


def suppression_id(channel: Channel, address: str) -> str:
    """The rest of a suppression's key after the company. In lower case: whoever opted out as ann@ is not to
    be written to as Ann@ either."""
    return f"{channel}/{address.lower()}"


def _put(held: dict[str, _Record], id: str, record: _Record) -> bool:
    old = held.get(id)
    if old is not None and record.version <= old.version:
        return False
    held[id] = record
    return True
