"""``carillon check-events``: what is refused and why, and what the real stages make of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.preview import PlannedMessage, preview, sample_customer
from schemas.codec import encode_json
from schemas.records import Change, Channel, Customer, EntityKind, Operation, Status, StatusKind, Trigger
from streams.domain.catalog import Catalog
from tests.console.conftest import Carillon
from tests.support.shop import DAY, HOUR, ann, at, change, facts, notification, reminder, shop

EXAMPLES = Path(__file__).parents[2] / "examples"
NOON = at("2026-04-07 12:00")
OFF = Status(
    id="off",
    company="acme",
    entity=EntityKind.APPOINTMENT,
    names={"en": "Off"},
    kind=StatusKind.CANCELLED,
    version=1,
)


def catalog(*rules: object) -> Catalog:
    found = Catalog()
    for record in (*shop(), *rules):
        found.apply(record)  # type: ignore[arg-type]  # rules of tests.support.shop
    return found


def planned(
    kind: EntityKind, known: Catalog, *changes: Change, customer: Customer | None = None
) -> list[list[PlannedMessage]]:
    who = (lambda company, id_: customer) if customer is not None else sample_customer
    found = preview(kind, enumerate(changes, 1), known, who)
    return [list(each.messages) for each in sorted(found, key=lambda each: each.position)]


def outcome(message: PlannedMessage) -> tuple[str, str, int | None]:
    return str(message.state), message.reason, message.ended_by


def test_each_change_sends_what_the_worker_would_send() -> None:
    known = catalog(
        notification(Trigger.CREATED),
        notification(Trigger.STATUS_CHANGED_TO, id_="done", status_id="done", delay=2, channel=Channel.EMAIL),
    )
    first, second = planned(
        EntityKind.ORDER,
        known,
        change(1, facts(), NOON),
        change(2, facts("done"), NOON + HOUR),
    )
    assert [(m.rule_id, m.at, m.text) for m in first] == [("r", NOON, "Alex: N1 New")]
    assert [(m.rule_id, m.channel, m.at, m.due_at) for m in second] == [
        ("done", "email", NOON + HOUR + 120_000, NOON + HOUR + 120_000)
    ]
    assert second[0].text.startswith("About N1\nDear Alex Sample, N1 is Done.")


def test_a_later_change_moves_what_an_earlier_one_booked() -> None:
    booked, moved = NOON + 7 * DAY, NOON + 8 * DAY
    first, second, third = planned(
        EntityKind.APPOINTMENT,
        catalog(reminder(24), OFF),
        change(1, facts(scheduled=booked), NOON),
        change(2, facts(scheduled=moved), NOON + HOUR),
        change(3, facts("off", scheduled=moved), NOON + 2 * HOUR),
    )
    assert [outcome(m) for m in first] == [("superseded", "moved", 2)]
    assert [outcome(m) for m in second] == [("cancelled", "entity_cancelled", 3)]
    assert third == []


def test_too_late_held_and_without_consent() -> None:
    late = planned(
        EntityKind.APPOINTMENT, catalog(reminder(24)), change(1, facts(scheduled=NOON + HOUR), NOON)
    )
    assert [outcome(m) for m in late[0]] == [("suppressed", "too_late", None)]

    evening = at("2026-04-07 20:00")
    rule = notification(Trigger.CREATED, working_hours_only=True)
    (held,) = planned(EntityKind.ORDER, catalog(rule), change(1, facts(), evening))
    assert [(m.at, m.held, m.zone) for m in held] == [
        (at("2026-04-08 09:00"), "closed_hours", "Europe/Warsaw")
    ]

    no = ann(sms_consent=False)
    (refused,) = planned(
        EntityKind.ORDER, catalog(notification(Trigger.CREATED)), change(1, facts(), NOON), customer=no
    )
    assert [outcome(m) for m in refused] == [("suppressed", "no_consent", None)]
    assert refused[0].text == ""


def test_entities_do_not_share_a_clock() -> None:
    changes = [
        change(1, facts(), NOON + 40 * DAY, entity_id="late"),
        change(1, facts(), NOON, entity_id="early"),
    ]
    sent = planned(EntityKind.ORDER, catalog(notification(Trigger.CREATED)), *changes)
    assert [[m.at for m in messages] for messages in sent] == [[NOON + 40 * DAY], [NOON]]


def test_notes_say_what_is_not_known_and_what_counts_for_nothing() -> None:
    known = catalog(notification(Trigger.CREATED))
    stranger = Change(
        company="umbrella",
        entity_id="1",
        operation=Operation.CREATE,
        event_id="e",
        version=1,
        occurred_at=NOON,
        after=facts(),
    )
    changes = [
        change(1, facts("odd", location="west"), NOON, entity_id="a"),
        change(1, facts(), NOON, entity_id="a"),
        change(2, facts(customer=""), NOON, entity_id="b"),
        change(1, facts(), NOON, entity_id="c", operation=Operation.READ),
        stranger,
    ]
    notes = {
        each.position: each.notes
        for each in preview(EntityKind.ORDER, enumerate(changes), known, sample_customer)
    }
    assert notes[0] == (
        "The entity's status is not set up. (status_id 'odd')",
        "The entity's location is not set up. (location_id 'west')",
    )
    assert notes[1] == ("Version 1 of it was already there; this record changes nothing.",)
    assert notes[2][0].startswith("It has no before, and nothing earlier")
    assert notes[2][1] == "The entity names no customer."
    assert notes[3] == ("A row of a snapshot sets up reminders and notifies nobody.",)
    assert notes[4] == ("The company is not set up. (company 'umbrella')",)


def test_a_refused_record_is_told_by_line_and_field(carillon: Carillon, tmp_path: Path) -> None:
    good = encode_json(change(1, facts(), NOON))
    bad = good.replace(b'"version":1', b'"version":-1')
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"\n".join([b"acme/1\t" + good, bad, b"acme/2\t" + good, b"acme/1 " + good]) + b"\n")
    result = carillon("check-events", str(path))
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "1: accepted: create acme/1 version 1"
    assert lines[1] == "2: refused: version: -1 is not between 0 and 2^63-1"
    assert lines[2] == "3: refused: key: 'acme/2' should be 'acme/1'"
    assert lines[3].startswith("4: refused: expected one JSON object on the line, or its key, a tab")
    assert lines[4].endswith("1 record accepted, 3 refused")
    told = [json.loads(line) for line in carillon("check-events", str(path), "--json").stdout.splitlines()]
    assert [each["accepted"] for each in told] == [True, False, False, False]
    assert (told[1]["field"], told[1]["reason"]) == ("version", "contract")


def test_a_file_that_does_not_say_what_it_is_about(carillon: Carillon, tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_bytes(encode_json(change(1, facts(), NOON)))
    unclear = carillon("check-events", str(path))
    assert unclear.exit_code == 2
    assert "add --kind order" in unclear.output
    assert carillon("check-events", str(path), "--kind", "order").exit_code == 0


def test_a_shop_file_with_mistakes_is_refused(carillon: Carillon, tmp_path: Path) -> None:
    shop_file = tmp_path / "shop.yaml"
    shop_file.write_text(
        (EXAMPLES / "shop.yaml").read_text("utf-8").replace("status: ready", "status: raedy")
    )
    result = carillon("check-events", str(EXAMPLES / "day" / "orders.jsonl"), "--shop", str(shop_file))
    assert result.exit_code == 1
    assert "rules.order-ready.status" in result.output


@pytest.mark.parametrize("kind", EntityKind)
def test_the_example_day_is_accepted_and_says_what_it_sends(carillon: Carillon, kind: EntityKind) -> None:
    day = EXAMPLES / "day"
    result = carillon(
        "check-events",
        str(day / f"{kind}s.jsonl"),
        *("--shop", str(EXAMPLES / "shop.yaml"), "--customers", str(day / "customers.jsonl")),
    )
    assert result.exit_code == 0, result.output
    assert " 0 refused" in result.output
    assert " ! " not in result.output  # every status, location and customer is known
    expected = {
        EntityKind.ORDER: "> sms order-ready to c-ines, Wed 15 Apr 2026 09:30 Europe/Lisbon (Held until",
        EntityKind.LEAD: "> email lead-greeting to c-otis, Tue 14 Apr 2026 10:00 America/New_York",
        EntityKind.APPOINTMENT: "superseded (line 4): The scheduled time changed; the message moved along.",
    }
    assert expected[kind] in result.output
