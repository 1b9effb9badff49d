"""The form of a rule: what it asks before saving, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streams.settings import Settings
from tests.console.api.booked import book, meet, state
from tests.console.api.conftest import Spot, both_companies, user
from tests.console.web.conftest import HASHED, Browser
from tests.console.web.test_flows import REMINDER
from tests.support.shop import C, ann

LIMIT = 2


@pytest.fixture(scope="module")
def booked(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    """Three appointments in a month; one of two customers has agreed."""
    settings = make_settings(tmp_path_factory.mktemp("form"))
    spot = Spot(replace(settings, console_ask_above=LIMIT))
    spot.publish(*both_companies(), user("editor", password=HASHED))
    book(spot, ("A-1", state("ann")), ("A-2", state("ann")), ("A-3", state("bob")))
    meet(spot, ann(), ann(customer_id="bob", sms_consent=False))
    spot.start()
    yield spot
    spot.stop()


@pytest.fixture
def editor(booked: Spot) -> Browser:
    return Browser(booked).log_in("editor")


def new_form(editor: Browser, entity: str = "appointment", kind: str = "reminder") -> list[tuple[str, str]]:
    editor.go(f"/c/{C}/rules/new?entity={entity}&kind={kind}")
    return [("entity", entity), ("kind", kind), ("key", editor.hidden("key"))]


def names(spot: Spot) -> set[str]:
    return {one.name for one in spot.desk.catalog.rules_of(C)}


COUNTS = "Messages to come by it: 3. Customers: 2; of these have not agreed, or can&#x27;t be reached: 1."


def test_a_rule_of_many_messages_is_asked_about_before_it_is_saved(booked: Spot, editor: Browser) -> None:
    form = [*new_form(editor), *REMINDER]
    page = editor.post(f"/c/{C}/rules", [*form, ("look", "yes")])
    assert COUNTS in page
    assert 'value="The day before"' in page
    page = editor.post(f"/c/{C}/rules", form)
    assert editor.status == 409
    assert COUNTS in page
    assert "nothing is saved yet" in page
    assert ">Yes, save it</button>" in page
    assert "The day before" not in names(booked)
    page = editor.post(f"/c/{C}/rules", [*form, ("confirm", editor.hidden("confirm"))])
    assert f"Saved. {COUNTS}" in page
    assert "The day before" in names(booked)


def test_a_few_are_not(editor: Browser) -> None:
    few = [one for one in REMINDER if one != ("locations", "north")]
    page = editor.post(f"/c/{C}/rules", [*new_form(editor), *few])
    assert "Saved. Messages to come by it: 0." in page


def test_a_notification_sends_nothing_by_being_saved(editor: Browser) -> None:
    form = [*new_form(editor, "order", "notification"), ("trigger", "created"), ("channel", "sms")]
    form += [("delay_unit", "minutes"), ("template_id", "t"), ("where", "all"), ("name", "Told")]
    assert "It sends nothing by being saved" in editor.post(f"/c/{C}/rules", form)


def test_what_stands_in_the_address_is_no_word_of_ours(editor: Browser) -> None:
    page = editor.go(f"/c/{C}/rules?said=saved&messages=<b>9&customers=x&not_agreed=1&too_late=0")
    assert "<b>9" not in page
    assert "Messages to come by it" not in page


def test_an_edited_rule_is_counted_and_asked_about_too(booked: Spot, editor: Browser) -> None:
    off = [("name", "Off"), *(one for one in REMINDER if one[0] not in ("enabled", "name"))]
    page = editor.post(f"/c/{C}/rules", [*new_form(editor), *off])
    assert "Saved." in page
    (rule,) = [one for one in booked.desk.catalog.rules_of(C) if one.name == "Off"]
    path = f"/c/{C}/rules/{rule.id}"
    editor.go(path)
    form = [("version", editor.hidden("version")), *REMINDER]
    assert COUNTS in editor.post(path, [*form, ("look", "yes")])
    editor.post(path, form)
    assert editor.status == 409
    editor.post(path, [*form, ("confirm", editor.hidden("confirm"))])
    found = booked.desk.catalog.rule(C, rule.id)
    assert found is not None
    assert found.enabled
