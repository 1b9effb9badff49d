from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.records import Channel, EntityKind, Rule, Template, Trigger, Unit
from streams.domain.bulk import (
    Copy,
    change_channel,
    change_template,
    copy_to_locations,
    next_version,
    set_enabled,
)
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem
from tests.streams.domain.rulebook import SHOP, filled, notification, reminder

NOW = 1_700_000_000_000


def with_rules(*rules: Rule) -> Catalog:
    catalog = filled()
    for rule in rules:
        assert catalog.apply(rule)
    return catalog


def stamped(rule: Rule, user: str = "ann", **fields: Any) -> Rule:
    stamp = {"version": NOW, "changed_at": NOW, "changed_by": user}
    return msgspec.structs.replace(rule, **stamp | fields)


def test_versions_grow_also_when_the_clock_is_behind() -> None:
    assert next_version(5, 100) == 100
    assert next_version(100, 100) == 101
    assert next_version(200, 100) == 201


def test_change_template_item_by_item() -> None:
    catalog = filled()
    rules = [
        notification(id="a"),
        notification(id="b", channel=Channel.EMAIL),
        notification(id="c", template_id="sms-only"),
    ]
    changed, refused, same = change_template(rules, "sms-only", catalog, "ann", now=NOW)
    assert changed == stamped(rules[0], template_id="sms-only")
    assert refused == [
        Problem(
            "template_id",
            "template 'sms-only' can't be sent as email: it needs a subject in en, a body in en",
        )
    ]
    assert same is rules[2]
    (missing,) = change_template(rules[:1], "nope", catalog, "ann", now=NOW)
    assert missing == [Problem("template_id", "the company has no template 'nope'")]


def test_change_channel_to_email() -> None:
    catalog = filled()
    rules = [notification(id="a"), notification(id="b", template_id="sms-only")]
    changed, refused = change_channel(rules, Channel.EMAIL, catalog, None, now=NOW)
    assert changed == stamped(rules[0], user="", channel=Channel.EMAIL)
    assert isinstance(refused, list)
    assert [p.field for p in refused] == ["template_id"]


def test_change_channel_chooses_a_mailbox_only_with_access() -> None:
    catalog = filled()
    rules = [notification()]
    (chosen,) = change_channel(rules, Channel.EMAIL, catalog, "ann", now=NOW, mailbox_id="front")
    assert chosen == stamped(rules[0], channel=Channel.EMAIL, mailbox_id="front")
    (refused,) = change_channel(rules, Channel.EMAIL, catalog, "eve", now=NOW, mailbox_id="front")
    assert isinstance(refused, list)
    assert [p.field for p in refused] == ["mailbox_id"]
    has_it = notification(channel=Channel.EMAIL, mailbox_id="front")
    (same,) = change_channel([has_it], Channel.EMAIL, catalog, "eve", now=NOW, mailbox_id="front")
    assert same is has_it


def test_change_channel_to_sms_takes_the_mailbox_away() -> None:
    rule = notification(channel=Channel.EMAIL, mailbox_id="front")
    (changed,) = change_channel([rule], Channel.SMS, filled(), "eve", now=NOW, mailbox_id="front")
    assert changed == stamped(rule, user="eve", channel=Channel.SMS, mailbox_id="")


def test_a_wrong_rule_can_be_switched_off_but_not_on() -> None:
    catalog = filled()
    good, wrong = notification(id="a"), notification(id="b")
    catalog.apply(good)
    broken = msgspec.structs.replace(wrong, template_id="gone")
    off_good, off_broken = set_enabled([good, broken], False, catalog, "ann", now=NOW)
    assert off_good == stamped(good, enabled=False)
    assert off_broken == stamped(broken, enabled=False)
    assert isinstance(off_good, Rule)
    assert isinstance(off_broken, Rule)
    on_good, on_broken = set_enabled([off_good, off_broken], True, catalog, "ann", now=NOW)
    assert on_good == stamped(good, version=NOW + 1)
    assert on_broken == [Problem("template_id", "the company has no template 'gone'")]
    assert set_enabled([broken], True, catalog, "ann", now=NOW)[0] is broken


def test_someone_without_access_may_switch_a_rule_with_a_mailbox() -> None:
    rule = notification(channel=Channel.EMAIL, mailbox_id="front", enabled=False)
    (on,) = set_enabled([rule], True, filled(), "eve", now=NOW)
    assert on == stamped(rule, user="eve", enabled=True)


# --- copies --------------------------------------------------------------------------------------------


def test_a_copy_for_each_location_that_is_not_covered() -> None:
    rule = notification(id="r", locations=("north",), version=7, changed_by="bob", name="Ready", delay=3)
    catalog = with_rules(rule)
    copies = copy_to_locations([rule], ["north", "south", "nope", "south"], catalog, "ann", now=NOW)
    assert copies == [
        Copy("r", "north", [Problem("locations", "'north' is already covered by the equal rule 'r'")]),
        Copy("r", "south", stamped(rule, id="r-south", locations=("south",))),
        Copy("r", "nope", [Problem("locations[0]", "the company has no location 'nope'")]),
    ]


def test_a_second_time_nothing_is_copied() -> None:
    rule = notification(id="r", locations=("north",))
    catalog = with_rules(rule)
    (first,) = copy_to_locations([rule], ["south"], catalog, "ann", now=NOW)
    assert isinstance(first.outcome, Rule)
    catalog.apply(first.outcome)
    (second,) = copy_to_locations([rule], ["south"], catalog, "ann", now=NOW)
    assert second.outcome == [Problem("locations", "'south' is already covered by the equal rule 'r-south'")]


def test_a_rule_for_all_locations_covers_each() -> None:
    rule = notification(id="r", locations=("north",))
    catalog = with_rules(rule, notification(id="all", enabled=False))
    (copy,) = copy_to_locations([rule], ["south"], catalog, "ann", now=NOW)
    assert copy.outcome == [
        Problem("locations", "'south' is already covered by the equal rule 'all', which is switched off")
    ]


def test_two_equal_rules_make_one_copy() -> None:
    first, second = (notification(id=id, locations=("north",)) for id in "ab")
    catalog = with_rules(first, second)
    made, refused = copy_to_locations([first, second], ["south"], catalog, "ann", now=NOW)
    assert isinstance(made.outcome, Rule)
    assert refused == Copy(
        "b", "south", [Problem("locations", "'south' is already covered by the equal rule 'a-south'")]
    )


BASE = notification(Trigger.STATUS_CHANGED_TO, id="r", locations=("north",), delay=60)


@pytest.mark.parametrize(
    ("other", "is_equal"),
    [
        (BASE, True),
        (msgspec.structs.replace(BASE, name="x", working_hours_only=True, only_if_still=True), True),
        (msgspec.structs.replace(BASE, delay=1, delay_unit=Unit.HOURS), True),
        (msgspec.structs.replace(BASE, delay=61), False),
        (msgspec.structs.replace(BASE, delay=60, delay_unit=Unit.DAYS), False),
        (msgspec.structs.replace(BASE, status_id="done"), False),
        (msgspec.structs.replace(BASE, trigger=Trigger.CREATED, status_id=""), False),
        (msgspec.structs.replace(BASE, channel=Channel.EMAIL), False),
        (msgspec.structs.replace(BASE, template_id="sms-only"), False),
        (notification(Trigger.STATUS_CHANGED_TO, EntityKind.APPOINTMENT, delay=60, status_id="ready"), False),
    ],
)
def test_what_is_equal(other: Rule, is_equal: bool) -> None:
    other = msgspec.structs.replace(other, id="other", locations=("south",))
    catalog = with_rules(BASE, other)
    (copy,) = copy_to_locations([BASE], ["south"], catalog, "ann", now=NOW)
    assert isinstance(copy.outcome, Rule) is not is_equal


@pytest.mark.parametrize(
    ("offset", "unit", "is_equal"),
    [
        (24, Unit.HOURS, True),
        (1440, Unit.MINUTES, True),
        (1, Unit.DAYS, False),
        (24, Unit.DAYS, False),
        (24, Unit.MINUTES, False),
        (25, Unit.HOURS, False),
    ],
)
def test_equal_reminders(offset: int, unit: Unit, is_equal: bool) -> None:
    rule = reminder(id="r", locations=("north",))
    other = reminder(id="other", locations=("south",), offset=offset, offset_unit=unit)
    (copy,) = copy_to_locations([rule], ["south"], with_rules(rule, other), "ann", now=NOW)
    assert isinstance(copy.outcome, Rule) is not is_equal


def test_no_offset_is_no_offset_whatever_its_unit() -> None:
    rule = notification(id="r", locations=("north",))
    other = notification(id="other", locations=("south",), delay_unit=Unit.DAYS, offset_unit=Unit.DAYS)
    (copy,) = copy_to_locations([rule], ["south"], with_rules(rule, other), "ann", now=NOW)
    assert isinstance(copy.outcome, list)


def test_a_copy_chooses_its_mailbox_anew() -> None:
    rule = notification(id="r", locations=("north",), channel=Channel.EMAIL, mailbox_id="front")
    catalog = with_rules(rule)
    (refused,) = copy_to_locations([rule], ["south"], catalog, "eve", now=NOW)
    assert isinstance(refused.outcome, list)
    assert [p.field for p in refused.outcome] == ["mailbox_id"]
    (made,) = copy_to_locations([rule], ["south"], catalog, "bob", now=NOW)
    assert made.outcome == stamped(rule, user="bob", id="r-south", locations=("south",))


def test_leads_have_nothing_to_copy() -> None:
    rule = notification(Trigger.CREATED, EntityKind.LEAD)
    (copy,) = copy_to_locations([rule], ["south"], with_rules(rule), None, now=NOW)
    assert copy.outcome == [Problem("locations", "'south' is already covered by the equal rule 'r1'")]


def test_a_copy_never_takes_the_id_of_another_rule() -> None:
    rule = notification(id="r", locations=("north",))
    taken = [notification(id=id, template_id="sms-only") for id in ("r-south", "r-south-2")]
    (copy,) = copy_to_locations([rule], ["south"], with_rules(rule, *taken), None, now=0)
    assert copy.outcome == msgspec.structs.replace(rule, id="r-south-3", locations=("south",), version=1)


def test_rules_are_compared_within_their_company() -> None:
    theirs = notification(id="r", company="other", template_id="t", locations=("theirs",))
    catalog = with_rules(theirs, notification(id="all", template_id="t"))
    text = catalog.template(SHOP, "both")
    assert text is not None
    catalog.apply(Template(id="t", company="other", texts=text.texts, version=1))
    first, second = copy_to_locations([theirs], ["theirs", "north"], catalog, None, now=NOW)
    assert isinstance(first.outcome, list)
    assert second.outcome == [Problem("locations[0]", "the company has no location 'north'")]
