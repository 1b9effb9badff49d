"""The form offers what a rule can be, and nothing else: held against the checks of rules."""

from __future__ import annotations

from itertools import product

from console.web.rule_choices import has_hours, has_locations, kinds_of, triggers_of
from schemas.records import Channel, EntityKind, Rule, RuleKind, Trigger
from streams.domain.catalog import Catalog
from streams.domain.rules import check_rule
from tests.support.shop import C, shop, status_of


def catalog() -> Catalog:
    found = Catalog()
    for record in shop():
        found.apply(record)
    return found


def test_every_choice_of_kind_and_trigger() -> None:
    world = catalog()
    for entity, kind, trigger, hours in product(EntityKind, RuleKind, Trigger, (False, True)):
        rule = Rule(
            id="r",
            company=C,
            kind=kind,
            entity=entity,
            trigger=trigger,
            status_id=status_of("ready", entity) if trigger is Trigger.STATUS_CHANGED_TO else "",
            offset=1 if kind is RuleKind.REMINDER else 0,
            working_hours_only=hours,
            channel=Channel.SMS,
            template_id="t",
            version=1,
        )
        offered = kind in kinds_of(entity) and trigger in triggers_of(entity, kind)
        offered = offered and (not hours or has_hours(entity, kind))
        assert offered is (check_rule(rule, world, user=None) == []), (entity, kind, trigger, hours)


def test_leads_have_no_locations() -> None:
    assert [kind for kind in EntityKind if not has_locations(kind)] == [EntityKind.LEAD]
