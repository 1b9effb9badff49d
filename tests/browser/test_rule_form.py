"""The form of a rule, where it takes a browser: what is shown while one chooses and types."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Chromium
from tests.console.api.conftest import Spot
from tests.support.shop import C

pytestmark = pytest.mark.browser


def test_a_text_is_written_in_the_form_of_its_rule(place: Spot, chromium: Chromium) -> None:
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/rules/new?entity=order&kind=notification")
    assert "Subject of the e-mail" not in chromium.text
    chromium.type("#name", "With a text")
    chromium.click("#new_text")
    chromium.until("Subject of the e-mail")
    chromium.type("#text_name", "Written here")
    chromium.type('[id="texts.en.sms"]', "Hello ")
    chromium.click("summary")
    chromium.click('[data-insert="{{ customer.first_name }}"]')
    chromium.until("Hello Anna")
    chromium.until("10 characters, SMS segments: 1 (GSM-7)")
    chromium.button("Show what would happen")
    chromium.until("It sends nothing by being saved")
    chromium.until("Hello Anna")
    chromium.button("Save")
    chromium.until("Saved.")
    (rule,) = [one for one in place.desk.catalog.rules_of(C) if one.name == "With a text"]
    template = place.desk.catalog.template(C, rule.template_id)
    assert template is not None
    assert (template.name, template.texts["en"].sms) == ("Written here", "Hello {{ customer.first_name }}")


def test_a_test_message_is_asked_for_without_losing_what_was_typed(place: Spot, chromium: Chromium) -> None:
    """Whoever has no number of their own gets none."""
    chromium.go(f"http://127.0.0.1:{place.port}/c/{C}/rules/new?entity=order&kind=notification")
    chromium.type("#name", "Kept")
    chromium.type("#template_id", "t")
    chromium.button("Send a test message to me")
    chromium.until("there is no phone number in your user's record")
    assert chromium.run("return document.getElementById('name').value") == "Kept"
    assert chromium.run("return document.querySelector('main [role=alert]') !== null")
