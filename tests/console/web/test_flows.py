"""What staff do on the page."""

from __future__ import annotations

import json
import re

from schemas.records import Channel, RuleKind, Trigger, Unit
from tests.console.api.conftest import DAY, Spot, delivery
from tests.console.web.conftest import PASSWORD, Browser, Enter
from tests.support.shop import C, at, notification

REMINDER = [
    ("name", "The day before"),
    ("trigger", "before_time"),
    ("offset", "1"),
    ("offset_unit", "days"),
    ("channel", "sms"),
    ("mailbox_id", ""),
    ("template_id", "when"),
    ("where", "chosen"),
    ("locations", "north"),
    ("locations", "south"),
    ("enabled", "yes"),
]


def test_signing_in_leads_to_where_one_was_going_and_out_again(place: Spot) -> None:
    browser = Browser(place)
    assert 'name="password"' in browser.go(f"/c/{C}/pending?by=rule")
    assert browser.where.startswith("/login?back=")
    form = {"user": "editor@acme", "password": "wrong", "back": f"/c/{C}/pending?by=rule"}
    assert "The user or the password is wrong." in browser.go("/login", form)
    assert browser.status == 401
    browser.go("/login", form | {"password": PASSWORD})
    assert browser.where == f"/c/{C}/pending?by=rule"
    browser.post("/logout", {})
    assert browser.where == "/login"
    assert 'name="password"' in browser.go("/companies")


def test_a_reminder_for_two_locations_is_set_up_and_what_came_of_it_read(place: Spot, enter: Enter) -> None:
    browser = enter("editor")
    assert "Add a reminder" in browser.go(f"/c/{C}/rules?entity=appointment")
    browser.go(f"/c/{C}/rules/new?entity=appointment&kind=reminder")
    key = browser.hidden("key")
    form = [("entity", "appointment"), ("kind", "reminder"), ("key", key), *REMINDER]
    page = browser.post(f"/c/{C}/rules", form)
    assert "Saved." in page
    assert "1 day before the scheduled time" in page
    assert "North, South" in page
    browser.post(f"/c/{C}/rules", form)  # a second click
    made = [one for one in place.desk.catalog.rules_of(C) if one.name == "The day before"]
    assert len(made) == 1
    rule = made[0]
    assert (rule.kind, rule.trigger, rule.offset, rule.offset_unit, rule.channel, rule.locations) == (
        RuleKind.REMINDER,
        Trigger.BEFORE_TIME,
        1,
        Unit.DAYS,
        Channel.SMS,
        ("north", "south"),
    )
    audit = place.get(f"/companies/{C}/audit?record_id={rule.id}", who="editor").json["items"]
    assert [(one["user"], one["way"]) for one in audit] == [("editor@acme", "page")]

    # An appointment is booked, then moved; the log says so, and so does the page.
    first = delivery(500, rule_id=rule.id, entity_id="A-500")
    place.publish(first)
    place.until(lambda: "A-500" in browser.go(f"/c/{C}/pending?rule_id={rule.id}"))
    moved = at("2026-05-01 10:00")
    place.publish(
        delivery(500, rule_id=rule.id, entity_id="A-500", transition=1, reason="moved", due_at=moved)
    )
    place.until(lambda: "1 May 2026, 10:00" in browser.go(f"/c/{C}/feed/appointment/A-500"))
    to_come, _, rest = browser.page.partition('id="part-sent"')
    assert "The day before" in to_come
    assert "The scheduled time changed; the message moved along." in to_come
    assert "None." in rest


def test_a_rule_is_edited_and_a_second_editor_is_told(place: Spot, enter: Enter) -> None:
    browser, other = enter("editor"), enter("admin")
    for one in (browser, other):
        one.go(f"/c/{C}/rules/new?entity=order&kind=notification")
        assert "Scheduled for" in one.page
    form = {"entity": "order", "kind": "notification", "key": browser.hidden("key"), "trigger": "created"}
    rest = {"delay": "0", "delay_unit": "minutes", "channel": "sms", "template_id": "t", "where": "all"}
    browser.post(f"/c/{C}/rules", form | rest | {"name": "Born twice"})
    (rule,) = [one for one in place.desk.catalog.rules_of(C) if one.name == "Born twice"]
    assert not rule.enabled  # the box was not ticked
    path = f"/c/{C}/rules/{rule.id}"
    changed = {"trigger": "status_changed_to", "status_id": "ready", "delay": "2", "delay_unit": "hours"}
    for one in (browser, other):
        one.go(path)
    version = other.hidden("version")
    page = browser.post(path, {"version": browser.hidden("version"), **rest, **changed, "name": "Ready"})
    assert "When its status becomes Ready, 2 hours later" in page
    page = other.post(path, {"version": version, **rest, **changed, "name": "Mine"})
    assert other.status == 412
    assert "Somebody else has changed it meanwhile." in page
    assert 'value="Mine"' in page
    other.go(path)
    other.post(f"{path}/delete", {})
    assert place.desk.catalog.rule(C, rule.id) is None


def test_what_the_form_does_not_show_stays_as_it_is(place: Spot, enter: Enter) -> None:
    place.publish(notification(Trigger.CREATED, id_="patient", max_lateness=7, mailbox_id=""))
    place.until(lambda: place.desk.catalog.rule(C, "patient") is not None)
    browser = enter("editor")
    browser.go(f"/c/{C}/rules/patient")
    form = {"version": browser.hidden("version"), "name": "New name", "trigger": "created", "delay": "0"}
    form |= {"delay_unit": "minutes", "channel": "sms", "template_id": "t", "where": "all"}
    browser.post(f"/c/{C}/rules/patient", form)
    rule = place.desk.catalog.rule(C, "patient")
    assert rule is not None
    assert (rule.name, rule.max_lateness) == ("New name", 7)


def test_a_second_writer_of_a_template_is_told(place: Spot, enter: Enter) -> None:
    browser, other = enter("editor"), enter("admin")
    for one in (browser, other):
        one.go(f"/c/{C}/templates/when")
    form = {"language": "en", "en.sms": "See you {{ entity.date }}"}
    for one, status in ((browser, 200), (other, 412)):
        one.post(f"/c/{C}/templates/when", form | {"version": one.hidden("version"), "name": f"{status}"})
        assert one.status == status
    template = place.desk.catalog.template(C, "when")
    assert template is not None
    assert template.name == "200"


def test_what_is_wrong_stands_beside_the_field(enter: Enter) -> None:
    browser = enter("editor")
    browser.go(f"/c/{C}/rules/new?entity=appointment&kind=reminder")
    form = {"entity": "appointment", "kind": "reminder", "key": browser.hidden("key"), "offset": "0"}
    form |= {"offset_unit": "days", "trigger": "before_time", "channel": "email", "template_id": "when"}
    page = browser.post(f"/c/{C}/rules", form | {"where": "chosen", "name": "<b>kept</b>"})
    assert browser.status == 422
    for name in ("offset", "template_id", "locations"):
        assert f'id="{name}-problem"' in page, name
        assert f'href="#{name}"' in page, name
    assert 'aria-describedby="offset-problem"' in page
    assert "&lt;b&gt;kept&lt;/b&gt;" in page
    assert browser.hidden("key") == form["key"]
    browser.post(f"/c/{C}/rules", form | {"offset": "many"})
    assert browser.status == 422
    assert 'value="many"' in browser.page


def test_many_rules_first_say_what_would_happen(place: Spot, enter: Enter) -> None:
    browser = enter("editor")
    browser.go(f"/c/{C}/rules?entity=order")
    boxes = re.findall(r'name="item" value="(\d+:born)"', browser.page)
    assert len(boxes) == 1
    before = place.desk.catalog.rule(C, "born")
    form = [("item", boxes[0]), ("action", "disable"), ("entity", "order"), ("channel", "sms")]
    page = browser.post(f"/c/{C}/rules/bulk", form)
    assert "Nothing is done yet. It would be done for 1 of 1." in page
    assert place.desk.catalog.rule(C, "born") == before
    page = browser.post(f"/c/{C}/rules/bulk", [("item", boxes[0]), ("action", "disable"), ("sure", "yes")])
    assert "Done for 1 of 1." in page
    rule = place.desk.catalog.rule(C, "born")
    assert rule is not None
    assert not rule.enabled
    page = browser.post(f"/c/{C}/rules/bulk", [("item", boxes[0]), ("action", "delete"), ("sure", "yes")])
    assert "changed meanwhile by somebody else" in page
    browser.post(f"/c/{C}/rules/bulk", [("action", "delete")])
    assert browser.status == 422
    browser.post(f"/c/{C}/rules/bulk", [("action", "explode"), ("item", boxes[0])])
    assert browser.status == 422


def test_a_template_is_written_beside_its_preview(place: Spot, enter: Enter) -> None:
    browser = enter("editor")
    page = browser.go(f"/c/{C}/templates/new")
    assert "{{ customer.first_name }}" in page
    form = {"key": browser.hidden("key"), "name": "Hello", "language": "en"}
    page = browser.post(f"/c/{C}/templates", form | {"en.sms": "Hi {{ customer.frist_name }}", "look": "yes"})
    assert 'id="texts.en.sms-problem"' in page
    page = browser.post(
        f"/c/{C}/templates",
        form | {"en.sms": "Hi {{ customer.first_name }}", "added": "pl", "look": "yes"},
    )
    assert "Hi Anna" in page
    assert "7 characters, SMS segments: 1 (GSM-7)" in page
    assert 'name="pl.sms"' in page
    browser.post(f"/c/{C}/templates", form | {"en.sms": "Hi {{ customer.frist_name }}"})
    assert browser.status == 422
    page = browser.post(f"/c/{C}/templates", form | {"en.sms": "Hi {{ customer.first_name }}"})
    assert "Saved." in page
    (made,) = [one for one in place.desk.catalog.templates_of(C) if one.name == "Hello"]
    browser.go(f"/c/{C}/templates/{made.id}")
    given = {"csrf": browser.hidden("csrf"), "language": "en", "sms": "ż" * 71}
    answer = browser.send("POST", f"/c/{C}/templates/preview", given)
    assert json.loads(answer.body)["cost"] == "71 characters, SMS segments: 2 (UCS-2)"
    browser.post(f"/c/{C}/templates/{made.id}/delete", {})
    assert place.desk.catalog.template(C, made.id) is None
    browser.go(f"/c/{C}/templates/t")
    browser.post(f"/c/{C}/templates/t/delete", {})
    assert browser.status == 409


def test_messages_are_counted_found_and_explained(enter: Enter) -> None:
    browser = enter("viewer")
    for by, shown in (("day", "8 Apr 2026"), ("location", "North"), ("rule", "rem")):
        assert shown in browser.go(f"/c/{C}/pending?by={by}"), by
    assert "A-1" in browser.go(f"/c/{C}/pending?day={DAY}&location_id=north")
    assert "A-1" not in browser.go(f"/c/{C}/pending?day=2026-04-09")
    assert browser.go(f"/c/{C}/pending?day=tomorrow").count('role="alert"') == 1
    assert "A-2" in browser.go(f"/c/{C}/deliveries?customer_id=ann&state=suppressed")
    page = browser.go(f"/c/{C}/deliveries?id={2:032x}")
    assert f'href="/c/{C}/deliveries/{2:032x}"' in page
    page = browser.go(f"/c/{C}/feed?kind=appointment&id=A-2")
    assert browser.where == f"/c/{C}/feed/appointment/A-2"
    assert "The customer has not agreed to this channel." in page
    assert "Ask the customer, and note their consent" in page
    assert "The customer has not agreed to this channel." in browser.go(f"/c/{C}/deliveries/{2:032x}")


def test_the_hours_of_locations_are_shown_on_a_week(enter: Enter) -> None:
    page = enter("viewer").go(f"/c/{C}/hours")
    assert page.count("09:00-18:00") == 15  # the company's, and two locations'
    assert '<rect x="540" y="0" width="540"' in page


def test_every_page_in_every_language(place: Spot, enter: Enter) -> None:
    browser = enter("editor")
    pages = (
        "rules",
        "rules/new?entity=order&kind=notification",
        "templates/t",
        "pending",
        "deliveries",
        "channels",
        "hours",
        "settings",
        "settings/statuses",
        "settings/suppressions",
        "settings/audit",
    )
    for tag in ("en", "es", "pl", "pt", "de", "fr"):
        browser.go("/language", {"language": tag, "back": "/companies"})
        for page in pages:
            assert f'<html lang="{tag}">' in browser.go(f"/c/{C}/{page}")
            assert browser.status == 200, (tag, page)
    browser.go("/language", {"language": "en", "back": "//evil.example"})
    assert browser.where == "/companies"
