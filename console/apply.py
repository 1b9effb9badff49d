"""``carillon apply`` and ``carillon export``: a company's set-up from a file to the topics, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from console.connection import Connection, Publication, connected
from console.options import given_settings, set_option, yes_option
from console.output import counted, may_ask, on_terminal, one_line, progress
from console.service.edits import Author, audit_fields, entry
from console.shopfile import ChangeItem, FileProblem, ShopFile, check, difference, dump, load
from schemas.records import AuditEntry, AuditWhat
from streams.clock import clock_of
from streams.domain.ids import reference_key

TOPICS = {
    "company": "companies",
    "location": "locations",
    "status": "statuses",
    "mailbox": "mailboxes",
    "template": "templates",
    "rule": "rules",
}
_MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}

EXAMPLES = """\b
Examples:
  carillon apply shop.yaml --dry-run                     what would change; writes nothing
  carillon apply shop.yaml --as maria@shop.example       as Maria, who may choose her own mailbox
  carillon apply shop.yaml --prune --yes                 also delete what the file does not have
  carillon export acme > shop.yaml                       what is there now, as such a file
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", metavar="SHOP.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--as",
    "user",
    metavar="USER",
    help="Who makes the change: the mailboxes of a rule are those that this person has access to.",
)
@click.option("--dry-run", is_flag=True, help="Show the difference and write nothing.")
@click.option("--prune", is_flag=True, help="Delete what the company has and the file has not.")
@yes_option
@set_option
def apply(
    file: Path, user: str | None, dry_run: bool, prune: bool, yes: bool, overrides: tuple[str, ...]
) -> None:
    """Publish a company's statuses, locations, mailboxes, templates and rules.

    Checks the whole file first and names every mistake with its line; shows what would change (+ new,
    ~ changed, - deleted); asks; publishes. Pending messages follow the new rules. A second run says
    "no changes". Exit code 1 if the file is refused or the question is answered with no.
    """
    settings = given_settings(overrides)
    shop = _loaded(file)
    with connected(settings) as connection:
        progress(f"reading what {shop.company.id} has at {settings.broker} ...")
        catalog = connection.catalog()
        problems = check(shop, catalog, user, prune=prune)
        if problems:
            _refuse(file, problems, user)
        now = clock_of(settings.clock).now()
        items = difference(shop, catalog, now, user, prune=prune)
        if not items:
            click.echo(f"no changes: {shop.company.id} is as {file} says")
            return
        _show(items)
        if dry_run:
            click.echo(f"dry run: {_summary(items)}; nothing was written")
            return
        if not yes and may_ask():
            click.confirm(f"Publish these changes ({_summary(items)})?", abort=True)
        _publish(connection, items, Author(user or "", "cli", now))
    click.echo(f"published: {_summary(items)}")


@click.command(epilog=EXAMPLES)
@click.argument("company")
@set_option
def export(company: str, overrides: tuple[str, ...]) -> None:
    """Print what a company has as a shop file.

    Applying the printed file changes nothing.
    """
    with connected(given_settings(overrides)) as connection:
        catalog = connection.catalog()
    try:
        click.echo(dump(catalog, company), nl=False)
    except LookupError as error:
        known = ", ".join(sorted(each.id for each in catalog.companies()))
        raise click.ClickException(f"{error}; there are: {known or 'none'}") from None


def _loaded(file: Path) -> ShopFile:
    shop = load(file)
    if not isinstance(shop, ShopFile):
        _refuse(file, shop, None)
    return shop


def _refuse(file: Path, problems: Sequence[FileProblem], user: str | None) -> NoReturn:
    for problem in problems:
        click.echo(f"{file}: {problem}", err=True)
    hint = ""
    if user is None and any(problem.field.endswith(".mailbox") for problem in problems):
        hint = " (--as USER says who chooses the mailbox)"
    raise click.ClickException(f"{counted(len(problems), 'problem')} in {file}; nothing was written{hint}")


def _show(items: Sequence[ChangeItem]) -> None:
    for item in items:
        mark, colour = _MARKS[item.what]
        click.secho(f"{mark} {item.kind} {item.id}", fg=colour, color=on_terminal())
        if item.what != "update":
            continue
        for change in item.fields:
            old = "(nothing)" if change.old is None else one_line(change.old)
            new = "(nothing)" if change.new is None else one_line(change.new)
            click.echo(f"    {change.field}: {old} → {new}")


def _summary(items: Sequence[ChangeItem]) -> str:
    parts = (
        (sum(item.what == what for item in items), word)
        for what, word in (("create", "new"), ("update", "changed"), ("delete", "deleted"))
    )
    return ", ".join(f"{number} {word}" for number, word in parts if number)


def _publish(connection: Connection, items: Sequence[ChangeItem], author: Author) -> None:
    audit: list[Publication] = [("audit", item.company.encode(), _audit(item, author)) for item in items]
    records: list[Publication] = [(TOPICS[item.kind], _key(item), item.record) for item in items]
    connection.publish([*audit, *records])


def _audit(item: ChangeItem, author: Author) -> AuditEntry:
    version = item.record.version if item.record is not None else 0
    fields = audit_fields(item.fields)
    return entry(item.company, item.kind, item.id, AuditWhat(item.what), version, fields, author)


def _key(item: ChangeItem) -> bytes:
    if item.kind == "company":
        return item.company.replace("%", "%25").encode()  # one part, escaped as split_key expects
    return reference_key(item.company, item.id)
