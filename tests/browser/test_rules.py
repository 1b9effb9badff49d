"""Rules in a real browser: each kind of them, what can be wrong, and the same done to many."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from schemas.records import Channel, EntityKind, Rule, RuleKind, Trigger, Unit
from tests.browser.chromium import SPACE, Chromium
from tests.console.api.conftest import Spot
from tests.support.shop import C, notification, status_of

pytestmark = pytest.mark.browser

_ORDER, _LEAD, _APPOINTMENT = EntityKind.ORDER, EntityKind.LEAD, EntityKind.APPOINTMENT
_TOLD, _REMINDED = RuleKind.NOTIFICATION, RuleKind.REMINDER


class Sort(NamedTuple):
    entity: EntityKind
    kind: RuleKind
    trigger: Trigger


SORTS = (
    *(Sort(one, _TOLD, Trigger.CREATED) for one in EntityKind),
    *(Sort(one, _TOLD, Trigger.STATUS_CHANGED_TO) for one in EntityKind),
    *(Sort(one, _TOLD, Trigger.STATUS_CHANGED) for one in (_ORDER, _APPOINTMENT)),
    *(Sort(one, _TOLD, Trigger.TIME_CHANGED) for one in (_ORDER, _APPOINTMENT)),
    *(Sort(one, _REMINDED, Trigger.BEFORE_TIME) for one in (_ORDER, _APPOINTMENT)),
)
"""Every cell of the product's table that says yes."""


def here(place: Spot, path: str) -> str:
    return f"http://127.0.0.1:{place.port}/c/{C}/{path}"


def new(place: Spot, entity: EntityKind, kind: RuleKind) -> str:
    return here(place, f"rules/new?entity={entity}&kind={kind}")


def named(place: Spot, name: str) -> Rule:
    def found() -> list[Rule]:
        return [one for one in place.desk.catalog.rules_of(C) if one.name == name]

    place.until(lambda: bool(found()))
    (rule,) = found()
    return rule


def amount(chromium: Chromium, name: str, number: int, unit: Unit) -> None:
    chromium.clear(f"#{name}")
    chromium.type(f"#{name}", str(number))
    chromium.choose(f"#{name}_unit", unit)


@pytest.mark.parametrize("sort", SORTS, ids=lambda sort: "-".join(map(str, sort)))
def test_each_kind_of_rule_is_made(place: Spot, chromium: Chromium, sort: Sort) -> None:
    name = " ".join(map(str, sort))
    chromium.go(new(place, sort.entity, sort.kind))
    chromium.type("#name", name)
    if sort.kind is _TOLD:
        chromium.choose("#trigger", sort.trigger)
        amount(chromium, "delay", 90, Unit.MINUTES)
    else:
        amount(chromium, "offset", 2, Unit.DAYS)
    shown = chromium.run("return !document.getElementById('status_id')?.closest('.field').hidden") is True
    assert (shown and sort.kind is _TOLD) == (sort.trigger is Trigger.STATUS_CHANGED_TO)
    status = ""
    if sort.trigger is Trigger.STATUS_CHANGED_TO:
        status = status_of("ready", sort.entity)
        chromium.choose("#status_id", status)
    at_work = sort.kind is _TOLD and sort.entity is not _LEAD
    assert chromium.run("return !!document.getElementById('working_hours_only')") is at_work
    if at_work:
        chromium.click("#working_hours_only")
    chromium.choose("#template_id", "t")
    assert chromium.run("return !!document.getElementById('where-chosen')") is (sort.entity is not _LEAD)
    chromium.button("Save")
    rule = named(place, name)
    chromium.until(name)
    assert (rule.entity, rule.kind, rule.trigger, rule.status_id) == (*sort, status)
    assert (rule.delay, rule.offset) == ((90, 0) if sort.kind is _TOLD else (0, 2))
    assert rule.working_hours_only is at_work
    assert rule.enabled


def test_each_mistake_is_said_beside_its_field(place: Spot, chromium: Chromium) -> None:
    """And what was typed is still there."""
    chromium.go(new(place, _ORDER, _TOLD))
    chromium.type("#name", "Full of mistakes")
    chromium.choose("#trigger", "status_changed_to")
    amount(chromium, "delay", 400, Unit.DAYS)
    chromium.choose("#channel", "email")
    chromium.choose("#template_id", "when")  # it has no subject
    chromium.click("#where-chosen")
    chromium.button("Save")
    chromium.until("Please look at these fields")
    for field, words in (
        ("status_id", "status_changed_to needs the status"),
        ("delay", "400 days is out of range"),
        ("template_id", "subject"),
        ("locations", "location"),
    ):
        said = chromium.run("return document.getElementById(arguments[0]).innerText", f"{field}-problem")
        assert words in said, field
        chromium.click(f'[role=alert] a[href="#{field}"]')
    values = "return [...arguments].map((one) => document.getElementById(one).value)"
    assert chromium.run(values, "name", "trigger", "delay", "channel", "template_id") == [
        "Full of mistakes",
        "status_changed_to",
        "400",
        "email",
        "when",
    ]
    chromium.choose("#template_id", "")
    chromium.button("Save")
    chromium.until("Please look at these fields")
    assert chromium.run("return !!document.getElementById('template_id-problem')")
    assert "Full of mistakes" not in [one.name for one in place.desk.catalog.rules_of(C)]


def test_the_browser_itself_refuses_a_reminder_of_no_time(place: Spot, chromium: Chromium) -> None:
    chromium.go(new(place, _APPOINTMENT, _REMINDED))
    amount(chromium, "offset", 0, Unit.HOURS)
    chromium.choose("#template_id", "when")
    chromium.button("Save")
    assert chromium.run("return document.getElementById('offset').validity.rangeUnderflow") is True
    assert "Saved." not in chromium.text


class Bulk(NamedTuple):
    action: str
    chosen: tuple[tuple[str, str], ...]
    """Lists and what is chosen of them."""
    done: int


BULK = (
    Bulk("disable", (), 2),
    Bulk("enable", (), 2),
    Bulk("change_template", (("#bulk-template_id", "when"),), 2),
    Bulk("change_channel", (("#bulk-channel", "email"),), 0),  # "when" has no subject
    Bulk("change_template", (("#bulk-template_id", "t"),), 2),
    Bulk("change_channel", (("#bulk-channel", "email"),), 2),
    Bulk("copy_to_locations", (), 2),
    Bulk("delete", (), 4),
)


def test_each_action_on_many_rules(place: Spot, chromium: Chromium) -> None:
    """First it says what would happen; nothing has happened until it is confirmed."""
    rules = [
        notification(trigger, id_=f"many-{number}", name=f"Many {number}", locations=("south",))
        for number, trigger in enumerate((Trigger.CREATED, Trigger.TIME_CHANGED))
    ]
    place.publish(*rules)
    place.until(lambda: place.desk.catalog.rule(C, "many-1") is not None)

    def there() -> list[Rule]:
        return [one for one in place.desk.catalog.rules_of(C) if one.name.startswith("Many ")]

    for bulk in BULK:
        before = there()
        chromium.go(here(place, "rules?entity=order&q=Many"))
        for number in range(len(before)):
            chromium.run("document.getElementsByName('item')[arguments[0]].focus()", number)
            chromium.press(SPACE)
        chromium.click(f"#action-{bulk.action}")
        for selector, value in bulk.chosen:
            chromium.choose(selector, value)
        if bulk.action == "copy_to_locations":
            chromium.click("#copy-north")
        chromium.button("Show what would happen")
        chromium.until(f"It would be done for {bulk.done} of {len(before)}.")
        assert there() == before, bulk
        if not bulk.done:
            assert "refused" in chromium.text
            assert "subject" in chromium.text
            continue
        chromium.button("Do it")
        chromium.until(f"Done for {bulk.done} of {len(before)}.")
        assert there() != before, bulk
        if bulk.action == "copy_to_locations":
            assert sorted(str(one.locations) for one in there()) == ["('north',)"] * 2 + ["('south',)"] * 2
            assert {one.channel for one in there()} == {Channel.EMAIL}
    assert not there()
