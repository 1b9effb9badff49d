"""A company with five thousand rules."""

from __future__ import annotations

import pytest

from schemas.records import Company, EntityKind, Template, TemplateText, Trigger
from tests.browser.chromium import Chromium
from tests.browser.conftest import sign_in
from tests.console.api.conftest import Spot
from tests.support.shop import WARSAW, notification

pytestmark = pytest.mark.browser

BIG, MANY, PAGE = "big", 5_000, 200


def test_its_rules_come_in_pages_that_fit(place: Spot, window: Chromium) -> None:
    company = Company(id=BIG, name="Big", language="en", zone=WARSAW, version=1)
    text = Template(id="t", company=BIG, texts={"en": TemplateText(sms="Hello")}, version=1)
    rules = [
        notification(
            Trigger.CREATED, EntityKind.LEAD, id_=f"r{number:05}", name=f"Rule {number}", company=BIG
        )
        for number in range(MANY)
    ]
    place.publish(company, text, *rules)
    place.until(lambda: len(list(place.desk.catalog.rules_of(BIG))) == MANY)
    home = f"http://127.0.0.1:{place.port}"
    window.wide()
    sign_in(window, home, "owner@acme")
    boxes = "return document.getElementsByName('item').length"

    window.go(f"{home}/c/{BIG}/rules?entity=lead")
    assert window.run(boxes) == PAGE
    window.click("main > p:last-of-type a")
    window.until("Rule 200")
    assert window.run(boxes) == PAGE
    assert "Rule 199\n" not in window.text

    window.type("#q", "Rule 4321\ue007")
    window.until("Rule 4321")
    assert window.run(boxes) == 1
    for page in ("rules?entity=lead", "templates/t", "rules/new?entity=lead&kind=notification"):
        window.narrow(f"{home}/c/{BIG}/{page}")
        assert window.run("return document.documentElement.scrollWidth") <= 360, page
    window.wide()
    window.go(f"{home}/c/{BIG}/templates/t")
    assert window.run("return document.querySelectorAll('main section li').length") == 20
    window.click("main section > p a")
    window.until("Rule 199")

    # All of a page at once; the rest stays as it is.
    window.go(f"{home}/c/{BIG}/rules?entity=lead")
    window.run("for (const box of document.getElementsByName('item')) box.checked = true")
    window.click("#action-disable")
    window.button("Show what would happen")
    window.until(f"It would be done for {PAGE} of {PAGE}.")
    window.button("Do it")
    window.until(f"Done for {PAGE} of {PAGE}.")
    off = [one.id for one in place.desk.catalog.rules_of(BIG) if not one.enabled]
    assert sorted(off) == [f"r{number:05}" for number in range(PAGE)]
    assert window.complaints() == []
