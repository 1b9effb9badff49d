"""What saving a rule would do is said before it is done, and asked about where it is a lot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeliveryState
from streams.settings import Settings
from tests.console.api.booked import book, meet, spots_now, state
from tests.console.api.conftest import RIVAL, TOKENS, Spot, both_companies, delivery, user
from tests.support.shop import DAY, HOUR, C, ann

RULES = f"/companies/{C}/rules"
LIMIT = 3


@pytest.fixture(scope="module")
def booked(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    """Four appointments in the north in a month, of whose customers one has agreed; and others that a
    reminder does not concern."""
    settings = make_settings(tmp_path_factory.mktemp("effect"))
    spot = Spot(replace(settings, console_ask_above=LIMIT))
    spot.publish(*both_companies(), *map(user, TOKENS))
    soon = spots_now() + 2 * HOUR
    book(
        spot,
        ("A-1", state("ann")),
        ("A-2", state("bob")),
        ("A-3", state("nobody-knows")),
        ("A-4", state("blocked")),
        ("A-5", state("ann", location_id="south")),
        ("A-6", state("ann", scheduled_at=soon)),
        ("A-7", state("ann", scheduled_at=soon - DAY)),
        ("A-8", state("ann", status_id="appointment-done", raw=b"")),
        ("A-9", state("ann", deleted=True, scheduled_at=None, raw=b"")),
        ("A-10", state("ann")),
        ("A-10", state("ann", version=2, scheduled_at=None)),
        ("A-10", state("ann")),  # a former owner's, late
        ("A-11", state("ann")),
        ("A-11", None),
    )
    book(spot, *((f"Z-{number}", state("ann")) for number in range(9)), company=RIVAL)
    meet(
        spot,
        ann(),
        ann(customer_id="bob", sms_consent=False),
        ann(customer_id="blocked", phone="+48 501 111 333"),
        ann(customer_id="forgotten"),
    )
    spot.start()
    yield spot
    spot.stop()


def daily(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": "reminder", "entity": "appointment", "trigger": "before_time"}
    fields |= {"offset": 1, "offset_unit": "days", "channel": "sms", "template_id": "when"}
    return fields | {"locations": ["north"]} | changes


def weighed(spot: Spot, rule: dict[str, Any]) -> Any:
    answer = spot.call("POST", f"{RULES}/effect", rule, who="editor")
    assert answer.status == 200, answer
    return answer.json


def test_it_counts_messages_customers_and_those_who_have_not_agreed(booked: Spot) -> None:
    before = booked.get(RULES).json
    assert weighed(booked, daily()) == {
        "messages": 4,
        "customers": 4,
        "not_agreed": 3,
        "too_late": 1,
        "pending": 0,
        "complete": True,
    }
    assert weighed(booked, daily(offset=1, offset_unit="hours"))["messages"] == 5
    south = weighed(booked, daily(locations=["south"]))
    assert (south["messages"], south["customers"], south["not_agreed"]) == (1, 1, 0)
    mail = weighed(booked, daily(channel="email", template_id="t"))
    assert (mail["customers"], mail["not_agreed"]) == (4, 1)
    everywhere = weighed(booked, daily(locations=None))
    assert (everywhere["messages"], everywhere["customers"]) == (5, 4)
    assert weighed(booked, daily(enabled=False))["messages"] == 0
    notification = {"kind": "notification", "entity": "appointment", "trigger": "created"}
    assert weighed(booked, notification | {"channel": "sms", "template_id": "when"})["messages"] == 0
    assert booked.get(RULES).json == before


def test_it_is_checked_as_if_it_were_saved(booked: Spot) -> None:
    answer = booked.call("POST", f"{RULES}/effect", daily(template_id="none", offset=0), who="editor")
    assert (answer.status, answer.fields) == (422, [("offset", "range"), ("template_id", "unknown")])


def test_above_the_limit_it_is_saved_by_those_alone_who_have_seen_the_number(booked: Spot) -> None:
    rule = daily(id="many")
    key = {"Idempotency-Key": "one-and-the-same"}

    def post(query: str = "") -> Any:
        return booked.call("POST", RULES + query, rule, who="editor", headers=key)

    asked = post()
    assert (asked.status, asked.fields) == (409, [("confirm", "range")])
    assert "4 messages to 4 customers, of whom 3 have not agreed" in asked.json["detail"]
    assert post("?confirm=3").status == 409
    assert booked.get(f"{RULES}/many").status == 404
    saved = post("?confirm=4")
    assert (saved.status, saved.json["effect"]["messages"]) == (201, 4)

    # What is to come already is not asked about again; a wider rule is.
    booked.publish(*(delivery(900 + number, rule_id="many") for number in range(4)))
    booked.until(lambda: weighed(booked, rule)["pending"] == 4)

    def put(**changes: Any) -> Any:
        return booked.call("PUT", f"{RULES}/many", daily(**changes), who="editor", headers={"If-Match": "*"})

    renamed = put(name="Another name", locations=None)
    assert (renamed.status, renamed.json["effect"]["messages"]) == (200, 5)
    assert put(name="Another name", locations=None).json["effect"] is None
    gone = [delivery(900 + n, DeliveryState.CANCELLED, rule_id="many", transition=1) for n in range(4)]
    booked.publish(*gone)
    booked.until(lambda: weighed(booked, rule)["pending"] == 0)
    assert put(locations=None).status == 409
    assert put(locations=None, enabled=False).status == 200
