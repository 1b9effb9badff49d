"""The script is the same for the same seed, fits the shop, and has everything that the demo promises."""

from __future__ import annotations

import msgspec
import pytest

from console.demo.account import slot_of
from console.demo.cast import WARSAW, Shop, at
from console.demo.processes import DemoError
from console.demo.scenario import DAY, HOUR
from console.demo.story import APART, SCENES, START, write
from schemas.records import Change, EntityKind, Operation, Rule, RuleKind
from tests.console.demo.support import A_SHOP


def test_the_same_seed_writes_the_same_story() -> None:
    assert write(A_SHOP, 3) == write(A_SHOP, 3)


def test_another_seed_has_other_customers() -> None:
    one, other = write(A_SHOP, 1), write(A_SHOP, 2)
    assert [event.line for event in one.events] != [event.line for event in other.events]
    assert [event.at for event in one.events if event.line] == [
        event.at for event in other.events if event.line
    ]


def test_a_crowd_is_of_any_seed() -> None:
    for seed in range(40):
        write(A_SHOP, seed, crowd=60)


def test_the_checklist_has_every_scene_and_everything_promised() -> None:
    scenario = write(A_SHOP, 1)
    assert {item.scene for item in scenario.expected} == set(SCENES) - APART - {"crash"}
    assert [event.scene for event in scenario.events if event.burst] == ["crash"]
    texts = " / ".join(item.text for item in scenario.expected)
    for promise in (
        "order is confirmed",
        "status message",
        "held while the shop is closed",
        "7 April 13:00 to 8 April 14:00",
        "10 May to 12 May",
        "reminder moved along and comes a day before",
        "review is asked for an hour after closing",
        "lead is greeted",
        "cancellation is confirmed",
        "cancelled appointment is cleared",
        "24 to 48 hours re-times",
        "no consent",
        "unsubscribed",
    ):
        assert promise in texts


def test_the_moments_are_those_of_the_story() -> None:
    scenario = write(A_SHOP, 1)
    exact = {item.text: item.at for item in scenario.expected if item.at is not None and not item.never}
    assert exact["the reminder moved along and comes a day before"] == at(WARSAW, "2026-04-07 14:00")
    assert exact["it goes when the shop opens"] == at("Europe/Lisbon", "2026-04-08 09:30")
    assert exact["a review is asked for an hour after closing"] == at("America/New_York", "2026-04-03 15:05")
    assert exact["a rule changed from 24 to 48 hours re-times what was booked"] == at(
        "America/New_York", "2026-05-03 10:00"
    )


def test_changes_of_an_entity_follow_one_another() -> None:
    versions: dict[str, int] = {}
    before: dict[str, object] = {}
    times = []
    for event in write(A_SHOP, 5, crowd=200).events:
        times.append(event.at)
        for item in event.records:
            change = item.record
            if isinstance(change, Change):
                assert change.version == versions.get(change.entity_id, 0) + 1
                assert change.before == before.get(change.entity_id)
                assert change.occurred_at == event.at
                versions[change.entity_id] = change.version
                before[change.entity_id] = change.after
    assert times == sorted(times)


def test_the_crowd_does_everything() -> None:
    changes = [
        (item.kind, item.record)
        for event in write(A_SHOP, 1).events
        if event.scene == "crowd"
        for item in event.records
        if isinstance(item.record, Change)
    ]
    assert {kind for kind, _ in changes} == set(EntityKind)
    assert {change.operation for _, change in changes} == set(Operation) - {Operation.READ}
    moved = [c for _, c in changes if c.before and c.after and c.before.scheduled_at != c.after.scheduled_at]
    assert moved
    kinds = {A_SHOP.status(c.after.status_id).kind for _, c in changes if c.after}
    assert {"open", "closed", "cancelled"} <= {str(kind) for kind in kinds}


def test_no_two_customers_share_an_address() -> None:
    people = write(A_SHOP, 1, crowd=500).people
    assert len({person.customer.phone for person in people}) == len(people)
    assert len({person.customer.email for person in people}) == len(people)


def test_what_is_owed_is_told_apart() -> None:
    owed = write(A_SHOP, 1).owed
    assert len({slot_of(item) for item in owed}) == len(owed)


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_can_be_told_alone(scene: str) -> None:
    scenario = write(A_SHOP, 1, scenes=(scene,))
    assert {event.scene for event in scenario.events} <= {scene, "crowd"}
    assert all(
        by <= scenario.end for by in [*(i.by for i in scenario.expected), *(i.by for i in scenario.owed)]
    )


def test_a_story_that_is_broken_off_expects_nothing_later() -> None:
    whole = write(A_SHOP, 1)
    part = whole.until(START + 2 * DAY)
    assert part.end == START + 2 * DAY
    assert 0 < len(part.expected) < len(whole.expected)
    assert max(event.at for event in part.events) <= part.end
    assert whole.until(whole.end + HOUR) is whole


def test_everything_is_published_before_it_is_spoken_of() -> None:
    scenario = write(A_SHOP, 1)
    topics = [item.topic for item in scenario.setup(A_SHOP)]
    assert {"companies", "locations", "statuses", "templates", "rules", "mailboxes"} <= set(topics)
    assert topics.count("customer-consents") == len(scenario.people)
    assert "suppressions" in topics


def test_a_part_that_nobody_plays_is_named() -> None:
    records = tuple(r for r in A_SHOP.records if not (isinstance(r, Rule) and r.kind is RuleKind.REMINDER))
    with pytest.raises(DemoError, match="reminds of an appointment"):
        write(Shop(records), 1)


def test_the_reminder_is_found_though_it_has_another_name() -> None:
    records = tuple(
        msgspec.structs.replace(r, id="x-" + r.id) if isinstance(r, Rule) else r for r in A_SHOP.records
    )
    assert Shop(records).reminder.id == "x-" + A_SHOP.reminder.id


def test_an_unknown_scene_is_refused() -> None:
    with pytest.raises(DemoError, match="there is no scene 'nope'; there are: order"):
        write(A_SHOP, 1, scenes=("nope",))
