"""What only a browser can tell: cookies, the page's script, its policy, the keyboard, a narrow screen."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.records import DeliveryState, EntityKind
from tests.browser.chromium import ENTER, SPACE, TAB, Chromium
from tests.console.api.conftest import Spot, delivery
from tests.support.shop import C, at

pytestmark = pytest.mark.browser


def test_a_reminder_is_set_up_and_its_message_followed(place: Spot, chromium: Chromium) -> None:
    """Set up "one day before, by SMS, only for two locations", see it pending for an appointment, move the
    appointment, and read what happened. What the workers write to the log is written here by hand."""
    chromium.click("main a")
    chromium.until("Notifications")
    chromium.click('.tabs a[href$="entity=appointment"]')
    chromium.until("Reminders")
    chromium.click('a[href$="kind=reminder"]')
    chromium.until("How long before the scheduled time")
    assert "Sender's address" not in chromium.text  # it is for e-mail
    assert "North" not in chromium.text  # nothing is to be chosen yet
    chromium.type("#name", "The day before")
    chromium.type("#template_id", "when")
    chromium.click("#where-chosen")
    chromium.click("#location-north")
    chromium.click("#location-south")
    chromium.button("Save")
    chromium.until("Saved.")
    assert "1 day before the scheduled time" in chromium.text
    assert "North, South" in chromium.text

    (rule,) = [one for one in place.desk.catalog.rules_of(C) if one.name == "The day before"]
    place.publish(delivery(700, rule_id=rule.id, entity_id="A-700"))
    chromium.click('nav a[href$="/pending"]')
    chromium.until("Appointment A-700", again=True)
    assert "8 Apr 2026, 10:00" in chromium.text
    moved = at("2026-05-01 10:00")
    place.publish(
        delivery(700, rule_id=rule.id, entity_id="A-700", transition=1, reason="moved", due_at=moved)
    )
    chromium.click('a[href$="/feed/appointment/A-700"]')
    chromium.until("1 May 2026, 10:00", again=True)
    assert "The scheduled time changed; the message moved along." in chromium.text


def test_a_rule_is_made_by_keyboard_alone(place: Spot, chromium: Chromium) -> None:
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/rules/new?entity=order&kind=notification")
    chromium.press(TAB)
    assert chromium.focused == "Skip to the content"
    chromium.press(ENTER)
    chromium.tab_to("name")
    chromium.press(*"By keys")
    chromium.tab_to("trigger")
    chromium.press(*"When its status bec")
    chromium.tab_to("status_id")
    chromium.press(*"Ready")
    chromium.tab_to("working_hours_only")
    chromium.press(SPACE)
    chromium.tab_to("template_id")
    chromium.press("t")
    chromium.tab_to("Save")
    chromium.press(ENTER)
    chromium.until("Saved.")
    (rule,) = [one for one in place.desk.catalog.rules_of(C) if one.name == "By keys"]
    assert (rule.status_id, rule.working_hours_only, rule.template_id) == ("ready", True, "t")


def test_a_text_is_previewed_while_it_is_typed(place: Spot, chromium: Chromium) -> None:
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/templates/new")
    chromium.type('[id="texts.en.sms"]', "Hello ")
    chromium.click("summary")
    chromium.click('[data-insert="{{ customer.first_name }}"]')
    chromium.until("Hello Anna")
    chromium.until("10 characters, SMS segments: 1 (GSM-7)")
    chromium.choose("#about", "appointment")
    chromium.type("#about_id", "A-none")
    chromium.until("Nothing is known of it")


def test_the_feed_of_an_order_that_was_moved(place: Spot, chromium: Chromium) -> None:
    """What was planned, what moved it, what went and what did not, each with its history."""
    order: dict[str, Any] = {"kind": EntityKind.ORDER, "entity_id": "R-7", "rule_id": "rem"}
    old, new = at("2026-04-09 09:00"), at("2026-04-10 09:00")
    told: dict[str, Any] = {**order, "rule_id": "born", "due_at": None}
    place.publish(
        delivery(710, **order, due_at=old),
        delivery(710, **order, transition=1, reason="moved", due_at=new),
        delivery(711, **told),
        delivery(711, DeliveryState.SENDING, **told, transition=1),
        delivery(711, DeliveryState.SENT, **told, transition=2, reason="accepted"),
        delivery(712, DeliveryState.SUPPRESSED, **told, reason="no_consent"),
    )
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/feed")
    chromium.choose("#kind", "order")
    chromium.type("#id", "R-7" + ENTER)
    chromium.until("The customer has not agreed to this channel.", again=True)
    for part, words in (
        ("to_come", "10 Apr 2026, 09:00"),
        ("to_come", "The scheduled time changed; the message moved along."),
        ("sent", "The provider has accepted the message."),
        ("not_sent", "Ask the customer, and note their consent"),
    ):
        shown = chromium.run(
            "return document.getElementById(arguments[0]).parentElement.innerText", f"part-{part}"
        )
        assert words in shown, part
    chromium.tab_to("What happened to it")
    chromium.press(ENTER)
    chromium.until("9 Apr 2026, 09:00")


def test_nothing_is_cut_off_on_a_narrow_screen(place: Spot, chromium: Chromium) -> None:
    """360 pixels: a small phone."""
    here = f"http://127.0.0.1:{place.port}/c/{C}"
    pages = (
        "rules",
        "rules/new?entity=order&kind=notification",
        "templates",
        "templates/t",
        "pending",
        "channels",
        "hours",
        "settings",
        "settings/statuses",
        "settings/suppressions",
        "settings/audit",
        "feed/appointment/A-1",
        "deliveries",
    )
    for page in pages:
        chromium.narrow(f"{here}/{page}")
        wide = chromium.run("return document.documentElement.scrollWidth")
        assert wide <= 360, (page, wide)
