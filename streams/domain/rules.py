"""Whether a rule may be saved: the product's table of what can be combined, and what the company has.

The checks of the other reference data are in ``streams.domain.reference`` and can be imported from here.
"""

from __future__ import annotations

from schemas.records import Channel, EntityKind, Rule, RuleKind, Template, TemplateText, Trigger, Unit
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem, quoted
from streams.domain.reference import (
    A_YEAR,
    at,
    check_company,
    check_id,
    check_location,
    check_mailbox,
    check_owner,
    check_status,
    check_text,
)

__all__ = ["check_company", "check_location", "check_mailbox", "check_rule", "check_status"]

MOST = {Unit.MINUTES: 366 * 24 * 60, Unit.HOURS: 366 * 24, Unit.DAYS: 366}
"""The longest offset and delay: a year. More is a slip of the keyboard."""


def check_rule(
    rule: Rule, catalog: Catalog, *, user: str | None, previous: Rule | None = None, field: str = ""
) -> list[Problem]:
    """Every reason why the rule can't be saved, named by the record's field below ``field``.

    Args:
        user: who saves it; None (nobody in particular) has access to no mailbox.
        previous: the rule as it is now, when it is edited. A mailbox that it already has may stay,
            whoever saves it and also when it was disconnected meanwhile.
    """
    return [
        *check_id(rule.id, at(field, "id")),
        *check_owner(rule.company, catalog, field),
        *check_text(rule.name, at(field, "name")),
        *_check_trigger(rule, field),
        *_check_status(rule, catalog, field),
        *_check_times(rule, field),
        *_check_working_hours(rule, field),
        *_check_template(rule, catalog, field),
        *_check_mailbox(rule, catalog, user, previous, field),
        *_check_locations(rule, catalog, field),
    ]


def _check_trigger(rule: Rule, field: str) -> list[Problem]:
    if rule.kind is RuleKind.REMINDER:
        if rule.trigger is not Trigger.BEFORE_TIME:
            return [
                Problem(
                    at(field, "trigger"),
                    f"a reminder has the trigger before_time, not {rule.trigger}; or make it a notification",
                    "combination",
                )
            ]
        if rule.entity is EntityKind.LEAD:
            return [
                Problem(
                    at(field, "kind"), "a lead has no scheduled time: it can't have reminders", "combination"
                )
            ]
        return []
    if rule.trigger is Trigger.BEFORE_TIME:
        return [
            Problem(
                at(field, "trigger"), "before_time is for reminders; make the rule a reminder", "combination"
            )
        ]
    if rule.entity is EntityKind.LEAD and rule.trigger is Trigger.STATUS_CHANGED:
        return [
            Problem(
                at(field, "trigger"),
                "for leads name the status: use status_changed_to with a status",
                "combination",
            )
        ]
    if rule.entity is EntityKind.LEAD and rule.trigger is Trigger.TIME_CHANGED:
        return [
            Problem(at(field, "trigger"), "a lead has no scheduled time that could change", "combination")
        ]
    return []


def _check_status(rule: Rule, catalog: Catalog, field: str) -> list[Problem]:
    path = at(field, "status_id")
    if rule.trigger is not Trigger.STATUS_CHANGED_TO:
        if rule.status_id:
            return [
                Problem(
                    path, f"belongs to the trigger status_changed_to, not to {rule.trigger}", "combination"
                )
            ]
        return []
    if not rule.status_id:
        return [Problem(path, "status_changed_to needs the status", "missing")]
    if catalog.status(rule.company, rule.entity, rule.status_id) is None:
        return [
            Problem(path, f"the company has no status {quoted(rule.status_id)} for {rule.entity}s", "unknown")
        ]
    return []


def _check_times(rule: Rule, field: str) -> list[Problem]:
    problems: list[Problem] = []
    if rule.kind is RuleKind.NOTIFICATION:
        if rule.offset != 0:
            problems.append(
                Problem(
                    at(field, "offset"),
                    "belongs to reminders; a notification may have a delay",
                    "combination",
                )
            )
        problems += _check_amount(rule.delay, rule.delay_unit, 0, at(field, "delay"))
    else:
        if rule.delay != 0:
            problems.append(
                Problem(
                    at(field, "delay"), "belongs to notifications; a reminder has an offset", "combination"
                )
            )
        problems += _check_amount(rule.offset, rule.offset_unit, 1, at(field, "offset"))
    if rule.max_lateness is not None and not 0 <= rule.max_lateness <= A_YEAR:
        problems.append(
            Problem(
                at(field, "max_lateness"), f"{rule.max_lateness} ms is out of range: 0 to 366 days", "range"
            )
        )
    return problems


def _check_amount(amount: int, unit: Unit, least: int, field: str) -> list[Problem]:
    if least <= amount <= MOST[unit]:
        return []
    return [Problem(field, f"{amount} {unit} is out of range: {least} to {MOST[unit]} {unit}", "range")]


def _check_working_hours(rule: Rule, field: str) -> list[Problem]:
    path = at(field, "working_hours_only")
    if not rule.working_hours_only:
        return []
    if rule.kind is RuleKind.REMINDER:
        return [
            Problem(
                path,
                "a reminder goes at its moment before the scheduled time; only notifications wait",
                "combination",
            )
        ]
    if rule.entity is EntityKind.LEAD:
        return [
            Problem(path, "a lead has no location whose working hours could be waited for", "combination")
        ]
    return []


def _check_template(rule: Rule, catalog: Catalog, field: str) -> list[Problem]:
    path = at(field, "template_id")
    if not rule.template_id:
        return [Problem(path, "needs a template", "missing")]
    template = catalog.template(rule.company, rule.template_id)
    if template is None:
        return [Problem(path, f"the company has no template {quoted(rule.template_id)}", "unknown")]
    missing = missing_texts(template, rule.channel)
    if missing:
        return [
            Problem(
                path,
                f"template {template.id!r} can't be sent as {rule.channel}: it needs {missing}",
                "combination",
            )
        ]
    return []


def missing_texts(template: Template, channel: Channel) -> str:
    """What the template lacks for the channel, as part of a sentence; empty: nothing. Every language must
    have the text, or who gets a message would depend on the customer's language."""
    if not template.texts:
        return "a text in some language"
    return ", ".join(
        f"{part} in {language}"
        for language, text in template.texts.items()
        for part in _missing_parts(text, channel)
    )


def _missing_parts(text: TemplateText, channel: Channel) -> list[str]:
    if channel is Channel.SMS:
        return [] if text.sms.strip() else ["an SMS text"]
    parts = (("a subject", text.subject), ("a body", text.body))
    return [part for part, value in parts if not value.strip()]


def _check_mailbox(
    rule: Rule, catalog: Catalog, user: str | None, previous: Rule | None, field: str
) -> list[Problem]:
    path = at(field, "mailbox_id")
    if not rule.mailbox_id:
        return []
    if rule.channel is not Channel.EMAIL:
        return [Problem(path, "belongs to e-mail; an SMS has no mailbox", "combination")]
    mailbox = catalog.mailbox(rule.company, rule.mailbox_id)
    if mailbox is None:
        return [Problem(path, f"the company has no mailbox {quoted(rule.mailbox_id)}", "unknown")]
    if (
        previous is not None
        and previous.company == rule.company
        and previous.mailbox_id == rule.mailbox_id
        and previous.channel is Channel.EMAIL
    ):
        return []
    if user not in mailbox.users:
        who = "nobody in particular" if user is None else repr(user)
        return [
            Problem(
                path,
                f"{who} has no access to {mailbox.address}; only {', '.join(mailbox.users) or 'nobody'} may "
                "choose it",
                "access",
            )
        ]
    if not mailbox.connected:
        return [
            Problem(
                path, f"{mailbox.address} is not connected; connect it again or choose another", "combination"
            )
        ]
    return []


def _check_locations(rule: Rule, catalog: Catalog, field: str) -> list[Problem]:
    path = at(field, "locations")
    if rule.locations is None:
        return []
    if rule.entity is EntityKind.LEAD:
        return [Problem(path, "a lead has no location: its rules are for all locations", "combination")]
    if not rule.locations:
        return [
            Problem(path, "the list is empty: name a location, or leave it out for all locations", "missing")
        ]
    problems: list[Problem] = []
    for number, location in enumerate(rule.locations):
        if location in rule.locations[:number]:
            problems.append(Problem(f"{path}[{number}]", f"{location!r} is named twice", "taken"))
        elif catalog.location(rule.company, location) is None:
            problems.append(
                Problem(f"{path}[{number}]", f"the company has no location {quoted(location)}", "unknown")
            )
    return problems
