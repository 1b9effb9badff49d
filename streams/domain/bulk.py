"""The same edit on many rules at once. Pure: what to save, or why not, rule by rule.

A rule that already is as asked comes back as the same object: nothing needs to be saved. ``now`` is in
milliseconds and becomes the version where it is greater than the former version plus one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.records import Channel, Rule
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem
from streams.domain.rules import check_rule

Outcome = Rule | list[Problem]
"""The rule to save, or why it can't be saved."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One rule copied to one location."""

    source_id: str
    location_id: str
    outcome: Outcome


def next_version(previous: int, now: int) -> int:
    """Grows with every edit, also of a record that is deleted and made again, and when clocks disagree."""
    return max(previous + 1, now)


def change_template(
    rules: Iterable[Rule], template_id: str, catalog: Catalog, user: str | None, *, now: int
) -> list[Outcome]:
    """In the order of ``rules``."""
    return [_edited(rule, catalog, user, now, template_id=template_id) for rule in rules]


def change_channel(
    rules: Iterable[Rule],
    channel: Channel,
    catalog: Catalog,
    user: str | None,
    *,
    now: int,
    mailbox_id: str = "",
) -> list[Outcome]:
    """``mailbox_id`` is who e-mails come from (empty: the service's address); SMS have none. In the order
    of ``rules``."""
    mailbox_id = mailbox_id if channel is Channel.EMAIL else ""
    return [_edited(rule, catalog, user, now, channel=channel, mailbox_id=mailbox_id) for rule in rules]


def set_enabled(
    rules: Iterable[Rule], enabled: bool, catalog: Catalog, user: str | None, *, now: int
) -> list[Outcome]:
    """Switching off is never refused: a rule that has become wrong must be possible to stop. In the order
    of ``rules``."""
    return [_edited(rule, catalog, user, now, checked=enabled, enabled=enabled) for rule in rules]


def copy_to_locations(
    rules: Sequence[Rule], locations: Sequence[str], catalog: Catalog, user: str | None, *, now: int
) -> list[Copy]:
    """A rule for each location that no equal rule covers, so that nobody is told twice.

    Equal are rules of one kind with the same entity, trigger, status, offset, delay, channel and template,
    also when they are switched off: somebody may switch them on again. One answer for each rule and
    location, by rule, then in the order of ``locations``.
    """
    copier = _Copier(rules, catalog, user, now)
    return [
        Copy(rule.id, location, copier.copy(rule, location))
        for rule in rules
        for location in dict.fromkeys(locations)
    ]


class _Copier:
    """Remembers what it has made, so that two equal rules don't both get a copy."""

    def __init__(self, rules: Sequence[Rule], catalog: Catalog, user: str | None, now: int) -> None:
        self._catalog = catalog
        self._user = user
        self._now = now
        self._groups: dict[tuple[object, ...], list[Rule]] = {}
        self._taken: set[tuple[str, str]] = set()
        for company in dict.fromkeys(rule.company for rule in rules):
            for known in catalog.rules_of(company):
                self._remember(known)

    def copy(self, rule: Rule, location: str) -> Outcome:
        for other in self._groups.get(_sameness(rule), ()):
            if other.locations is None or location in other.locations:
                off = "" if other.enabled else ", which is switched off"
                message = f"{location!r} is already covered by the equal rule {other.id!r}{off}"
                return [Problem("locations", message, "taken")]
        new = msgspec.structs.replace(
            rule,
            id=self._free_id(rule, location),
            locations=(location,),
            version=next_version(0, self._now),
            changed_at=self._now,
            changed_by=self._user or "",
        )
        problems = check_rule(new, self._catalog, user=self._user)
        if not problems:
            self._remember(new)
        return problems or new

    def _remember(self, rule: Rule) -> None:
        self._groups.setdefault(_sameness(rule), []).append(rule)
        self._taken.add((rule.company, rule.id))

    def _free_id(self, rule: Rule, location: str) -> str:
        wish = f"{rule.id}-{location}"
        found, number = wish, 2
        while (rule.company, found) in self._taken:
            found, number = f"{wish}-{number}", number + 1
        return found


def _sameness(rule: Rule) -> tuple[object, ...]:
    """What makes a customer get the same message at the same moment."""
    return (
        rule.company,
        rule.kind,
        rule.entity,
        rule.trigger,
        rule.status_id,
        _length(rule.offset, rule.offset_unit),
        _length(rule.delay, rule.delay_unit),
        rule.channel,
        rule.template_id,
    )


def _length(amount: int, unit: str) -> tuple[int, bool]:
    """60 minutes are an hour; a day is not 24 hours when clocks change."""
    return (amount * 60 if unit == "hours" else amount), unit == "days" and amount != 0


def _edited(
    rule: Rule, catalog: Catalog, user: str | None, now: int, *, checked: bool = True, **fields: Any
) -> Outcome:
    new = msgspec.structs.replace(rule, **fields)
    if new == rule:
        return rule
    new = msgspec.structs.replace(
        new, version=next_version(rule.version, now), changed_at=now, changed_by=user or ""
    )
    problems = check_rule(new, catalog, user=user, previous=rule) if checked else []
    return problems or new
