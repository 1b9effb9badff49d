"""Company, locations, statuses and blocked addresses on the page, and what the audit says of it."""

from __future__ import annotations

import re

from schemas.records import EntityKind, Interval, StatusKind
from tests.console.api.conftest import Spot
from tests.console.web.conftest import Enter
from tests.support.shop import C

WEEK = {f"hours.weekdays[{day}]": "09:00-13:00, 14:00-18:00" for day in range(5)}
PLACE = {
    "id": "harbour",
    "name": "Harbour",
    "zone": "Europe/Lisbon",
    "address": "Cais 1",
    "phone": "+351 21 000",
    "hours.closed_dates": "2026-12-25 2026-12-24, 2026-12-24",
    **WEEK,
}


def test_a_location_is_made_and_its_hours_changed(place: Spot, enter: Enter) -> None:
    browser, other = enter("admin"), enter("owner")
    assert "New location" in browser.go(f"/c/{C}/hours")
    browser.go(f"/c/{C}/settings/locations/new")
    made = PLACE | {"key": browser.hidden("key")}
    for wrong, where in (
        ({"hours.weekdays[2]": "nine to five"}, "hours.weekdays[2]"),
        ({"hours.weekdays[3]": "09:00-14:00, 13:00-18:00"}, "hours.weekdays[3]"),
        ({"hours.closed_dates": "Christmas"}, "hours.closed_dates"),
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"name": ""}, "name"),
    ):
        page = browser.post(f"/c/{C}/settings/locations", made | wrong)
        assert browser.status == 422, wrong
        assert f'id="{where}-problem"' in page, wrong
        assert 'value="Cais 1"' in page
    page = browser.post(f"/c/{C}/settings/locations", made)
    assert "Saved." in page
    assert "Harbour" in page
    browser.post(f"/c/{C}/settings/locations", made)  # a second click
    found = place.desk.catalog.location(C, "harbour")
    assert found is not None
    assert found.hours.weekdays[0] == (Interval(opens=540, closes=780), Interval(opens=840, closes=1080))
    assert found.hours.weekdays[5] == ()
    assert found.hours.closed_dates == ("2026-12-24", "2026-12-25")

    for one in (browser, other):
        page = one.go(f"/c/{C}/settings/locations/harbour")
        assert 'value="09:00-13:00, 14:00-18:00"' in page
        assert 'name="id"' not in page
    late = {**PLACE, "hours.weekdays[4]": "22:00-02:00"}
    for one, status in ((browser, 200), (other, 412)):
        one.post(f"/c/{C}/settings/locations/harbour", late | {"version": one.hidden("version")})
        assert one.status == status
    found = place.desk.catalog.location(C, "harbour")
    assert found is not None
    assert found.hours.weekdays[4] == (Interval(opens=1320, closes=120),)
    browser.go(f"/c/{C}/settings/locations/harbour")
    browser.post(f"/c/{C}/settings/locations/harbour/delete", {})
    assert place.desk.catalog.location(C, "harbour") is None
    page = browser.go(f"/c/{C}/settings/audit?kind=location&record_id=harbour")
    assert [page.count(f"{word}: Location <strong>harbour") for word in ("made", "changed", "deleted")] == [
        1
    ] * 3
    assert "22:00-02:00" in page


def test_a_status_is_made_renamed_and_deleted(place: Spot, enter: Enter) -> None:
    browser = enter("admin")
    browser.go(f"/c/{C}/settings/statuses/new")
    form = {"id": "parked", "entity": "lead", "kind": "open", "key": browser.hidden("key")}
    page = browser.post(f"/c/{C}/settings/statuses", form)
    assert browser.status == 422
    assert 'id="names-problem"' in page
    page = browser.post(f"/c/{C}/settings/statuses", form | {"names.en": "Parked", "names.pl": "Odłożone"})
    assert "Parked" in page
    page = browser.go(f"/c/{C}/settings/statuses/parked")
    assert 'value="Odłożone"' in page
    changed = {"kind": "closed", "names.en": "Parked for good", "names.pl": "", "entity": "order"}
    browser.post(f"/c/{C}/settings/statuses/parked", changed | {"version": browser.hidden("version")})
    found = place.desk.catalog.status(C, EntityKind.LEAD, "parked")
    assert found is not None, "an entity is never changed"
    assert (found.kind, found.names) == (StatusKind.CLOSED, {"en": "Parked for good"})
    browser.go(f"/c/{C}/settings/statuses/parked")
    browser.post(f"/c/{C}/settings/statuses/parked/delete", {})
    assert place.desk.catalog.status(C, EntityKind.LEAD, "parked") is None


def test_the_companys_settings(place: Spot, enter: Enter) -> None:
    before = place.desk.catalog.company(C)
    assert before is not None
    browser = enter("admin")
    browser.go(f"/c/{C}/settings/company")
    shown = re.findall(r'<input type="(?:text|number)"[^>]* name="([^"]+)" value="([^"]*)"', browser.page)
    given = dict(shown) | {
        "language": "en",
        "quiet_hours": "21:00-08:00",
        "customer_daily_cap": "5",
        "duplicate_window": "10 minutes",
        "max_event_age": "24 hours",
        "sms_help": "Call us.\nAny time.",
        "smart_encoding": "yes",
        "version": browser.hidden("version"),
    }
    page = browser.post(
        f"/c/{C}/settings/company", given | {"duplicate_window": "a while", "currency": "gold"}
    )
    assert browser.status == 422
    assert 'id="duplicate_window-problem"' in page
    page = browser.post(f"/c/{C}/settings/company", given | {"sms_sender": "+48500999999"})
    assert 'id="sms_sender-problem"' in page, "it is given by those who have every company alone"
    browser.post(f"/c/{C}/settings/company", given)
    assert browser.where.endswith("/settings?said=saved"), browser.page
    company = place.desk.catalog.company(C)
    assert company is not None
    assert company.quiet_hours == (Interval(opens=1260, closes=480),)
    assert (company.customer_daily_cap, company.duplicate_window) == (5, 600_000)
    assert company.sms_help == "Call us.\nAny time."
    assert company.hours == before.hours
    assert (company.name, company.zone, company.sms_sender) == (before.name, before.zone, before.sms_sender)


def test_an_address_is_blocked_looked_for_and_freed(place: Spot, enter: Enter) -> None:
    browser = enter("admin")
    path = f"/c/{C}/settings/suppressions"
    assert "+48501111333" in browser.go(path)
    assert "answered STOP" in browser.page
    form = {"channel": "email", "address": "Pest@mail.example"}
    browser.post(path, form | {"address": "nobody"})
    assert browser.status == 422
    assert 'id="address-problem"' in browser.page
    assert "This address is not blocked." in browser.post(path, form | {"look": "yes"})
    page = browser.post(path, form)
    assert "pest@mail.example" in page
    assert "blocked by staff" in page
    assert "This address is blocked." in browser.post(path, form | {"look": "yes"})
    viewer = enter("viewer").go(path)
    assert "pest@mail.example" not in viewer
    assert "blocked by staff" in viewer
    page = browser.go(path)
    row = next(one for one in page.split("<tr>") if "pest@mail.example" in one)
    (lift,) = re.findall(r'action="([^"]+/lift)"', row)
    assert "pest@mail.example" not in browser.post(lift, {})


def test_the_hub_shows_what_one_may_do(enter: Enter) -> None:
    for who, there, hidden in (
        ("viewer", ("statuses", "suppressions"), ("audit", "company")),
        ("editor", ("statuses", "audit"), ("company",)),
        ("admin", ("statuses", "audit", "company"), ()),
    ):
        page = enter(who).go(f"/c/{C}/settings")
        assert all(f'/settings/{name}"' in page for name in there), who
        assert not any(f'/settings/{name}"' in page for name in hidden), who
