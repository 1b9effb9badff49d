"""Texts tried with what the shop really has."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from console.index.database import connect
from console.index.queries import Queries
from schemas.records import Change, Details, EntityKind, Facts, Operation
from tests.console.api.booked import book, meet, state
from tests.console.api.conftest import RIVAL, Spot
from tests.console.web.conftest import Browser, Enter
from tests.support.shop import C, ann, at

TEXT = "Dear {{ customer.name }}: {{ appointment.title }} on {{ appointment.date }}, {{ location.name }}"


def booked(place: Spot, id_: str, details: Details) -> None:
    facts = Facts(
        status_id="appointment-new",
        customer_id="nora",
        location_id="south",
        scheduled_at=at("2030-05-02 11:00", "Europe/Lisbon"),
    )
    change = Change(
        company=C,
        entity_id=id_,
        operation=Operation.CREATE,
        event_id="e",
        version=1,
        occurred_at=1,
        after=facts,
        details=details,
    )
    kept = state(
        "nora", location_id="south", scheduled_at=facts.scheduled_at, raw=msgspec.json.encode(change)
    )
    meet(place, ann(customer_id="nora", name="Nora Real"))
    book(place, (id_, kept), (f"gone-{id_}", state("nora", deleted=True)))
    book(place, (f"theirs-{id_}", kept), company=RIVAL)
    appointment = EntityKind.APPOINTMENT
    place.until(lambda: known(place, lambda queries: queries.customer(C, "nora") is not None))
    place.until(
        lambda: known(place, lambda queries: queries.entity(C, appointment, f"gone-{id_}") is not None)
    )


def known(place: Spot, question: Callable[[Queries], bool]) -> bool:
    database = connect(place.settings.data / "console" / "index.sqlite")
    found = question(Queries(database))
    database.close()
    return found


def shown(browser: Browser, text: str, **given: str) -> dict[str, object]:
    form = {"csrf": browser.hidden("csrf"), "language": "en", "sms": text, **given}
    answer = browser.send("POST", f"/c/{C}/templates/preview", form)
    assert answer.status == 200, answer
    found: dict[str, object] = json.loads(answer.body)
    return found


def test_a_text_is_tried_with_a_real_appointment(place: Spot, enter: Enter) -> None:
    booked(place, "P-1", Details(title="Wheel truing"))
    browser = enter("editor")
    browser.go(f"/c/{C}/templates/new")
    real = "Dear Nora Real: Wheel truing on Thursday, May 2, South"
    about = {"about": "appointment", "about_id": "P-1"}
    assert shown(browser, TEXT, **about)["sms"] == real
    assert "Nora" not in str(shown(browser, TEXT, about="order", about_id="P-1"))
    for id_ in ("nothing", "gone-P-1", "theirs-P-1"):
        found = shown(browser, TEXT, about="appointment", about_id=id_)
        assert "Nora" not in str(found)
        assert found["problems"] == ["Nothing is known of it; the preview shows sample data."], id_
    assert "Anna Schmidt" in str(shown(browser, TEXT, about="appointment")["sms"])
    viewer = enter("viewer")
    viewer.go(f"/c/{C}/templates")
    assert "Nora" not in str(shown(viewer, TEXT, **about))

    form = {"key": browser.hidden("key"), "name": "Real", "language": "en", "en.sms": TEXT, "look": "yes"}
    assert real in browser.post(f"/c/{C}/templates", form | about)
    assert 'value="P-1"' in browser.page
    page = browser.post(f"/c/{C}/templates", form | about | {"about_id": "nothing"})
    assert 'aria-describedby="about_id-problem"' in page


def test_what_a_real_one_lacks_is_said(place: Spot, enter: Enter) -> None:
    booked(place, "P-2", Details())
    browser = enter("editor")
    browser.go(f"/c/{C}/templates/new")
    about = {"about": "appointment", "about_id": "P-2"}
    found = shown(browser, TEXT, **about)
    assert found["sms"] == ""
    assert "such a message would not be sent" in str(found["problems"])
