"""``carillon rules``: a company's rules, listed and deleted."""

from __future__ import annotations

import click

from console.connection import Connection, Publication, connected
from console.options import given_settings, json_option, set_option, yes_option
from console.output import counted, may_ask, print_json, print_table
from console.shop_forms import format_delay
from schemas.records import Channel, Rule, RuleKind, Trigger
from streams.domain.catalog import Catalog
from streams.domain.ids import reference_key
from streams.domain.templating import sample_segments

EXAMPLES = """\b
Examples:
  carillon rules list acme
  carillon rules list acme --json | jq 'select(.channel == "sms") | .id'
  carillon rules delete acme old-reminder --yes
"""


@click.group(epilog=EXAMPLES)
def rules() -> None:
    """List and delete a company's rules. "carillon apply" creates and changes them."""


@rules.command("list", epilog=EXAMPLES)
@click.argument("company")
@json_option
@set_option
def list_rules(company: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show what a company sends, on which occasion, by which channel, and how many SMS segments one message
    costs with sample data (a range, where languages differ)."""
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "rules", "templates"))
    _known_company(catalog, company)
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


@rules.command("delete", epilog=EXAMPLES)
@click.argument("company")
@click.argument("rule", nargs=-1, required=True)
@yes_option
@set_option
def delete_rules(company: str, rule: tuple[str, ...], yes: bool, overrides: tuple[str, ...]) -> None:
    """Delete rules of a company. Their pending messages are cancelled; what was sent stays in the log.

    All or none: if one of them does not exist, nothing is deleted (exit code 1).
    """
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "rules"))
        _known_company(catalog, company)
        missing = [id_ for id_ in rule if catalog.rule(company, id_) is None]
        if missing:
            known = ", ".join(sorted(each.id for each in catalog.rules_of(company)))
            raise click.ClickException(
                f"{company} has no rule {', '.join(missing)}; it has: {known or 'none'}. Nothing was deleted"
            )
        if not yes and may_ask():
            click.confirm(f"Delete {counted(len(set(rule)), 'rule')} of {company}?", abort=True)
        _delete(connection, company, rule)
    for id_ in dict.fromkeys(rule):
        click.echo(f"deleted {id_}")


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
    template = catalog.template(rule.company, rule.template_id)
    if rule.channel is not Channel.SMS or template is None:
        return ""
    company = catalog.company(rule.company)
    counts = {sample_segments(template, language, company).segments for language in template.texts} - {0}
    return "-".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else ""


def _delete(connection: Connection, company: str, ids: tuple[str, ...]) -> None:
    tombstones: list[Publication] = [
        ("rules", reference_key(company, id_), None) for id_ in dict.fromkeys(ids)
    ]
    connection.publish(tombstones)


def _known_company(catalog: Catalog, company: str) -> None:
    if catalog.company(company) is None:
        known = ", ".join(sorted(each.id for each in catalog.companies()))
        raise click.ClickException(f"there is no company {company!r}; there are: {known or 'none'}")
