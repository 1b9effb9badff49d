from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import (
    EntityKind,
    Facts,
    Operation,
    Rule,
    RuleKind,
    StatusKind,
    Trigger,
)
from streams.domain.catalog import Catalog
from streams.domain.triggers import Occurrence, notifications, occurrence, reminders
from tests.streams.domain.rulebook import OTHER, SHOP, filled, notification, reminder

ORDER, LEAD, APPOINTMENT = EntityKind.ORDER, EntityKind.LEAD, EntityKind.APPOINTMENT
WAS = Facts(status_id="new", customer_id="c1", location_id="north", scheduled_at=1000)
NAMES = {field.name for field in fields(Occurrence)}


def seen(occ: Occurrence) -> set[str]:
    return {name for name in NAMES if getattr(occ, name)}


def changed(**what: object) -> Facts:
    return msgspec.structs.replace(WAS, **what)


# --- what happened -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "before", "after", "expected"),
    [
        # A new entity is only "created", whatever it is born with.
        (Operation.CREATE, None, WAS, {"created"}),
        (Operation.CREATE, None, changed(scheduled_at=None), {"created"}),
        (Operation.UPDATE, None, WAS, {"created"}),
        (Operation.CREATE, WAS, changed(status_id="x", scheduled_at=7), {"created"}),
        # An id used again: what is pending for the former entity must go.
        (
            Operation.CREATE,
            WAS,
            changed(customer_id="c2", location_id="", scheduled_at=None),
            {"created", "customer_changed", "location_changed", "time_removed"},
        ),
        (Operation.UPDATE, WAS, WAS, set()),
        (Operation.UPDATE, WAS, changed(status_id="x"), {"status_changed"}),
        (Operation.UPDATE, WAS, changed(scheduled_at=2000), {"time_changed"}),
        (Operation.UPDATE, WAS, changed(scheduled_at=0), {"time_changed"}),
        (Operation.UPDATE, changed(scheduled_at=None), WAS, {"time_changed"}),
        (Operation.UPDATE, WAS, changed(scheduled_at=None), {"time_removed"}),
        (Operation.UPDATE, changed(scheduled_at=0), changed(scheduled_at=None), {"time_removed"}),
        (Operation.UPDATE, changed(scheduled_at=None), changed(scheduled_at=None), set()),
        (Operation.UPDATE, WAS, changed(customer_id=""), {"customer_changed"}),
        (Operation.UPDATE, WAS, changed(location_id="south"), {"location_changed"}),
        (
            Operation.UPDATE,
            WAS,
            changed(status_id="x", scheduled_at=5, customer_id="c2", location_id=""),
            {"status_changed", "time_changed", "customer_changed", "location_changed"},
        ),
        (Operation.DELETE, WAS, None, {"deleted"}),
        (Operation.DELETE, None, None, {"deleted"}),
        (Operation.DELETE, WAS, changed(status_id="x", customer_id="c2"), {"deleted"}),
        (Operation.READ, None, WAS, {"snapshot"}),
        (Operation.READ, WAS, WAS, {"snapshot"}),
        (
            Operation.READ,
            WAS,
            changed(status_id="x", scheduled_at=5),
            {"snapshot", "status_changed", "time_changed"},
        ),
        (Operation.READ, WAS, changed(scheduled_at=None), {"snapshot", "time_removed"}),
    ],
)
def test_occurrence(
    operation: Operation, before: Facts | None, after: Facts | None, expected: set[str]
) -> None:
    assert seen(occurrence(operation, before, after)) == expected


def test_a_change_back_and_forth_is_a_change_each_time() -> None:
    other = changed(status_id="x")
    assert occurrence(Operation.UPDATE, WAS, other).status_changed
    assert occurrence(Operation.UPDATE, other, WAS).status_changed


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.UPDATE, Operation.READ])
def test_only_a_deletion_may_come_without_facts(operation: Operation) -> None:
    with pytest.raises(ValueError, match=f"operation {operation} needs the facts"):
        occurrence(operation, WAS, None)


def test_answers_are_prepared_and_not_made() -> None:
    assert occurrence(Operation.UPDATE, WAS, WAS) is occurrence(Operation.UPDATE, WAS, WAS)
    assert all(isinstance(flag, bool) for flag in astuple(occurrence(Operation.UPDATE, WAS, WAS)))


# --- which rules -------------------------------------------------------------------------------


def fired(
    catalog: Catalog, kind: EntityKind, before: Facts | None, after: Facts, **what: object
) -> list[str]:
    operation = what.get("operation", Operation.UPDATE)
    assert isinstance(operation, Operation)
    occ = occurrence(operation, before, after)
    return [rule.id for rule in notifications(catalog, SHOP, kind, occ, after)]


def with_rules(*rules: Rule) -> Catalog:
    catalog = filled()
    for rule in rules:
        assert catalog.apply(rule)
    return catalog


def one_of_each(kind: EntityKind) -> Catalog:
    return with_rules(
        *(notification(trigger, kind, id=str(trigger)) for trigger in Trigger if trigger in TRIGGERS_OF[kind])
    )


EVERY = [Trigger.CREATED, Trigger.STATUS_CHANGED, Trigger.STATUS_CHANGED_TO, Trigger.TIME_CHANGED]
TRIGGERS_OF = {ORDER: EVERY, APPOINTMENT: EVERY, LEAD: [Trigger.CREATED, Trigger.STATUS_CHANGED_TO]}
TO = {ORDER: "ready", LEAD: "lost", APPOINTMENT: "booked"}


@pytest.mark.parametrize("kind", [ORDER, APPOINTMENT])
def test_each_trigger_of_orders_and_appointments(kind: EntityKind) -> None:
    catalog = one_of_each(kind)
    to = changed(status_id=TO[kind])
    assert fired(catalog, kind, None, to) == ["created"]
    assert fired(catalog, kind, WAS, WAS) == []
    assert fired(catalog, kind, WAS, changed(status_id="x")) == ["status_changed"]
    assert fired(catalog, kind, WAS, to) == ["status_changed", "status_changed_to"]
    assert fired(catalog, kind, to, changed(status_id=TO[kind], location_id="")) == []
    assert fired(catalog, kind, WAS, changed(scheduled_at=5)) == ["time_changed"]
    assert fired(catalog, kind, WAS, changed(scheduled_at=None)) == []
    assert fired(catalog, kind, WAS, changed(status_id=TO[kind], scheduled_at=5)) == [
        "status_changed",
        "status_changed_to",
        "time_changed",
    ]


def test_each_trigger_of_leads() -> None:
    catalog = one_of_each(LEAD)
    assert fired(catalog, LEAD, None, changed(location_id="north")) == ["created"]
    assert fired(catalog, LEAD, WAS, changed(status_id="lost")) == ["status_changed_to"]
    assert fired(catalog, LEAD, WAS, changed(status_id="x", scheduled_at=4)) == []


@pytest.mark.parametrize("kind", list(EntityKind))
def test_what_the_table_forbids_never_fires_even_when_it_is_in_the_topic(kind: EntityKind) -> None:
    catalog = with_rules(
        notification(Trigger.BEFORE_TIME, kind, id="n-before"),
        reminder(kind, id="rem-created", trigger=Trigger.CREATED),
        reminder(kind, id="rem-time", trigger=Trigger.TIME_CHANGED),
    )
    if kind is LEAD:
        for rule in (
            notification(Trigger.STATUS_CHANGED, LEAD, id="lead-any"),
            notification(Trigger.TIME_CHANGED, LEAD, id="lead-time"),
            reminder(LEAD, id="lead-reminder"),
        ):
            assert catalog.apply(rule)
    assert fired(catalog, kind, None, WAS) == []
    assert fired(catalog, kind, WAS, changed(status_id="x", scheduled_at=4)) == []
    assert reminders(catalog, SHOP, kind, WAS) == ()


def test_snapshot_reads_and_deletions_fire_nothing() -> None:
    catalog = one_of_each(ORDER)
    after = changed(status_id="ready", scheduled_at=5)
    assert fired(catalog, ORDER, None, after, operation=Operation.READ) == []
    assert fired(catalog, ORDER, WAS, after, operation=Operation.READ) == []
    assert fired(catalog, ORDER, WAS, after, operation=Operation.DELETE) == []


def test_a_snapshot_read_arms_reminders() -> None:
    catalog = with_rules(reminder())
    assert [rule.id for rule in reminders(catalog, SHOP, APPOINTMENT, WAS)] == ["r1"]


def test_a_new_time_of_what_is_closed_or_cancelled_is_not_told() -> None:
    catalog = one_of_each(APPOINTMENT)
    assert fired(catalog, APPOINTMENT, WAS, changed(status_id="gone", scheduled_at=5)) == ["status_changed"]
    gone = changed(status_id="gone")
    assert fired(catalog, APPOINTMENT, gone, changed(status_id="gone", scheduled_at=5)) == []
    assert fired(catalog, APPOINTMENT, gone, changed(scheduled_at=5)) == ["status_changed", "time_changed"]


def test_what_is_born_closed_is_created_and_has_no_reminders() -> None:
    catalog = with_rules(
        notification(Trigger.CREATED, APPOINTMENT, id="created"),
        reminder(id="rem"),
        reminder(ORDER, id="ord"),
    )
    assert fired(catalog, APPOINTMENT, None, changed(status_id="gone")) == ["created"]
    assert reminders(catalog, SHOP, APPOINTMENT, changed(status_id="gone")) == ()
    assert reminders(catalog, SHOP, ORDER, changed(status_id="done")) == ()
    assert len(reminders(catalog, SHOP, ORDER, changed(status_id="gone"))) == 1


def test_reminders_need_a_time() -> None:
    catalog = with_rules(reminder(ORDER), notification(id="other"))
    assert len(reminders(catalog, SHOP, ORDER, changed(scheduled_at=0))) == 1
    assert reminders(catalog, SHOP, ORDER, changed(scheduled_at=None)) == ()
    assert reminders(catalog, SHOP, APPOINTMENT, WAS) == ()
    assert reminders(catalog, OTHER, ORDER, WAS) == ()


def test_locations() -> None:
    catalog = with_rules(
        notification(id="all"),
        notification(id="north", locations=("north",)),
        notification(id="both", locations=("south", "north", "north")),
        notification(id="nameless", locations=("",)),
        notification(id="none", locations=()),
    )
    assert fired(catalog, ORDER, None, changed(location_id="north")) == ["all", "both", "north"]
    assert fired(catalog, ORDER, None, changed(location_id="south")) == ["all", "both"]
    assert fired(catalog, ORDER, None, changed(location_id="")) == ["all"]
    assert fired(catalog, ORDER, None, changed(location_id="elsewhere")) == ["all"]


def test_a_rule_that_leaves_a_location_leaves_the_others_there() -> None:
    catalog = with_rules(*(notification(id=id, locations=("north", "south")) for id in "abc"))
    north, south = changed(location_id="north"), changed(location_id="south")
    assert fired(catalog, ORDER, None, north) == ["a", "b", "c"]
    catalog.apply(notification(id="b", locations=("south",), version=2))
    catalog.remove(Rule, SHOP, "c")
    assert fired(catalog, ORDER, None, north) == ["a"]
    assert fired(catalog, ORDER, None, south) == ["a", "b"]
    catalog.apply(notification(id="all"))
    assert fired(catalog, ORDER, None, south) == ["a", "all", "b"]
    catalog.remove(Rule, SHOP, "all")
    assert fired(catalog, ORDER, None, south) == ["a", "b"]


def test_leads_ignore_locations() -> None:
    catalog = with_rules(notification(Trigger.CREATED, LEAD, locations=("north",)))
    for place in ("", "north", "south"):
        assert fired(catalog, LEAD, None, changed(location_id=place)) == ["r1"]


def test_an_edit_moves_a_rule_and_leaves_nothing_behind() -> None:
    catalog = with_rules(notification(Trigger.STATUS_CHANGED_TO))
    to_ready, to_done = changed(status_id="ready"), changed(status_id="done")
    assert fired(catalog, ORDER, WAS, to_ready) == ["r1"]
    catalog.apply(notification(Trigger.STATUS_CHANGED_TO, status_id="done", version=2))
    assert fired(catalog, ORDER, WAS, to_ready) == []
    assert fired(catalog, ORDER, WAS, to_done) == ["r1"]
    catalog.apply(notification(Trigger.STATUS_CHANGED_TO, status_id="done", enabled=False, version=3))
    assert fired(catalog, ORDER, WAS, to_done) == []
    catalog.apply(notification(Trigger.STATUS_CHANGED_TO, status_id="done", version=3))
    assert fired(catalog, ORDER, WAS, to_done) == []
    catalog.apply(notification(Trigger.STATUS_CHANGED_TO, status_id="done", version=4))
    assert fired(catalog, ORDER, WAS, to_done) == ["r1"]
    catalog.remove(Rule, SHOP, "r1")
    assert fired(catalog, ORDER, WAS, to_done) == []
    index = catalog.matching.of(SHOP, ORDER)
    assert index is not None
    assert index.changed_to == {}


def test_a_match_carries_the_newest_rule() -> None:
    catalog = with_rules(notification())
    newer = notification(version=2, template_id="sms-only")
    fired(catalog, ORDER, None, WAS)
    catalog.apply(newer)
    occ = occurrence(Operation.CREATE, None, WAS)
    assert notifications(catalog, SHOP, ORDER, occ, WAS) == (newer,)


def test_rules_of_another_company_never_match() -> None:
    catalog = with_rules(notification(company=OTHER), reminder(company=OTHER, id="r2"))
    assert fired(catalog, ORDER, None, WAS) == []
    assert reminders(catalog, SHOP, APPOINTMENT, WAS) == ()


# --- the index against a reading of the table ------------------------------------------------------


def naive(
    rules: Iterable[Rule], catalog: Catalog, kind: EntityKind, occ: Occurrence, after: Facts
) -> set[str]:
    """Section 2 of the design, over the flat list."""
    is_open = catalog.status_kind(SHOP, kind, after.status_id) is StatusKind.OPEN
    happened = {
        Trigger.CREATED: occ.created,
        Trigger.STATUS_CHANGED: occ.status_changed,
        Trigger.STATUS_CHANGED_TO: occ.status_changed,
        Trigger.TIME_CHANGED: occ.time_changed and is_open,
        Trigger.BEFORE_TIME: False,
    }
    return {
        rule.id
        for rule in rules
        if rule.enabled
        and rule.company == SHOP
        and rule.kind is RuleKind.NOTIFICATION
        and rule.entity is kind
        and not occ.snapshot
        and happened[rule.trigger]
        and (rule.trigger is not Trigger.STATUS_CHANGED_TO or rule.status_id == after.status_id)
        and not (kind is LEAD and rule.trigger in (Trigger.STATUS_CHANGED, Trigger.TIME_CHANGED))
        and covers(rule, after)
    }


def covers(rule: Rule, after: Facts) -> bool:
    if rule.entity is LEAD or rule.locations is None:
        return True
    return after.location_id != "" and after.location_id in rule.locations


def naive_reminders(rules: Iterable[Rule], catalog: Catalog, kind: EntityKind, after: Facts) -> set[str]:
    if after.scheduled_at is None or catalog.status_kind(SHOP, kind, after.status_id) is not StatusKind.OPEN:
        return set()
    return {
        rule.id
        for rule in rules
        if rule.enabled
        and rule.company == SHOP
        and rule.kind is RuleKind.REMINDER
        and rule.trigger is Trigger.BEFORE_TIME
        and rule.entity is kind
        and kind is not LEAD
        and covers(rule, after)
    }


places = st.sampled_from(["", "north", "south"])
rules = st.builds(
    notification,
    id=st.sampled_from("abcdef"),
    company=st.sampled_from([SHOP, SHOP, OTHER]),
    kind=st.sampled_from(RuleKind),
    entity=st.sampled_from(EntityKind),
    trigger=st.sampled_from(Trigger),
    status_id=st.sampled_from(["", "ready", "gone"]),
    locations=st.none() | st.lists(places, max_size=2).map(tuple),
    enabled=st.sampled_from([True, True, False]),
    version=st.integers(0, 5),
)
facts = st.builds(
    Facts,
    status_id=st.sampled_from(["", "ready", "gone"]),
    customer_id=st.sampled_from(["c1", "c2"]),
    location_id=places,
    scheduled_at=st.sampled_from([None, 0, 9]),
)
edits = st.lists(rules | st.sampled_from("abcdef"), max_size=25)
happenings = st.lists(
    st.tuples(st.sampled_from(EntityKind), st.sampled_from(Operation), st.none() | facts, facts),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(edits, happenings)
def test_the_index_agrees_with_a_reading_of_the_table(
    edits: list[Rule | str], happenings: list[tuple[EntityKind, Operation, Facts | None, Facts]]
) -> None:
    catalog = filled()
    flat: dict[tuple[str, str], Rule] = {}
    for edit in edits:
        if isinstance(edit, str):
            assert catalog.remove(Rule, SHOP, edit) is (flat.pop((SHOP, edit), None) is not None)
        else:
            held = flat.get((edit.company, edit.id))
            is_newer = held is None or edit.version > held.version
            assert catalog.apply(edit) is is_newer
            if is_newer:
                flat[edit.company, edit.id] = edit
        for kind, operation, before, after in happenings:
            occ = occurrence(operation, before, after)
            found = notifications(catalog, SHOP, kind, occ, after)
            assert {rule.id for rule in found} == naive(flat.values(), catalog, kind, occ, after)
            armed = reminders(catalog, SHOP, kind, after)
            assert {rule.id for rule in armed} == naive_reminders(flat.values(), catalog, kind, after)
            for answer in (found, armed):
                assert len({rule.id for rule in answer}) == len(answer)
                assert all(rule is flat[SHOP, rule.id] for rule in answer)
