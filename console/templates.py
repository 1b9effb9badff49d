"""``carillon templates``: the texts that a company sends."""

from __future__ import annotations

import sys

import click

from console.connection import connected
from console.options import as_option, given_settings, json_option, set_option, yes_option
from console.output import may_ask, print_json, print_table
from console.rules import known_company
from console.service.edits import ANY, Author, delete
from console.service.errors import InUseError, NotThereError
from console.service.kinds import KINDS, template_problems
from console.service.publishing import publish_edits
from streams.clock import clock_of
from streams.domain.templating import sample_segments

EXAMPLES = """\b
Examples:
  carillon templates list acme
  carillon templates show acme order-ready
  carillon templates check acme && echo all of them work
  carillon templates delete acme old-text --as maria@shop.example
"""


@click.group(epilog=EXAMPLES)
def templates() -> None:
    """List, show, check and delete a company's templates. "carillon apply" makes and changes them."""


@templates.command("list", epilog=EXAMPLES)
@click.argument("company")
@json_option
@set_option
def list_templates(company: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show the texts, in which languages they are, what an SMS costs in each, and which rules send them."""
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "rules", "templates"))
    known_company(catalog, company)
    rows = []
    for one in sorted(catalog.templates_of(company), key=lambda each: each.id):
        if as_json:
            print_json(one)
            continue
        costs = {language: sample_segments(one, language).segments for language in one.texts}
        channels = [
            name
            for name, there in (
                ("sms", any(text.sms for text in one.texts.values())),
                ("email", any(text.subject for text in one.texts.values())),
            )
            if there
        ]
        users = sorted(rule.id for rule in catalog.rules_of(company) if rule.template_id == one.id)
        segments = ", ".join(f"{language} {cost}" for language, cost in costs.items() if cost)
        rows.append((one.id, ", ".join(channels), ", ".join(one.texts), segments, ", ".join(users), one.name))
    if not as_json:
        print_table(("template", "as", "languages", "segments", "sent by", "name"), rows)


@templates.command("show", epilog=EXAMPLES)
@click.argument("company")
@click.argument("template")
@json_option
@set_option
def show_template(company: str, template: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show one in every language."""
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "templates"))
    known_company(catalog, company)
    found = catalog.template(company, template)
    if found is None:
        raise click.ClickException(f"{company} has no template {template!r}")
    if as_json:
        print_json(found)
        return
    for language, text in found.texts.items():
        for part, value in (("sms", text.sms), ("subject", text.subject), ("body", text.body)):
            if value:
                click.echo(f"--- {language} {part}\n{value.rstrip()}")


@templates.command("check", epilog=EXAMPLES)
@click.argument("company")
@json_option
@set_option
def check_templates(company: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Say what is wrong with texts, and where; exit code 1 if anything is."""
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog(("companies", "rules", "templates"))
    known_company(catalog, company)
    owner = catalog.company(company)
    wrong = 0
    for one in sorted(catalog.templates_of(company), key=lambda each: each.id):
        rules = [rule for rule in catalog.rules_of(company) if rule.template_id == one.id]
        for problem in template_problems(one, rules, () if owner is None else (owner.language,)):
            wrong += 1
            if as_json:
                print_json({"template": one.id, "field": problem.field, "message": problem.message})
            else:
                click.echo(f"{one.id}: {problem}")
    if wrong:
        sys.exit(1)


@templates.command("delete", epilog=EXAMPLES)
@click.argument("company")
@click.argument("template")
@as_option
@yes_option
@set_option
def delete_template(
    company: str, template: str, user: str | None, yes: bool, overrides: tuple[str, ...]
) -> None:
    """Delete one that no rule sends."""
    settings = given_settings(overrides)
    with connected(settings) as connection:
        catalog = connection.catalog(("companies", "rules", "templates"))
        known_company(catalog, company)
        author = Author(user or "", "cli", clock_of(settings.clock).now())
        try:
            edit = delete(catalog, KINDS["template"], company, template, ANY, author)
        except NotThereError:
            raise click.ClickException(f"{company} has no template {template!r}") from None
        except InUseError as error:
            raise click.ClickException(str(error)) from None
        if not yes and may_ask():
            click.confirm(f"Delete the template {template} of {company}?", abort=True)
        publish_edits(connection, [edit])
    click.echo(f"deleted {template}")
