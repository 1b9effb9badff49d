from __future__ import annotations

import re
from typing import Any

import pytest

from schemas.records import Channel, EntityKind, Rule, RuleKind, TemplateText, Trigger, Unit
from streams.domain.problems import Problem
from streams.domain.rules import check_rule
from tests.streams.domain.rulebook import OTHER, SHOP, filled, notification, reminder, template

ORDER, LEAD, APPOINTMENT = EntityKind.ORDER, EntityKind.LEAD, EntityKind.APPOINTMENT
MINUTES, HOURS, DAYS = Unit.MINUTES, Unit.HOURS, Unit.DAYS


def problems(rule: Rule, **kwargs: Any) -> list[Problem]:
    return check_rule(rule, filled(), **{"user": "ann"} | kwargs)


def refused(rule: Rule, field: str, message: str, **kwargs: Any) -> None:
    """Exactly one problem, with this field and a message that contains this pattern."""
    found = problems(rule, **kwargs)
    assert [problem.field for problem in found] == [field]
    assert re.search(message, found[0].message), found[0].message


# --- the table -----------------------------------------------------------------------------------

CELLS = [
    # trigger, order, lead, appointment: None is a yes, else the field that is named and part of the text
    (Trigger.CREATED, None, None, None),
    (Trigger.STATUS_CHANGED, None, ("trigger", "use status_changed_to with a status"), None),
    (Trigger.STATUS_CHANGED_TO, None, None, None),
    (Trigger.TIME_CHANGED, None, ("trigger", "a lead has no scheduled time that could change"), None),
]


@pytest.mark.parametrize(
    ("trigger", "kind", "refusal"),
    [(row[0], kind, row[1 + number]) for row in CELLS for number, kind in enumerate(EntityKind)],
)
def test_notifications(trigger: Trigger, kind: EntityKind, refusal: tuple[str, str] | None) -> None:
    rule = notification(trigger, kind)
    if refusal is None:
        assert problems(rule) == []
    else:
        refused(rule, *refusal)


@pytest.mark.parametrize("unit", list(Unit))
def test_reminders(unit: Unit) -> None:
    assert problems(reminder(ORDER, offset_unit=unit)) == []
    assert problems(reminder(APPOINTMENT, offset_unit=unit)) == []
    refused(reminder(LEAD, offset_unit=unit), "kind", "lead has no scheduled time: it can't have reminders")


@pytest.mark.parametrize("kind", list(EntityKind))
@pytest.mark.parametrize("channel", list(Channel))
def test_channels(kind: EntityKind, channel: Channel) -> None:
    assert problems(notification(entity=kind, channel=channel)) == []


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("kind", list(EntityKind))
def test_delays_are_for_notifications(kind: EntityKind, unit: Unit) -> None:
    assert problems(notification(entity=kind, delay=1, delay_unit=unit)) == []
    if kind is not LEAD:
        refused(
            reminder(kind, delay=1, delay_unit=unit), "delay", "^belongs to notifications; a reminder has an"
        )
        refused(reminder(kind, delay=-1, delay_unit=unit), "delay", "belongs to notifications")


def test_working_hours() -> None:
    assert problems(notification(entity=ORDER, working_hours_only=True)) == []
    assert problems(notification(entity=APPOINTMENT, working_hours_only=True)) == []
    refused(
        notification(entity=LEAD, working_hours_only=True), "working_hours_only", "^a lead has no location"
    )
    for kind in (ORDER, APPOINTMENT):
        refused(
            reminder(kind, working_hours_only=True), "working_hours_only", "^a reminder goes at its moment"
        )


def test_locations() -> None:
    for kind in (ORDER, APPOINTMENT):
        assert problems(notification(entity=kind, locations=("north", "south"))) == []
        assert problems(reminder(kind, locations=("north",))) == []
    refused(notification(entity=LEAD, locations=("north",)), "locations", "^a lead has no location")
    refused(notification(entity=LEAD, locations=()), "locations", "^a lead has no location")


# --- what belongs together --------------------------------------------------------------------------


def test_kind_and_trigger() -> None:
    refused(
        notification(Trigger.BEFORE_TIME), "trigger", "^before_time is for reminders; make the rule a rem"
    )
    for trigger in (Trigger.CREATED, Trigger.STATUS_CHANGED, Trigger.TIME_CHANGED):
        refused(
            reminder(trigger=trigger), "trigger", f"trigger before_time, not {trigger}; or make it a notif"
        )


@pytest.mark.parametrize(("unit", "most"), [(MINUTES, 527_040), (HOURS, 8_784), (DAYS, 366)])
def test_offset_and_delay_are_sane(unit: Unit, most: int) -> None:
    for offset in (1, most):
        assert problems(reminder(offset=offset, offset_unit=unit)) == []
    for offset in (0, -1, most + 1):
        message = f"^{offset} {unit} is out of range: 1 to {most} {unit}$"
        refused(reminder(offset=offset, offset_unit=unit), "offset", message)
    for delay in (0, most):
        assert problems(notification(delay=delay, delay_unit=unit)) == []
    for delay in (-1, most + 1):
        message = f"^{delay} {unit} is out of range: 0 to {most} {unit}$"
        refused(notification(delay=delay, delay_unit=unit), "delay", message)


@pytest.mark.parametrize("offset", [1, -1])
def test_a_notification_has_no_offset(offset: int) -> None:
    refused(notification(offset=offset), "offset", "^belongs to reminders; a notification may have a delay$")


def test_lateness() -> None:
    year = 366 * 24 * 3600 * 1000
    for most in (None, 0, 1, year):
        assert problems(notification(max_lateness=most)) == []
        assert problems(reminder(max_lateness=most)) == []
    for most in (-1, year + 1):
        refused(
            notification(max_lateness=most), "max_lateness", f"^{most} ms is out of range: 0 to 366 days$"
        )


def test_status() -> None:
    to = Trigger.STATUS_CHANGED_TO
    refused(notification(to, status_id=""), "status_id", "^status_changed_to needs the status$")
    refused(notification(to, status_id="nope"), "status_id", "^the company has no status 'nope' for orders$")
    refused(notification(to, status_id="lost"), "status_id", "no status 'lost' for orders")
    refused(notification(to, LEAD, status_id="ready"), "status_id", "no status 'ready' for leads")
    for trigger in (Trigger.CREATED, Trigger.STATUS_CHANGED, Trigger.TIME_CHANGED):
        message = f"^belongs to the trigger status_changed_to, not to {trigger}$"
        refused(notification(trigger, status_id="ready"), "status_id", message)
    refused(reminder(ORDER, status_id="ready"), "status_id", "not to before_time")


def test_template() -> None:
    refused(notification(template_id=""), "template_id", "^needs a template$")
    refused(notification(template_id="nope"), "template_id", "^the company has no template 'nope'$")
    refused(
        notification(template_id="sms-only", channel=Channel.EMAIL),
        "template_id",
        "^template 'sms-only' can't be sent as email: it needs a subject in en, a body in en$",
    )
    refused(
        notification(template_id="mail-only"),
        "template_id",
        "^template 'mail-only' can't be sent as sms: it needs an SMS text in en$",
    )
    assert problems(notification(template_id="sms-only")) == []
    assert problems(notification(template_id="mail-only", channel=Channel.EMAIL)) == []


@pytest.mark.parametrize(
    ("texts", "channel", "needed"),
    [
        ({}, Channel.SMS, "a text in some language"),
        ({"en": TemplateText(sms="x"), "pl": TemplateText(sms=" \n")}, Channel.SMS, "an SMS text in pl"),
        ({"en": TemplateText(subject="x")}, Channel.EMAIL, "a body in en"),
        ({"en": TemplateText(subject=" ", body="x")}, Channel.EMAIL, "a subject in en"),
    ],
)
def test_every_language_of_the_template_has_the_text(
    texts: dict[str, TemplateText], channel: Channel, needed: str
) -> None:
    catalog = filled()
    lacking = template("t", TemplateText())
    catalog.apply(type(lacking)(id="t", company=SHOP, texts=texts, version=1))
    (problem,) = check_rule(notification(template_id="t", channel=channel), catalog, user="ann")
    assert problem == Problem("template_id", f"template 't' can't be sent as {channel}: it needs {needed}")


def test_each_location_exists_once() -> None:
    refused(notification(locations=()), "locations", "^the list is empty: name a location, or leave it out")
    refused(notification(locations=("north", "nope")), "locations[1]", "^the company has no location 'nope'$")
    refused(notification(locations=("theirs",)), "locations[0]", "no location 'theirs'")
    refused(notification(locations=("north", "south", "north")), "locations[2]", "^'north' is named twice$")
    both = problems(notification(locations=("nope", "nope")))
    assert [p.field for p in both] == ["locations[0]", "locations[1]"]


# --- mailboxes --------------------------------------------------------------------------------------

MAIL = notification(channel=Channel.EMAIL)


def mail(**fields: Any) -> Rule:
    return notification(**{"channel": Channel.EMAIL} | fields)


def test_a_mailbox_is_for_email_and_exists() -> None:
    assert problems(mail(mailbox_id="front")) == []
    refused(notification(mailbox_id="front"), "mailbox_id", "^belongs to e-mail; an SMS has no mailbox$")
    refused(mail(mailbox_id="nope"), "mailbox_id", "^the company has no mailbox 'nope'$")
    refused(mail(mailbox_id="nope"), "mailbox_id", "no mailbox 'nope'", previous=mail(mailbox_id="nope"))


def test_only_who_has_access_may_choose_a_mailbox() -> None:
    assert problems(mail(mailbox_id="front"), user="bob") == []
    chosen = mail(mailbox_id="front")
    refused(chosen, "mailbox_id", "^'eve' has no access to front@shop.example; only ann, bob may", user="eve")
    refused(chosen, "mailbox_id", "^nobody in particular has no access to front@", user=None)
    refused(mail(mailbox_id="nobody"), "mailbox_id", "only nobody may choose it")


def test_someone_without_access_may_edit_the_rest_of_the_rule() -> None:
    before = mail(mailbox_id="front", name="old")
    assert problems(mail(mailbox_id="front", name="new"), user="eve", previous=before) == []
    assert problems(mail(mailbox_id="front", enabled=False), user=None, previous=before) == []
    assert problems(mail(), user="eve", previous=before) == []


@pytest.mark.parametrize(
    "previous",
    [
        None,
        mail(),
        mail(mailbox_id="cut"),
        mail(mailbox_id="front", company=OTHER),
        notification(mailbox_id="front"),
    ],
)
def test_a_mailbox_that_the_rule_did_not_have_is_newly_chosen(previous: Rule | None) -> None:
    refused(mail(mailbox_id="front"), "mailbox_id", "'eve' has no access", user="eve", previous=previous)


def test_a_disconnected_mailbox_may_stay_but_not_be_chosen() -> None:
    refused(mail(mailbox_id="cut"), "mailbox_id", "^cut@shop.example is not connected; connect it again or")
    assert problems(mail(mailbox_id="cut"), previous=mail(mailbox_id="cut", name="old")) == []


# --- ids, names, paths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("", "^needs an id$"),
        ("x" * 201, "^an id has at most 200 characters, this one 201$"),
        ("a/b", "is no id: leave out"),
        ("a\nb", "is no id: leave out"),
        ("a\x7fb", "is no id: leave out"),
        ("a\x9fb", "is no id: leave out"),
        ("a\u2028b", "is no id: leave out"),
        (" a", "is no id: leave out"),
    ],
)
def test_ids_are_clean(id: str, message: str) -> None:
    refused(notification(id=id), "id", message)


@pytest.mark.parametrize("id", ["x" * 200, "order ready", "zażółć", "a.b-c_d@e"])
def test_ids_may_be_readable(id: str) -> None:
    assert problems(notification(id=id)) == []


def test_names() -> None:
    assert problems(notification(name="x" * 200)) == []
    refused(notification(name="x" * 201), "name", "^has 201 characters, at most 200 are allowed$")
    refused(notification(name="a\nb"), "name", "control characters or line breaks")


def test_the_company_exists() -> None:
    found = problems(notification(company="nope"))
    assert [p.field for p in found] == ["company", "template_id"]
    assert found[0].message == "there is no company 'nope'; set it up first"


def test_what_another_company_has_is_not_there() -> None:
    found = problems(notification(Trigger.STATUS_CHANGED_TO, company=OTHER, locations=("north",)))
    assert [p.field for p in found] == ["status_id", "template_id", "locations[0]"]


def test_problems_come_together_and_below_the_field() -> None:
    rule = reminder(
        LEAD,
        id="",
        name="\0",
        status_id="x",
        delay=1,
        working_hours_only=True,
        template_id="",
        mailbox_id="front",
        locations=("north",),
        max_lateness=-1,
    )
    assert [p.field for p in problems(rule, field="rules[2]")] == [
        f"rules[2].{name}"
        for name in (
            "id",
            "name",
            "kind",
            "status_id",
            "delay",
            "max_lateness",
            "working_hours_only",
            "template_id",
            "mailbox_id",
            "locations",
        )
    ]


def test_kind_is_named_before_the_entity() -> None:
    refused(reminder(LEAD, trigger=Trigger.CREATED), "trigger", "a reminder has the trigger before_time")
    assert notification().kind is RuleKind.NOTIFICATION
