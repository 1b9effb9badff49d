"""What only a browser can tell: cookies, the page's script, its policy, the keyboard, a narrow screen."""

from __future__ import annotations

import pytest

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
    chromium.click("main form button")
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


def focused(browser: Chromium) -> str:
    return str(browser.run("return document.activeElement.id || document.activeElement.textContent"))


def tab_to(browser: Chromium, name: str) -> None:
    """By the tabulator key alone, as somebody without a mouse."""
    for _ in range(60):
        if focused(browser) == name:
            shown = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
            assert shown != "none", f"one can't see that {name} has the focus"
            return
        browser.press(TAB)
    raise AssertionError(f"{name} can't be reached")


def test_a_rule_is_made_by_keyboard_alone(place: Spot, chromium: Chromium) -> None:
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/rules/new?entity=order&kind=notification")
    chromium.press(TAB)
    assert focused(chromium) == "Skip to the content"
    chromium.press(ENTER)
    tab_to(chromium, "name")
    chromium.press(*"By keys")
    tab_to(chromium, "trigger")
    chromium.press(*"When its status bec")
    tab_to(chromium, "status_id")
    chromium.press(*"Ready")
    tab_to(chromium, "working_hours_only")
    chromium.press(SPACE)
    tab_to(chromium, "template_id")
    chromium.press("t")
    tab_to(chromium, "Save")
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


def test_nothing_is_cut_off_on_a_narrow_screen(place: Spot, chromium: Chromium) -> None:
    """360 pixels: a small phone."""
    here = f"http://127.0.0.1:{place.port}/c/{C}"
    pages = (
        "rules",
        "rules/new?entity=order&kind=notification",
        "templates",
        "templates/t",
        "pending",
        "hours",
    )
    for page in (*pages, "feed/appointment/A-1", "deliveries"):
        chromium.narrow(f"{here}/{page}")
        wide = chromium.run("return document.documentElement.scrollWidth")
        assert wide <= 360, (page, wide)
