"""``carillon rules``: a company's rules, listed, and changed many at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from console.connection import connected
from console.options import as_option, given_settings, json_option, set_option, yes_option
from console.output import counted, may_ask, print_json, print_table
from console.service import bulk
from console.service.edits import ANY, Author
from console.service.errors import RefusedError
from console.service.publishing import publish_edits
from console.shop_forms import format_delay
from schemas.records import Channel, Rule, RuleKind, Trigger
from streams.clock import clock_of
from streams.domain.catalog import Catalog
from streams.domain.templating import sample_segments

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLES = """\b
Examples:
  carillon rules list acme
  carillon rules list acme --json | jq 'select(.channel == "sms") | .id'
  carillon rules disable acme order-ready order-late --dry-run
  carillon rules change acme order-ready --channel email --mailbox shop --as maria@shop.example
  carillon rules copy acme order-ready --to north --to south
  carillon rules delete acme old-reminder --yes
"""


@click.group(epilog=EXAMPLES)
def rules() -> None:
    """List, switch, change, copy and delete a company's rules. "carillon apply" makes new ones."""


@rules.command("list", epilog=EXAMPLES)
@click.argument("company")
@json_option
@set_option
def list_rules(company: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show what a company sends, on which occasion, by which channel, and how many SMS segments one message
    costs with sample data (a range, where languages differ)."""
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "rules", "templates"))
    known_company(catalog, company)
    found = sorted(catalog.rules_of(company), key=lambda rule: (rule.entity, rule.id))
    if as_json:
        for rule in found:
            print_json(rule)
        return
    print_table(
        ("rule", "on", "entity", "when", "channel", "segments", "template", "locations", "name"),
        [
            (
                rule.id,
                "yes" if rule.enabled else "no",
                str(rule.entity),
                occasion(rule),
                str(rule.channel),
                cost(rule, catalog),
                rule.template_id,
                "all" if rule.locations is None else ", ".join(rule.locations),
                rule.name,
            )
            for rule in found
        ],
        ["" if rule.enabled else "dim" for rule in found],
    )


def _many(function: F) -> F:
    """The arguments and options of the commands that change many rules."""
    for decorate in (
        set_option,
        json_option,
        yes_option,
        as_option,
        click.option("--dry-run", is_flag=True, help="Say what would be done to each, and do nothing."),
        click.argument("rule", nargs=-1, required=True),
        click.argument("company"),
    ):
        function = decorate(function)
    return function


@rules.command("enable", epilog=EXAMPLES)
@_many
def enable_rules(**given: Any) -> None:
    """Switch rules on."""
    _bulk(bulk.Action.ENABLE, "Switch on", **given)


@rules.command("disable", epilog=EXAMPLES)
@_many
def disable_rules(**given: Any) -> None:
    """Switch rules off. Their pending messages are cancelled."""
    _bulk(bulk.Action.DISABLE, "Switch off", **given)


@rules.command("change", epilog=EXAMPLES)
@click.option("--template", help="The template that they send from now on.")
@click.option("--channel", type=click.Choice([each.value for each in Channel]), help="How they are sent.")
@click.option("--mailbox", default="", help="With --channel email: the mailbox that they come from.")
@_many
def change_rules(template: str | None, channel: str | None, mailbox: str, **given: Any) -> None:
    """Give rules another template, or another sending method."""
    if (template is None) == (channel is None):
        raise click.UsageError("one of --template and --channel is needed")
    if template is not None:
        _bulk(bulk.Action.CHANGE_TEMPLATE, "Change the template of", template_id=template, **given)
    else:
        question = "Change the sending method of"
        to = Channel(channel or "")
        _bulk(bulk.Action.CHANGE_CHANNEL, question, channel=to, mailbox_id=mailbox, **given)


@rules.command("copy", epilog=EXAMPLES)
@click.option("--to", "locations", multiple=True, required=True, metavar="LOCATION", help="May be repeated.")
@_many
def copy_rules(locations: tuple[str, ...], **given: Any) -> None:
    """Copy rules to locations that no equal rule covers, so that nobody is told twice."""
    _bulk(bulk.Action.COPY_TO_LOCATIONS, "Copy", locations=locations, **given)


@rules.command("delete", epilog=EXAMPLES)
@_many
def delete_rules(company: str, rule: tuple[str, ...], overrides: tuple[str, ...], **given: Any) -> None:
    """Delete rules of a company. Their pending messages are cancelled; what was sent stays in the log.

    All or none: if one of them does not exist, nothing is deleted (exit code 1).
    """
    _bulk(bulk.Action.DELETE, "Delete", company=company, rule=rule, overrides=overrides, whole=True, **given)


def _bulk(
    action: bulk.Action,
    question: str,
    *,
    company: str,
    rule: tuple[str, ...],
    dry_run: bool,
    user: str | None,
    yes: bool,
    as_json: bool,
    overrides: tuple[str, ...],
    whole: bool = False,
    **order: Any,
) -> None:
    """``whole``: nothing is done where one of the rules does not exist. Exit code 1 where one was refused."""
    settings = given_settings(overrides)
    ids = tuple(dict.fromkeys(rule))
    with connected(settings) as connection:
        catalog = connection.catalog()
        known_company(catalog, company)
        missing = [id_ for id_ in ids if catalog.rule(company, id_) is None]
        if missing and whole:
            known = ", ".join(sorted(each.id for each in catalog.rules_of(company)))
            raise click.ClickException(
                f"{company} has no rule {', '.join(missing)}; it has: {known or 'none'}. Nothing was deleted"
            )
        author = Author(user or "", "cli", clock_of(settings.clock).now())
        wanted = bulk.Order(action=action, items=[(id_, ANY) for id_ in ids], **order)
        try:
            items = bulk.decide(wanted, company, catalog, author)
        except RefusedError as error:
            raise click.ClickException(str(error)) from None
        edits = [item.edit for item in items if item.edit is not None]
        if edits and not dry_run:
            if not yes and may_ask():
                click.confirm(f"{question} {counted(len(edits), 'rule')} of {company}?", abort=True)
            publish_edits(connection, edits)
    _print_results(items, action, dry_run=dry_run, as_json=as_json)
    if any(item.result in (bulk.Result.REFUSED, bulk.Result.NOT_FOUND) for item in items):
        sys.exit(1)


def _print_results(items: Sequence[bulk.Item], action: bulk.Action, *, dry_run: bool, as_json: bool) -> None:
    done = {bulk.Action.DELETE: "deleted", bulk.Action.COPY_TO_LOCATIONS: "copied"}.get(action, "changed")
    for item in items:
        if as_json:
            plain = {"id": item.id, "result": item.result, "dry_run": dry_run}
            plain |= {"location_id": item.location_id, "new_id": item.new_id}
            print_json(plain | {"problems": [str(problem) for problem in item.problems]})
            continue
        name = f"{item.id} to {item.location_id}" if item.location_id else item.id
        if item.result is bulk.Result.DONE:
            as_what = f" as {item.new_id}" if item.new_id else ""
            click.echo(f"{'would be ' if dry_run else ''}{done} {name}{as_what}")
        else:
            why = "; ".join(map(str, item.problems))
            click.echo(f"{item.result.replace('_', ' ')} {name}{': ' if why else ''}{why}")


def occasion(rule: Rule) -> str:
    """``status changed to ready, 1 hour later, in working hours``."""
    if rule.kind is RuleKind.REMINDER:
        parts = [f"{format_delay(rule.offset, rule.offset_unit)} before"]
    else:
        to = f" {rule.status_id}" if rule.trigger is Trigger.STATUS_CHANGED_TO else ""
        parts = [rule.trigger.replace("_", " ") + to]
    if rule.delay:
        parts.append(f"{format_delay(rule.delay, rule.delay_unit)} later")
    if rule.working_hours_only:
        parts.append("in working hours")
    if rule.only_if_still:
        parts.append("if still so")
    return ", ".join(parts)


def cost(rule: Rule, catalog: Catalog) -> str:
    """SMS segments of one message, by sample data: ``1``, or ``1-2`` where languages differ."""
    found = segment_range(rule, catalog)
    return "-".join(str(count) for count in sorted(set(found))) if found else ""


def segment_range(rule: Rule, catalog: Catalog) -> tuple[int, int] | None:
    """The least and the most over the languages of its template; None: no SMS, or the template has none."""
    template = catalog.template(rule.company, rule.template_id)
    if rule.channel is not Channel.SMS or template is None:
        return None
    counts = {sample_segments(template, language).segments for language in template.texts} - {0}
    return (min(counts), max(counts)) if counts else None


def known_company(catalog: Catalog, company: str) -> None:
    if catalog.company(company) is None:
        known = ", ".join(sorted(each.id for each in catalog.companies()))
        raise click.ClickException(f"there is no company {company!r}; there are: {known or 'none'}")
