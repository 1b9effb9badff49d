"""The form of a rule: what it asks before saving, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.fakes.sms import ACCOUNT, TOKEN, SmsFake
from streams.secret import Secret
from streams.settings import Settings
from tests.console.api.booked import book, meet, state
from tests.console.api.conftest import Spot, both_companies, user
from tests.console.api.outside import running
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
    sms = SmsFake()
    with running(sms):
        provider = f"http://{sms.host}:{sms.port}"
        settings = replace(settings, sms_account=ACCOUNT, sms_token=Secret(TOKEN), sms_api=provider)
        spot = Spot(replace(settings, console_ask_above=LIMIT))
        spot.publish(*both_companies(), user("editor", password=HASHED, phone="+48501999888"))
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


WRITTEN = [
    ("new_text", "yes"),
    ("text_name", "See you"),
    ("language", "en"),
    ("en.sms", "See you {{ entity.date }}"),
]


def test_a_text_is_written_in_the_form_and_saved_with_the_rule(booked: Spot, editor: Browser) -> None:
    few = [one for one in REMINDER if one not in (("locations", "north"), ("name", "The day before"))]
    form = [*new_form(editor), ("name", "With a text"), *few]
    assert 'id="new_text"' in editor.page
    wrong = [("en.sms", "{{ entity.dat }}") if one[0] == "en.sms" else one for one in WRITTEN]
    page = editor.post(f"/c/{C}/rules", [*form, *wrong, ("offset", "x")])
    assert editor.status == 422
    assert 'id="texts.en.sms-problem"' in page
    assert 'aria-describedby="texts.en.sms-problem"' in page
    assert 'href="#texts.en.sms"' in page
    assert 'value="See you"' in page
    assert "With a text" not in names(booked)
    assert "See you" not in {one.name for one in booked.desk.catalog.templates_of(C)}

    page = editor.post(f"/c/{C}/rules", [*form, *WRITTEN, ("added", "pl"), ("look", "yes")])
    assert "Messages to come by it: 0." in page
    assert '<p class="bubble" data-shows="sms" lang="en">See you ' in page
    assert 'name="pl.sms"' in page
    page = editor.post(f"/c/{C}/rules", [*form, *WRITTEN, ("language", "pl"), ("pl.sms", "")])
    assert "Saved." in page
    editor.post(f"/c/{C}/rules", [*form, *WRITTEN])  # a second click
    (rule,) = [one for one in booked.desk.catalog.rules_of(C) if one.name == "With a text"]
    (text,) = [one for one in booked.desk.catalog.templates_of(C) if one.name == "See you"]
    assert rule.template_id == text.id
    assert list(text.texts) == ["en"]


def test_what_is_missing_of_the_text_stands_at_its_fields(booked: Spot, editor: Browser) -> None:
    form = [
        *new_form(editor),
        *REMINDER,
        ("new_text", "yes"),
        ("language", "en"),
        ("en.subject", "Hi"),
        ("en.body", "Hi"),
    ]
    page = editor.post(f"/c/{C}/rules", form)
    assert editor.status == 422
    assert 'id="texts-problem"' in page
    assert "it needs an SMS text in en" in page
    editor.post(f"/c/{C}/rules", [*new_form(editor), *REMINDER, ("new_text", "yes"), ("language", "en")])
    assert editor.status == 422


TAKEN = "The provider has taken it; it goes to +48501999888."


def test_a_test_message_is_sent_from_the_forms_without_losing_what_was_typed(editor: Browser) -> None:
    form = [*new_form(editor), *REMINDER]
    page = editor.post(f"/c/{C}/rules", [*form, ("try", "yes")])
    assert TAKEN in page
    assert 'value="The day before"' in page
    assert TAKEN in editor.post(f"/c/{C}/rules", [*form, *WRITTEN, ("try", "yes")])
    page = editor.post(f"/c/{C}/rules", [*form, ("channel", "email"), ("template_id", "t"), ("try", "yes")])
    assert TAKEN in page  # the first of two is what a form has chosen
    editor.go(f"/c/{C}/templates/when")
    given = [("version", editor.hidden("version")), ("name", "When"), ("language", "en"), ("en.sms", "Come!")]
    page = editor.post(f"/c/{C}/templates/when", [*given, ("try_language", "en"), ("try", "sms")])
    assert TAKEN in page
    assert ">\nCome!</textarea>" in page
    page = editor.post(f"/c/{C}/templates/when", [*given, ("try", "email")])
    assert "you sign in with a name that is no e-mail address" in page
    for wrong in ("", "pigeon"):
        assert 'role="alert"' in editor.post(f"/c/{C}/templates/when", [*given, ("try", wrong)])
